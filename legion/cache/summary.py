"""What happened on a shelf, and what lies there now."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from .hit import V
from .stats import CacheStats


if TYPE_CHECKING:
    from .disk import Disk
    from .partition import Partition
    from .shelf import Shelf


def summary(shelf: Shelf[V], *, within: Partition[V] | None) -> CacheStats:
    """Return what happened in one partition, or in all."""
    stock = shelf.stock
    with shelf.lock:
        room = stock.room if within is None else within.room or stock.room
        stats = (shelf.counts.whole if within is None else within.tally).stats(
            entries=stock.room.entries if within is None else len(within),
            capacity=room.capacity or stock.capacity,
            size=stock.room.taken if within is None else within.taken,
            capacity_bytes=room.capacity_bytes or stock.capacity_bytes,
            wrong_limit=shelf.rule.wrong_limit() if within is None else None,
        )
        sharing = None if shelf.tiers is None else shelf.tiers.sharing
        if sharing is not None and within is None:
            stats = attrs.evolve(stats, shared_failures=sharing.failures)
        return stats if shelf.disk is None else _on_disk(stats, shelf.disk, within)


def _on_disk(
    stats: CacheStats, disk: Disk[V], within: Partition[V] | None
) -> CacheStats:
    overflow = disk.overflow
    if overflow is not None:
        scope = None if within is None else within.scope
        stats = attrs.evolve(stats, overflow_entries=overflow.count(scope))
    if within is not None:
        return stats
    return attrs.evolve(
        stats,
        disk_bytes=disk.size(),
        storage_savings=disk.savings(),
        behind=disk.trouble(),
        overflow_bytes=0 if overflow is None else overflow.bytes,
    )
