"""What all scopes of a cache share: one lock, one capacity, one order of use."""

from __future__ import annotations

import math
import threading

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Generic, Literal, NamedTuple, TypeAlias
from weakref import WeakValueDictionary

import attrs

from ..exceptions import StateError
from ..model import Clock
from .entry import Entry
from .eviction import ORDERS, Eviction
from .hit import Explanation, Hit, V
from .lifetime import NOTHING_SAID, Lifetime, Terms
from .partition import Partition
from .rising import RisingHeap
from .room import Room
from .size import ENTRY_BYTES, deep_size
from .stats import CacheStats, Tally


if TYPE_CHECKING:
    import numpy as np

    from numpy.typing import NDArray

    from .disk import Disk
    from .sketch import Sketcher


Outcome: TypeAlias = Literal["exact_hits", "semantic_hits", "misses"]

_SWEPT = 16
"""Expired entries that one put takes out; it is to find no more in the long run."""
_LOOKS = 16
"""So often a look-up looks again for one whose find was taken out meanwhile."""


class Item(NamedTuple, Generic[V]):
    """What is to be stored."""

    key: str
    question: str
    value: V
    vector: NDArray[np.float32]
    terms: Terms = NOTHING_SAID


@attrs.define(eq=False)
class Shelf(Generic[V]):
    """
    The partitions of a cache.

    Every method takes the one lock and does nothing slow under it: no embedding, no
    search, no plugin, no computation.

    Attributes:
        threshold: Cosine from which an answer is reused.
        capacity: Entries over all scopes.
        clock: Its machine time gives entries their age.
        lifetime: How long entries last.
        eviction: In which order entries make room.
        capacity_bytes: Bytes over all scopes, or None where nobody counts them.
        size_of: How many bytes a value takes.
        disk: Where everything is kept beside memory, or None.
    """

    threshold: float
    capacity: int
    clock: Clock
    lifetime: Lifetime = attrs.field(factory=Lifetime)
    eviction: Eviction = "lru"
    capacity_bytes: int | None = None
    size_of: Callable[[V], int] = deep_size
    disk: Disk[V] | None = attrs.field(init=False, default=None)
    _tally: Tally = attrs.field(init=False, factory=Tally)
    _entries: dict[int, Entry[V]] = attrs.field(init=False, factory=dict)
    _room: Room = attrs.field(init=False)
    _expiries: RisingHeap = attrs.field(init=False, factory=RisingHeap)
    # A scope without entries that nobody holds a view of is forgotten, its limits not.
    _partitions: WeakValueDictionary[str, Partition[V]] = attrs.field(
        init=False, factory=WeakValueDictionary
    )
    _limits: dict[str, tuple[int | None, int | None]] = attrs.field(
        init=False, factory=dict
    )
    _last_id: int = attrs.field(init=False, default=0)
    _sketcher: Sketcher | None = attrs.field(init=False, default=None)
    # An evicted value's destructor may come back to the cache.
    _lock: threading.RLock = attrs.field(init=False, factory=threading.RLock)

    def __attrs_post_init__(self) -> None:
        self._room = Room(ORDERS[self.eviction](), self.capacity, self.capacity_bytes)

    def partition(self, scope: str) -> Partition[V]:
        """Return the partition of *scope*, a new one if it has none."""
        with self._lock:
            found = self._partitions.get(scope)
            if found is None:
                found = self._partitions[scope] = Partition(scope)
                if scope in self._limits:
                    found.limit(Room(ORDERS[self.eviction](), *self._limits[scope]))
            return found

    def limit(
        self,
        partition: Partition[V],
        *,
        capacity: int | None,
        capacity_bytes: int | None,
    ) -> None:
        """Limit one scope within the whole, or no longer; who is too many goes."""
        with self._lock:
            if capacity is None and capacity_bytes is None:
                self._limits.pop(partition.scope, None)
                partition.limit(None)
                return
            self._limits[partition.scope] = capacity, capacity_bytes
            room = Room(ORDERS[self.eviction](), capacity, capacity_bytes)
            partition.limit(room)
            while room.lacks(entries=0, size=0):
                self._evict(room)
        self._written(must=False)

    def exact(self, partition: Partition[V], key: str) -> Hit[V] | None:
        """Return the hit for the same question, counted, or None, not counted."""
        with self._lock:
            entry = partition.exact.get(key)
            if entry is None:
                return None
            now = self.clock.machine()
            if now >= entry.expires_s:
                self._expire(entry)
                return None
            partition.tally.exact_hits += 1
            self._tally.exact_hits += 1
            return self._hit(entry, 1.0, now, exact=True)

    def similar(
        self, partition: Partition[V], key: str, vector: NDArray[np.float32]
    ) -> Hit[V] | None:
        """Return the hit for the nearest question, or None; counted either way."""
        return self._similar(partition, key, vector, partition.top(vector, 1))

    def similar_many(
        self,
        partition: Partition[V],
        keys: Sequence[str],
        vectors: Sequence[NDArray[np.float32]],
    ) -> list[Hit[V] | None]:
        """Return what `similar` would for each, by one scan for all."""
        found = partition.top_many(vectors, 1)
        return [
            self._similar(partition, *asked)
            for asked in zip(keys, vectors, found, strict=True)
        ]

    def _similar(
        self,
        partition: Partition[V],
        key: str,
        vector: NDArray[np.float32],
        found: list[tuple[Entry[V], float]],
    ) -> Hit[V] | None:
        for _ in range(_LOOKS):
            with self._lock:
                hit = self.exact(partition, key)
                if hit is not None:
                    return hit
                now = self.clock.machine()
                if all(entry.alive(now) for entry, _ in found):
                    return self._accepted(partition, found, now)
                self._sweep(now)
            found = partition.top(vector, 1)
        self.count(partition, "misses")
        return None

    def _accepted(
        self, partition: Partition[V], found: list[tuple[Entry[V], float]], now: float
    ) -> Hit[V] | None:
        if not found or found[0][1] < self.threshold:
            self.count(partition, "misses")
            return None
        partition.tally.semantic_hits += 1
        self._tally.semantic_hits += 1
        return self._hit(found[0][0], min(found[0][1], 1.0), now, exact=False)

    def _hit(
        self, entry: Entry[V], similarity: float, now: float, *, exact: bool
    ) -> Hit[V]:
        self._room.order.touch(entry)
        if entry.partition.room is not None:
            entry.partition.room.order.touch(entry)
        if entry.expires_s < math.inf and self.lifetime.slides(entry.terms):
            self._expires(entry, used_s=now)
        return Hit(
            value=entry.value,
            question=entry.question,
            similarity=similarity,
            exact=exact,
            age_s=now - entry.stored_s,
            scope=entry.partition.scope,
            id=entry.id,
        )

    def count(
        self,
        partition: Partition[V],
        what: Outcome | Literal["puts", "refused", "evictions", "expired", "coalesced"],
    ) -> None:
        """Count *what* once, in the scope and in the whole."""
        with self._lock:
            for tally in (partition.tally, self._tally):
                setattr(tally, what, getattr(tally, what) + 1)

    def store(self, partition: Partition[V], items: Iterable[Item[V]]) -> int:
        """
        Store *items*; each replaces the entry of the same question.

        Returns:
            How many; one that takes more bytes than there may be is refused.
        """
        disk = self.disk
        if disk is not None and disk.readonly:
            for _ in items:
                self.count(partition, "refused")
            return 0
        told = [
            (item, self._size(item), None if disk is None else disk.dumps(item.value))
            for item in items
        ]
        stored = sum(self._store(partition, *one) for one in told)
        self._written(must=False)
        return stored

    def _size(self, item: Item[V]) -> int:
        if self.capacity_bytes is None:
            return 0
        size = self.size_of(item.value)
        if isinstance(size, bool) or not isinstance(size, int) or size < 0:
            msg = f"size_of: got {size!r}; return a whole number of bytes"
            raise ValueError(msg)
        texts = deep_size(item.question) + deep_size(item.key)
        sketch = item.vector.nbytes // 32 + 64
        return ENTRY_BYTES + texts + item.vector.nbytes + sketch + size

    def alias(self, entry: Entry[V], vector: NDArray[np.float32]) -> None:
        """Let *entry* be found by one more *vector*, unless it is gone."""
        with self._lock:
            if not entry.slots:
                return
            entry.partition.add_alias(entry, vector)
            if self.disk is not None:
                self.disk.alias(entry, vector)
        self._written(must=False)

    def _written(self, *, must: bool) -> None:
        if self.disk is not None:
            with self._lock:
                self.disk.commit()
            self.disk.settle(must=must)

    def _writable(self, what: str) -> None:
        if self.disk is not None and self.disk.readonly:
            msg = f"is open with readonly=True; {what} where it is written"
            raise StateError(str(self.disk.path), msg)

    def _store(
        self, partition: Partition[V], item: Item[V], size: int, raw: bytes | None
    ) -> bool:
        redundancy = self._redundancy(partition, item) if self.eviction == "cost" else 0
        with self._lock:
            now = self.clock.machine()
            self._sweep(now, at_most=_SWEPT)
            old = partition.exact.get(item.key)
            # Held until all is in its place: a destructor may come back to the cache.
            gone = self._make_room(partition, size, old)
            if gone is None:
                self.count(partition, "refused")
                return False
            self._last_id += 1
            entry = Entry(
                self._last_id,
                item.key,
                item.question,
                item.value,
                now,
                partition,
                item.terms,
                size,
                redundancy,
            )
            if old is None:
                partition.add(entry, item.vector, sketcher=self._sketches(item.vector))
            else:
                self._drop(old)
                partition.replace(old, entry, item.vector)
            self._entries[entry.id] = entry
            self._room.add(entry)
            self._expires(entry, used_s=now)
            if self.disk is not None and raw is not None:
                self.disk.put(entry, raw, item.vector)
            partition.tally.puts += 1
            self._tally.puts += 1
            return True

    def _redundancy(self, partition: Partition[V], item: Item[V]) -> float:
        near = partition.top(item.vector, 2)
        others = (cosine for entry, cosine in near if entry.key != item.key)
        return min(max(next(others, 0.0), 0.0), 1.0)

    def _make_room(
        self, partition: Partition[V], size: int, old: Entry[V] | None
    ) -> list[Entry[V]] | None:
        """
        Evict until an entry of *size* fits in, where *old* was.

        Returns:
            Who is gone; None if it would not even fit in alone.
        """
        rooms = [self._room] if partition.room is None else [partition.room, self._room]
        if any(room.never(size) for room in rooms):
            return None
        entries = 1
        if old is not None:
            entries, size = 0, size - old.size
            for room in rooms:
                room.order.discard(old)
        gone: list[Entry[V]] = []
        for room in rooms:
            while room.lacks(entries=entries, size=size):
                gone.append(self._evict(room))
        return gone

    def _evict(self, room: Room) -> Entry[V]:
        entry: Entry[V] = room.order.victim()
        self._remove(entry)
        entry.partition.tally.evictions += 1
        self._tally.evictions += 1
        return entry

    def _expires(self, entry: Entry[V], *, used_s: float) -> None:
        entry.expires_s = self.lifetime.expiry(
            entry.terms,
            negative=entry.value is None,
            stored_s=entry.stored_s,
            used_s=used_s,
        )
        if entry.expires_s < math.inf:
            self._expiries.rise(entry.id, entry.expires_s)

    def _sweep(self, now: float, *, at_most: float = math.inf) -> int:
        """Take out what has expired, the oldest *at_most*, and return how many."""
        swept = 0
        while swept < at_most:
            least = self._expiries.least()
            if least is None or now < least[0]:
                break
            self._expire(self._entries[least[1]])
            swept += 1
        return swept

    def _expire(self, entry: Entry[V]) -> None:
        self._remove(entry)
        self.count(entry.partition, "expired")

    def expire(self) -> int:
        """Take out everything that has expired, and return how many."""
        with self._lock:
            expired = self._sweep(self.clock.machine())
        self._written(must=False)
        return expired

    def _sketches(self, vector: NDArray[np.float32]) -> Sketcher:
        if self._sketcher is None:
            from .sketch import Sketcher

            self._sketcher = Sketcher.of(len(vector), self.threshold)
        return self._sketcher

    def _remove(self, entry: Entry[V]) -> None:
        self._drop(entry)
        entry.partition.remove(entry)
        if self.disk is not None:
            self.disk.gone(entry)

    def drop(self, entry_id: int) -> None:
        """Take out the entry of that id, if it is there."""
        with self._lock:
            if entry_id in self._entries:
                self._remove(self._entries[entry_id])

    def reset(self) -> None:
        """Be empty, as if nothing had ever been stored."""
        with self._lock:
            self._entries, self._sketcher, self._expiries = {}, None, RisingHeap()
            self._room = Room(
                ORDERS[self.eviction](), self.capacity, self.capacity_bytes
            )
            for partition in list(self._partitions.values()):
                partition.reset()
                if partition.scope in self._limits:
                    limits = self._limits[partition.scope]
                    partition.limit(Room(ORDERS[self.eviction](), *limits))

    def _drop(self, entry: Entry[V]) -> None:
        del self._entries[entry.id]
        self._room.remove(entry)
        self._expiries.discard(entry.id)

    def forget(self, hit: Hit[V], *, within: Partition[V] | None) -> bool:
        """Take out the entry of *hit*; False if it is gone, or not *within*."""
        with self._lock:
            entry = self._entries.get(hit.id)
            if (
                entry is None
                or entry.value is not hit.value
                or entry.partition.scope != hit.scope
                or (within is not None and entry.partition is not within)
            ):
                return False
            self._writable("forget it")
            self._remove(entry)
        self._written(must=True)
        return True

    def invalidate(self, tag: str, *, within: Partition[V] | None) -> int:
        """Take out the entries with *tag* of one partition, or of all."""
        with self._lock:
            partitions = self._partitions.values() if within is None else [within]
            tagged = [entry for one in list(partitions) for entry in one.tagged(tag)]
            self._writable("invalidate")
            for entry in tagged:
                self._remove(entry)
        self._written(must=True)
        return len(tagged)

    def clear(self, *, within: Partition[V] | None) -> None:
        """Take out the entries of one partition, or all."""
        with self._lock:
            self._writable("clear it")
            source = self._entries if within is None else within.exact
            for entry in list(source.values()):
                self._remove(entry)
        self._written(must=True)

    def explain(
        self, partition: Partition[V], key: str, vector: NDArray[np.float32] | None
    ) -> Explanation:
        """Say what a look-up would find; *vector* is None where none is needed."""
        with self._lock:
            self._sweep(self.clock.machine())
            entry = partition.exact.get(key)
        found = (entry, 1.0) if entry is not None else None
        if found is None and vector is not None:
            found = partition.nearest(vector)
        outcome, reason = self._reason(found, exact=entry is not None)
        return Explanation(
            outcome=outcome,
            reason=reason,
            nearest=found and found[0].question,
            similarity=found and min(found[1], 1.0),
            threshold=self.threshold,
            scope=partition.scope,
        )

    def _reason(
        self, found: tuple[Entry[V], float] | None, *, exact: bool
    ) -> tuple[str, str]:
        if found is None:
            return "miss", "nothing is stored in this scope"
        question, cosine = found[0].question, found[1]
        if exact:
            return "exact_hit", f"the same question is stored: {question!r}"
        reached = cosine >= self.threshold
        reason = (
            f"the nearest question, {question!r}, has similarity {cosine:.4f}, "
            f"{'at least' if reached else 'below'} the threshold {self.threshold:g}"
        )
        return "semantic_hit" if reached else "miss", reason

    def stats(self, *, within: Partition[V] | None) -> CacheStats:
        """Return what happened in one partition, or in all."""
        with self._lock:
            room = self._room if within is None else within.room or self._room
            stats = (self._tally if within is None else within.tally).stats(
                entries=self._room.entries if within is None else len(within),
                capacity=room.capacity or self.capacity,
                size=self._room.bytes if within is None else within.bytes,
                capacity_bytes=room.capacity_bytes or self.capacity_bytes,
            )
            if self.disk is None or within is not None:
                return stats
            return attrs.evolve(
                stats,
                disk_bytes=self.disk.size(),
                storage_savings=self.disk.savings(),
            )

    def size(self) -> int:
        """Return how many entries there are in all scopes."""
        return len(self._entries)
