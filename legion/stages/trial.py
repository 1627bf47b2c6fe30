"""One unit's turn in a rollout: which arm, how long, and how it ended."""

from __future__ import annotations

import contextvars

from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self

import attrs

from ..model import Arm, Clock
from ..telemetry import NAMES, Event
from .exposure import Exposure
from .plan import Feature


current_arm: contextvars.ContextVar[Arm | None] = contextvars.ContextVar(
    "legion_arm", default=None
)
"""The arm on whose behalf the running code acts, or None outside a trial."""


class Recording(Protocol):
    """What a trial needs of telemetry."""

    @property
    def record(self) -> Callable[[Event], object]:
        """Take an event without waiting."""
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

    Its latency and its failure are recorded when the block ends; an interruption
    records neither. Code inside the block, called functions included, sees its arm.

    Attributes:
        unit: The unit, as the host named it.
        arm: Which arm it gets.
        exposure: What was exposed when it began; a later move does not change it.
        place: The unit's hash, its place in the plan's fixed order.
    """

    unit: str
    arm: Arm
    exposure: Exposure
    place: int
    _telemetry: Recording = attrs.field(alias="telemetry")
    _clock: Clock = attrs.field(alias="clock")
    _began_s: float = attrs.field(init=False, default=0.0)
    _at_s: float = attrs.field(init=False, default=0.0)
    _failure: str | None = attrs.field(init=False, default=None)
    _token: contextvars.Token[Arm | None] | None = attrs.field(init=False, default=None)

    def feature(self, name: str) -> Feature:
        """Return the flag and settings of a feature as this trial's arm has it."""
        return self.exposure.feature(name, self.arm)

    def fail(self, reason: str) -> None:
        """Count this trial as failed though nothing was raised."""
        self._failure = reason

    def event(self, metric: str, flag: bool) -> None:  # noqa: FBT001 - reads as a word
        """Record one opportunity of *metric*, and whether the event happened."""
        self._record(metric, flag)

    def score(self, metric: str, value: float) -> None:
        """Record a value of *metric*; times in seconds."""
        self._record(metric, float(value))

    def add(self, metric: str, n: int = 1) -> None:
        """Add *n* to the counter *metric*."""
        self._record(metric, int(n))

    def _record(self, metric: str, value: float) -> None:
        name, digest = NAMES[self.arm], self.exposure.digest
        self._telemetry.record((metric, name, self.place, digest, self._at_s, value))

    def __enter__(self) -> Self:
        self._token = current_arm.set(self.arm)
        self._at_s = self._clock.plan()
        self._began_s = self._clock.machine()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        took_s = self._clock.machine() - self._began_s
        if self._token is not None:
            # A generator that is finalised in another context cannot reset it there.
            # `contextlib.suppress` would cost a tenth of the whole trial.
            try:  # noqa: SIM105
                current_arm.reset(self._token)
            except ValueError:
                pass
        if error is not None and is_interruption(error):
            return
        self._record("latency", took_s)
        self._record("error_rate", error is not None or self._failure is not None)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.__exit__(kind, error, traceback)
