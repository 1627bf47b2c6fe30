"""What is put on a shelf, on its disk, and where others have it too."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from .hit import V
from .item import Item
from .serializer import dumped


if TYPE_CHECKING:
    from .partition import Partition
    from .serializer import Serializer
    from .shelf import Shelf


def store(shelf: Shelf[V], partition: Partition[V], items: Iterable[Item[V]]) -> int:
    """
    Store *items*; each replaces the entry of the same question.

    Returns:
        How many; one that takes more bytes than there may be is refused.
    """
    disk = shelf.disk
    if disk is not None:
        disk.refuse_closed()
    if disk is not None and disk.readonly:
        for _ in items:
            shelf.count(partition, "refused")
        return 0
    serializer, since = _serializer(shelf), shelf.removals
    told = [
        (
            item,
            shelf.stock.weigh(item),
            None if serializer is None else dumped(serializer, item.value),
        )
        for item in items
    ]
    stored = [one for one in told if _store(shelf, partition, *one)]
    shelf.written(must=False)
    if shelf.tiers is not None:
        kept = [(item, raw) for item, _, raw in stored if raw is not None]
        shelf.tiers.share(partition, kept, since)
    return len(stored)


def _store(
    shelf: Shelf[V],
    partition: Partition[V],
    item: Item[V],
    size: int,
    raw: bytes | None,
) -> bool:
    stock = shelf.stock
    redundancy = stock.redundancy(partition, item)
    group = shelf.rule.group(item.value)
    with shelf.lock:
        gone = stock.store(partition, item, size, redundancy, group, raw)
    return gone is not None


def _serializer(shelf: Shelf[V]) -> Serializer | None:
    if shelf.disk is not None:
        return shelf.disk.serializer
    sharing = None if shelf.tiers is None else shelf.tiers.sharing
    return None if sharing is None else sharing.serializer
