"""One computation for all who wait for the same answer."""

from __future__ import annotations

import asyncio
import threading

from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

import attrs

from .waiting import Flight, Wait, computing, wait_for


T = TypeVar("T")


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
    """

    _flights: dict[Hashable, Flight[T]] = attrs.field(init=False, factory=dict)
    _lock: threading.Lock = attrs.field(init=False, factory=threading.Lock)

    def run(self, key: Hashable, compute: Callable[[], T]) -> T:
        """
        Return the answer of the computation under way for *key*, or of *compute*.

        Raises:
            RuntimeError: It would wait for itself, or for one that waits for it.
        """
        while True:
            flight, wait, first = self._join(key, None)
            try:
                if first:
                    return self._compute(key, flight, compute)
                return flight.landed.result()
            except _AbandonedError:
                continue
            finally:
                self._leave(key, flight, wait)

    def _compute(self, key: Hashable, flight: Flight[T], compute: Callable[[], T]) -> T:
        token = computing.set(flight)  # type: ignore[arg-type]
        try:
            answer = compute()
        except BaseException as error:
            self._land(key, flight, error)
            raise
        finally:
            computing.reset(token)
        self._land(key, flight, None)
        flight.landed.set_result(answer)
        return answer

    async def arun(self, key: Hashable, compute: Callable[[], Awaitable[T]]) -> T:
        """Do as `run` does, without blocking the loop."""
        loop = asyncio.get_running_loop()
        while True:
            flight, wait, first = self._join(key, loop)
            if first:
                flight.task = loop.create_task(self._acompute(key, flight, compute))
            landed = asyncio.wrap_future(flight.landed)
            landed.add_done_callback(_retrieve)
            try:
                return await asyncio.shield(landed)
            except _AbandonedError:
                if first:
                    raise asyncio.CancelledError from None
            finally:
                self._leave(key, flight, wait)

    async def _acompute(
        self, key: Hashable, flight: Flight[T], compute: Callable[[], Awaitable[T]]
    ) -> None:
        computing.set(flight)  # type: ignore[arg-type]
        try:
            answer = await compute()
        except Exception as error:  # noqa: BLE001 - it goes to those who wait
            self._land(key, flight, error)
        except BaseException as error:
            self._land(key, flight, error)
            raise
        else:
            self._land(key, flight, None)
            flight.landed.set_result(answer)

    def _join(
        self, key: Hashable, loop: asyncio.AbstractEventLoop | None
    ) -> tuple[Flight[T], Wait, bool]:
        with self._lock:
            flight = self._flights.get(key)
            first = flight is None
            if flight is None:
                flight = Flight(key, loop)
            wait = wait_for(flight, blocking=loop is None and not first)
            wait.begin()
            if first:
                self._flights[key] = flight
            else:
                flight.waiting += 1
            return flight, wait, first

    def _land(
        self, key: Hashable, flight: Flight[T], error: BaseException | None
    ) -> None:
        """Take *flight* off the table, so that who comes now starts anew."""
        with self._lock:
            if self._flights.get(key) is flight:
                del self._flights[key]
        if isinstance(error, Exception):
            flight.landed.set_exception(error)
        elif error is not None:
            flight.landed.set_exception(_AbandonedError())

    def _leave(self, key: Hashable, flight: Flight[T], wait: Wait) -> None:
        wait.end()
        with self._lock:
            flight.waiting -= 1
            task, loop = flight.task, flight.loop
            if flight.waiting or flight.landed.done() or task is None or loop is None:
                return
            if self._flights.get(key) is flight:
                del self._flights[key]
        if not loop.is_closed():
            loop.call_soon_threadsafe(task.cancel)


def _retrieve(landed: asyncio.Future[T]) -> None:
    """Look at the exception, lest asyncio complain of one whose waiter is gone."""
    if not landed.cancelled():
        landed.exception()
