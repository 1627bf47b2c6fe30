"""Mirrored requests: the candidate answers too, nobody sees it, both are compared."""

from __future__ import annotations

import asyncio
import contextvars
import logging

from collections import deque
from collections.abc import Awaitable, Callable
from threading import Lock

import attrs


logger = logging.getLogger("legion")


@attrs.define(eq=False)
class Mirror:
    """
    A bounded queue of mirrored runs.

    Under asyncio each runs as a background task of the loop that asked for it; plain
    code queues until `drain` is called, by ``host.tick()`` or the host's thread. What
    does not fit is dropped and counted; nobody waits for a mirror.

    Args:
        capacity: How many may wait or run at once.
    """

    capacity: int = 64
    dropped: int = attrs.field(init=False, default=0)
    _waiting: deque[tuple[contextvars.Context, Callable[[], None]]] = attrs.field(
        init=False, factory=deque
    )
    _tasks: set[asyncio.Task[None]] = attrs.field(init=False, factory=set)
    _lock: Lock = attrs.field(init=False, factory=Lock)

    def queue(self, run: Callable[[], None]) -> bool:
        """Keep *run* and the caller's context for `drain`; False if it was dropped."""
        with self._lock:
            if len(self._waiting) >= self.capacity:
                self.dropped += 1
                return False
            self._waiting.append((contextvars.copy_context(), run))
            return True

    def spawn(self, run: Callable[[], Awaitable[None]]) -> bool:
        """Run in the background of the running loop; False if it was dropped."""
        if len(self._tasks) >= self.capacity:
            with self._lock:
                self.dropped += 1
            return False
        task = asyncio.ensure_future(_guarded(run))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True

    def drain(self) -> int:
        """Run what has been queued so far, in order; return how many ran."""
        done = 0
        for _ in range(len(self._waiting)):
            with self._lock:
                if not self._waiting:
                    break
                context, run = self._waiting.popleft()
            context.run(run)
            done += 1
        return done

    async def join(self) -> None:
        """Wait for the background tasks of the running loop."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def take_dropped(self) -> int:
        """Return how many were dropped since last asked."""
        with self._lock:
            dropped, self.dropped = self.dropped, 0
        return dropped


async def _guarded(run: Callable[[], Awaitable[None]]) -> None:
    await run()
