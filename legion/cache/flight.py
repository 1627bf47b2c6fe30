"""One computation for all who wait for the same answer."""

from __future__ import annotations

import asyncio
import threading

from collections.abc import Awaitable, Callable, Hashable
from concurrent import futures
from functools import partial
from typing import Generic, TypeVar

import attrs

from .aloft import Aloft, Near
from .fork import Order, anew_after_fork, over_fork
from .waiting import Flight, RingError, Wait, computing, follow, running_loop, wait_for


T = TypeVar("T")

# An answer that may not even do is not waited for longer. It also ends a ring that no
# context shows: a computation whose own thread pool asks a paraphrase.
PATIENCE_S = 30.0


class _AbandonedError(Exception):
    """Whoever computed was stopped; those who wait try again themselves."""


@attrs.define(eq=False)
class SingleFlight(Generic[T]):
    """
    Lets one caller compute what others who ask by the same key wait for.

    Threads and tasks of any loop wait for each other. An exception goes to all who
    wait and is not kept. A waiter that is cancelled leaves the others alone, the first
    one too; when the last is gone, the computation is cancelled. A ring of computations
    that wait for each other is refused to the one that would close it, through whatever
    caches it goes; code that runs in a thread of its own belongs to a computation only
    if it carries its context, as `asyncio.to_thread` does.

    A computation may `follow` one of nearly the same question. It never closes a ring
    by that: whoever would then wait for itself computes alone.
    """

    _flights: dict[Hashable, Flight[T]] = attrs.field(init=False, factory=dict)
    _aloft: Aloft[T] = attrs.field(init=False, factory=Aloft)
    _lock: threading.Lock = attrs.field(
        init=False, factory=partial(over_fork, Order.FLIGHTS, threading.Lock)
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
                return flight.landed.result()
            except _AbandonedError:
                continue
            finally:
                self._leave(flight, wait)

    def _compute(self, flight: Flight[T], compute: Callable[[Flight[T]], T]) -> T:
        token = computing.set(flight)  # type: ignore[arg-type]
        try:
            answer = compute(flight)
        except BaseException as error:
            self._land(flight, error)
            raise
        finally:
            computing.reset(token)
        self._land(flight, None)
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
            try:
                return await asyncio.shield(_wrapped(flight))
            except _AbandonedError:
                if first:
                    raise asyncio.CancelledError from None
            finally:
                self._leave(flight, wait)

    async def _acompute(
        self, flight: Flight[T], compute: Callable[[Flight[T]], Awaitable[T]]
    ) -> None:
        computing.set(flight)  # type: ignore[arg-type]
        try:
            answer = await compute(flight)
        except Exception as error:  # noqa: BLE001 - it goes to those who wait
            self._land(flight, error)
        except BaseException as error:
            self._land(flight, error)
            raise
        else:
            self._land(flight, None)
            flight.landed.set_result(answer)

    def follow(self, flight: Flight[T], near: Near) -> bool:
        """
        Wait, for a while, for the answer under way that may do for *flight* too.

        Until *flight* has landed, others may follow it where it found none. An
        exception of the one that is followed is raised here.

        Returns:
            Whether it waited; then `announce` it if the answer does not do.
        """
        followed = False
        while (wait := self._find(flight, near)) is not None:
            leader, waits = wait
            try:
                if near.served():
                    return followed
                followed = True
                futures.wait([leader.landed], PATIENCE_S)
                return _looked_at(leader)
            except _AbandonedError:
                continue
            finally:
                self._leave(leader, waits)
        return followed

    async def afollow(self, flight: Flight[T], near: Near) -> bool:
        """Do as `follow` does, without blocking the loop."""
        followed = False
        while (wait := self._find(flight, near)) is not None:
            leader, waits = wait
            try:
                if near.served():
                    return followed
                followed = True
                await asyncio.wait([_wrapped(leader)], timeout=PATIENCE_S)
                return _looked_at(leader)
            except _AbandonedError:
                continue
            finally:
                self._leave(leader, waits)
        return followed

    def announce(self, flight: Flight[T], near: Near) -> None:
        """Let others follow *flight*."""
        with self._lock:
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
            self._aloft.add(flight, near)
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
            flight = Flight(key, loop)
            wait = wait_for(flight, blocking=False)
            wait.begin()
            # Whoever would close a ring computes beside the one on the table.
            self._flights.setdefault(key, flight)
            return flight, wait, True

    def _land(self, flight: Flight[T], error: BaseException | None) -> None:
        """Take *flight* off the table, so that who comes now starts anew."""
        with self._lock:
            self._take_off(flight)
        if isinstance(error, Exception):
            flight.landed.set_exception(error)
        elif error is not None:
            flight.landed.set_exception(_AbandonedError())

    def _leave(self, flight: Flight[T], wait: Wait) -> None:
        wait.end()
        with self._lock:
            flight.waiting -= 1
            task, loop = flight.task, flight.loop
            if flight.waiting or flight.landed.done() or task is None or loop is None:
                return
            self._take_off(flight)
        if not loop.is_closed():
            loop.call_soon_threadsafe(task.cancel)

    def _take_off(self, flight: Flight[T]) -> None:
        if self._flights.get(flight.key) is flight:
            del self._flights[flight.key]
        self._aloft.discard(flight)


def _looked_at(leader: Flight[T]) -> bool:
    """Raise what *leader* raised, if it has landed; True."""
    if leader.landed.done():
        leader.landed.result()
    return True


def _wrapped(flight: Flight[T]) -> asyncio.Future[T]:
    landed = asyncio.wrap_future(flight.landed)
    landed.add_done_callback(_retrieve)
    return landed


def _retrieve(landed: asyncio.Future[T]) -> None:
    """Look at the exception, lest asyncio complain of one whose waiter is gone."""
    if not landed.cancelled():
        landed.exception()
