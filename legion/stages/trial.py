"""One unit's turn in a rollout: which arm, how long, and how it ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from types import TracebackType
from typing import Protocol, Self

import attrs

from ..metrics import WITHOUT_TOOLS
from ..model import Arm, Clock
from ..telemetry import (
    BEGAN,
    CANCELLED,
    FAILED,
    INTERRUPTED,
    NAMES,
    SUCCEEDED,
    TRIAL,
    WITHIN,
    Event,
)
from ..tools import Calls, Fence, Run, current_run, runs, under_way
from .exposure import Exposure
from .plan import Feature


_MAKING = Lock()


class Recording(Protocol):
    """What a trial needs of telemetry."""

    @property
    def record(self) -> Callable[[Event], object]:
        """Take an event without waiting."""
        ...

    def event(
        self,
        metric: str,
        arm: Arm,
        unit: int,
        flag: bool,  # noqa: FBT001 - reads as a word
        *,
        exposure: str = "",
    ) -> None:
        """Record one opportunity of *metric*, and whether the event happened."""
        ...

    def score(
        self, metric: str, arm: Arm, unit: int, value: float, *, exposure: str = ""
    ) -> None:
        """Record a value of *metric*."""
        ...

    def add(
        self, metric: str, arm: Arm, n: int = 1, *, unit: int = 0, exposure: str = ""
    ) -> None:
        """Add *n* to the counter *metric*."""
        ...

    def refuse(self, metric: str, arm: Arm, why: str, *, exposure: str = "") -> None:
        """Record that a value of *metric* could not be had."""
        ...

    def make_room(self) -> None:
        """Fold some of what waits, if too much does and nobody else folds."""
        ...


def is_interruption(error: BaseException) -> bool:
    """
    Tell an interruption from a failure.

    A cancelled task, a closed generator and an exit are neither errors nor outcomes;
    nor is a graph that stops to ask a person, which LangGraph says by an exception.
    """
    if not isinstance(error, Exception):
        return True
    return any(
        kind.__name__ == "GraphBubbleUp" and kind.__module__.startswith("langgraph")
        for kind in type(error).__mro__
    )


@attrs.define(eq=False)
class Trial:
    """
    One unit's turn, as ``with`` or ``async with``.

    That its unit is exposed is recorded when the block begins; its latency, and whether
    it failed, when the block ends. An interruption has neither. Nothing that is recorded
    can raise: what cannot be read is named in the window's errors. Code inside the
    block, called functions included, has the features of its arm.

    Calls of marked tools are noted. Where the stage mirrors, so is the latency without
    the time in them, as a mirrored run's tools do not all run.

    Attributes:
        unit: The unit, as the host named it.
        arm: Which arm it gets.
        exposure: What was exposed when it began; a later move does not change it.
        place: The unit's hash, its place in the plan's fixed order.
        slices: In which slices of the plan it is, such as ``tenant=acme``.
        over: Whether it has ended.
    """

    unit: str
    arm: Arm
    exposure: Exposure
    place: int
    _telemetry: Recording = attrs.field(alias="telemetry")
    _clock: Clock = attrs.field(alias="clock")
    slices: tuple[str, ...] = ()
    over: bool = attrs.field(init=False, default=False)
    _entered: bool = attrs.field(init=False, default=False)
    _began_s: float = attrs.field(init=False, default=0.0)
    _failure: str | None = attrs.field(init=False, default=None)
    _outer: Run | None = attrs.field(init=False, default=None)
    _before: Run | None = attrs.field(init=False, default=None)
    _calls: Calls | None = attrs.field(init=False, default=None)

    @property
    def outer(self) -> Run | None:
        """The run in whose block this one began, of whichever plan."""
        return under_way(self._outer)

    @property
    def calls(self) -> Calls:
        """The calls of marked tools so far."""
        if self._calls is None:
            # Made late, since most trials of most hosts call none.
            with _MAKING:
                if self._calls is None:
                    self._calls = Calls(self._clock)
        return self._calls

    @property
    def fence(self) -> Fence | None:
        """None: what is asked of a tool is done."""
        return None

    def feature(self, name: str) -> Feature:
        """Return the flag and settings of a feature as this trial's arm has it."""
        return self.exposure.feature(name, self.arm)

    def fail(self, reason: str) -> None:
        """Count this trial as failed though nothing was raised."""
        self._failure = reason

    def event(self, metric: str, flag: bool) -> None:  # noqa: FBT001 - reads as a word
        """Record one opportunity of *metric*, and whether the event happened."""
        digest = self.exposure.digest
        self._telemetry.event(metric, self.arm, self.place, flag, exposure=digest)

    def score(self, metric: str, value: float) -> None:
        """Record a value of *metric*; times in seconds."""
        digest = self.exposure.digest
        self._telemetry.score(metric, self.arm, self.place, value, exposure=digest)

    def add(self, metric: str, n: int = 1) -> None:
        """Add *n* to the counter *metric*."""
        digest = self.exposure.digest
        self._telemetry.add(metric, self.arm, n, unit=self.place, exposure=digest)

    def _mark(self, value: str, at_s: float) -> None:
        arm, digest = NAMES[self.arm], self.exposure.digest
        self._telemetry.record((TRIAL, arm, self.place, digest, at_s, value))

    def __enter__(self) -> Self:
        if self._entered:
            # It would be its own outer one, and whoever asks for those never ends.
            msg = (
                f"trial: got {self.unit!r:.80} again; write engine.trial(...) each time"
            )
            raise RuntimeError(msg)
        self._entered = True
        self._outer = self._before = current_run.get()
        current_run.set(self)
        self._telemetry.make_room()
        self._began_s = began_s = self._clock.machine()
        self._mark(BEGAN, began_s)
        for name in self.slices:
            self._mark(f"{WITHIN}{name}", began_s)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        ended_s = self._clock.machine()
        self.over = True
        # Where it is not, a generator was closed in another context, or before one that
        # began later; what it leaves behind is over.
        if current_run.get() is self:
            current_run.set(self._before)
        # Or generators that overlap for ever would keep one another's alive.
        self._outer, self._before = self.outer, None
        if error is not None and self._calls is not None:
            self._calls.forget()  # There is no pair without an answer of control's.
        if error is not None and is_interruption(error):
            waits = isinstance(error, Exception)
            self._mark(INTERRUPTED if waits else CANCELLED, ended_s)
            return
        arm, digest, took_s = (
            NAMES[self.arm],
            self.exposure.digest,
            ended_s - self._began_s,
        )
        self._telemetry.record(("latency", arm, self.place, digest, ended_s, took_s))
        if self.exposure.mirror:
            if self._calls is not None:
                took_s -= min(took_s, self._calls.seconds(ended_s))
            event = (WITHOUT_TOOLS, arm, self.place, digest, ended_s, took_s)
            self._telemetry.record(event)
        failed = error is not None or self._failure is not None
        self._mark(FAILED if failed else SUCCEEDED, ended_s)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Give the word to whoever reads a part of the answer, in no part of this."""
        current_run.set(self._before)
        try:
            yield
        finally:
            # The next part may be asked for in another context than the last one.
            self._before = current_run.get()
            current_run.set(self)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.__exit__(kind, error, traceback)


def current_trial() -> Trial | None:
    """
    Return the innermost trial on whose behalf the running code acts, or None.

    In a mirrored run it is the candidate's, so that what code deep below records counts
    for the arm that runs it:

        trial = legion.current_trial()
        if trial is not None:
            trial.score("cost", 0.012)
    """
    # A generator may leave a trial behind that has ended, as the innermost one.
    return next(_under_way(), None)


def trial_of(plan: str, unit: str) -> Trial | None:
    """Return the innermost trial of *unit* in *plan* that the code acts for, or None."""
    wanted = (plan, unit)
    mine = (one for one in _under_way() if (one.exposure.plan, one.unit) == wanted)
    return next(mine, None)


def _under_way() -> Iterator[Trial]:
    return (run for run in runs() if isinstance(run, Trial) and not run.over)
