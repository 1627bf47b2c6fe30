"""A shelf and its file: opened, filled, closed."""

from __future__ import annotations

import weakref

from functools import partial
from typing import cast

from .disk import Disk
from .following import follow
from .hit import V
from .learned import Learned
from .loading import fill, no_collection
from .promise import Promise
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
    with no_collection():
        found = disk.open(repair=repair)
    if isinstance(shelf.rule, Promise):
        disk.learned = Learned(shelf.rule, shelf.counts.whole, not disk.readonly)
        shelf.rule.budget.kept = disk.keeps
    try:
        fill(shelf, disk, found)
        shelf.keep_on(disk)
        disk.saver.take = partial(_save, weakref.ref(shelf), disk)
        # Whoever leaves it without a word lets others write the file.
        weakref.finalize(shelf, disk.let_go).atexit = False
        with shelf.lock:
            shelf.stock.shrink(shelf.stock.room)
            if disk.overflow is not None:
                disk.lose(disk.overflow.too_many())
            disk.commit()
        if disk.readonly:
            follow(shelf, disk)
        if disk.behind:
            disk.saver.save()
    except BaseException:
        disk.let_go()
        raise
    if shelf.stock.dim is not None:
        return shelf.stock.dim
    return cast("int | None", disk.log.head.facts["dim"])


def _save(shelf: weakref.ref[Shelf[V]], disk: Disk[V]) -> None:
    """Take a snapshot, while there is something to take one of."""
    there = shelf()
    if there is not None:
        save(there, disk)


def close(shelf: Shelf[V], disk: Disk[V]) -> None:
    """
    Write what is left, so that it is soon read, let the file go, and be empty.

    Raises:
        StateError: It could not be written; the file is let go all the same.
    """
    if disk.closed:
        return
    try:
        with shelf.lock:
            disk.commit()
        if disk.writes:
            if disk.behind or disk.worth_saving():
                disk.saver.try_saving()
            disk.settle(must=True)
    finally:
        disk.let_go()
        shelf.reset()
