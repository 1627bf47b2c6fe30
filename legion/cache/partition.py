"""The entries of one scope: an exact dictionary and the vectors beside it."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Generic

import attrs

from .entry import Entry
from .hit import V
from .key import normalised
from .room import Room
from .size import SCOPE_BYTES
from .stats import Tally


if TYPE_CHECKING:
    import numpy as np

    from numpy.typing import NDArray

    from .index import VectorSlots
    from .sketch import Sketcher

_key = attrgetter("key")


@attrs.define(eq=False)
class Partition(Generic[V]):
    """
    One scope's entries; no look-up ever sees another's.

    It has no lock: the `Shelf` it stands on has one for all, and holds it whenever
    something changes. `top` and `nearest` need none.

    Attributes:
        scope: Key of the scope.
        whole: The limits of the cache, which count the scopes that have entries.
        tally: What happened in it.
        exact: Entries by normalised question.
        room: Its own limits, or None where only the cache's hold.
        bytes: What its entries take, where that is counted; the scope itself apart.
    """

    scope: str
    whole: Room
    tally: Tally = attrs.field(init=False, factory=Tally)
    exact: dict[str, Entry[V]] = attrs.field(init=False, factory=dict)
    room: Room | None = attrs.field(init=False, default=None)
    bytes: int = attrs.field(init=False, default=0)
    _by_tag: dict[str, dict[int, Entry[V]]] = attrs.field(init=False, factory=dict)
    _vectors: VectorSlots[Entry[V]] | None = attrs.field(init=False, default=None)

    def __len__(self) -> int:
        return len(self.exact)

    def key(self, question: str) -> str:
        """Return the normalised question; one that is stored is found to be so sooner."""
        if type(question) is str and question in self.exact:
            return question
        return normalised(question)

    def limit(self, room: Room | None) -> None:
        """Keep to *room* from now on, which is empty yet, or to none of its own."""
        self.room = room
        if room is not None:
            room.scopes = bool(self.exact)
            for entry in self.exact.values():
                room.add(entry)

    def add(
        self, entry: Entry[V], vector: NDArray[np.float32], *, sketcher: Sketcher
    ) -> None:
        """Store *entry*, whose question is not stored yet."""
        if self._vectors is None:
            from .index import VectorSlots

            self._vectors = VectorSlots(sketcher)
        self._vectors.put(entry, vector)
        self._enter(entry)

    def fill(
        self,
        entries: Sequence[Entry[V]],
        owners: Sequence[Entry[V]],
        vectors: NDArray[np.float32],
        sketches: NDArray[np.uint8],
        *,
        sketcher: Sketcher,
    ) -> None:
        """Store many *entries* at once where none are yet; see `VectorSlots.fill`."""
        from .index import VectorSlots

        self._vectors = VectorSlots(sketcher)
        self._vectors.fill(owners, vectors, sketches)
        self._count(+1)
        self.exact.update(zip(map(_key, entries), entries, strict=True))
        self.bytes += sum(entry.size for entry in entries)
        for entry in entries:
            if entry.terms.tags:
                self._tag(entry)
        if self.room is not None:
            self.room.fill(entries)

    def reset(self, whole: Room) -> None:
        """Be empty, in an empty cache; who holds its entries finds them gone."""
        self.whole = whole
        for entry in self.exact.values():
            entry.slots = []
        self.exact, self._by_tag, self.bytes = {}, {}, 0
        self._vectors = None

    def vectors_of(self, entry: Entry[V]) -> NDArray[np.float32]:
        """Return a copy of the vectors of *entry*, which is stored here."""
        assert self._vectors is not None
        return self._vectors.vectors_of(entry)

    def replace(
        self, old: Entry[V], new: Entry[V], vector: NDArray[np.float32]
    ) -> None:
        """Store *new* for the same question as *old*, which goes."""
        assert self._vectors is not None
        self._leave(old)
        self._vectors.replace(old, new, vector)
        self._enter(new)

    def remove(self, entry: Entry[V]) -> None:
        """Take out *entry*, which is stored here."""
        assert self._vectors is not None
        self._leave(entry)
        self._vectors.remove(entry)
        if not self.exact:
            self._vectors = None

    @property
    def taken(self) -> int:
        """Bytes that it takes with its entries, or 0 where nobody counts them."""
        return self.bytes and self.bytes + SCOPE_BYTES

    @property
    def overhead(self) -> int:
        """Bytes that it will take, beside those of its first entry."""
        return 0 if self.exact else SCOPE_BYTES

    def _count(self, more: int) -> None:
        self.whole.scopes += more
        if self.room is not None:
            self.room.scopes += more

    def _enter(self, entry: Entry[V]) -> None:
        if not self.exact:
            self._count(+1)
        self.exact[entry.key] = entry
        self.bytes += entry.size
        if entry.terms.tags:
            self._tag(entry)
        if self.room is not None:
            self.room.add(entry)

    def _tag(self, entry: Entry[V]) -> None:
        for tag in entry.terms.tags:
            self._by_tag.setdefault(tag, {})[entry.id] = entry

    def _leave(self, entry: Entry[V]) -> None:
        del self.exact[entry.key]
        if not self.exact:
            self._count(-1)
        self.bytes -= entry.size
        for tag in entry.terms.tags:
            tagged = self._by_tag[tag]
            del tagged[entry.id]
            if not tagged:
                del self._by_tag[tag]
        if self.room is not None:
            self.room.remove(entry)

    def tagged(self, tag: str) -> list[Entry[V]]:
        """Return the entries that have *tag*."""
        return list(self._by_tag.get(tag, {}).values())

    def top(self, vector: NDArray[np.float32], k: int) -> list[tuple[Entry[V], float]]:
        """
        Return the *k* nearest entries and their cosines, best first.

        Those below the sketcher's floor are left out. Without the lock, one may be gone
        by now: `Entry.alive`.
        """
        return self.top_many([vector], k)[0]

    def top_many(
        self, vectors: Sequence[NDArray[np.float32]], k: int
    ) -> list[list[tuple[Entry[V], float]]]:
        """Return for each of *vectors* what `top` would, by one scan."""
        slots = self._vectors
        return [[] for _ in vectors] if slots is None else slots.top(vectors, k)

    def nearest(
        self, vector: NDArray[np.float32], k: int
    ) -> list[tuple[Entry[V], float]]:
        """Return the *k* nearest of all and their cosines; reads every vector."""
        slots = self._vectors
        return [] if slots is None else slots.nearest(vector, k)
