"""Entries that are on disk alone: found by the same question, and in memory again."""

from __future__ import annotations

import logging

from typing import TYPE_CHECKING, Generic, NamedTuple

from .accept import Ticket
from .entry import Entry
from .hit import V
from .item import Item
from .layout import DamageError


if TYPE_CHECKING:
    from .disk import Disk
    from .groups import Group
    from .hit import Hit
    from .log import CacheLog
    from .overflow import Spot
    from .partition import Partition
    from .records import Put
    from .shelf import Shelf


_logger = logging.getLogger("legion")
_LOOKS = 16
"""So often a row is looked for again that has moved with its file meanwhile."""


class _Found(NamedTuple, Generic[V]):
    """What was read from the disk, its answer, and what that is compared by."""

    put: Put
    value: V
    group: Group | None


def from_disk(
    shelf: Shelf[V], disk: Disk[V], partition: Partition[V], key: str
) -> Hit[V] | None:
    """
    Return the hit for the same question that is on disk alone, counted, or None.

    The entry is in memory again, where others make room for it. It is read without the
    lock.
    """
    overflow = disk.overflow
    if overflow is None or not overflow.entries:
        return None
    hit = None
    for _ in range(_LOOKS):
        with shelf.lock:
            spot, log = overflow.spot(partition.scope, key), disk.log
        if spot is None:  # another thread was quicker, or it is nowhere
            return shelf.exact(partition, key)
        put = _row(log, spot, partition.scope, key)
        with shelf.lock:
            if disk.log is not log:
                continue
            raw = None if put is None else disk.raw(put.place)
        found = None
        if put is not None and raw is not None:
            value = disk.loads(raw, put.place)
            found = _Found(put, value, shelf.rule.group(value))
        with shelf.lock:
            if disk.log is log and overflow.spot(partition.scope, key) == spot:
                hit = _hit(shelf, disk, partition, found, spot, key)
                break
    shelf.written(must=False, put=False)
    return hit


def on_disk(
    shelf: Shelf[V], disk: Disk[V], partition: Partition[V], key: str
) -> str | None:
    """Return the same question, as it was put, that is on disk alone, or None."""
    if disk.overflow is None:
        return None
    with shelf.lock:
        spot = disk.overflow.spot(partition.scope, key)
        if spot is None or shelf.clock.machine() >= spot.expires_s:
            return None
        put = _row(disk.log, spot, partition.scope, key)
    return None if put is None else put.row.question


def _row(log: CacheLog, spot: Spot, scope: str, key: str) -> Put | None:
    """Read what lies at *spot*, or None if it is not what was asked for."""
    try:
        put = log.row(spot)
    except (DamageError, OSError) as error:
        _logger.warning("cache: nothing to be read at byte %d: %r", spot.offset, error)
        return None
    return put if (put.row.scope, put.row.key) == (scope, key) else None


def _hit(
    shelf: Shelf[V],
    disk: Disk[V],
    partition: Partition[V],
    found: _Found[V] | None,
    spot: Spot,
    key: str,
) -> Hit[V] | None:
    now = shelf.clock.machine()
    overflow = disk.overflow
    assert overflow is not None
    if found is None or now >= spot.expires_s:
        disk.lose([spot.id])
        overflow.discard(partition.scope, key)
        shelf.count(partition, "unusable" if found is None else "expired")
        return None
    if key in partition.exact:  # an alias, which is nowhere else
        return shelf.exact(partition, key)
    entry = _entry(shelf, partition, found, spot, now)
    overflow.rise(partition.scope, key)  # or it might make room for itself
    if not shelf.stock.enter(entry, found.put.floats(), found.group):
        overflow.again(partition.scope, key, spot.id, expires_s=spot.expires_s)
        return None
    disk.rise(entry)
    shelf.count(partition, "exact_hits")
    shelf.count(partition, "disk_hits")
    return shelf.hit(Ticket(entry), 1.0, now)


def _entry(
    shelf: Shelf[V], partition: Partition[V], found: _Found[V], spot: Spot, now: float
) -> Entry[V]:
    put, row = found.put, found.put.row
    age_s = max(shelf.clock.wall() - row.stored_ms / 1_000, 0.0)
    entry: Entry[V] = Entry(
        row.id,
        row.key,
        row.question,
        found.value,
        now - age_s,
        partition,
        row.terms,
        row.size,
        row.redundancy,
        spot.expires_s,
        put.place,
    )
    if shelf.stock.capacity_bytes is None:
        entry.size = 0
    elif not entry.size:
        entry.size = shelf.stock.weigh(
            Item(row.key, row.question, entry.value, put.floats())
        )
    return entry
