"""What was learned and spent, on disk before anybody has the answer it was spent on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..exceptions import StateError


if TYPE_CHECKING:
    from .shelf import Shelf


def note(shelf: Shelf[Any], *, must: bool) -> None:
    """Hand the system what was learned and spent, if it must be or is much."""
    disk = shelf.disk
    if disk is not None and disk.learned is not None and (must or disk.learned.due):
        disk.commit()


def remembered(shelf: Shelf[Any]) -> bool:
    """
    Wait until what was spent cannot be forgotten any more.

    Returns:
        False if it might be.
    """
    disk = shelf.disk
    if disk is None or disk.learned is None or disk.closed:
        return True
    with shelf.lock:
        disk.commit()
        owed = disk.learned.owed()
    try:
        disk.settle(must=owed is not None)
    except StateError:
        return False  # the disk has logged why
    if owed is not None:
        with shelf.lock:
            disk.learned.settled(owed)
    return disk.keeps()
