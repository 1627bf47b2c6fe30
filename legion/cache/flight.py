"""One computation for all who wait for the same answer."""

from __future__ import annotations

import asyncio
import threading

from collections.abc import Awaitable, Callable, Hashable
from concurrent.futures import Future
from contextvars import ContextVar
from typing import Generic, TypeVar

import attrs


T = TypeVar("T")


class _AbandonedError(Exception):
    """Whoever computed was stopped; those who wait try again themselves."""


@attrs.define(eq=False)
class _Flight(Generic[T]):
    """One computation under way, in a thread or, with a loop, in a task."""

    loop: asyncio.AbstractEventLoop | None
    landed: Future[T] = attrs.field(init=False, factory=Future)
    waiting: int = attrs.field(init=False, default=1)
    task: asyncio.Task[None] | None = attrs.field(init=False, default=None)


_computing: ContextVar[frozenset[_Flight[object]]] = ContextVar(
    "legion_computing", default=frozenset()
)


@attrs.define(eq=False)
class SingleFlight(Generic[T]):
    """
    Lets one caller compute what others who ask by the same key wait for.

    Threads and tasks of any loop wait for each other. An exception goes to all who
    wait and is not kept. A waiter that is cancelled leaves the others alone, the first
    one too; when the last is gone, the computation is cancelled.
    """

    _flights: dict[Hashable, _Flight[T]] = attrs.field(init=False, factory=dict)
    _lock: threading.Lock = attrs.field(init=False, factory=threading.Lock)

    def run(self, key: Hashable, compute: Callable[[], T]) -> T:
        """
        Return the answer of the computation under way for *key*, or of *compute*.

        Raises:
            RuntimeError: It would wait for itself.
        """
        while True:
            flight, first = self._join(key, None)
            if first:
                return self._compute(key, flight, compute)
            try:
                return flight.landed.result()
            except _AbandonedError:
                continue
            finally:
                self._leave(key, flight)

    def _compute(
        self, key: Hashable, flight: _Flight[T], compute: Callable[[], T]
    ) -> T:
        token = _computing.set(_computing.get() | {flight})  # type: ignore[arg-type]
        try:
            answer = compute()
        except BaseException as error:
            self._land(key, flight, error)
            raise
        finally:
            _computing.reset(token)
        self._land(key, flight, None)
        flight.landed.set_result(answer)
        return answer

    async def arun(self, key: Hashable, compute: Callable[[], Awaitable[T]]) -> T:
        """Do as `run` does, without blocking the loop."""
        loop = asyncio.get_running_loop()
        while True:
            flight, first = self._join(key, loop)
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
                self._leave(key, flight)

    async def _acompute(
        self, key: Hashable, flight: _Flight[T], compute: Callable[[], Awaitable[T]]
    ) -> None:
        _computing.set(_computing.get() | {flight})  # type: ignore[arg-type]
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
    ) -> tuple[_Flight[T], bool]:
        with self._lock:
            flight = self._flights.get(key)
            if flight is None:
                flight = self._flights[key] = _Flight(loop)
                return flight, True
            _refuse_deadlock(flight, loop)
            flight.waiting += 1
            return flight, False

    def _land(
        self, key: Hashable, flight: _Flight[T], error: BaseException | None
    ) -> None:
        """Take *flight* off the table, so that who comes now starts anew."""
        with self._lock:
            if self._flights.get(key) is flight:
                del self._flights[key]
        if isinstance(error, Exception):
            flight.landed.set_exception(error)
        elif error is not None:
            flight.landed.set_exception(_AbandonedError())

    def _leave(self, key: Hashable, flight: _Flight[T]) -> None:
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


def _refuse_deadlock(
    flight: _Flight[T], loop: asyncio.AbstractEventLoop | None
) -> None:
    if flight in _computing.get():
        msg = (
            "cache: the computation of an answer asks the cache for that same answer; "
            "compute it without get_or_compute of the same question and scope"
        )
        raise RuntimeError(msg)
    if loop is None and flight.loop is not None and flight.loop is _running_loop():
        msg = (
            "cache: get_or_compute would block the event loop that is computing this "
            "answer; write await aget_or_compute"
        )
        raise RuntimeError(msg)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
