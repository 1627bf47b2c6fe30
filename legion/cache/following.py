"""A shelf that follows the process that writes its file."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from ..exceptions import EmbeddingError, StateError
from . import records
from .changes import Changes
from .disk import Disk
from .file import stands
from .hit import V
from .layout import DamageError
from .loading import fill
from .log import CacheLog
from .opening import Found
from .shelf import Shelf


if TYPE_CHECKING:
    from .embedding import UnitVectors


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
        if not _replaced(disk):
            return follow(shelf, disk)
        log, found = _look(disk)
        try:
            _settle(embed, log, disk)
        except BaseException:
            log.close()
            raise
        # Under one lock, since what an answer's place means changes with the file.
        with shelf.lock:
            disk.turn_to(log)
            shelf.reset()
            fill(shelf, disk, found)
            follow(shelf, disk)
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


def follow(shelf: Shelf[V], disk: Disk[V]) -> bool:
    """Take out what the log says is gone or replaced; what is new waits for a snapshot."""
    with shelf.lock:
        changes = Changes.of(_said(disk))
        for entry_id in changes.gone:
            shelf.stock.drop(entry_id)
        for scope, key in changes.replaced:
            entry = shelf.partition(scope).exact.get(key)
            if entry is not None:
                shelf.stock.drop(entry.id)
    return bool(changes.gone or changes.replaced)


def _said(disk: Disk[V]) -> list[records.Said]:
    """
    Return what another process wrote into the log since this was last asked.

    Raises:
        StateCorruptError: The log is damaged.
    """
    said, log = [], disk.log
    try:
        for offset, payload in log.records(log.followed):
            said.append(records.read(payload, offset))
            log.followed = offset + len(payload)
    except DamageError as damage:
        raise disk.opening().refused(damage) from damage
    return said


def _replaced(disk: Disk[V]) -> bool:
    """Whether another file has the name by now."""
    there = stands(disk.path)
    return there is not None and there != disk.log.file.identity()


def _look(disk: Disk[V]) -> tuple[CacheLog, Found]:
    """
    Return the file that has the name now, and what it says.

    Raises:
        StateError: It cannot be read.
    """
    try:
        log, found, _ = disk.opening().read(repair=False)
    except OSError as error:
        msg = f"cannot be opened: {error}"
        raise StateError(str(disk.path), msg) from error
    return log, found
