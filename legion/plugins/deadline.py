"""Calls that are given up after a while."""

from __future__ import annotations

import contextvars
import logging
import threading

from collections.abc import Callable
from typing import Generic, TypeVar

import attrs

from .wording import NoAnswerError, StillHangingError


T = TypeVar("T")

_log = logging.getLogger("legion")


@attrs.define(eq=False)
class _Call(Generic[T]):
    """One call in its own thread, and what became of it."""

    work: Callable[[], T]
    over: threading.Event = attrs.field(factory=threading.Event)
    value: T | None = None
    error: BaseException | None = None
    given_up: bool = False

    def run(self) -> None:
        try:
            self.value = self.work()
        except BaseException as error:  # noqa: BLE001 - the caller raises it
            self.error = error
        self.over.set()
        if self.given_up:
            _log.warning(
                "%s: a call that was given up has ended; what it said is dropped",
                threading.current_thread().name,
                exc_info=self.error,
            )


@attrs.define(eq=False)
class Deadline:
    """
    How long a plugin may take, and whether one of its calls still hangs.

    A Python thread cannot be stopped, only left alone. It is a daemon, so it does not
    keep the process alive, and while it hangs the plugin is not called again.

    Attributes:
        plugin: Name of the plugin.
        seconds: Machine time that a call may take.
    """

    plugin: str
    seconds: float
    _hung: list[threading.Event] = attrs.field(factory=list, init=False)
    _lock: threading.Lock = attrs.field(factory=threading.Lock, init=False)

    def check(self) -> None:
        """
        Refuse another call while one hangs.

        Raises:
            StillHangingError: One does.
        """
        if not self._hung:
            return
        with self._lock:
            self._hung = [over for over in self._hung if not over.is_set()]
            if self._hung:
                msg = f"was not called: an earlier call hangs beyond {self.seconds:g} s"
                raise StillHangingError(msg)

    def run(self, work: Callable[[], T]) -> T | None:
        """
        Return what *work* returns, run in a thread with the caller's context.

        Raises:
            NoAnswerError: It took too long.
            BaseException: Whatever *work* raises.
        """
        call = _Call(work)
        context = contextvars.copy_context()
        threading.Thread(
            target=context.run,
            args=(call.run,),
            name=f"legion plugin {self.plugin}",
            daemon=True,
        ).start()
        if not call.over.wait(self.seconds):
            call.given_up = True
            with self._lock:
                self._hung.append(call.over)
            msg = f"did not answer within {self.seconds:g} s"
            raise NoAnswerError(msg)
        if call.error is not None:
            raise call.error
        return call.value
