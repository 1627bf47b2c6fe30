"""Who goes when room is needed."""

from __future__ import annotations

import math

from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

import attrs

from cachetools import LFUCache

from .rising import RisingHeap


if TYPE_CHECKING:
    from .entry import Entry


Eviction: TypeAlias = Literal["lru", "lfu", "cost"]


class Order(Protocol):
    """Entries in the order in which they go."""

    def add(self, entry: Entry[Any]) -> None:
        """Take *entry* in."""
        ...

    def touch(self, entry: Entry[Any]) -> None:
        """Note that *entry*, which is in, answered."""
        ...

    def discard(self, entry: Entry[Any]) -> None:
        """Take *entry* out, if it is in."""
        ...

    def victim(self) -> Entry[Any]:
        """Take out the one that goes next; there is one."""
        ...


@attrs.define(eq=False)
class LeastRecentlyUsed:
    """What was not used for the longest time goes first."""

    # cachetools.LRUCache does the same, in a microsecond of Python for each use.
    _entries: OrderedDict[int, Entry[Any]] = attrs.field(
        init=False, factory=OrderedDict
    )

    def add(self, entry: Entry[Any]) -> None:
        """Take *entry* in, as the last to go."""
        self._entries[entry.id] = entry

    def touch(self, entry: Entry[Any]) -> None:
        """Make *entry* the last to go."""
        self._entries.move_to_end(entry.id)

    def discard(self, entry: Entry[Any]) -> None:
        """Take *entry* out, if it is in."""
        self._entries.pop(entry.id, None)

    def victim(self) -> Entry[Any]:
        """Take out the one used longest ago."""
        return self._entries.popitem(last=False)[1]


@attrs.define(eq=False)
class LeastFrequentlyUsed:
    """What was used least often goes first, of equals the oldest."""

    _entries: LFUCache[int, Entry[Any]] = attrs.field(
        init=False, factory=lambda: LFUCache(math.inf)
    )

    def add(self, entry: Entry[Any]) -> None:
        """Take *entry* in; being stored is its first use."""
        self._entries[entry.id] = entry

    def touch(self, entry: Entry[Any]) -> None:
        """Count one more use."""
        self._entries[entry.id]

    def discard(self, entry: Entry[Any]) -> None:
        """Take *entry* out, if it is in."""
        self._entries.pop(entry.id, None)

    def victim(self) -> Entry[Any]:
        """Take out the one used least often."""
        return self._entries.popitem()[1]


@attrs.define(eq=False)
class LeastWorth:
    """
    What is worth least goes first: seldom used, cheap to make, large, or redundant.

    GreedyDual-Size with frequency (Cherkasova, 1998, section 3): the key of an entry is
    L + uses x worth, where worth is cost / size, and L the key of the last that went, so
    that what was popular once does not stay for ever. Of the cost, only the share
    1 - redundancy counts: without the entry, its neighbour would answer.
    """

    _entries: dict[int, Entry[Any]] = attrs.field(init=False, factory=dict)
    _uses: dict[int, int] = attrs.field(init=False, factory=dict)
    _keys: RisingHeap = attrs.field(init=False, factory=RisingHeap)
    _gone: float = attrs.field(init=False, default=0.0)

    def add(self, entry: Entry[Any]) -> None:
        """Take *entry* in; being stored is its first use."""
        self._entries[entry.id] = entry
        self._uses[entry.id] = 0
        self.touch(entry)

    def touch(self, entry: Entry[Any]) -> None:
        """Count one more use, as of now."""
        self._uses[entry.id] += 1
        worth = entry.terms.cost * (1 - entry.redundancy) / max(entry.size, 1)
        self._keys.rise(entry.id, self._gone + self._uses[entry.id] * worth)

    def discard(self, entry: Entry[Any]) -> None:
        """Take *entry* out, if it is in."""
        self._entries.pop(entry.id, None)
        self._uses.pop(entry.id, None)
        self._keys.discard(entry.id)

    def victim(self) -> Entry[Any]:
        """Take out the one that is worth least."""
        least = self._keys.least()
        assert least is not None
        self._gone, entry = least[0], self._entries[least[1]]
        self.discard(entry)
        return entry


ORDERS: dict[str, type[LeastRecentlyUsed | LeastFrequentlyUsed | LeastWorth]] = {
    "lru": LeastRecentlyUsed,
    "lfu": LeastFrequentlyUsed,
    "cost": LeastWorth,
}
