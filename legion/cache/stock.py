"""The entries of all scopes: what is stored, for how long, and who makes room."""

from __future__ import annotations

import math

from collections.abc import Callable
from typing import TYPE_CHECKING, Generic

import attrs

from ..model import Clock
from .accept import AcceptRule, Asked
from .counts import Counts
from .entry import Entry
from .eviction import ORDERS, Eviction
from .hit import V
from .item import Item
from .lifetime import Lifetime
from .partition import Partition
from .rising import RisingHeap
from .room import Room
from .size import deep_size


if TYPE_CHECKING:
    import numpy as np

    from numpy.typing import NDArray

    from .disk import Disk
    from .groups import Group
    from .sketch import Sketcher


_SWEPT = 16
"""Expired entries that one put takes out; it is to find no more in the long run."""


@attrs.define(eq=False)
class Stock(Generic[V]):
    """
    The entries of all scopes: what is stored, for how long, and who makes room.

    It has no lock; the shelf's is held.

    Attributes:
        rule: Which answers are accepted; it is told what comes and goes.
        clock: Its machine time gives entries their age.
        capacity: Entries over all scopes.
        lifetime: How long entries last.
        eviction: In which order entries make room.
        capacity_bytes: Bytes over all scopes, or None where nobody counts them.
        size_of: How many bytes a value takes.
        disk: Where everything is kept beside memory, or None.
        counts: What happened.
        entries: Entries by id.
        room: How much there may be, and who goes next.
        expiries: When entries expire that do, by id.
        last_id: The highest id that was given, or 0.
    """

    rule: AcceptRule[V]
    clock: Clock
    capacity: int
    lifetime: Lifetime = attrs.field(factory=Lifetime)
    eviction: Eviction = "lru"
    capacity_bytes: int | None = None
    size_of: Callable[[V], int] = deep_size
    disk: Disk[V] | None = attrs.field(init=False, default=None)
    counts: Counts = attrs.field(init=False, factory=Counts)
    entries: dict[int, Entry[V]] = attrs.field(init=False, factory=dict)
    room: Room = attrs.field(init=False)
    expiries: RisingHeap = attrs.field(init=False, factory=RisingHeap)
    last_id: int = attrs.field(init=False, default=0)
    _aliases: dict[int, set[int]] = attrs.field(init=False, factory=dict)
    _sketcher: Sketcher | None = attrs.field(init=False, default=None)

    def __attrs_post_init__(self) -> None:
        self.room = self.limited(self.capacity, self.capacity_bytes)

    def limited(self, capacity: int | None, capacity_bytes: int | None) -> Room:
        """Return an empty room with these limits."""
        return Room(ORDERS[self.eviction](), capacity, capacity_bytes)

    def shrink(self, room: Room) -> None:
        """Let go who is too many for *room*, which holds some of the entries."""
        while room.lacks(entries=0, size=0):
            self.evict(room.order.victim())

    @property
    def dim(self) -> int | None:
        """Dimension of the vectors, or None before the first."""
        return None if self._sketcher is None else self._sketcher.dim

    def weigh(self, item: Item[V]) -> int:
        """Return the bytes that *item* takes; it runs foreign code, so without the lock."""
        if self.capacity_bytes is None:
            return 0
        size = self.size_of(item.value)
        if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size < 2**62:
            msg = f"size_of: got {size!r}; return a whole number of bytes"
            raise ValueError(msg)
        return item.overhead + size

    def store(
        self,
        partition: Partition[V],
        item: Item[V],
        size: int,
        redundancy: float,
        group: Group | None,
        raw: bytes | None,
    ) -> list[Entry[V]] | None:
        """
        Store *item*; it replaces the entry of the same question.

        Args:
            partition: Where.
            item: What.
            size: Bytes that it takes, as `weigh` says.
            redundancy: As `redundancy` says.
            group: Entries with the same value.
            raw: Its value in bytes, for the disk.

        Returns:
            Who is gone for it, to be held until the lock is free; None if it is refused.
        """
        if self.disk is not None:
            self.disk.refuse_closed()
        now = self.clock.machine()
        if self.expiries:
            self.sweep(now, at_most=_SWEPT)
        old = partition.exact.get(item.key)
        # Held until all is in its place: a destructor may come back to the cache.
        gone = self.make_room(partition, size, old=old)
        if gone is None:
            self.counts.add(partition, "refused")
            return None
        entry = self.make(partition, item, now, size, redundancy)
        if old is None:
            partition.add(entry, item.vector, sketcher=self.sketcher_of(item.vector))
        else:
            gone += [old, *self._drop(old)]
            partition.replace(old, entry, item.vector)
        self._add(entry, now)
        self.rule.stored(entry, group)
        if self.disk is not None and raw is not None:
            self.disk.put(entry, raw, item.vector)
        partition.tally.puts += 1
        self.counts.whole.puts += 1
        return gone

    def enter(
        self, entry: Entry[V], vector: NDArray[np.float32], group: Group | None
    ) -> bool:
        """Store an *entry* that there is elsewhere, and say whether it fits."""
        partition = entry.partition
        if self.make_room(partition, entry.size) is None:
            return False
        partition.add(entry, vector, sketcher=self.sketcher_of(vector))
        self.entries[entry.id] = entry
        self.room.add(entry)
        if entry.expires_s < math.inf:
            self.expiries.rise(entry.id, entry.expires_s)
        self.rule.stored(entry, group)
        return True

    def make(
        self,
        partition: Partition[V],
        item: Item[V],
        stored_s: float,
        size: int,
        redundancy: float,
    ) -> Entry[V]:
        """Return a new entry, which is not stored yet."""
        self.last_id += 1
        return Entry(
            self.last_id,
            item.key,
            item.question,
            item.value,
            stored_s,
            partition,
            item.terms,
            size,
            redundancy,
        )

    def _add(self, entry: Entry[V], now: float) -> None:
        self.entries[entry.id] = entry
        self.room.add(entry)
        self.expires(entry, used_s=now)

    def redundancy(self, partition: Partition[V], item: Item[V]) -> float:
        """Return the cosine of the nearest entry; it searches, so without the lock."""
        if self.eviction != "cost":
            return 0.0
        near = partition.top(item.vector, 2)
        others = (cosine for entry, cosine in near if entry.key != item.key)
        return min(max(next(others, 0.0), 0.0), 1.0)

    def make_room(
        self,
        partition: Partition[V],
        size: int,
        *,
        old: Entry[V] | None = None,
        keep: Entry[V] | None = None,
    ) -> list[Entry[V]] | None:
        """
        Evict until an entry of *size* fits in, where *old* was.

        Returns:
            Who is gone; None if it would not even fit in alone, or *keep* is to go.
        """
        rooms = [self.room] if partition.room is None else [partition.room, self.room]
        for room in rooms:
            if room.never(size):
                return None
        entries = 1
        if old is not None:
            self._detach(old)
            entries, size = 0, size - old.size
            for room in rooms:
                room.order.discard(old)
        gone: list[Entry[V]] = []
        for room in rooms:
            while room.lacks(entries=entries, size=size + partition.overhead):
                entry = room.order.victim()
                if entry is keep:
                    room.order.add(entry)
                    return None
                gone.append(self.evict(entry))
        return gone

    def evict(self, entry: Entry[V]) -> Entry[V]:
        """Take out an entry to make room; it may stay on disk."""
        # First, so that no file says of one that its origin is not in memory.
        self._drop_aliases(entry)
        alone = (
            self.disk is not None
            and entry.origin is None
            and self.clock.machine() < entry.expires_s
            and self.disk.sink(entry)
        )
        self.remove(entry, alone=alone)
        entry.partition.tally.evictions += 1
        self.counts.whole.evictions += 1
        return entry

    def expires(self, entry: Entry[V], *, used_s: float) -> None:
        """Note when an entry expires that was stored or used at *used_s*."""
        entry.expires_s = self.lifetime.expiry(
            entry.terms,
            negative=entry.value is None,
            stored_s=entry.stored_s,
            used_s=used_s,
        )
        if entry.expires_s < math.inf:
            self.expiries.rise(entry.id, entry.expires_s)

    def sweep(self, now: float, *, at_most: float = math.inf) -> int:
        """Take out what has expired, the oldest *at_most*, and return how many."""
        swept = 0
        while swept < at_most:
            least = self.expiries.least()
            if least is None or now < least[0]:
                break
            self.expire(self.entries[least[1]])
            swept += 1
        return swept

    def expire(self, entry: Entry[V]) -> None:
        """Take out an entry whose time is over."""
        self.remove(entry)
        self.counts.add(entry.partition, "expired")

    def sketcher_of(self, vector: NDArray[np.float32]) -> Sketcher:
        """Return what sketches vectors as long as *vector*."""
        if self._sketcher is None:
            from .sketch import Sketcher

            rule = self.rule
            self._sketcher = Sketcher.of(len(vector), rule.floor, rule.missed)
        return self._sketcher

    def remove(self, entry: Entry[V], *, alone: bool = False) -> None:
        """Take an entry out, and its aliases with it; it may be on disk *alone* then."""
        if entry.origin is not None:
            self._aliases.get(entry.origin, set()).discard(entry.id)
        self._drop(entry)
        entry.partition.remove(entry)
        if self.disk is not None and not alone:
            self.disk.gone(entry)

    def drop(self, entry_id: int) -> None:
        """Take out the entry of that id, if it is there."""
        if entry_id in self.entries:
            self.remove(self.entries[entry_id])

    def reset(self) -> None:
        """Be empty, as if nothing had ever been stored; partitions have a new `room`."""
        for entry in self.entries.values():
            if entry.origin is None:
                self.rule.removed(entry)
        self.entries, self._sketcher, self.expiries = {}, None, RisingHeap()
        self._aliases = {}
        self.room = self.limited(self.capacity, self.capacity_bytes)

    def _drop(self, entry: Entry[V]) -> list[Entry[V]]:
        """Forget an entry that its partition still has; its aliases go, and are returned."""
        del self.entries[entry.id]
        self.room.remove(entry)
        self.expiries.discard(entry.id)
        if entry.origin is not None:
            return []
        self.rule.removed(entry)
        return self._drop_aliases(entry)

    def _drop_aliases(self, entry: Entry[V]) -> list[Entry[V]]:
        if entry.id not in self._aliases:
            return []
        aliases = [self.entries[n] for n in self._aliases.pop(entry.id)]
        for alias in aliases:
            self.remove(alias)
        return aliases

    def _detach(self, entry: Entry[V]) -> None:
        """Let an alias be an entry of its own, which is in nobody's group."""
        if entry.origin is not None:
            self._aliases.get(entry.origin, set()).discard(entry.id)
            entry.origin = entry.group = None

    def relate(self, alias: Entry[V], origin: Entry[V]) -> None:
        """Make *alias* one of *origin*, whose answer it has."""
        alias.origin = origin.id
        self._aliases.setdefault(origin.id, set()).add(alias.id)

    def drop_alias(self, partition: Partition[V], key: str) -> None:
        """Take out what a question was judged to have, as somebody says it has not."""
        alias = partition.exact.get(key)
        if alias is None or alias.origin is None:
            return
        self.remove(alias)
        if self.disk is not None and not self.disk.closed:
            self.disk.commit()

    def store_alias(self, entry: Entry[V], asked: Asked[V], similarity: float) -> None:
        """
        Store a question that has the answer of *entry*, unless that is gone.

        It lasts as long, has the same tags and is as old; the value is not counted twice.
        """
        partition, origin = entry.partition, self.entries.get(entry.family)
        if origin is None or asked.key in partition.exact:
            return
        item = Item(asked.key, asked.question, entry.value, asked.vector, origin.terms)
        size = 0 if self.capacity_bytes is None else item.overhead
        gone = self.make_room(partition, size, keep=origin)
        if gone is None:
            return
        alias = self.make(
            partition, item, origin.stored_s, size, min(max(similarity, 0.0), 1.0)
        )
        alias.group = origin.group
        self.relate(alias, origin)
        partition.add(alias, item.vector, sketcher=self.sketcher_of(item.vector))
        self._add(alias, self.clock.machine())
        if self.disk is not None and not self.disk.readonly:
            self.disk.put(alias, b"", item.vector)
