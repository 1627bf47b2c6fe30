"""A shelf to a snapshot, while others go on using it."""

from __future__ import annotations

import json
import logging

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Generic, NamedTuple

import numpy as np

from ..canonical import JSON
from . import layout, snapshot
from .disk import Disk
from .entry import Entry
from .file import CacheFile
from .hit import V
from .layout import DamageError
from .log import CacheLog
from .overflow import spot_of
from .records import Put
from .serializer import Serializer, plain_size
from .sketch import BITS
from .snapshot import FOREVER_MS, Place, Row
from .sunken import Sunken


if TYPE_CHECKING:
    from numpy.typing import NDArray
    from typing_extensions import Buffer

    from .shelf import Shelf


_logger = logging.getLogger("legion")
_AT_ONCE = 1_000
"""So many entries are copied before others have their turn."""
_ROUNDS = 8
"""So often what others write meanwhile is copied before they have to wait."""


def save(shelf: Shelf[V], disk: Disk[V]) -> None:
    """
    Write a snapshot beside the file, and let it take its place.

    Entries are copied a thousand at a time, so it is no picture of one moment; but what
    changed since it began is in the log that goes with it, so what is read is.

    Raises:
        OSError: It cannot be written; the file is as it was.
    """
    with shelf.lock:
        mark = disk.journal.begin_saving()
        entries = list(shelf.stock.entries.values())
        last_id = shelf.stock.last_id
        learned = disk.state()
        sunken = disk.sunken()
    try:
        entries.sort(key=lambda one: (one.partition.scope, one.id))
        kept, lost, rows, vectors = _copied(shelf, disk, entries)
        sketches = (
            shelf.stock.sketcher_of(vectors[0]).sketch_many(vectors)
            if len(vectors)
            else np.empty((0, BITS // 8), np.uint8)
        )
        if sunken is not None:
            sunken = _raised(disk, sunken)
        facts, sections, within = snapshot.sections(
            rows, vectors, sketches, last_id=last_id, learned=learned, sunken=sunken
        )
        facts |= disk.facts() | _measured(rows, sections, disk.serializer, sunken)
        file = CacheFile.beside(disk.path)
        try:
            file.append(layout.snapshot(facts, sections))
            _replace(shelf, disk, file, mark, Copy(kept, lost, within, sunken))
        except BaseException:
            file.drop()
            raise
    finally:
        with shelf.lock:
            disk.journal.end_saving()


class Copy(NamedTuple, Generic[V]):
    """
    What is in a snapshot.

    Attributes:
        kept: Whose answers, or None where the entry is gone.
        lost: Who has none any more.
        places: Where the answers lie among all, those of *sunken* last.
        sunken: Who was on disk alone, or None without any.
    """

    kept: list[Entry[V] | None]
    lost: list[int]
    places: list[Place]
    sunken: Sunken | None


def _replace(
    shelf: Shelf[V], disk: Disk[V], file: CacheFile, mark: int, copy: Copy[V]
) -> None:
    """Let *file* replace the log, once the disk has all there that it has here."""
    new = CacheLog.of(file)
    offset = new.head.sections["values"].offset
    places = [place._replace(offset=offset + place.offset) for place in copy.places]
    copied, kept = mark, copy.kept
    for left in reversed(range(_ROUNDS)):
        copied = disk.journal.catch_up(new, copied)
        with shelf.lock:
            for entry_id in copy.lost:
                shelf.stock.drop(entry_id)
            if not disk.journal.finish_saving(
                new, mark, copied, copy.sunken, wait=not left
            ):
                continue
            if copy.sunken is not None:  # who rose meanwhile
                kept += [shelf.stock.entries.get(one.id) for one in copy.sunken.entries]
            for entry, place in zip(kept, places, strict=True):
                if entry is not None:
                    entry.place = place
            return


def _copied(
    shelf: Shelf[V], disk: Disk[V], entries: Sequence[Entry[V]]
) -> tuple[list[Entry[V] | None], list[int], list[Row], NDArray[np.float32]]:
    """Return whose answers could be read, and who has none any more; rows; vectors."""
    kept: list[Entry[V] | None] = []
    lost: list[int] = []
    rows: list[Row] = []
    vectors: list[NDArray[np.float32]] = []
    rest = iter(entries)
    while some := list(islice(rest, _AT_ONCE)):
        with shelf.lock:
            there = [
                (entry, entry.partition.vectors_of(entry))
                for entry in some
                if entry.slots
            ]
        for entry, its in there:
            raw = disk.raw_of(entry)
            if raw is None:
                if not entry.read:
                    lost.append(entry.id)
                continue
            kept.append(entry)
            rows.append(disk.row(entry, raw, len(its)))
            vectors.append(its)
    joined = np.concatenate(vectors) if vectors else np.empty((0, 1), "<f4")
    return kept, lost, rows, joined


def _raised(disk: Disk[V], sunken: Sunken) -> Sunken | None:
    """Read what is on disk alone, for the next file; None where nothing is left of it."""
    now_s, now_ms = disk.clock.machine(), disk.clock.wall() * 1_000
    read: list[tuple[int, Put, bytes]] = []
    for at, row in enumerate(sunken.table):
        if row["expires_s"] <= now_s:
            continue
        try:
            put = disk.log.row(spot_of(row))
            read.append((at, put, disk.log.raw(put.place)))
        except DamageError as damage:
            _logger.warning("%s: leaves out an entry: %r", disk.path, damage)
    if not read:
        return None
    table = sunken.table[[at for at, _, _ in read]]
    lasts_ms = np.minimum((table["expires_s"] - now_s) * 1_000 + now_ms, FOREVER_MS)
    table["expires_s"] = lasts_ms
    entries = [
        put.row._replace(value=raw, expires_ms=int(ends_ms))
        for (_, put, raw), ends_ms in zip(read, lasts_ms.tolist(), strict=True)
    ]
    vectors = [put.floats() for _, put, _ in read]
    return Sunken(table, sunken.scopes, sunken.tags, entries, vectors)


def _measured(
    rows: Sequence[Row],
    sections: Mapping[str, Buffer],
    serializer: Serializer,
    sunken: Sunken | None,
) -> dict[str, JSON]:
    """Return what the entries take here, but for their vectors, and as plain JSON."""
    kept = sum(
        memoryview(data).nbytes
        for name, data in sections.items()
        if name not in {"vectors", "sketches"}
    )
    if sunken is not None:
        kept -= sunken.vector_bytes
        rows = [*rows, *sunken.entries]
    return {
        "kept_bytes": kept,
        "json_bytes": sum(
            _line(row) + plain_size(serializer, row.value) for row in rows
        ),
    }


def _line(row: Row) -> int:
    """Return the bytes of a line of plain JSON for an entry, but for its answer."""
    said: dict[str, object] = {
        "scope": row.scope,
        "question": row.question,
        "answer": None,
        "stored_ms": row.stored_ms,
        "expires_ms": row.expires_ms if row.expires_ms != FOREVER_MS else None,
        "tags": sorted(row.terms.tags),
        "cost": row.terms.cost,
    }
    line = json.dumps(said, ensure_ascii=False, separators=(",", ":")) + "\n"
    return len(line.encode("utf-8", "surrogatepass")) - len("null")
