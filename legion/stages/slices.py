"""Slices: groups of units that are judged on their own beside the whole."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from ..model import Window


MOST = 16
"""How many slices of a rollout are judged: the budget is shared out beforehand."""

LEAST = 50
"""Units of control from which on a slice is worth one of the places."""

LONGEST = 100
"""Characters of the longest value."""


def slices_of(names: Iterable[str], given: object) -> tuple[str, ...]:
    """
    Return the slices of a unit, of those that *names* tells apart.

    A value is taken as text. One that is empty, too long or cannot be printed is in no
    slice: a request does not fail for what is known of it beside.

    Raises:
        TypeError: *given* is no mapping.
    """
    if not isinstance(given, Mapping):
        msg = f"slices: got {given!r:.40} of {type(given)}; write a mapping, as a dict"
        raise TypeError(msg)
    values = ((name, given.get(name)) for name in names)
    texts = ((name, "" if value is None else str(value)) for name, value in values)
    return tuple(
        f"{name}={text}"
        for name, text in texts
        if 0 < len(text) <= LONGEST and text.isprintable()
    )


def admitted(
    known: tuple[str, ...], control: Window | None, names: Collection[str]
) -> tuple[str, ...]:
    """
    Return the slices that are judged from now on: *known*, and the largest new ones.

    Who is large is read of control alone: whose units went bad has no part in who gets
    a place, and a place once given is kept for the rollout.

    Args:
        known: Those that have a place.
        control: What control did in this stage so far.
        names: By what the plan tells units apart.
    """
    free = MOST - len(known)
    if free <= 0 or control is None:
        return known
    sizes: dict[str, int] = {}
    for name, n in control.units.items():
        slice_ = name.partition("{")[2].removesuffix("}")
        if slice_.partition("=")[0] in names:
            sizes[slice_] = max(sizes.get(slice_, 0), n)
    large = [name for name, n in sizes.items() if n >= LEAST and name not in known]
    large.sort(key=lambda name: (-sizes[name], name))
    return (*known, *large[:free])
