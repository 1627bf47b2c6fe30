"""Mirrored requests: the candidate answers too, nobody sees it, both are compared."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
import logging
import threading

from collections import deque
from collections.abc import Awaitable, Callable
from threading import Event, Lock
from typing import TypeAlias

import attrs

from ..model import Clock


logger = logging.getLogger("legion")

_Tasks: TypeAlias = dict[asyncio.Task[None], Callable[[], object]]
"""Background tasks, and whom to tell where one does not come to its end."""


@attrs.define(eq=False)
class Mirror:
    """
    A bounded queue of mirrored runs.

    Under asyncio each runs as a background task of the loop that asked for it; plain
    code queues until `drain` is called, by ``host.tick()``, or a thread of a started
    host runs it. What does not fit is dropped; nobody waits for a mirror, and nothing
    that one raises gets any further, ``sys.exit()`` included. Only Ctrl-C does, in the
    main thread.

    Args:
        clock: Machine time, for the budget of `drain`.
        capacity: How many may wait or run at once.
        budget_s: Machine time after which `drain` begins no further run.
    """

    clock: Clock
    capacity: int = attrs.field(default=64, kw_only=True)
    budget_s: float = attrs.field(default=1.0, kw_only=True)
    _waiting: deque[tuple[contextvars.Context, Callable[[], object]]] = attrs.field(
        init=False, factory=deque
    )
    _tasks: dict[asyncio.AbstractEventLoop, _Tasks] = attrs.field(
        init=False, factory=dict
    )
    _lock: Lock = attrs.field(init=False, factory=Lock)

    def queue(self, run: Callable[[], object]) -> bool:
        """Keep *run* and the caller's context for `drain`; False if it was dropped."""
        with self._lock:
            if len(self._waiting) >= self.capacity:
                return False
            self._waiting.append((contextvars.copy_context(), run))
            return True

    def spawn(
        self,
        run: Callable[[], Awaitable[object]],
        *,
        dropped: Callable[[], object] = lambda: None,
    ) -> bool:
        """
        Run in the background of the running loop; False if it was dropped.

        Args:
            run: What to run.
            dropped: Called where it is dropped later on: it was cancelled, or its loop
                was closed, before it came to its end.
        """
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # a thread read the last part of an answer
            return False
        self._let_go()
        with self._lock:
            if sum(map(len, self._tasks.values())) >= self.capacity:
                return False
            task = loop.create_task(_fenced(run))
            # A loop that is closed while it runs has dropped it; that is no fault.
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            self._tasks.setdefault(loop, {})[task] = dropped
        task.add_done_callback(self._done)
        return True

    def _done(self, task: asyncio.Task[None]) -> None:
        with self._lock:
            tasks = self._tasks.get(task.get_loop(), {})
            dropped = tasks.pop(task, None)
            if not tasks:
                self._tasks.pop(task.get_loop(), None)
        if dropped is not None and task.cancelled():
            dropped()

    def _let_go(self) -> None:
        """Drop the tasks of loops that are closed: they will never go on."""
        with self._lock:
            closed = [loop for loop in self._tasks if loop.is_closed()]
            left = [one for loop in closed for one in self._tasks.pop(loop).items()]
        for task, dropped in left:
            coroutine = task.get_coro()
            if inspect.iscoroutine(coroutine):
                with contextlib.suppress(BaseException):
                    coroutine.close()
            dropped()

    def drain(self) -> int:
        """
        Run what has been queued so far, in order; return how many ran.

        No more than *capacity* of them, and none after *budget_s*: the rest waits for
        the next time. A run that has begun is not stopped; one that may hang needs a
        timeout of its own.
        """
        until_s = self.clock.machine() + self.budget_s
        self._let_go()
        done = 0
        for _ in range(len(self._waiting)):
            if not self._run_next():
                break
            done += 1
            if self.clock.machine() > until_s:
                break
        return done

    def serve(self, stop: Event) -> None:
        """Run what waits, one after the other, until nothing does or *stop* is set."""
        self._let_go()
        while not stop.is_set() and self._run_next():
            pass

    def _run_next(self) -> bool:
        with self._lock:
            if not self._waiting:
                return False
            context, run = self._waiting.popleft()
        try:
            context.run(run)
        except BaseException as error:  # noqa: BLE001 - whatever it is
            _swallow(error)
        return True

    async def join(self) -> None:
        """Wait for the background tasks of the running loop; others have their own."""
        loop = asyncio.get_running_loop()
        while tasks := list(self._tasks.get(loop, ())):
            await asyncio.gather(*tasks, return_exceptions=True)


async def _fenced(run: Callable[[], Awaitable[object]]) -> None:
    try:
        await run()
    except asyncio.CancelledError:
        raise
    except BaseException as error:  # noqa: BLE001 - whatever it is
        _swallow(error)


def _swallow(error: BaseException) -> None:
    """Log what a mirrored run raised; its trial has counted it where it is a failure."""
    here = threading.current_thread()
    if isinstance(error, KeyboardInterrupt) and here is threading.main_thread():
        raise error
    logger.debug("a mirrored run raised %s", type(error).__name__, exc_info=error)
