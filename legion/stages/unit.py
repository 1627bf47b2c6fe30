"""What may be a unit, and what is said of what may not."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NoReturn


LONGEST = 4_096
"""Characters of the longest unit: one is the name of a task, a session or a user."""


def fault(unit: object, who: str) -> Exception | None:
    """
    Return what is wrong with *unit*, or None.

    An empty unit is refused, as a name that is missing would send all the requests it
    is missing from to one arm. So is one that is no name but a whole text.

    Args:
        unit: What was given.
        who: The method it was given to.
    """
    if not isinstance(unit, str):
        given = f"{unit!r:.40} of {type(unit)}"
        return TypeError(f"{who}: got the unit {given}; write a str, as a user's id")
    if not unit:
        msg = f"{who}: got an empty unit; write whose request it is, or assign none"
        return ValueError(msg)
    if len(unit) > LONGEST:
        msg = f"{who}: got a unit of {len(unit):,} characters; write a hash of it"
        return ValueError(msg)
    try:
        unit.encode()
    except UnicodeError:
        return ValueError(f"{who}: got {unit!a:.40}; write text that UTF-8 can hold")
    return None


def refuse(units: Iterable[object], who: str, error: Exception) -> NoReturn:
    """Raise what is wrong with the first of *units* that is none, else *error*."""
    for unit in units:
        found = fault(unit, who)
        if found is not None:
            raise found from None
    raise error


def several(units: Iterable[str], who: str) -> list[str]:
    """
    Return *units* as a list.

    Raises:
        TypeError: They are one string, or one of them is none.
        ValueError: One of them is empty or too long.
    """
    if isinstance(units, str | bytes):
        msg = f"{who}: got the one unit {units!r:.40}; write a list of units"
        raise TypeError(msg)
    found = list(units)
    try:
        sizes = set(map(len, found))
    except TypeError as error:
        refuse(found, who, error)
    if sizes and not 0 < min(sizes) <= max(sizes) <= LONGEST:
        refuse(found, who, ValueError())
    return found
