"""What is taken out of a shelf, since somebody says so or its time is over."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from .given import refuse_hit
from .hit import Hit, V
from .key import normalised


if TYPE_CHECKING:
    from .accept import Ticket
    from .partition import Partition
    from .shelf import Shelf


def expire(shelf: Shelf[V]) -> int:
    """Take out everything that has expired, and return how many."""
    with shelf.lock:
        now = shelf.clock.machine()
        expired = shelf.stock.sweep(now) + _lose(shelf, None, by_s=now)
    shelf.written(must=False)
    return expired


def forget(shelf: Shelf[V], hit: Hit[V], *, within: Partition[V] | None) -> bool:
    """
    Take out the entry of *hit*, its aliases, and what was learned of them.

    Returns:
        False if it is gone, or not *within*.

    Raises:
        TypeError: *hit* is none.
        ValueError: It is a copy.
    """
    refuse_hit(hit)
    entry = cast("Ticket[V]", hit._original()).entry
    # Another cache's entry may have its number, and its value.
    if entry.partition is not shelf.partition(hit.scope) or (
        within is not None and entry.partition is not within
    ):
        return False
    shelf.refuse_readonly("forget it")
    if shelf.tiers is not None:
        shelf.tiers.forget(hit.scope, _key_of(shelf, hit))
    with shelf.lock:
        shelf.removals += 1
        gone = _forget(shelf, hit)
    shelf.written(must=gone)
    return gone


def _key_of(shelf: Shelf[V], hit: Hit[V]) -> str:
    with shelf.lock:
        entry = shelf.stock.entries.get(hit.id)
        if entry is None:
            return normalised(hit.question)
        return shelf.stock.entries[entry.family].key


def _forget(shelf: Shelf[V], hit: Hit[V]) -> bool:
    entry = shelf.stock.entries.get(hit.id)
    if entry is None:
        return shelf.disk is not None and shelf.disk.forget(
            hit.scope, normalised(hit.question), hit.id
        )
    shelf.rule.forget(entry)
    shelf.stock.remove(shelf.stock.entries[entry.family])
    return True


def invalidate(shelf: Shelf[V], tag: str, *, within: Partition[V] | None) -> int:
    """Take out the entries with *tag* of one partition, or of all."""
    shelf.refuse_readonly("invalidate")
    if shelf.tiers is not None:
        shelf.tiers.invalidate(within, tag)
    with shelf.lock:
        shelf.removals += 1
        partitions = shelf.partitions() if within is None else [within]
        tagged = [entry for one in partitions for entry in one.tagged(tag)]
        for entry in tagged:
            if entry.id in shelf.stock.entries:  # an alias goes with its origin
                shelf.stock.remove(entry)
        alone = _lose(shelf, within, tag=tag)
    shelf.written(must=True)
    return len(tagged) + alone


def clear(shelf: Shelf[V], *, within: Partition[V] | None) -> None:
    """Take out the entries of one partition, or all."""
    shelf.refuse_readonly("clear it")
    if shelf.tiers is not None:
        shelf.tiers.invalidate(within)
    with shelf.lock:
        shelf.removals += 1
        source = shelf.stock.entries if within is None else within.exact
        for entry in list(source.values()):
            if entry.id in shelf.stock.entries:
                shelf.stock.remove(entry)
        shelf.rule.clear(None if within is None else within.scope)
        _lose(shelf, within)
    shelf.written(must=True)


def _lose(
    shelf: Shelf[V],
    within: Partition[V] | None,
    *,
    tag: str | None = None,
    by_s: float | None = None,
) -> int:
    """Take out what is on disk alone, and return how many."""
    if shelf.disk is None or shelf.disk.overflow is None:
        return 0
    scope = None if within is None else within.scope
    lost = shelf.disk.overflow.drop(scope=scope, tag=tag, by_s=by_s)
    shelf.disk.lose(lost)
    return len(lost)
