"""A shelf and its file: opened, read again, closed."""

from __future__ import annotations

import gc
import weakref

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, cast

from ..exceptions import EmbeddingError, StateError
from .disk import Disk
from .hit import V
from .learned import Learned
from .loading import Changes, Filling
from .opening import Found
from .promise import Promise
from .saving import save
from .shelf import Shelf


if TYPE_CHECKING:
    from .embedding import UnitVectors
    from .log import CacheLog


def keep(shelf: Shelf[V], disk: Disk[V], *, repair: bool) -> int | None:
    """
    Fill *shelf*, which is empty, with what *disk* has, and keep it there from now on.

    Returns:
        The dimension of the vectors, or None without any.

    Raises:
        StateError: The file cannot be used; see `Disk.open`.
    """
    with _no_collection():
        found = disk.open(repair=repair)
    if isinstance(shelf.rule, Promise):
        disk.learned = Learned(shelf.rule, shelf.counts.whole, not disk.readonly)
        shelf.rule.budget.kept = disk.keeps
    try:
        _fill(shelf, disk, found)
        shelf.keep_on(disk)
        disk.take = partial(_save, weakref.ref(shelf), disk)
        # Whoever leaves it without a word lets others write the file.
        weakref.finalize(shelf, disk.let_go).atexit = False
        with shelf.lock:
            shelf.stock.shrink(shelf.stock.room)
            if disk.overflow is not None:
                disk.lose(disk.overflow.too_many())
            disk.commit()
        if disk.readonly:
            _follow(shelf, disk)
        if disk.behind:
            disk.save()
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


def _fill(shelf: Shelf[V], disk: Disk[V], found: Found) -> None:
    disk.restore(found)
    with _no_collection():
        Filling(shelf, disk)(found)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Look for no garbage while many objects are made that all stay: half the time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _follow(shelf: Shelf[V], disk: Disk[V]) -> bool:
    """Take out what the log says is gone or replaced; what is new waits for a snapshot."""
    with shelf.lock:
        changes = Changes.of(disk.follow())
        for entry_id in changes.gone:
            shelf.stock.drop(entry_id)
        for scope, key in changes.replaced:
            entry = shelf.partition(scope).exact.get(key)
            if entry is not None:
                shelf.stock.drop(entry.id)
    return bool(changes.gone or changes.replaced)


def refresh(shelf: Shelf[V], disk: Disk[V], embed: UnitVectors) -> bool:
    """
    Follow the process that writes the file, and say whether there was something.

    Raises:
        StateError: The file cannot be read, or its vectors have another dimension than
            those of *embed*; what was read before stays.
    """
    disk.refuse_closed()
    if not disk.readonly:
        return False
    with disk.turn:
        if not disk.replaced():
            return _follow(shelf, disk)
        log, found = disk.look()
        try:
            _settle(embed, log, disk)
        except BaseException:
            log.close()
            raise
        # Under one lock, since what an answer's place means changes with the file.
        with shelf.lock:
            disk.turn_to(log)
            shelf.reset()
            _fill(shelf, disk, found)
            _follow(shelf, disk)
    return True


def _settle(embed: UnitVectors, log: CacheLog, disk: Disk[V]) -> None:
    dim = cast("int | None", log.head.facts["dim"])
    if dim is None:
        return
    try:
        embed.settle(dim)
    except EmbeddingError as error:
        msg = (
            f"has vectors of dimension {dim}, those of your embedder have {embed.dim}; "
            f"give the cache the embedder that the file is written with"
        )
        raise StateError(str(disk.path), msg) from error


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
                disk.try_saving()
            disk.settle(must=True)
    finally:
        disk.let_go()
        shelf.reset()
