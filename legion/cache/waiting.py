"""Who waits for whom, lest computations wait for each other for ever."""

from __future__ import annotations

import asyncio
import threading

from collections import deque
from collections.abc import Hashable, Iterator
from concurrent.futures import Future
from contextvars import ContextVar
from itertools import pairwise
from reprlib import repr as brief
from typing import Generic, TypeVar

import attrs

from .fork import Order, over_fork


T = TypeVar("T")


@attrs.define(eq=False)
class Flight(Generic[T]):
    """
    One computation under way, in a thread or, with a loop, in a task.

    Attributes:
        key: What is computed.
        loop: The loop of its task, or None.
        overdue_s: Machine time from which one of those who wait computes it, too.
        landed: Its answer, once there is one.
        waiting: How many wait for it, the one who asked first included.
        over: Whether it has landed, or somebody is about to land it.
        task: Its task, or None.
        awaits: What it waits for itself; more than one where its tasks do.
        follows: Those of them whose answer may do for it too.
    """

    key: Hashable
    loop: asyncio.AbstractEventLoop | None
    overdue_s: float
    landed: Future[T] = attrs.field(init=False, factory=Future)
    waiting: int = attrs.field(init=False, default=1)
    over: bool = attrs.field(init=False, default=False)
    task: asyncio.Task[T] | None = attrs.field(init=False, default=None)
    awaits: list[Flight[object]] = attrs.field(init=False, factory=list)
    follows: list[Flight[object]] = attrs.field(init=False, factory=list)

    @property
    def lost(self) -> bool:
        """Whether its loop was closed, so that its task never goes on."""
        return self.loop is not None and self.loop.is_closed()


computing: ContextVar[Flight[object] | None] = ContextVar(
    "legion_computing", default=None
)
"""The innermost computation that the running code is part of."""


class RingError(RuntimeError):
    """
    Waiting would close a ring of computations, so none of them would ever come.

    Attributes:
        optional: Whether one of them only waits for an answer that may do for it too,
            so that nobody did anything wrong.
    """

    def __init__(self, message: str, *, way: tuple[Flight[object], ...]) -> None:
        super().__init__(message)
        self.optional = any(other in one.follows for one, other in pairwise(way))


# One for all caches, as a ring may go through several. Nobody waits while holding it; a
# coroutine that is collected meanwhile may come back to say that its wait is over.
_lock = over_fork(Order.WAITS, threading.RLock)
_blocked: dict[asyncio.AbstractEventLoop, Flight[object]] = {}


@attrs.frozen
class Wait:
    """
    That one computation, or a loop that is blocked meanwhile, waits for another.

    Attributes:
        asker: Which one waits; None where nobody waits for who waits.
        flight: What for.
        loop: The loop that stands still until then, or None.
        follows: Whether it waits for an answer that may do for it too.
    """

    asker: Flight[object] | None
    flight: Flight[object]
    loop: asyncio.AbstractEventLoop | None
    follows: bool = False

    def begin(self) -> None:
        """
        Take note of it.

        Raises:
            RingError: It would close a ring.
        """
        if self.asker is None and self.loop is None:
            return
        with _lock:
            self._refuse_ring()
            if self.asker is not None:
                self.asker.awaits.append(self.flight)
                if self.follows:
                    self.asker.follows.append(self.flight)
            if self.loop is not None:
                _blocked[self.loop] = self.flight

    def end(self) -> None:
        """Take note that it is over."""
        if self.asker is None and self.loop is None:
            return
        with _lock:
            if self.asker is not None:
                self.asker.awaits.remove(self.flight)
                if self.follows:
                    self.asker.follows.remove(self.flight)
            if self.loop is not None:
                del _blocked[self.loop]

    def _refuse_ring(self) -> None:
        """Look where waiting for the flight leads, nearest first."""
        ways: deque[tuple[Flight[object], ...]] = deque([(self.flight,)])
        seen = {self.flight}
        while ways:
            way = ways.popleft()
            if way[-1] is self.asker:
                raise RingError(_ring(way), way=way)
            if self.loop is not None and way[-1].loop is self.loop:
                msg = (
                    "cache: get_or_compute would block the event loop that is computing"
                    f" {brief(way[-1].key)}; write await aget_or_compute"
                )
                raise RingError(msg, way=way)
            following = [f for f in _awaited(way[-1]) if f not in seen]
            seen.update(following)
            ways.extend((*way, one) for one in following)


def wait_for(flight: Flight[T], *, blocking: bool) -> Wait:
    """Return that the running code waits for *flight*, blocking its thread or not."""
    asker = computing.get()
    if asker is not None and asker.landed.done():
        asker = None  # a task that it left behind
    loop = running_loop() if blocking else None
    return Wait(asker, flight, loop)  # type: ignore[arg-type]


def follow(asker: Flight[T], leader: Flight[T]) -> Wait:
    """Return that *asker* waits for an answer that may do for it too."""
    return Wait(asker, leader, None, follows=True)  # type: ignore[arg-type]


def _awaited(flight: Flight[object]) -> Iterator[Flight[object]]:
    if flight.landed.done() or flight.lost:
        return
    yield from flight.awaits
    if flight.loop is not None and flight.loop in _blocked:
        yield _blocked[flight.loop]


def _ring(way: tuple[Flight[object], ...]) -> str:
    if len(way) == 1:
        return (
            "cache: the computation of an answer asks the cache for that same answer; "
            "compute it without get_or_compute of the same question and scope"
        )
    keys = " -> ".join(brief(flight.key) for flight in (way[-1], *way))
    return (
        f"cache: computations ask for each other's answers ({keys}), so none would"
        " ever come; compute one of them without get_or_compute of the next"
    )


def running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the loop that runs in this thread, or None."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
