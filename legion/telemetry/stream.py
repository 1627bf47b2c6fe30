"""The hot path: an event is one append, and everything else happens later."""

from __future__ import annotations

import logging
import math
import operator

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from threading import Lock
from typing import TypeAlias

import attrs

from ..metrics import Metric
from ..model import Arm, Clock, Count, Gauge, Observation, Window
from .fold import NAMES, SELF, Event, Fold, Tally, by_name


logger = logging.getLogger("legion")

Sources: TypeAlias = Callable[
    [Arm], tuple[Mapping[str, Count | float], Mapping[str, str]]
]
"""Supplies the metrics of an arm that are not recorded, and why some are missing."""

_ROOM = 4
"""How many times its capacity the buffer holds, so that what is lost can be counted."""

_SLICE = 4096
"""How many events are folded at a time, so that little memory is held twice."""


class Telemetry:
    """
    Takes events without waiting and turns them into observations.

    `record` is the append of a bounded deque, handed out as it is: no lock, no call of
    legion's, no file. Whoever holds it may keep it. `drain` and `close` fold what waits
    into the open windows, one at a time; those who record never wait for them. Nor do
    they see an exception: what cannot be counted is named in the window's errors.

    An event holds strings and numbers only, so the garbage collector looks at it once,
    however long it waits; and the memory of a backlog is kept for the next one.

    More than *capacity* events between two folds are too many: the oldest are dropped,
    and the windows say how many. The buffer has room for four times as many, so the
    number is exact up to three times the capacity; beyond that the deque itself lets
    the oldest go, memory stays bounded, and the number is a lower bound.

    Args:
        clock: For when a window opens and closes.
        capacity: How many events may wait to be folded.
        metrics: Metrics that the plan declares, beside those of `legion.metrics`.

    Attributes:
        record: Takes an `Event`.

    Raises:
        ValueError: *capacity* is less than 1.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        capacity: int = 65_536,
        metrics: Iterable[Metric] = (),
    ) -> None:
        if capacity < 1:
            msg = f"telemetry: got capacity={capacity}; write 1 or more"
            raise ValueError(msg)
        self._clock = clock
        self._capacity = capacity
        self._events: deque[Event] = deque(maxlen=_ROOM * capacity)
        self.record: Callable[[Event], None] = self._events.append
        self._known = by_name(metrics)
        self._folding = Lock()
        self._fold = Fold(self._known)
        self._dropped = 0
        self._kept: deque[Event] = deque(maxlen=_ROOM * capacity // _SLICE + 1)
        self._opened_s = clock.plan()

    def latency(
        self, arm: Arm, unit: int, seconds: float, *, exposure: str = ""
    ) -> None:
        """Record how long *unit* waited for its answer, in seconds of machine time."""
        value = seconds if type(seconds) is float else _number(seconds)
        name = NAMES[arm] if type(arm) is Arm else arm
        self.record(("latency", name, unit, exposure, self._clock.plan(), value))

    def event(
        self,
        metric: str,
        arm: Arm,
        unit: int,
        flag: bool,  # noqa: FBT001 - reads as a word
        *,
        exposure: str = "",
    ) -> None:
        """
        Record one opportunity of *metric*, and whether the event happened.

        A failure is ``event("error_rate", arm, unit, True)``.
        """
        value = flag if type(flag) is bool else _flag(flag)
        name = NAMES[arm] if type(arm) is Arm else arm
        self.record((metric, name, unit, exposure, self._clock.plan(), value))

    def score(
        self, metric: str, arm: Arm, unit: int, value: float, *, exposure: str = ""
    ) -> None:
        """Record a value of *metric*; times in seconds."""
        value = value if type(value) is float else _number(value)
        name = NAMES[arm] if type(arm) is Arm else arm
        self.record((metric, name, unit, exposure, self._clock.plan(), value))

    def add(self, metric: str, arm: Arm, n: int = 1) -> None:
        """Add *n* to the counter *metric*."""
        name = NAMES[arm] if type(arm) is Arm else arm
        self.record((metric, name, 0, "", self._clock.plan(), _integer(n)))

    def drain(self) -> int:
        """Fold what waits into the open windows; return how many events that was."""
        with self._folding:
            return self._drain()

    def _drain(self) -> int:
        # What is appended from here on waits for the next time, so this ends.
        waiting = len(self._events)
        surplus = max(0, waiting - self._capacity)
        for lost in self._taken(surplus):
            self._dropped += len(lost)
        for batch in self._taken(waiting - surplus):
            self._fold.add(batch)
        return waiting - surplus

    def _taken(self, n: int) -> Iterator[list[Event]]:
        """Take the *n* oldest events, a slice at a time."""
        take = self._events.popleft
        for done in range(0, n, _SLICE):
            batch = [take() for _ in range(min(_SLICE, n - done))]
            # Python gives memory back in large pieces once nothing in a piece is
            # alive, and the caller would pay for fresh pages at the next backlog: as
            # much as for all the rest of `record`. One event of a slice holds them.
            self._kept.append(batch[-1])
            yield batch

    def close(
        self,
        *,
        plan: str = "",
        stage: str = "",
        exposure: str = "",
        sources: Sources | None = None,
    ) -> Observation:
        """
        Close the windows of both arms and open new ones.

        Control's window is the candidate's baseline if anything was recorded of
        control. What *sources* alone say of it does not count for that: they speak of
        the process as a whole, whether or not anybody still gets the control.

        Args:
            plan: Name of the plan.
            stage: Name of the stage.
            exposure: Digest of the exposure in force.
            sources: Supplies what is measured elsewhere, arm by arm. It is asked before
                anything is closed: where it raises, nothing is lost.
        """
        sourced = {arm: sources(arm) if sources else ({}, {}) for arm in Arm}
        fold, dropped, opened_s, closed_s = self._turn_over()
        if dropped:
            logger.warning("telemetry: %s", _lost(dropped, self._capacity))
        blank = Window(
            opened_s=opened_s,
            closed_s=closed_s,
            errors=self._faults(fold, dropped),
            dropped=dropped,
        )
        recorded = {arm: _recorded(blank, fold.tallies(arm)) for arm in Arm}
        windows = {arm: self._supplied(recorded[arm], *sourced[arm]) for arm in Arm}
        control, alone = windows[Arm.CONTROL], recorded[Arm.CONTROL]
        compared = control if alone.counts or alone.histograms else None
        return Observation(
            plan=plan,
            stage=stage,
            at_s=closed_s,
            candidate=attrs.evolve(windows[Arm.CANDIDATE], baseline=compared),
            control=control,
            exposure=exposure,
        )

    def _turn_over(self) -> tuple[Fold, int, float, float]:
        with self._folding:
            self._drain()
            fold, self._fold = self._fold, Fold(self._known)
            dropped, self._dropped = self._dropped, 0
            opened_s, self._opened_s = self._opened_s, self._clock.plan()
            return fold, dropped, opened_s, self._opened_s

    def _faults(self, fold: Fold, dropped: int) -> dict[str, str]:
        """Return what went wrong with events of which the arm is not known."""
        faults = [_lost(dropped, self._capacity)] if dropped else []
        if fold.refused:
            faults.append(f"{fold.refused} were no events: {fold.example}")
        return {SELF: "; ".join(faults)} if faults else {}

    def _supplied(
        self,
        window: Window,
        metrics: Mapping[str, Count | float],
        missing: Mapping[str, str],
    ) -> Window:
        """Return *window* with what the sources say of it."""
        counts, gauges = dict(window.counts), dict(window.gauges)
        errors = {**window.errors, **missing}
        for name, value in metrics.items():
            metric = self._known.get(name)
            stream = name if metric is None else metric.stream
            if window.measures(stream):
                errors[stream] = "recorded, and supplied by a plugin too; keep one"
            elif stream in counts or stream in gauges:
                errors[stream] = "supplied twice under different names; keep one"
            elif isinstance(value, Count):
                counts[stream] = value
            elif math.isfinite(value):
                gauges[stream] = Gauge.of(float(value))
            else:
                errors[stream] = f"supplied as {value}; write a finite number"
        return attrs.evolve(window, counts=counts, gauges=gauges, errors=errors)


def _recorded(blank: Window, tallies: Mapping[str, Tally]) -> Window:
    """Return *blank* with what was recorded."""
    counts, histograms, units = {}, {}, {}
    errors = dict(blank.errors)
    for stream, tally in tallies.items():
        if (count := tally.count()) is not None:
            counts[stream] = count
        if (histogram := tally.histogram()) is not None:
            histograms[stream] = histogram
        if bad := tally.bad_units():
            units[stream] = bad
        if (error := tally.error()) is not None:
            errors[stream] = error
    return attrs.evolve(
        blank, counts=counts, histograms=histograms, bad_units=units, errors=errors
    )


def _lost(dropped: int, capacity: int) -> str:
    return (
        f"at least {dropped} events of both arms were lost: more than {capacity} came "
        "between two folds; drain more often or raise the capacity"
    )


def _number(value: object) -> float:
    """Return *value* as a float, or NaN, which the fold refuses."""
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return math.nan


def _flag(value: object) -> bool | float:
    """Return *value* as a bool, or NaN; None is no flag, and an array's bool is one."""
    number = _number(value)
    return number == 1 if number in {0, 1} else math.nan


def _integer(value: object) -> int | float:
    """Return *value* as an int, or NaN where it is not whole."""
    try:
        return int(operator.index(value))  # type: ignore[arg-type]
    except TypeError:
        return math.nan
