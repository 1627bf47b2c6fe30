"""One plugin's implementation of one hook, and how it has behaved."""

from __future__ import annotations

import inspect
import logging
import threading

from collections.abc import Callable, Mapping
from typing import TypeVar

import attrs

from ..exceptions import PluginError
from .admission import Implementation
from .answers import Answer, Timing
from .deadline import Deadline
from .wording import NoAnswerError, StillHangingError, WrongAnswerError, brief, line


T = TypeVar("T")
Write = Callable[[str], object]

_log = logging.getLogger("legion")

THE_HOSTS = (KeyboardInterrupt, GeneratorExit)
"""
What goes through the fence, as it is meant for whoever runs the host.

Neither `SystemExit` nor `asyncio.CancelledError` is here. A hook is called synchronously,
so a cancellation of the host's own task never arises inside of it.
"""


@attrs.define(eq=False)
class Terms:
    """
    What holds for all calls.

    Attributes:
        timer: Machine time in seconds.
        quarantine_after: Failures in a row after which a plugin is left out.
        write: Takes a line for each call, or None.
    """

    timer: Callable[[], float]
    quarantine_after: int
    write: Write | None = None

    def trace(self, plugin: str, hook: str, took_s: float | None, said: str) -> None:
        """Write one line; a writer that raises is not asked again."""
        if (write := self.write) is None:
            return
        took = "not called" if took_s is None else f"{took_s * 1e3:.3f} ms"
        try:
            write(f"{hook} {plugin} {took} {said}")
        except Exception:  # noqa: BLE001 - a trace must not break what it watches
            self.write = None
            _log.warning("the trace's writer raised; tracing is off", exc_info=True)


@attrs.define(eq=False)
class Seat:
    """
    One implementation of one hook.

    Attributes:
        plugin: Name of the plugin.
        implementation: What is called.
        terms: What holds for all calls.
        deadline: How long it may take, or None where it is called inline.
        barred: Why it is in quarantine, or None.
    """

    plugin: str
    implementation: Implementation
    terms: Terms
    deadline: Deadline | None = None
    barred: str | None = None
    _failures: int = attrs.field(default=0, init=False)
    _calls: int = attrs.field(default=0, init=False)
    _errors: int = attrs.field(default=0, init=False)
    _total_s: float = attrs.field(default=0.0, init=False)
    _worst_s: float = attrs.field(default=0.0, init=False)
    _lock: threading.Lock = attrs.field(factory=threading.Lock, init=False)

    @property
    def hook(self) -> str:
        """Name of the hook."""
        return self.implementation.hook

    @property
    def timing(self) -> Timing:
        """What its calls have cost so far."""
        with self._lock:
            return Timing(
                calls=self._calls,
                errors=self._errors,
                total_s=self._total_s,
                worst_s=self._worst_s,
            )

    def ask(
        self, given: Mapping[str, object], read: Callable[[object], T]
    ) -> Answer[T] | None:
        """
        Return the answer, None for no opinion; whatever the plugin raises stays here.

        Only what the host is stopped by goes on: see `THE_HOSTS`.

        Args:
            given: All arguments of the hook; the implementation gets those it names.
            read: Checks what came back, and raises where it is of no use.
        """
        if (barred := self.barred) is not None:
            self.terms.trace(self.plugin, self.hook, None, barred)
            return Answer(plugin=self.plugin, error=barred)
        try:
            value = self.call(given, read)
        except THE_HOSTS:
            raise
        except StillHangingError as error:
            return Answer(plugin=self.plugin, error=line(error))
        except BaseException as error:  # noqa: BLE001 - this is the fence
            return Answer(plugin=self.plugin, error=self._failed(error))
        self._failures = 0
        return None if value is None else Answer(plugin=self.plugin, value=value)

    def demand(
        self, given: Mapping[str, object], read: Callable[[object], T]
    ) -> T | None:
        """
        Return the answer, or None for no opinion.

        Raises:
            PluginError: It raised whatever it may be, or its answer is of no use.
        """
        try:
            return self.call(given, read)
        except THE_HOSTS:
            raise
        except BaseException as error:
            raise PluginError(self.plugin, line(error), hook=self.hook) from error

    def call(
        self, given: Mapping[str, object], read: Callable[[object], T]
    ) -> T | None:
        """Call it and let it raise; what it cost is noted all the same."""
        if self.deadline is not None:
            self._check(self.deadline)
        timer = self.terms.timer
        start = timer()
        try:
            if self.deadline is None:
                value = self._answer(given, read)
            else:
                value = self.deadline.run(lambda: self._answer(given, read))
        except BaseException as error:
            took_s = timer() - start
            self._note(took_s, failed=True)
            if self.terms.write is not None:
                self.terms.trace(self.plugin, self.hook, took_s, line(error))
            raise
        took_s = timer() - start
        self._note(took_s, failed=False)
        if self.terms.write is not None:
            self.terms.trace(self.plugin, self.hook, took_s, brief(value))
        return value

    def _check(self, deadline: Deadline) -> None:
        try:
            deadline.check()
        except StillHangingError as error:
            self.terms.trace(self.plugin, self.hook, None, line(error))
            raise

    def release(self) -> None:
        """Lift the quarantine and forget the failures."""
        with self._lock:
            self.barred, self._failures = None, 0

    def _answer(
        self, given: Mapping[str, object], read: Callable[[object], T]
    ) -> T | None:
        one = self.implementation
        args = [given[name] for name in one.positional]
        if one.keyword:
            value = one.function(*args, **{name: given[name] for name in one.keyword})
        else:
            value = one.function(*args)
        if value is None:
            return None
        if inspect.iscoroutine(value):
            value.close()
            msg = "returned a coroutine; hooks are synchronous, write a plain def"
            raise WrongAnswerError(msg)
        return read(value)

    def _note(self, took_s: float, *, failed: bool) -> None:
        with self._lock:
            self._calls += 1
            self._errors += failed
            self._total_s += took_s
            self._worst_s = max(self._worst_s, took_s)

    def _failed(self, error: BaseException) -> str:
        said = line(error)
        _log.warning(
            "plugin %r, hook %s: %s", self.plugin, self.hook, said, exc_info=error
        )
        if self._bar(said, hung=isinstance(error, NoAnswerError)):
            _log.warning(
                "plugin %r, hook %s: in quarantine; release(%r) lifts it",
                self.plugin,
                self.hook,
                self.plugin,
            )
        return said

    def _bar(self, said: str, *, hung: bool) -> bool:
        """Count a failure, and tell whether it is the one that leads to quarantine."""
        with self._lock:
            self._failures += 1
            n = self._failures
            enough = hung or n >= self.terms.quarantine_after
            if self.barred is not None or not enough:
                return False
            often = "once" if n == 1 else f"{n} times in a row"
            why = said if hung else f"failed {often}: {said}"
            self.barred = f"in quarantine: {why}"
            return True
