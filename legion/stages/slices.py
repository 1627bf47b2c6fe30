"""Slices: groups of units that are judged on their own beside the whole."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..model import Window


MOST = 16
"""How many slices of a rollout are judged: the budget is shared out beforehand."""

LEAST = 50
"""Units of control from which on a slice is worth one of the places."""

LONGEST = 100
"""Characters of the longest value."""


def slices_of(names: Iterable[str], given: Mapping[str, object]) -> tuple[str, ...]:
    """
    Return the slices of a unit, of those that *names* tells apart.

    Raises:
        TypeError: A value is no string.
        ValueError: It is empty, too long or has no place in a name.
    """
    found = []
    for name in names:
        value = given.get(name)
        if value is None:
            continue
        if not isinstance(value, str):
            msg = f"slices: got {name}={value!r:.40} of {type(value)}; write a str"
            raise TypeError(msg)
        if not 0 < len(value) <= LONGEST or not value.isprintable():
            msg = (
                f"slices: got {name}={value!r:.40}; write 1 to {LONGEST} printable"
                " characters, such as a tenant's id"
            )
            raise ValueError(msg)
        found.append(f"{name}={value}")
    return tuple(found)


def admitted(known: tuple[str, ...], control: Window | None) -> tuple[str, ...]:
    """
    Return the slices that are judged from now on: *known*, and the largest new ones.

    Who is large is read of control alone: whose units went bad has no part in who gets
    a place, and a place once given is kept for the rollout.

    Args:
        known: Those that have a place.
        control: What control did in this stage so far.
    """
    free = MOST - len(known)
    if free <= 0 or control is None:
        return known
    sizes: dict[str, int] = {}
    for name, n in control.units.items():
        slice_ = name.partition("{")[2].removesuffix("}")
        if slice_:
            sizes[slice_] = max(sizes.get(slice_, 0), n)
    large = [name for name, n in sizes.items() if n >= LEAST and name not in known]
    large.sort(key=lambda name: (-sizes[name], name))
    return (*known, *large[:free])
