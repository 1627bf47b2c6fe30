"""A shelf and its file: opened, read again, closed."""

from __future__ import annotations

from functools import partial

from .disk import Disk, Found
from .hit import V
from .loading import Filling
from .saving import save
from .shelf import Shelf


def keep(shelf: Shelf[V], disk: Disk[V], *, repair: bool) -> int | None:
    """
    Fill *shelf*, which is empty, with what *disk* has, and keep it there from now on.

    Returns:
        The dimension of the vectors, or None without any.

    Raises:
        StateError: The file cannot be used; see `Disk.open`.
    """
    found = disk.open(repair=repair)
    try:
        _fill(shelf, disk, found)
        shelf.disk = disk
        disk.take = partial(save, shelf, disk)
        with shelf._lock:
            while shelf._room.lacks(entries=0, size=0):
                shelf._evict(shelf._room)
            disk.commit()
        if disk.behind:
            disk.save()
    except BaseException:
        disk.let_go()
        raise
    return None if shelf._sketcher is None else shelf._sketcher.dim


def _fill(shelf: Shelf[V], disk: Disk[V], found: Found) -> None:
    disk.restore(found)
    Filling(shelf, disk)(found)


def refresh(shelf: Shelf[V], disk: Disk[V]) -> bool:
    """
    Read the file again if another has its name by now, and say whether it has.

    Raises:
        StateError: It cannot be read; what was read before stays.
    """
    if not disk.readonly or not disk.replaced():
        return False
    log, found = disk.look()
    # Under one lock, since what an answer's place means changes with the file.
    with shelf._lock:
        disk.turn_to(log)
        shelf.reset()
        _fill(shelf, disk, found)
    return True


def close(shelf: Shelf[V], disk: Disk[V]) -> None:
    """
    Write what is left, so that it is soon read, and let the file go.

    Raises:
        StateError: It could not be written; the file is let go all the same.
    """
    try:
        with shelf._lock:
            disk.learn()
            disk.commit()
        if not disk.readonly:
            if disk.behind or disk.worth_saving():
                disk.save()
            disk.settle(must=True)
    finally:
        disk.let_go()
