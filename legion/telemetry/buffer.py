"""Where events wait: one bounded deque, whose append is all that a recorder calls."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

from .event import Event


ROOM = 4
"""How many times its capacity the buffer holds, so that what is lost can be counted."""

SLICE = 4096
"""How many events are taken at a time, so that little memory is held twice."""


class Buffer:
    """
    Events that are not folded yet, the oldest first.

    Args:
        capacity: How many may wait.

    Attributes:
        put: Takes an event: the append of the deque, handed out as it is.
        events: The deque.
        high: How many make it nearly full.

    Raises:
        ValueError: *capacity* is less than 1.
    """

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            msg = f"telemetry: got capacity={capacity}; write 1 or more"
            raise ValueError(msg)
        self.capacity = capacity
        self.high = capacity * 3 // 4
        self.events: deque[Event] = deque(maxlen=ROOM * capacity)
        self.put: Callable[[Event], None] = self.events.append
        self._kept: deque[Event] = deque(maxlen=ROOM * capacity // SLICE + 1)

    def take(self, n: int) -> Iterator[list[Event]]:
        """Take the *n* oldest events, a slice at a time."""
        take = self.events.popleft
        for done in range(0, n, SLICE):
            batch = [take() for _ in range(min(SLICE, n - done))]
            # Python gives memory back in large pieces once nothing in a piece is
            # alive, and the caller would pay for fresh pages at the next backlog: as
            # much as for all the rest of recording. One event of a slice holds them.
            self._kept.append(batch[-1])
            yield batch
