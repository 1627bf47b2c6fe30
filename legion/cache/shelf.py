"""What all scopes of a cache share: one lock, one capacity, one order of use."""

from __future__ import annotations

import threading

from collections import OrderedDict
from collections.abc import Iterable
from typing import TYPE_CHECKING, Generic, Literal, NamedTuple, TypeAlias
from weakref import WeakValueDictionary

import attrs

from ..model import Clock
from .accept import AcceptRule, Asked, Decision, Ticket, Why
from .hit import Explanation, Hit, V
from .partition import Entry, Partition
from .stats import CacheStats, Tally


if TYPE_CHECKING:
    import numpy as np

    from numpy.typing import NDArray

    from .index import Sketcher


Outcome: TypeAlias = Literal["exact_hits", "semantic_hits", "misses"]
Counted: TypeAlias = Literal[
    "puts",
    "refused",
    "evictions",
    "coalesced",
    "vetoed",
    "over_budget",
    "judged",
    "wrong",
]
_NOTED: dict[Why, Counted] = {"veto": "vetoed", "budget": "over_budget"}
_LEAST = 0.7
"""Cosine from which nothing near is overlooked, where there is no threshold."""


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
        rule: Which answers are accepted.
        threshold: Cosine from which one is, or None where that is not the rule.
        capacity: Entries over all scopes.
        clock: Its machine time gives entries their age.
    """

    rule: AcceptRule[V]
    threshold: float | None
    capacity: int
    clock: Clock
    _tally: Tally = attrs.field(init=False, factory=Tally)
    _used: OrderedDict[int, Entry[V]] = attrs.field(init=False, factory=OrderedDict)
    # A scope without entries that nobody holds a view of is forgotten.
    _partitions: WeakValueDictionary[str, Partition[V]] = attrs.field(
        init=False, factory=WeakValueDictionary
    )
    _aliases: dict[int, set[int]] = attrs.field(init=False, factory=dict)
    _last_id: int = attrs.field(init=False, default=0)
    _sketcher: Sketcher | None = attrs.field(init=False, default=None)
    # An evicted value's destructor may come back to the cache.
    _lock: threading.RLock = attrs.field(init=False, factory=threading.RLock)

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
            return None if entry is None else self._exact_hit(entry)

    def similar(self, partition: Partition[V], asked: Asked[V]) -> Hit[V] | None:
        """
        Return the hit for the question that answers best, or None.

        It is counted either way; a hit that is to be judged first is counted, and must
        not be shown to anybody, before `settle`.
        """
        with self._lock:
            entry = partition.exact.get(asked.key)
            if entry is not None:
                return self._exact_hit(entry)
            decision = self._decide(partition, asked)
            ticket = self.rule.take(decision, asked)
            if ticket is None:
                self.count(partition, "misses")
                if decision.why in _NOTED:
                    self.count(partition, _NOTED[decision.why])
                return None
            if not (ticket.audited and asked.judged_first):
                self.count(partition, "semantic_hits")
            return self._hit(ticket, decision.similarity)

    def _decide(self, partition: Partition[V], asked: Asked[V]) -> Decision[V]:
        neighbours = partition.top(asked.vector, self.rule.neighbours)
        return self.rule.decide(asked, neighbours, self._tally.lookups + 1)

    def _exact_hit(self, entry: Entry[V]) -> Hit[V]:
        self.count(entry.partition, "exact_hits")
        return self._hit(Ticket(entry), 1.0)

    def _hit(self, ticket: Ticket[V], similarity: float) -> Hit[V]:
        entry = ticket.entry
        self._touch(entry)
        ticket.told = self.told
        return Hit(
            value=entry.value,
            question=entry.question,
            similarity=similarity,
            exact=ticket.asked is None,
            age_s=self.clock.machine() - entry.stored_s,
            scope=entry.partition.scope,
            id=entry.id,
            audit=ticket.audited,
            ticket=ticket,
        )

    def _touch(self, entry: Entry[V]) -> None:
        self._used.move_to_end(entry.id)
        if entry.origin is not None:
            self._used.move_to_end(entry.origin)

    def settle(self, ticket: Ticket[V], right: bool | None) -> bool:  # noqa: FBT001
        """
        Say whether what was judged first may be served, and count it.

        Args:
            ticket: Of the hit that `similar` returned.
            right: What the judge said, or None where it failed. Then it is served as
                far as the budget permits a wrong one.
        """
        assert ticket.decision is not None
        permitted = ticket.decision.why == "accepted"
        served = permitted if right is None else right
        if right is not None:
            self._answer(ticket, right=right, withheld=not right)
        self.count(ticket.entry.partition, "semantic_hits" if served else "misses")
        return served

    def told(self, ticket: Ticket[V], right: bool) -> None:  # noqa: FBT001
        """Take note of what is told of a hit that was served."""
        self._answer(ticket, right=right, withheld=False)

    def _answer(self, ticket: Ticket[V], *, right: bool, withheld: bool) -> None:
        asked, entry = ticket.asked, ticket.entry
        judged = ticket.audited and ticket.right is None
        alias = (
            asked is not None
            and judged
            and right
            and asked.admits(asked.question, entry.value)
        )
        with self._lock:
            if not self.rule.answer(ticket, right=right, withheld=withheld):
                return
            if judged:
                self.count(entry.partition, "judged")
            if not right:
                self.count(entry.partition, "wrong")
            elif alias and asked is not None:
                self._store_alias(entry, asked)

    def _store_alias(self, entry: Entry[V], asked: Asked[V]) -> None:
        """Store a question that has the answer of *entry*, unless that is gone."""
        partition, origin = entry.partition, self._used.get(entry.family)
        if origin is None or asked.key in partition.exact:
            return
        self._touch(origin)
        if self._make_room(keep=origin):
            alias = self._add(
                partition, asked.key, asked.question, origin.value, asked.vector
            )
            alias.group, alias.origin = origin.group, origin.id
            self._aliases.setdefault(origin.id, set()).add(alias.id)

    def count(
        self,
        partition: Partition[V],
        what: Outcome | Counted,
    ) -> None:
        """Count *what* once, in the scope and in the whole."""
        with self._lock:
            for tally in (partition.tally, self._tally):
                setattr(tally, what, getattr(tally, what) + 1)

    def store(self, partition: Partition[V], items: Iterable[Item[V]]) -> None:
        """Store *items*; each replaces the entry of the same question."""
        for item in items:
            with self._lock:
                self._store(partition, item)

    def _store(self, partition: Partition[V], item: Item[V]) -> None:
        replaced = partition.exact.get(item.key)
        if replaced is not None:
            self._remove(replaced)
        self._make_room()
        entry = self._add(partition, item.key, item.question, item.value, item.vector)
        self.rule.stored(entry)
        self.count(partition, "puts")

    def _make_room(self, *, keep: Entry[V] | None = None) -> bool:
        """Let the least recently used go, but not *keep*; False if it is that one."""
        if len(self._used) >= self.capacity:
            oldest = next(iter(self._used.values()))
            if oldest is keep:
                return False
            self._remove(oldest)
            self.count(oldest.partition, "evictions")
        return True

    def _add(
        self,
        partition: Partition[V],
        key: str,
        question: str,
        value: V,
        vector: NDArray[np.float32],
    ) -> Entry[V]:
        self._last_id += 1
        stored_s = self.clock.machine()
        entry = Entry(self._last_id, key, question, value, stored_s, partition)
        partition.add(entry, vector, sketcher=self._sketches(len(vector)))
        self._used[entry.id] = entry
        return entry

    def _sketches(self, dim: int) -> Sketcher:
        if self._sketcher is None:
            from .index import Sketcher

            self._sketcher = Sketcher.of(
                dim, _LEAST if self.threshold is None else self.threshold
            )
        return self._sketcher

    def _remove(self, entry: Entry[V]) -> None:
        """Take an entry out, and its aliases with it."""
        del self._used[entry.id]
        entry.partition.remove(entry)
        if entry.origin is not None:
            self._aliases[entry.origin].discard(entry.id)
            return
        self.rule.removed(entry)
        for number in tuple(self._aliases.get(entry.id, ())):
            self._remove(self._used[number])
        self._aliases.pop(entry.id, None)

    def forget(self, hit: Hit[V], *, within: Partition[V] | None) -> bool:
        """
        Take out the entry of *hit*, its aliases, and what was learned of them.

        Returns:
            False if it is gone, or not *within*.
        """
        with self._lock:
            entry = self._used.get(hit.id)
            if (
                entry is None
                or entry.value is not hit.value
                or entry.partition.scope != hit.scope
                or (within is not None and entry.partition is not within)
            ):
                return False
            self.rule.forget(entry)
            self._remove(self._used[entry.family])
            return True

    def clear(self, *, within: Partition[V] | None) -> None:
        """Take out the entries of one partition, or all."""
        with self._lock:
            source = self._used if within is None else within.exact
            for entry in list(source.values()):
                if entry.id in self._used:  # an alias goes with its origin
                    self._remove(entry)

    def explain(
        self, partition: Partition[V], key: str, asked: Asked[V] | None
    ) -> Explanation:
        """Say what a look-up would find; *asked* is None where that is not needed."""
        with self._lock:
            entry = partition.exact.get(key)
            if entry is not None:
                return Explanation(
                    outcome="exact_hit",
                    reason=f"the same question is stored: {entry.question!r}",
                    nearest=entry.question,
                    similarity=1.0,
                    threshold=self.threshold,
                    scope=partition.scope,
                )
            found: Decision[V] = Decision(why="empty")
            if asked is not None:
                found = self._decide(partition, asked)
        return Explanation(
            outcome="semantic_hit" if found.why == "accepted" else "miss",
            reason=found.reason(self.threshold),
            nearest=found.entry.question if found.entry else None,
            similarity=found.similarity if found.entry else None,
            threshold=self.threshold,
            scope=partition.scope,
            veto=None if found.veto is None else str(found.veto),
            wrong=found.chance if found.signal else None,
        )

    def stats(self, *, within: Partition[V] | None) -> CacheStats:
        """Return what happened in one partition, or in all."""
        with self._lock:
            return (self._tally if within is None else within.tally).stats(
                entries=len(self._used if within is None else within),
                capacity=self.capacity,
                wrong_limit=self.rule.wrong_limit() if within is None else None,
            )

    def size(self) -> int:
        """Return how many entries there are in all scopes."""
        return len(self._used)
