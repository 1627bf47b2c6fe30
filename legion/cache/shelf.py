"""What all scopes of a cache share: one lock, one capacity, one order of use."""

from __future__ import annotations

import logging
import math
import threading

from collections.abc import Iterable, Sequence
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
from .given import refuse_hit
from .hit import Hit, V
from .item import Item
from .key import normalised
from .meter import Cost
from .partition import Partition
from .serializer import dumped
from .signal import Neighbours
from .stats import CacheStats, Tally
from .stock import Stock


if TYPE_CHECKING:
    import numpy as np

    from numpy.typing import NDArray

    from .disk import Disk
    from .serializer import Serializer
    from .tiers import Tiers


_logger = logging.getLogger("legion")

_NOTED: dict[Why, Counted] = {"veto": "vetoed", "budget": "over_budget"}

_LOOKS = 16
"""So often a look-up looks again for one whose find was taken out meanwhile."""


_SILENT = 20
"""So many answers wait for a word of somebody's when it is said that none comes."""
_SILENCE = (
    "cache: the coin chose %d answers, and nobody said whether one was right; they count"
    " as wrong, so hardly any more are served. Call right() or wrong() on hits whose"
    " audit is true, or write judge=: get_or_compute, cached functions and the adapters"
    " return answers and no hits"
)


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
    _unsaid: int = attrs.field(init=False, default=0)

    def __attrs_post_init__(self) -> None:
        stock = self.stock
        self.rule, self.clock, self.counts = stock.rule, stock.clock, stock.counts
        anew_after_fork(self)

    def begin_anew(self) -> None:
        """
        Count from 0 in a child: what its parent spends it cannot know.

        If both went on with the same requests, each would spend what these afford.
        """
        self.counts.whole = Tally()
        for partition in list(self._partitions.values()):
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
            self._warn_of_silence()
        if hit is None or self._remembered() or not _charged(hit):
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
                self._note(must=hit is not None)
                return hit, True
        self._read(unread)
        return None, False

    def _warn_of_silence(self) -> None:
        """Say, once, that nobody says of answers whether they were right."""
        with self.lock:
            self._unsaid += 1
            silent = self._unsaid == _SILENT and not self.counts.whole.judged
        if silent:
            _logger.warning(_SILENCE, _SILENT)

    def _note(self, *, must: bool) -> None:
        """Hand the system what was learned and spent, if it must be or is much."""
        disk = self.disk
        if disk is not None and disk.learned is not None and (must or disk.learned.due):
            disk.commit()

    def _remembered(self) -> bool:
        """
        Wait until what was spent cannot be forgotten any more.

        Returns:
            False if it might be.
        """
        disk = self.disk
        if disk is None or disk.learned is None or disk.closed:
            return True
        with self.lock:
            disk.commit()
            owed = disk.learned.owed()
        try:
            disk.settle(must=owed is not None)
        except StateError:
            return False  # the disk has logged why
        if owed is not None:
            with self.lock:
                disk.learned.settled(owed)
        return disk.keeps()

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
        for used in both:
            stock.room.order.touch(used)
            if partition.room is not None:
                partition.room.order.touch(used)
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
        self._remembered()
        return served

    def told(self, ticket: Ticket[V], right: bool) -> None:  # noqa: FBT001
        """Take note of what anybody tells of a hit that was served."""
        if not (right and self.judges):
            self.judged(ticket, right)

    def judged(self, ticket: Ticket[V], right: bool) -> None:  # noqa: FBT001
        """Take note of what who was asked says of a hit that was served."""
        self._answer(ticket, right=right, withheld=False)
        self._remembered()

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

    def store(self, partition: Partition[V], items: Iterable[Item[V]]) -> int:
        """
        Store *items*; each replaces the entry of the same question.

        Returns:
            How many; one that takes more bytes than there may be is refused.
        """
        disk = self.disk
        if disk is not None:
            disk.refuse_closed()
        if disk is not None and disk.readonly:
            for _ in items:
                self.count(partition, "refused")
            return 0
        serializer, since = self._serializer(), self.removals
        told = [
            (
                item,
                self.stock.weigh(item),
                None if serializer is None else dumped(serializer, item.value),
            )
            for item in items
        ]
        stored = [one for one in told if self._store(partition, *one)]
        self.written(must=False)
        if self.tiers is not None:
            kept = [(item, raw) for item, _, raw in stored if raw is not None]
            self.tiers.share(partition, kept, since)
        return len(stored)

    @property
    def waits(self) -> bool:
        """Whether what is stored may have to wait: for the disk, or for others."""
        if self.disk is not None and self.disk.writes:
            return True
        return self.tiers is not None and self.tiers.sharing is not None

    def _serializer(self) -> Serializer | None:
        if self.disk is not None:
            return self.disk.serializer
        sharing = None if self.tiers is None else self.tiers.sharing
        return None if sharing is None else sharing.serializer

    def _store(
        self, partition: Partition[V], item: Item[V], size: int, raw: bytes | None
    ) -> bool:
        redundancy = self.stock.redundancy(partition, item)
        group = self.rule.group(item.value)
        with self.lock:
            gone = self.stock.store(partition, item, size, redundancy, group, raw)
        return gone is not None

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

    def expire(self) -> int:
        """Take out everything that has expired, and return how many."""
        with self.lock:
            now = self.clock.machine()
            expired = self.stock.sweep(now) + self._lose(None, by_s=now)
        self.written(must=False)
        return expired

    def _lose(
        self,
        within: Partition[V] | None,
        *,
        tag: str | None = None,
        by_s: float | None = None,
    ) -> int:
        """Take out what is on disk alone, and return how many."""
        if self.disk is None or self.disk.overflow is None:
            return 0
        scope = None if within is None else within.scope
        lost = self.disk.overflow.drop(scope=scope, tag=tag, by_s=by_s)
        self.disk.lose(lost)
        return len(lost)

    def reset(self) -> None:
        """Be empty, as if nothing had ever been stored."""
        with self.lock:
            self.stock.reset()
            for partition in list(self._partitions.values()):
                partition.reset(self.stock.room)
                if partition.scope in self._limits:
                    partition.limit(self.stock.limited(*self._limits[partition.scope]))

    def forget(self, hit: Hit[V], *, within: Partition[V] | None) -> bool:
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
        if entry.partition is not self.partition(hit.scope) or (
            within is not None and entry.partition is not within
        ):
            return False
        self.refuse_readonly("forget it")
        if self.tiers is not None:
            self.tiers.forget(hit.scope, self._key_of(hit))
        with self.lock:
            self.removals += 1
            gone = self._forget(hit)
        self.written(must=gone)
        return gone

    def _key_of(self, hit: Hit[V]) -> str:
        with self.lock:
            entry = self.stock.entries.get(hit.id)
            if entry is None:
                return normalised(hit.question)
            return self.stock.entries[entry.family].key

    def _forget(self, hit: Hit[V]) -> bool:
        entry = self.stock.entries.get(hit.id)
        if entry is None:
            return self.disk is not None and self.disk.forget(
                hit.scope, normalised(hit.question), hit.id
            )
        self.rule.forget(entry)
        self.stock.remove(self.stock.entries[entry.family])
        return True

    def invalidate(self, tag: str, *, within: Partition[V] | None) -> int:
        """Take out the entries with *tag* of one partition, or of all."""
        self.refuse_readonly("invalidate")
        if self.tiers is not None:
            self.tiers.invalidate(within, tag)
        with self.lock:
            self.removals += 1
            partitions = self._partitions.values() if within is None else [within]
            tagged = [entry for one in list(partitions) for entry in one.tagged(tag)]
            for entry in tagged:
                if entry.id in self.stock.entries:  # an alias goes with its origin
                    self.stock.remove(entry)
            alone = self._lose(within, tag=tag)
        self.written(must=True)
        return len(tagged) + alone

    def clear(self, *, within: Partition[V] | None) -> None:
        """Take out the entries of one partition, or all."""
        self.refuse_readonly("clear it")
        if self.tiers is not None:
            self.tiers.invalidate(within)
        with self.lock:
            self.removals += 1
            source = self.stock.entries if within is None else within.exact
            for entry in list(source.values()):
                if entry.id in self.stock.entries:
                    self.stock.remove(entry)
            self.rule.clear(None if within is None else within.scope)
            self._lose(within)
        self.written(must=True)

    def stats(self, *, within: Partition[V] | None) -> CacheStats:
        """Return what happened in one partition, or in all."""
        with self.lock:
            room = self.stock.room if within is None else within.room or self.stock.room
            stats = (self.counts.whole if within is None else within.tally).stats(
                entries=self.stock.room.entries if within is None else len(within),
                capacity=room.capacity or self.stock.capacity,
                size=self.stock.room.taken if within is None else within.taken,
                capacity_bytes=room.capacity_bytes or self.stock.capacity_bytes,
                wrong_limit=self.rule.wrong_limit() if within is None else None,
            )
            sharing = None if self.tiers is None else self.tiers.sharing
            if sharing is not None and within is None:
                stats = attrs.evolve(stats, shared_failures=sharing.failures)
            return (
                stats if self.disk is None else self._on_disk(stats, self.disk, within)
            )

    def _on_disk(
        self, stats: CacheStats, disk: Disk[V], within: Partition[V] | None
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
