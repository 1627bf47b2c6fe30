"""Numbers in the order of keys that only rise."""

from __future__ import annotations

import heapq

import attrs


@attrs.define(eq=False)
class RisingHeap:
    """
    Numbers in the order of keys that only rise.

    To raise a key is as cheap as to write it down: its place in the heap is settled when
    it comes to the top. Who uses entries raises keys all the time, and looks at the top
    seldom.
    """

    _keys: dict[int, float] = attrs.field(init=False, factory=dict)
    _heap: list[tuple[float, int]] = attrs.field(init=False, factory=list)

    def __len__(self) -> int:
        return len(self._keys)

    def rise(self, number: int, key: float) -> None:
        """Give *number* a key, no lower than the one it has."""
        if number not in self._keys:
            # What was discarded stays in the heap until then.
            if len(self._heap) > 2 * len(self._keys) + 64:
                self._heap = [(key, number) for number, key in self._keys.items()]
                heapq.heapify(self._heap)
            heapq.heappush(self._heap, (key, number))
        self._keys[number] = key

    def discard(self, number: int) -> None:
        """Forget *number*, if it is known."""
        self._keys.pop(number, None)

    def least(self) -> tuple[float, int] | None:
        """Return the least key and its number, or None without any."""
        while self._heap:
            key, number = self._heap[0]
            now = self._keys.get(number)
            if now == key:
                return key, number
            if now is None:
                heapq.heappop(self._heap)
            else:
                heapq.heapreplace(self._heap, (now, number))
        return None
