"""What all scopes of a cache share: one lock, one capacity, one order of use."""

from __future__ import annotations

import threading

from collections import OrderedDict
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Generic, Literal, NamedTuple, TypeAlias
from weakref import WeakValueDictionary

import attrs

from ..model import Clock
from .fork import Order, over_fork
from .hit import Explanation, Hit, V
from .meter import Cost
from .partition import Entry, Partition
from .stats import CacheStats, Tally


if TYPE_CHECKING:
    import numpy as np

    from numpy.typing import NDArray

    from .index import Sketcher


Outcome: TypeAlias = Literal["exact_hits", "semantic_hits", "misses"]


class Item(NamedTuple, Generic[V]):
    """What is to be stored."""

    key: str
    question: str
    value: V
    vector: NDArray[np.float32]


@attrs.define(eq=False)
class Shelf(Generic[V]):
    """
    The partitions of a cache.

    Every method takes the one lock and does nothing slow under it: no embedding, no
    plugin, no computation. So a row that a search returns is the entry it was.

    Attributes:
        threshold: Cosine from which an answer is reused.
        capacity: Entries over all scopes.
        clock: Its machine time gives entries their age.
    """

    threshold: float
    capacity: int
    clock: Clock
    _tally: Tally = attrs.field(init=False, factory=Tally)
    _used: OrderedDict[int, Entry[V]] = attrs.field(init=False, factory=OrderedDict)
    # A scope without entries that nobody holds a view of is forgotten.
    _partitions: WeakValueDictionary[str, Partition[V]] = attrs.field(
        init=False, factory=WeakValueDictionary
    )
    _last_id: int = attrs.field(init=False, default=0)
    _sketcher: Sketcher | None = attrs.field(init=False, default=None)
    # An evicted value's destructor may come back to the cache.
    _lock: threading.RLock = attrs.field(
        init=False, factory=partial(over_fork, Order.SHELF, threading.RLock)
    )

    def partition(self, scope: str) -> Partition[V]:
        """Return the partition of *scope*, a new one if it has none."""
        with self._lock:
            found = self._partitions.get(scope)
            if found is None:
                found = self._partitions[scope] = Partition(scope)
            return found

    def exact(self, partition: Partition[V], key: str) -> Hit[V] | None:
        """Return the hit for the same question, counted, or None, not counted."""
        with self._lock:
            entry = partition.exact.get(key)
            return None if entry is None else self._hit(entry, 1.0, exact=True)

    def similar(
        self, partition: Partition[V], key: str, vector: NDArray[np.float32]
    ) -> Hit[V] | None:
        """Return the hit for the nearest question, or None; counted either way."""
        with self._lock:
            entry = partition.exact.get(key)
            if entry is not None:
                return self._hit(entry, 1.0, exact=True)
            found = partition.similar(vector)
            if found is None or not self.accepts(found[1]):
                self.count(partition, "misses")
                return None
            return self._hit(found[0], min(found[1], 1.0), exact=False)

    def accepts(self, similarity: float) -> bool:
        """Whether an answer of this similarity might be served."""
        return similarity >= self.threshold

    def serves(self, partition: Partition[V], vector: NDArray[np.float32]) -> bool:
        """Whether `similar` might find an answer; counts and refreshes nothing."""
        with self._lock:
            found = partition.similar(vector)
        return found is not None and self.accepts(found[1])

    def _hit(self, entry: Entry[V], similarity: float, *, exact: bool) -> Hit[V]:
        self._used.move_to_end(entry.id)
        self.count(entry.partition, "exact_hits" if exact else "semantic_hits")
        return Hit(
            value=entry.value,
            question=entry.question,
            similarity=similarity,
            exact=exact,
            age_s=self.clock.machine() - entry.stored_s,
            scope=entry.partition.scope,
            id=entry.id,
        )

    def count(
        self,
        partition: Partition[V],
        what: Outcome | Literal["puts", "refused", "evictions", "coalesced"],
    ) -> None:
        """Count *what* once, in the scope and in the whole."""
        with self._lock:
            for tally in (partition.tally, self._tally):
                setattr(tally, what, getattr(tally, what) + 1)

    def save(self, partition: Partition[V], cost: Cost) -> None:
        """Count what a hit saved, in the scope and in the whole."""
        with self._lock:
            for tally in (partition.tally, self._tally):
                tally.saved_tokens += cost.tokens
                tally.saved_money += cost.money

    def store(self, partition: Partition[V], items: Iterable[Item[V]]) -> None:
        """Store *items*; each replaces the entry of the same question."""
        for item in items:
            with self._lock:
                self._store(partition, item)

    def _store(self, partition: Partition[V], item: Item[V]) -> None:
        replaced = partition.exact.get(item.key)
        if replaced is not None:
            self._remove(replaced)
        elif len(self._used) >= self.capacity:
            oldest = next(iter(self._used.values()))
            self._remove(oldest)
            self.count(oldest.partition, "evictions")
        self._last_id += 1
        entry = Entry(
            self._last_id,
            item.key,
            item.question,
            item.value,
            self.clock.machine(),
            partition,
        )
        partition.add(entry, item.vector, sketcher=self._sketches(len(item.vector)))
        self._used[entry.id] = entry
        self.count(partition, "puts")

    def _sketches(self, dim: int) -> Sketcher:
        if self._sketcher is None:
            from .index import Sketcher

            self._sketcher = Sketcher.of(dim, self.threshold)
        return self._sketcher

    def _remove(self, entry: Entry[V]) -> None:
        del self._used[entry.id]
        entry.partition.remove(entry)

    def forget(self, hit: Hit[V], *, within: Partition[V] | None) -> bool:
        """Take out the entry of *hit*; False if it is gone, or not *within*."""
        with self._lock:
            entry = self._used.get(hit.id)
            if (
                entry is None
                or entry.value is not hit.value
                or entry.partition.scope != hit.scope
                or (within is not None and entry.partition is not within)
            ):
                return False
            self._remove(entry)
            return True

    def clear(self, *, within: Partition[V] | None) -> None:
        """Take out the entries of one partition, or all."""
        with self._lock:
            source = self._used if within is None else within.exact
            for entry in list(source.values()):
                self._remove(entry)

    def explain(
        self, partition: Partition[V], key: str, vector: NDArray[np.float32] | None
    ) -> Explanation:
        """Say what a look-up would find; *vector* is None where none is needed."""
        with self._lock:
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
            return (self._tally if within is None else within.tally).stats(
                entries=len(self._used if within is None else within),
                capacity=self.capacity,
            )

    def size(self) -> int:
        """Return how many entries there are in all scopes."""
        return len(self._used)
