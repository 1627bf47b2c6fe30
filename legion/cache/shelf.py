"""What all scopes of a cache share: one lock, one capacity, one order of use."""

from __future__ import annotations

import logging
import math
import threading

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Generic, Literal, NamedTuple, TypeAlias, cast
from weakref import WeakValueDictionary

import attrs

from ..exceptions import StateError
from ..model import Clock
from .accept import AcceptRule, Asked, Decision, Ticket, Why
from .entry import Entry
from .eviction import ORDERS, Eviction
from .fork import Order, anew_after_fork, over_fork
from .given import refuse_hit
from .hit import Hit, V
from .key import normalised
from .lifetime import NOTHING_SAID, Lifetime, Terms
from .meter import Cost
from .partition import Partition
from .rising import RisingHeap
from .room import Room
from .serializer import dumped
from .signal import Neighbours
from .size import ENTRY_BYTES, deep_size
from .stats import CacheStats, Tally


if TYPE_CHECKING:
    import numpy as np

    from numpy.typing import NDArray

    from .disk import Disk
    from .serializer import Serializer
    from .sketch import Sketcher
    from .tiers import Tiers


_logger = logging.getLogger("legion")

Outcome: TypeAlias = Literal["exact_hits", "semantic_hits", "misses"]
Counted: TypeAlias = Literal[
    "puts",
    "refused",
    "evictions",
    "expired",
    "coalesced",
    "vetoed",
    "over_budget",
    "judged",
    "wrong",
    "disk_hits",
    "shared_hits",
    "unusable",
]
_NOTED: dict[Why, Counted] = {"veto": "vetoed", "budget": "over_budget"}

_SWEPT = 16
"""Expired entries that one put takes out; it is to find no more in the long run."""
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
    search, no veto, no plugin, no computation, no code of an answer or its serializer.

    Attributes:
        rule: Which answers are accepted.
        threshold: Cosine from which one is, or None where that is not the rule.
        capacity: Entries over all scopes.
        clock: Its machine time gives entries their age.
        lifetime: How long entries last.
        eviction: In which order entries make room.
        capacity_bytes: Bytes over all scopes, or None where nobody counts them.
        size_of: How many bytes a value takes.
        judges: Whether there is a judge, whose "right" is the only one that counts.
        disk: Where everything is kept beside memory, or None.
        tiers: What is asked where memory has no answer, or None.
        removals: How often something was removed because somebody said so.
    """

    rule: AcceptRule[V]
    threshold: float | None
    capacity: int
    clock: Clock
    lifetime: Lifetime = attrs.field(factory=Lifetime)
    eviction: Eviction = "lru"
    capacity_bytes: int | None = None
    size_of: Callable[[V], int] = deep_size
    judges: bool = False
    disk: Disk[V] | None = attrs.field(init=False, default=None)
    tiers: Tiers[V] | None = attrs.field(init=False, default=None)
    removals: int = attrs.field(init=False, default=0)
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
    _aliases: dict[int, set[int]] = attrs.field(init=False, factory=dict)
    _unsaid: int = attrs.field(init=False, default=0)
    _last_id: int = attrs.field(init=False, default=0)
    _sketcher: Sketcher | None = attrs.field(init=False, default=None)
    # An evicted value's destructor may come back to the cache.
    _lock: threading.RLock = attrs.field(
        init=False, factory=partial(over_fork, Order.SHELF, threading.RLock)
    )

    def __attrs_post_init__(self) -> None:
        self._room = Room(ORDERS[self.eviction](), self.capacity, self.capacity_bytes)
        anew_after_fork(self)

    def begin_anew(self) -> None:
        """
        Count from 0 in a child: what its parent spends it cannot know.

        If both went on with the same requests, each would spend what these afford.
        """
        self._tally = Tally()
        for partition in list(self._partitions.values()):
            partition.tally = Tally()
        self.rule.begin_anew()

    def partition(self, scope: str) -> Partition[V]:
        """Return the partition of *scope*, a new one if it has none."""
        with self._lock:
            found = self._partitions.get(scope)
            if found is None:
                found = self._partitions[scope] = Partition(scope, self._room)
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
                self._evict(room.order.victim())
        self._written(must=False)

    def exact(self, partition: Partition[V], key: str) -> Hit[V] | None:
        """Return the hit for the same question, counted, or None, not counted."""
        while True:
            with self._lock:
                entry = partition.exact.get(key)
                if entry is None:
                    return None
                now = self.clock.machine()
                if now >= entry.expires_s:
                    self._expire(entry)
                    return None
                if entry.read:
                    partition.tally.exact_hits += 1
                    self._tally.exact_hits += 1
                    return self._hit(Ticket(entry), 1.0, now)
            self._read(entry)

    def _read(self, entry: Entry[V]) -> None:
        """Read an answer: its bytes under the lock, since they lie in a file that goes."""
        with self._lock:
            raw = entry.raw() if entry.slots and not entry.read else None
        if raw is not None:
            value = raw.loads()
            with self._lock:
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
        with self._lock:
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
            for tally in (partition.tally, self._tally):
                tally.semantic_hits -= 1
        self.count(partition, "misses")
        self.count(partition, "over_budget")
        return None

    def _looked(
        self, partition: Partition[V], asked: Asked[V], found: Neighbours[V]
    ) -> tuple[Hit[V] | None, bool]:
        """Return the hit, if there is one, and whether that is so; else look again."""
        self.rule.compare(asked, found)
        with self._lock:
            hit = self.exact(partition, asked.key)
            if hit is not None:
                return hit, True
            now = self.clock.machine()
            if not all(entry.alive(now) for entry, _ in found):
                self._sweep(now)
                return None, False
            decision = self.rule.decide(asked, found, self._tally.lookups + 1)
            unread = _unread(decision)
            if unread is None:
                hit = self._accepted(partition, asked, decision, now)
                self._note(must=hit is not None)
                return hit, True
        self._read(unread)
        return None, False

    def _warn_of_silence(self) -> None:
        """Say, once, that nobody says of answers whether they were right."""
        with self._lock:
            self._unsaid += 1
            silent = self._unsaid == _SILENT and not self._tally.judged
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
        with self._lock:
            disk.commit()
            owed = disk.learned.owed()
        try:
            disk.settle(must=owed is not None)
        except StateError:
            return False  # the disk has logged why
        if owed is not None:
            with self._lock:
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
            self._tally.semantic_hits += 1
        return self._hit(ticket, min(decision.similarity, 1.0), now)

    def least(self, asked: Asked[V]) -> float:
        """Return the cosine from which an answer that is not stored yet might do."""
        with self._lock:
            return self.rule.least(asked, self._tally.lookups + 1)

    def serves(self, partition: Partition[V], asked: Asked[V]) -> bool:
        """Whether `similar` might find an answer; counts and refreshes nothing."""
        (found,) = self.search(partition, [asked.vector])
        now = self.clock.machine()
        living = [each for each in found if each[0].alive(now)]
        return self.decided(asked, living).why == "accepted"

    def decided(self, asked: Asked[V], near: Neighbours[V]) -> Decision[V]:
        """Return what would be done if *near* were what is found; it changes nothing."""
        self.rule.compare(asked, near)
        with self._lock:
            return self.rule.decide(asked, near, self._tally.lookups + 1)

    def _hit(self, ticket: Ticket[V], similarity: float, now: float) -> Hit[V]:
        entry, ticket.told = ticket.entry, self.told
        entry.used_s = now
        partition = entry.partition
        both: tuple[Entry[V], ...] = (entry,)
        if entry.origin is not None:
            origin = self._entries[entry.origin]
            origin.keep(entry.value)
            origin.used_s = now
            both = entry, origin
        for used in both:
            self._room.order.touch(used)
            if partition.room is not None:
                partition.room.order.touch(used)
            if used.expires_s < math.inf and self.lifetime.slides(used.terms):
                self._expires(used, used_s=now)
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
        with self._lock:
            judged = ticket.audited and ticket.right is None
            if not self.rule.answer(ticket, right=right, withheld=withheld):
                return
            if judged:
                self.count(entry.partition, "judged")
            if not right:
                self.count(entry.partition, "wrong")
                key = entry.key if asked is None else asked.key
                self._drop_alias(entry.partition, key)
            elif admitted and asked is not None and ticket.decision is not None:
                self._store_alias(entry, asked, ticket.decision.similarity)

    def _drop_alias(self, partition: Partition[V], key: str) -> None:
        """Take out what a question was judged to have, as somebody says it has not."""
        alias = partition.exact.get(key)
        if alias is None or alias.origin is None:
            return
        self._remove(alias)
        if self.disk is not None and not self.disk.closed:
            self.disk.commit()

    def _store_alias(self, entry: Entry[V], asked: Asked[V], similarity: float) -> None:
        """
        Store a question that has the answer of *entry*, unless that is gone.

        It lasts as long, has the same tags and is as old; the value is not counted twice.
        """
        partition, origin = entry.partition, self._entries.get(entry.family)
        if origin is None or asked.key in partition.exact:
            return
        item = Item(asked.key, asked.question, entry.value, asked.vector, origin.terms)
        size = 0 if self.capacity_bytes is None else self._overhead(item)
        gone = self._make_room(partition, size, keep=origin)
        if gone is None:
            return
        alias = self._entry(
            partition, item, origin.stored_s, size, min(max(similarity, 0.0), 1.0)
        )
        alias.group, alias.origin = origin.group, origin.id
        self._aliases.setdefault(origin.id, set()).add(alias.id)
        partition.add(alias, item.vector, sketcher=self._sketches(item.vector))
        self._enter(alias, self.clock.machine())
        if self.disk is not None and not self.disk.readonly:
            self.disk.put(alias, b"", item.vector)

    def count(
        self,
        partition: Partition[V],
        what: Outcome | Counted,
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
                self._size(item),
                None if serializer is None else dumped(serializer, item.value),
            )
            for item in items
        ]
        stored = [one for one in told if self._store(partition, *one)]
        self._written(must=False)
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

    def _size(self, item: Item[V]) -> int:
        if self.capacity_bytes is None:
            return 0
        size = self.size_of(item.value)
        if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size < 2**62:
            msg = f"size_of: got {size!r}; return a whole number of bytes"
            raise ValueError(msg)
        return self._overhead(item) + size

    def _overhead(self, item: Item[V]) -> int:
        texts = deep_size(item.question) + deep_size(item.key)
        sketch = item.vector.nbytes // 32 + 64
        return ENTRY_BYTES + texts + item.vector.nbytes + sketch

    def _written(self, *, must: bool, put: bool = True) -> None:
        if self.disk is not None:
            with self._lock:
                self.disk.commit()
            self.disk.settle(must=must, put=put)

    def _writable(self, what: str) -> None:
        if self.disk is not None:
            self.disk.refuse_closed()
        if self.disk is not None and self.disk.readonly:
            msg = f"is open with readonly=True; {what} where it is written"
            raise StateError(str(self.disk.path), msg)

    def _store(
        self, partition: Partition[V], item: Item[V], size: int, raw: bytes | None
    ) -> bool:
        redundancy = self._redundancy(partition, item) if self.eviction == "cost" else 0
        group = self.rule.group(item.value)
        with self._lock:
            if self.disk is not None:
                self.disk.refuse_closed()
            now = self.clock.machine()
            if self._expiries:
                self._sweep(now, at_most=_SWEPT)
            old = partition.exact.get(item.key)
            # Held until all is in its place: a destructor may come back to the cache.
            gone = self._make_room(partition, size, old=old)
            if gone is None:
                self.count(partition, "refused")
                return False
            entry = self._entry(partition, item, now, size, redundancy)
            if old is None:
                partition.add(entry, item.vector, sketcher=self._sketches(item.vector))
            else:
                gone += self._drop(old)
                partition.replace(old, entry, item.vector)
            self._enter(entry, now)
            self.rule.stored(entry, group)
            if self.disk is not None and raw is not None:
                self.disk.put(entry, raw, item.vector)
            partition.tally.puts += 1
            self._tally.puts += 1
            return True

    def _entry(
        self,
        partition: Partition[V],
        item: Item[V],
        stored_s: float,
        size: int,
        redundancy: float,
    ) -> Entry[V]:
        self._last_id += 1
        return Entry(
            self._last_id,
            item.key,
            item.question,
            item.value,
            stored_s,
            partition,
            item.terms,
            size,
            redundancy,
        )

    def _enter(self, entry: Entry[V], now: float) -> None:
        self._entries[entry.id] = entry
        self._room.add(entry)
        self._expires(entry, used_s=now)

    def _redundancy(self, partition: Partition[V], item: Item[V]) -> float:
        near = partition.top(item.vector, 2)
        others = (cosine for entry, cosine in near if entry.key != item.key)
        return min(max(next(others, 0.0), 0.0), 1.0)

    def _make_room(
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
        rooms = [self._room] if partition.room is None else [partition.room, self._room]
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
                gone.append(self._evict(entry))
        return gone

    def _evict(self, entry: Entry[V]) -> Entry[V]:
        # First, so that no file says of one that its origin is not in memory.
        self._drop_aliases(entry)
        alone = (
            self.disk is not None
            and entry.origin is None
            and self.clock.machine() < entry.expires_s
            and self.disk.sink(entry)
        )
        self._remove(entry, alone=alone)
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
            now = self.clock.machine()
            expired = self._sweep(now) + self._lose(None, by_s=now)
        self._written(must=False)
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

    def _sketches(self, vector: NDArray[np.float32]) -> Sketcher:
        if self._sketcher is None:
            from .sketch import Sketcher

            rule = self.rule
            self._sketcher = Sketcher.of(len(vector), rule.floor, rule.missed)
        return self._sketcher

    def _remove(self, entry: Entry[V], *, alone: bool = False) -> None:
        """Take an entry out, and its aliases with it; it may be on disk *alone* then."""
        if entry.origin is not None:
            self._aliases.get(entry.origin, set()).discard(entry.id)
        self._drop(entry)
        entry.partition.remove(entry)
        if self.disk is not None and not alone:
            self.disk.gone(entry)

    def drop(self, entry_id: int) -> None:
        """Take out the entry of that id, if it is there."""
        with self._lock:
            if entry_id in self._entries:
                self._remove(self._entries[entry_id])

    def reset(self) -> None:
        """Be empty, as if nothing had ever been stored."""
        with self._lock:
            for entry in self._entries.values():
                if entry.origin is None:
                    self.rule.removed(entry)
            self._entries, self._sketcher, self._expiries = {}, None, RisingHeap()
            self._aliases = {}
            self._room = Room(
                ORDERS[self.eviction](), self.capacity, self.capacity_bytes
            )
            for partition in list(self._partitions.values()):
                partition.reset(self._room)
                if partition.scope in self._limits:
                    limits = self._limits[partition.scope]
                    partition.limit(Room(ORDERS[self.eviction](), *limits))

    def _drop(self, entry: Entry[V]) -> list[Entry[V]]:
        """Forget an entry that its partition still has; its aliases go, and are returned."""
        del self._entries[entry.id]
        self._room.remove(entry)
        self._expiries.discard(entry.id)
        if entry.origin is not None:
            return []
        self.rule.removed(entry)
        return self._drop_aliases(entry)

    def _drop_aliases(self, entry: Entry[V]) -> list[Entry[V]]:
        if entry.id not in self._aliases:
            return []
        aliases = [self._entries[n] for n in self._aliases.pop(entry.id)]
        for alias in aliases:
            self._remove(alias)
        return aliases

    def _detach(self, entry: Entry[V]) -> None:
        """Let an alias be an entry of its own, which is in nobody's group."""
        if entry.origin is not None:
            self._aliases.get(entry.origin, set()).discard(entry.id)
            entry.origin = entry.group = None

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
        self._writable("forget it")
        if self.tiers is not None:
            self.tiers.forget(hit.scope, self._key_of(hit))
        with self._lock:
            self.removals += 1
            gone = self._forget(hit)
        self._written(must=gone)
        return gone

    def _key_of(self, hit: Hit[V]) -> str:
        with self._lock:
            entry = self._entries.get(hit.id)
            if entry is None:
                return normalised(hit.question)
            return self._entries[entry.family].key

    def _forget(self, hit: Hit[V]) -> bool:
        entry = self._entries.get(hit.id)
        if entry is None:
            return self.disk is not None and self.disk.forget(
                hit.scope, normalised(hit.question), hit.id
            )
        self.rule.forget(entry)
        self._remove(self._entries[entry.family])
        return True

    def invalidate(self, tag: str, *, within: Partition[V] | None) -> int:
        """Take out the entries with *tag* of one partition, or of all."""
        self._writable("invalidate")
        if self.tiers is not None:
            self.tiers.invalidate(within, tag)
        with self._lock:
            self.removals += 1
            partitions = self._partitions.values() if within is None else [within]
            tagged = [entry for one in list(partitions) for entry in one.tagged(tag)]
            for entry in tagged:
                if entry.id in self._entries:  # an alias goes with its origin
                    self._remove(entry)
            alone = self._lose(within, tag=tag)
        self._written(must=True)
        return len(tagged) + alone

    def clear(self, *, within: Partition[V] | None) -> None:
        """Take out the entries of one partition, or all."""
        self._writable("clear it")
        if self.tiers is not None:
            self.tiers.invalidate(within)
        with self._lock:
            self.removals += 1
            source = self._entries if within is None else within.exact
            for entry in list(source.values()):
                if entry.id in self._entries:
                    self._remove(entry)
            self.rule.clear(None if within is None else within.scope)
            self._lose(within)
        self._written(must=True)

    def stats(self, *, within: Partition[V] | None) -> CacheStats:
        """Return what happened in one partition, or in all."""
        with self._lock:
            room = self._room if within is None else within.room or self._room
            stats = (self._tally if within is None else within.tally).stats(
                entries=self._room.entries if within is None else len(within),
                capacity=room.capacity or self.capacity,
                size=self._room.taken if within is None else within.taken,
                capacity_bytes=room.capacity_bytes or self.capacity_bytes,
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
        return len(self._entries)


def _unread(decision: Decision[V]) -> Entry[V] | None:
    """Return the entry whose answer may be served, and is to be read before."""
    entry = decision.entry
    may_be = entry is not None and decision.why in {"accepted", "budget"}
    return entry if may_be and entry is not None and not entry.read else None


def _charged(hit: Hit[V]) -> bool:
    """Whether the budget was charged for *hit*, which was found by meaning."""
    decision = cast("Ticket[V]", hit._ticket).decision
    return decision is not None and decision.why == "accepted"
