"""What all scopes of a cache share: one lock, one capacity, one order of use."""

from __future__ import annotations

import math
import threading

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Generic, cast
from weakref import WeakValueDictionary

import attrs

from ..exceptions import StateError
from ..model import Clock
from .accept import AcceptRule, Asked, Decision, Ticket, Why
from .counts import Counted, Counts, Outcome
from .entry import Entry
from .fork import Order, anew_after_fork, over_fork
from .hit import Hit, V
from .meter import Cost
from .partition import Partition
from .signal import Neighbours
from .silence import Silence
from .spending import note, remembered
from .stats import Tally
from .stock import Stock


if TYPE_CHECKING:
    import numpy as np

    from numpy.typing import NDArray

    from .disk import Disk
    from .tiers import Tiers


_NOTED: dict[Why, Counted] = {"veto": "vetoed", "budget": "over_budget"}

_LOOKS = 16
"""So often a look-up looks again for one whose find was taken out meanwhile."""


@attrs.define(eq=False)
class Shelf(Generic[V]):
    """
    The partitions of a cache.

    Every method takes the one lock and does nothing slow under it: no embedding, no
    search, no veto, no plugin, no computation, no code of an answer or its serializer.

    Attributes:
        stock: What is stored.
        threshold: Cosine from which an answer is accepted, or None where that is not
            the rule.
        judges: Whether there is a judge, whose "right" is the only one that counts.
        rule: Which answers are accepted.
        clock: Its machine time gives entries their age.
        counts: What happened.
        disk: Where everything is kept beside memory, or None.
        tiers: What is asked where memory has no answer, or None.
        removals: How often something was removed because somebody said so.
        lock: The one lock.
    """

    stock: Stock[V]
    threshold: float | None
    judges: bool = False
    rule: AcceptRule[V] = attrs.field(init=False)
    clock: Clock = attrs.field(init=False)
    counts: Counts = attrs.field(init=False)
    disk: Disk[V] | None = attrs.field(init=False, default=None)
    tiers: Tiers[V] | None = attrs.field(init=False, default=None)
    removals: int = attrs.field(init=False, default=0)
    # An evicted value's destructor may come back to the cache.
    lock: threading.RLock = attrs.field(
        init=False, factory=partial(over_fork, Order.SHELF, threading.RLock)
    )
    # A scope without entries that nobody holds a view of is forgotten, its limits not.
    _partitions: WeakValueDictionary[str, Partition[V]] = attrs.field(
        init=False, factory=WeakValueDictionary
    )
    _limits: dict[str, tuple[int | None, int | None]] = attrs.field(
        init=False, factory=dict
    )
    _silence: Silence = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        stock = self.stock
        self.rule, self.clock, self.counts = stock.rule, stock.clock, stock.counts
        self._silence = Silence(self.lock)
        anew_after_fork(self)

    def begin_anew(self) -> None:
        """
        Count from 0 in a child: what its parent spends it cannot know.

        If both went on with the same requests, each would spend what these afford.
        """
        self.counts.whole = Tally()
        for partition in self.partitions():
            partition.tally = Tally()
        self.rule.begin_anew()

    def keep_on(self, disk: Disk[V]) -> None:
        """Keep everything on *disk* too, from now on."""
        self.disk = self.stock.disk = disk

    def partition(self, scope: str) -> Partition[V]:
        """Return the partition of *scope*, a new one if it has none."""
        with self.lock:
            found = self._partitions.get(scope)
            if found is None:
                found = self._partitions[scope] = Partition(scope, self.stock.room)
                if scope in self._limits:
                    found.limit(self.stock.limited(*self._limits[scope]))
            return found

    def partitions(self) -> list[Partition[V]]:
        """Return those of all scopes that have entries, or that somebody holds."""
        return list(self._partitions.values())

    def limit(
        self,
        partition: Partition[V],
        *,
        capacity: int | None,
        capacity_bytes: int | None,
    ) -> None:
        """Limit one scope within the whole, or no longer; who is too many goes."""
        with self.lock:
            if capacity is None and capacity_bytes is None:
                self._limits.pop(partition.scope, None)
                partition.limit(None)
                return
            self._limits[partition.scope] = capacity, capacity_bytes
            room = self.stock.limited(capacity, capacity_bytes)
            partition.limit(room)
            self.stock.shrink(room)
        self.written(must=False)

    def exact(self, partition: Partition[V], key: str) -> Hit[V] | None:
        """Return the hit for the same question, counted, or None, not counted."""
        while True:
            with self.lock:
                entry = partition.exact.get(key)
                if entry is None:
                    return None
                now = self.clock.machine()
                if now >= entry.expires_s:
                    self.stock.expire(entry)
                    return None
                if entry.read:
                    partition.tally.exact_hits += 1
                    self.counts.whole.exact_hits += 1
                    return self.hit(Ticket(entry), 1.0, now)
            self._read(entry)

    def _read(self, entry: Entry[V]) -> None:
        """Read an answer: its bytes under the lock, since they lie in a file that goes."""
        with self.lock:
            raw = entry.raw() if entry.slots and not entry.read else None
        if raw is not None:
            value = raw.loads()
            with self.lock:
                entry.keep(value)

    def search(
        self, partition: Partition[V], vectors: Sequence[NDArray[np.float32]]
    ) -> list[list[tuple[Entry[V], float]]]:
        """Return what is near each of *vectors*, by one scan for all, without the lock."""
        return partition.top_many(vectors, self.rule.neighbours)

    def similar(
        self,
        partition: Partition[V],
        asked: Asked[V],
        found: Neighbours[V] | None = None,
    ) -> Hit[V] | None:
        """
        Return the hit for the question that answers best, or None.

        It is counted either way; a hit that is to be judged first is counted, and must
        not be shown to anybody, before `settle`.

        Args:
            partition: Where to look.
            asked: What was asked.
            found: What `search` found for it just now, if it did.
        """
        if found is None:
            (found,) = self.search(partition, [asked.vector])
        hit = self._similar(partition, asked, found)
        with self.lock:
            refit = self.rule.refit()
        if refit is not None:  # others go on looking up meanwhile
            refit()
        return hit

    def _similar(
        self, partition: Partition[V], asked: Asked[V], found: Neighbours[V]
    ) -> Hit[V] | None:
        for _ in range(_LOOKS):
            hit, found_out = self._looked(partition, asked, found)
            if found_out:
                break
            (found,) = self.search(partition, [asked.vector])
        else:
            self.count(partition, "misses")
            return None
        if hit is not None and hit.audit and not self.judges:
            self._silence.goes_on(self.counts.whole)
        if hit is None or remembered(self) or not _charged(hit):
            return hit
        if not (hit.audit and asked.judged_first):
            for tally in (partition.tally, self.counts.whole):
                tally.semantic_hits -= 1
        self.count(partition, "misses")
        self.count(partition, "over_budget")
        return None

    def _looked(
        self, partition: Partition[V], asked: Asked[V], found: Neighbours[V]
    ) -> tuple[Hit[V] | None, bool]:
        """Return the hit, if there is one, and whether that is so; else look again."""
        self.rule.compare(asked, found)
        with self.lock:
            hit = self.exact(partition, asked.key)
            if hit is not None:
                return hit, True
            now = self.clock.machine()
            if not all(entry.alive(now) for entry, _ in found):
                self.stock.sweep(now)
                return None, False
            decision = self.rule.decide(asked, found, self.counts.whole.lookups + 1)
            unread = _unread(decision)
            if unread is None:
                hit = self._accepted(partition, asked, decision, now)
                note(self, must=hit is not None)
                return hit, True
        self._read(unread)
        return None, False

    def _accepted(
        self,
        partition: Partition[V],
        asked: Asked[V],
        decision: Decision[V],
        now: float,
    ) -> Hit[V] | None:
        ticket = self.rule.take(decision, asked)
        if ticket is None:
            self.count(partition, "misses")
            if decision.why in _NOTED:
                self.count(partition, _NOTED[decision.why])
            return None
        if not (ticket.audited and asked.judged_first):
            partition.tally.semantic_hits += 1
            self.counts.whole.semantic_hits += 1
        return self.hit(ticket, min(decision.similarity, 1.0), now)

    def least(self, asked: Asked[V]) -> float:
        """Return the cosine from which an answer that is not stored yet might do."""
        with self.lock:
            return self.rule.least(asked, self.counts.whole.lookups + 1)

    def serves(self, partition: Partition[V], asked: Asked[V]) -> bool:
        """Whether `similar` might find an answer; counts and refreshes nothing."""
        (found,) = self.search(partition, [asked.vector])
        now = self.clock.machine()
        living = [each for each in found if each[0].alive(now)]
        return self.decided(asked, living).why == "accepted"

    def decided(self, asked: Asked[V], near: Neighbours[V]) -> Decision[V]:
        """Return what would be done if *near* were what is found; it changes nothing."""
        self.rule.compare(asked, near)
        with self.lock:
            return self.rule.decide(asked, near, self.counts.whole.lookups + 1)

    def hit(self, ticket: Ticket[V], similarity: float, now: float) -> Hit[V]:
        """Return the hit of an entry, which is used *now*."""
        entry, ticket.told = ticket.entry, self.told
        entry.used_s = now
        partition, stock = entry.partition, self.stock
        both: tuple[Entry[V], ...] = (entry,)
        if entry.origin is not None:
            origin = stock.entries[entry.origin]
            origin.keep(entry.value)
            origin.used_s = now
            both = entry, origin
        order, room = stock.room.order, partition.room
        for used in both:
            order.touch(used)
            if room is not None:
                room.order.touch(used)
            if used.expires_s < math.inf and stock.lifetime.slides(used.terms):
                stock.expires(used, used_s=now)
        return Hit(
            entry.value,
            entry.question,
            similarity,
            ticket.asked is None,
            now - entry.stored_s,
            partition.scope,
            entry.id,
            ticket.audited,
            ticket,
        )

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
        remembered(self)
        return served

    def told(self, ticket: Ticket[V], right: bool) -> None:  # noqa: FBT001
        """Take note of what anybody tells of a hit that was served."""
        if not (right and self.judges):
            self.judged(ticket, right)

    def judged(self, ticket: Ticket[V], right: bool) -> None:  # noqa: FBT001
        """Take note of what who was asked says of a hit that was served."""
        self._answer(ticket, right=right, withheld=False)
        remembered(self)

    def _answer(self, ticket: Ticket[V], *, right: bool, withheld: bool) -> None:
        asked, entry = ticket.asked, ticket.entry
        admitted = (
            asked is not None
            and ticket.audited
            and right
            and asked.admits(asked.question, entry.value)
        )
        with self.lock:
            judged = ticket.audited and ticket.right is None
            if not self.rule.answer(ticket, right=right, withheld=withheld):
                return
            if judged:
                self.count(entry.partition, "judged")
            if not right:
                self.count(entry.partition, "wrong")
                key = entry.key if asked is None else asked.key
                self.stock.drop_alias(entry.partition, key)
            elif admitted and asked is not None and ticket.decision is not None:
                self.stock.store_alias(entry, asked, ticket.decision.similarity)

    def count(
        self,
        partition: Partition[V],
        what: Outcome | Counted,
    ) -> None:
        """Count *what* once, in the scope and in the whole."""
        with self.lock:
            self.counts.add(partition, what)

    def save(self, partition: Partition[V], cost: Cost) -> None:
        """Count what a hit saved, in the scope and in the whole."""
        with self.lock:
            self.counts.save(partition, cost)

    @property
    def waits(self) -> bool:
        """Whether what is stored may have to wait: for the disk, or for others."""
        if self.disk is not None and self.disk.writes:
            return True
        return self.tiers is not None and self.tiers.sharing is not None

    def written(self, *, must: bool, put: bool = True) -> None:
        """Hand the disk what happened; see `Disk.settle`."""
        if self.disk is not None:
            with self.lock:
                self.disk.commit()
            self.disk.settle(must=must, put=put)

    def refuse_readonly(self, what: str) -> None:
        """Raise a `StateError` where nothing may be written, which tells to do *what*."""
        if self.disk is not None:
            self.disk.refuse_closed()
        if self.disk is not None and self.disk.readonly:
            msg = f"is open with readonly=True; {what} where it is written"
            raise StateError(str(self.disk.path), msg)

    def reset(self) -> None:
        """Be empty, as if nothing had ever been stored."""
        with self.lock:
            self.stock.reset()
            for partition in self.partitions():
                partition.reset(self.stock.room)
                if partition.scope in self._limits:
                    partition.limit(self.stock.limited(*self._limits[partition.scope]))

    def size(self) -> int:
        """Return how many entries there are in all scopes."""
        return len(self.stock.entries)


def _unread(decision: Decision[V]) -> Entry[V] | None:
    """Return the entry whose answer may be served, and is to be read before."""
    entry = decision.entry
    may_be = entry is not None and decision.why in {"accepted", "budget"}
    return entry if may_be and entry is not None and not entry.read else None


def _charged(hit: Hit[V]) -> bool:
    """Whether the budget was charged for *hit*, which was found by meaning."""
    decision = cast("Ticket[V]", hit._ticket).decision
    return decision is not None and decision.why == "accepted"
