"""The entries of one scope: an exact dictionary and the vectors beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

import attrs

from .entries import CacheStats, Entry


if TYPE_CHECKING:
    import numpy as np

    from numpy.typing import NDArray

    from .index import VectorSlots


V = TypeVar("V")


@attrs.define(eq=False)
class Partition(Generic[V]):
    """
    One scope's entries; no look-up ever sees another one's.

    Attributes:
        stats: What happened in this scope.
    """

    stats: CacheStats = attrs.field(factory=CacheStats)
    _by_key: dict[str, int] = attrs.field(init=False, factory=dict)
    _by_slot: dict[int, Entry[V]] = attrs.field(init=False, factory=dict)
    _slots: VectorSlots | None = attrs.field(init=False, default=None)

    def __len__(self) -> int:
        return len(self._by_key)

    def exact(self, key: str) -> Entry[V] | None:
        """Return the entry of the same question."""
        slot = self._by_key.get(key)
        return None if slot is None else self._by_slot[slot]

    def nearest(
        self, vectors: NDArray[np.float32]
    ) -> list[tuple[Entry[V] | None, float]]:
        """Return the nearest entry and its cosine for each vector, shape (n, dim)."""
        if self._slots is None:
            return [(None, -1.0)] * len(vectors)
        return [
            (self._by_slot.get(slot), min(cosine, 1.0))
            for slot, cosine in self._slots.nearest(vectors)
        ]

    def put(self, entry: Entry[V], vector: NDArray[np.float32]) -> None:
        """Store *entry*, whose question is not stored yet."""
        if self._slots is None:
            from .index import VectorSlots

            self._slots = VectorSlots(len(vector))
        slot = self._slots.add(vector)
        self._by_key[entry.key] = slot
        self._by_slot[slot] = entry

    def remove(self, key: str) -> Entry[V] | None:
        """Take the entry of this question out and return it, or None."""
        slot = self._by_key.pop(key, None)
        if slot is None or self._slots is None:
            return None
        self._slots.remove(slot)
        return self._by_slot.pop(slot)
