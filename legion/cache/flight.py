"""One computation for all who wait for the same answer."""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time

from collections.abc import Awaitable, Callable, Hashable, Iterator
from concurrent import futures
from contextlib import contextmanager
from functools import partial
from reprlib import repr as brief
from typing import Generic, TypeVar

import attrs

from .aloft import Aloft, Near
from .fork import Order, anew_after_fork, over_fork
from .waiting import Flight, RingError, Wait, computing, follow, running_loop, wait_for


logger = logging.getLogger("legion")

T = TypeVar("T")

# An answer that may not even do is not waited for longer. It also ends a ring that no
# context shows: a computation whose own thread pool asks a paraphrase.
PATIENCE_S = 30.0
# Longer than a slow model takes, as it is asked once more by then. It ends such a ring
# where it is the same question, and the wait for what hangs.
OVERDUE_S = 120.0
# So often a waiter looks whether the loop that computes was closed.
_LOOK_S = 1.0


class _AbandonedError(Exception):
    """Whoever computed was stopped; those who wait try again themselves."""


@attrs.define(eq=False)
class SingleFlight(Generic[T]):
    """
    Lets one caller compute what others who ask by the same key wait for.

    Threads and tasks of any loop wait for each other. An exception goes to all who
    wait and is not kept. A waiter that is cancelled leaves the others alone, the first
    one too; when the last is gone, the computation is cancelled. One whose loop was
    closed is begun anew by those who wait. A ring of computations that wait for each
    other is refused to the one that would close it, through whatever caches it goes;
    code that runs in a thread of its own belongs to a computation only if it carries
    its context, as `asyncio.to_thread` does. So whatever takes longer than `OVERDUE_S`
    is computed by one of those who wait, too, and one more each time that this is over:
    all get what is there first.

    A computation may `follow` one of nearly the same question. It never closes a ring
    by that: whoever would then wait for itself computes alone.
    """

    _flights: dict[Hashable, Flight[T]] = attrs.field(init=False, factory=dict)
    _aloft: Aloft[T] = attrs.field(init=False, factory=Aloft)
    # A coroutine that is collected, its loop closed, may come back to land.
    _lock: threading.RLock = attrs.field(
        init=False, factory=partial(over_fork, Order.FLIGHTS, threading.RLock)
    )

    def __attrs_post_init__(self) -> None:
        anew_after_fork(self)

    def begin_anew(self) -> None:
        """Forget what is computed by threads that did not come into this process."""
        self._flights.clear()
        self._aloft = Aloft()

    def run(self, key: Hashable, compute: Callable[[Flight[T]], T]) -> T:
        """
        Return the answer of the computation under way for *key*, or of *compute*.

        Raises:
            RuntimeError: It would wait for itself, or for one that waits for it.
        """
        while True:
            flight, wait, first = self._join(key, None)
            try:
                if first:
                    return self._compute(flight, compute)
                while not self._wait(flight, flight.overdue_s):
                    if self._relieves(flight):
                        return self._compute(flight, compute, beside=True)
                return flight.landed.result()
            except _AbandonedError:
                continue
            finally:
                self._leave(flight, wait)

    def _compute(
        self,
        flight: Flight[T],
        compute: Callable[[Flight[T]], T],
        *,
        beside: bool = False,
    ) -> T:
        token = computing.set(flight)  # type: ignore[arg-type]
        try:
            with self._landing(flight, beside=beside):
                answer = compute(flight)
        finally:
            computing.reset(token)
        if self._lands(flight):
            flight.landed.set_result(answer)
        return answer

    async def arun(
        self, key: Hashable, compute: Callable[[Flight[T]], Awaitable[T]]
    ) -> T:
        """Do as `run` does, without blocking the loop."""
        loop = asyncio.get_running_loop()
        while True:
            flight, wait, first = self._join(key, loop)
            if first:
                flight.task = loop.create_task(self._acompute(flight, compute))
                flight.task.add_done_callback(_retrieve)
            try:
                while not await self._await(
                    flight, math.inf if first else flight.overdue_s
                ):
                    if self._relieves(flight):
                        beside = self._acompute(flight, compute, beside=True)
                        return await loop.create_task(beside)
                return flight.landed.result()
            except _AbandonedError:
                if first:
                    raise asyncio.CancelledError from None
            finally:
                self._leave(flight, wait)

    async def _acompute(
        self,
        flight: Flight[T],
        compute: Callable[[Flight[T]], Awaitable[T]],
        *,
        beside: bool = False,
    ) -> T:
        """Compute in a task of its own, whose context is no one else's."""
        computing.set(flight)  # type: ignore[arg-type]
        with self._landing(flight, beside=beside):
            answer = await compute(flight)
        if self._lands(flight):
            flight.landed.set_result(answer)
        return answer

    def follow(self, flight: Flight[T], near: Near) -> bool:
        """
        Wait, for a while, for the answer under way that may do for *flight* too.

        Until *flight* has landed, others may follow it where it found none. An
        exception of the one that is followed is its own.

        Returns:
            Whether it waited; then `announce` it if the answer does not do.
        """
        followed = False
        while (found := self._find(flight, near)) is not None:
            leader, wait = found
            try:
                if near.served():
                    return followed
                followed = True
                self._wait(leader, time.monotonic() + PATIENCE_S)
                if not _abandoned(leader):
                    return followed
            finally:
                self._leave(leader, wait)
        return followed

    async def afollow(self, flight: Flight[T], near: Near) -> bool:
        """Do as `follow` does, without blocking the loop."""
        followed = False
        while (found := self._find(flight, near)) is not None:
            leader, wait = found
            try:
                if near.served():
                    return followed
                followed = True
                await self._await(leader, time.monotonic() + PATIENCE_S)
                if not _abandoned(leader):
                    return followed
            finally:
                self._leave(leader, wait)
        return followed

    def announce(self, flight: Flight[T], near: Near) -> None:
        """Let others follow *flight*, until it has landed."""
        with self._lock:
            if not flight.over:
                self._aloft.add(flight, near)

    def _find(self, flight: Flight[T], near: Near) -> tuple[Flight[T], Wait] | None:
        """Join the one to follow, or else announce *flight*, in one step."""
        # A loop that stands still for an answer that may not even do is not worth it.
        blocks = flight.loop is None and running_loop() is not None
        with self._lock:
            leader = None if blocks else self._aloft.nearest(near)
            if leader is not None:
                wait = follow(flight, leader)
                try:
                    wait.begin()
                except RingError:
                    leader = None
                else:
                    leader.waiting += 1
                    return leader, wait
            self.announce(flight, near)
            return None

    def _join(
        self, key: Hashable, loop: asyncio.AbstractEventLoop | None
    ) -> tuple[Flight[T], Wait, bool]:
        with self._lock:
            flight = self._flights.get(key)
            if flight is not None:
                wait = wait_for(flight, blocking=loop is None)
                try:
                    wait.begin()
                except RingError as ring:
                    if not ring.optional:
                        raise RuntimeError(str(ring)) from None
                else:
                    flight.waiting += 1
                    return flight, wait, False
            flight = Flight(key, loop, time.monotonic() + OVERDUE_S)
            wait = wait_for(flight, blocking=False)
            wait.begin()
            # Whoever would close a ring computes beside the one on the table.
            self._flights.setdefault(key, flight)
            return flight, wait, True

    def _wait(self, flight: Flight[T], until_s: float) -> bool:
        """Wait for *flight* until that machine time, and say whether it has landed."""
        for nap_s in self._naps(flight, until_s):
            futures.wait([flight.landed], nap_s)
        return flight.landed.done()

    async def _await(self, flight: Flight[T], until_s: float) -> bool:
        """Do as `_wait` does, without blocking the loop."""
        landed = asyncio.wrap_future(flight.landed)
        landed.add_done_callback(_retrieve)
        for nap_s in self._naps(flight, until_s):
            await asyncio.wait([landed], timeout=nap_s)
        return flight.landed.done()

    def _naps(self, flight: Flight[T], until_s: float) -> Iterator[float | None]:
        """Yield how long to wait for *flight* before looking again, or None for ever."""
        # One's own loop is not closed while one waits in it.
        elsewhere = flight.loop is not None and flight.loop is not running_loop()
        while True:
            if flight.lost:
                self._abandon(flight)
            left_s = until_s - time.monotonic()
            if flight.landed.done() or left_s <= 0:
                return
            nap_s = min(left_s, _LOOK_S) if elsewhere else left_s
            yield nap_s if nap_s < math.inf else None

    def _relieves(self, flight: Flight[T]) -> bool:
        """Whether who waits for *flight* is to compute beside it, as it is overdue."""
        with self._lock:
            now_s = time.monotonic()
            if flight.over or now_s < flight.overdue_s:
                return False
            flight.overdue_s = now_s + OVERDUE_S
        logger.warning(
            "cache: %s is computed for more than %.0f s; one who waits computes it, too",
            brief(flight.key),
            OVERDUE_S,
        )
        return True

    @contextmanager
    def _landing(self, flight: Flight[T], *, beside: bool) -> Iterator[None]:
        """Let those who wait have an exception, and try again where it is a stop."""
        try:
            yield
        except Exception as error:
            if self._lands(flight):
                flight.landed.set_exception(_for_others(error))
            raise
        except BaseException:
            if not beside:
                self._abandon(flight)
            raise

    def _abandon(self, flight: Flight[T]) -> None:
        if self._lands(flight):
            flight.landed.set_exception(_AbandonedError())

    def _lands(self, flight: Flight[T]) -> bool:
        """Take *flight* off the table, and say whether it has not landed before."""
        with self._lock:
            self._take_off(flight)
            first, flight.over = not flight.over, True
            return first

    def _leave(self, flight: Flight[T], wait: Wait) -> None:
        wait.end()
        with self._lock:
            flight.waiting -= 1
            task, loop = flight.task, flight.loop
            if flight.waiting or flight.over or task is None or loop is None:
                return
            self._take_off(flight)
        if not loop.is_closed():
            loop.call_soon_threadsafe(task.cancel)

    def _take_off(self, flight: Flight[T]) -> None:
        if self._flights.get(flight.key) is flight:
            del self._flights[flight.key]
        self._aloft.discard(flight)


def _abandoned(flight: Flight[T]) -> bool:
    landed = flight.landed
    return landed.done() and isinstance(landed.exception(), _AbandonedError)


def _for_others(error: Exception) -> Exception:
    """Return what a future can take, so that all who wait wake up."""
    if not isinstance(error, StopIteration):
        return error
    raised = RuntimeError("cache: the computation of an answer raised StopIteration")
    raised.__cause__ = error
    return raised


def _retrieve(landed: asyncio.Future[T]) -> None:
    """Look at the exception, lest asyncio complain of one whose waiter is gone."""
    if not landed.cancelled():
        landed.exception()
