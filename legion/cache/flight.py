"""One computation for all who wait for the same answer."""

from __future__ import annotations

import asyncio

from collections.abc import Awaitable, Callable, Hashable
from concurrent.futures import Future
from threading import Lock
from typing import Generic, TypeVar

import attrs


V = TypeVar("V")


@attrs.define(eq=False)
class SingleFlight(Generic[V]):
    """
    Lets one caller compute what others with the same key wait for.

    An exception goes to everybody who waits, and is not kept. A waiter that is
    cancelled leaves the computation and the other waiters alone.
    """

    _futures: dict[Hashable, Future[V]] = attrs.field(init=False, factory=dict)
    _tasks: dict[Hashable, asyncio.Task[V]] = attrs.field(init=False, factory=dict)
    _lock: Lock = attrs.field(init=False, factory=Lock)

    def run(self, key: Hashable, compute: Callable[[], V]) -> V:
        """Return the result of the call under way for *key*, or of *compute*."""
        with self._lock:
            future = self._futures.get(key)
            first = future is None
            if future is None:
                future = self._futures[key] = Future()
        if not first:
            return future.result()
        try:
            value = compute()
        except BaseException as error:
            self._forget(key)
            future.set_exception(error)
            raise
        self._forget(key)
        future.set_result(value)
        return value

    def _forget(self, key: Hashable) -> None:
        with self._lock:
            self._futures.pop(key, None)

    async def arun(self, key: Hashable, compute: Callable[[], Awaitable[V]]) -> V:
        """Do as `run` does, on the running loop."""
        place = (id(asyncio.get_running_loop()), key)
        task = self._tasks.get(place)
        if task is None:
            task = asyncio.ensure_future(_await(compute))
            self._tasks[place] = task
            task.add_done_callback(lambda _: self._tasks.pop(place, None))
        return await asyncio.shield(task)


async def _await(compute: Callable[[], Awaitable[V]]) -> V:
    return await compute()
