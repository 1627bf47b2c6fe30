"""The hot path: an event is one append, and everything else happens later."""

from __future__ import annotations

import logging

from collections.abc import Callable, Iterable, Mapping
from threading import Lock
from typing import cast

import attrs

from ..canonical import JSON
from ..metrics import WITHOUT_TOOLS, Metric
from ..model import Arm, Clock, Observation, Window
from .buffer import Buffer
from .event import (
    BEGAN,
    FAILED,
    INTERRUPTED,
    NAMES,
    SUCCEEDED,
    TRIAL,
    Event,
    Refused,
    flag_of,
    number_of,
    whole_of,
)
from .fold import Closed, Fold
from .loss import Loss
from .tally import by_name
from .windows import SELF, Sources, recorded, supplied


logger = logging.getLogger("legion")

_BITE = 1024
"""How many events a recorder folds at most, when the buffer is nearly full."""


class Telemetry:
    """
    Takes events without waiting and turns them into observations.

    `record` is the append of a bounded deque, handed out as it is: no lock, no call of
    legion's, no file. Whoever holds it may keep it. `drain` and `close` fold what waits
    into the open windows, one at a time; those who record never wait for them. Nor do
    they see an exception: what cannot be counted is named in the window's errors.

    An event holds strings and numbers only, so the garbage collector looks at it once,
    however long it waits; and the memory of a backlog is kept for the next one.

    Where nobody folds, the buffer fills. From three quarters of *capacity* on, whoever
    begins a trial or calls a method of this class folds a thousand events, unless
    somebody folds already. Those who call `record` alone fold nothing: more than
    *capacity* events of theirs between two folds are too many. The oldest are dropped,
    the windows say how many, and trials that were open by then are closed without an
    outcome, since their ends may be among them. The buffer has room for four times as
    many, so the number is exact up to three times the capacity; beyond that the deque
    itself lets the oldest go, memory stays bounded, and the number is a lower bound.

    A unit counts once, when it is old enough; see `Cohort`. Of the metrics in *visits*
    each of its visits counts too, so that users who come back can be held against what
    they did before: see `Window.visits`. That about doubles what it costs to fold a
    trial, some 4 us, and costs nothing when it is recorded.

    Args:
        clock: Plan time for the windows, machine time for the age of units.
        capacity: How many events may wait to be folded.
        metrics: Metrics that the plan declares, beside those of `legion.metrics`.
        matures: Age at which units count, in seconds of machine time, by metric.
        default_s: Age of all other metrics; 0 waits for the end of the trial alone.
        visits: Shares of which every visit of a unit counts, beside the unit.

    Attributes:
        record: Takes an `Event`.

    Raises:
        ValueError: *capacity* is less than 1, or an age is not a finite number from 0.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        capacity: int = 65_536,
        metrics: Iterable[Metric] = (),
        matures: Mapping[str, float] | None = None,
        default_s: float = 0.0,
        visits: Iterable[str] = (),
    ) -> None:
        self._clock = clock
        self._buffer = Buffer(capacity)
        self.record: Callable[[Event], None] = self._buffer.put
        self._events, self._high = self._buffer.events, self._buffer.high
        self._known = by_name(metrics)
        self._folding = Lock()
        self._fold = Fold(
            self._known, matures=matures, default_s=default_s, visits=visits
        )
        self._loss = Loss(capacity)
        self._opened_s = clock.plan()

    def begin(self, arm: Arm, unit: int, *, exposure: str = "") -> None:
        """Record that a trial of *unit* begins: it is exposed from now on."""
        self._put(TRIAL, arm, unit, exposure, BEGAN)

    def end(
        self, arm: Arm, unit: int, *, failed: bool | None, exposure: str = ""
    ) -> None:
        """Record how a trial of *unit* ended; None: interrupted, without an outcome."""
        mark = INTERRUPTED if failed is None else FAILED if failed else SUCCEEDED
        self._put(TRIAL, arm, unit, exposure, mark)

    def latency(
        self,
        arm: Arm,
        unit: int,
        seconds: float,
        *,
        tools_s: float | None = None,
        exposure: str = "",
    ) -> None:
        """
        Record how long *unit* waited for its answer, in seconds of machine time.

        Args:
            arm: Its arm.
            unit: Its 64-bit hash.
            seconds: How long.
            tools_s: How much of that was in tools, 0 where there are none; give it where
                a stage mirrors. A mirrored run does not call all of them, so that times
                are compared there without it.
            exposure: Digest of what it was exposed to.
        """
        value = seconds if type(seconds) is float else number_of(seconds)
        self._put("latency", arm, unit, exposure, value)
        if tools_s is not None and isinstance(value, float):
            rest = max(0.0, value - tools_s)
            self._put(WITHOUT_TOOLS, arm, unit, exposure, rest)

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
        value = flag if type(flag) is bool else flag_of(flag)
        self._put(metric, arm, unit, exposure, value)

    def score(
        self, metric: str, arm: Arm, unit: int, value: float, *, exposure: str = ""
    ) -> None:
        """Record a value of *metric*; times in seconds."""
        found = value if type(value) is float else number_of(value)
        self._put(metric, arm, unit, exposure, found)

    def add(
        self, metric: str, arm: Arm, n: int = 1, *, unit: int = 0, exposure: str = ""
    ) -> None:
        """Add *n* to the counter *metric*."""
        self._put(metric, arm, unit, exposure, whole_of(n))

    def refuse(self, metric: str, arm: Arm, why: str, *, exposure: str = "") -> None:
        """Record that a value of *metric* could not be had; the window says why."""
        self._put(metric, arm, 0, exposure, Refused(why))

    def _put(
        self,
        metric: str,
        arm: Arm,
        unit: int,
        exposure: str,
        value: bool | float | str,  # noqa: FBT001 - what an event holds
    ) -> None:
        name = NAMES[arm] if type(arm) is Arm else arm
        self.record((metric, name, unit, exposure, self._clock.machine(), value))
        if len(self._events) > self._high:
            self.make_room()

    def make_room(self) -> None:
        """Fold some of what waits if the buffer is nearly full and nobody folds."""
        if len(self._events) <= self._high or not self._folding.acquire(blocking=False):
            return
        try:
            self._add(min(_BITE, len(self._events)))
        finally:
            self._folding.release()

    def drain(self) -> int:
        """Fold what waits into the open windows; return how many events that was."""
        with self._folding:
            return self._drain()

    def _drain(self) -> int:
        # What is appended from here on waits for the next time, so this ends.
        waiting = len(self._events)
        surplus = max(0, waiting - self._buffer.capacity)
        for lost in self._buffer.take(surplus):
            self._loss.count(lost)
            self._fold.forget_open()
        return self._add(waiting - surplus)

    def _add(self, n: int) -> int:
        # Read after *n*: no event of these is from the future.
        now_s = self._clock.machine()
        for batch in self._buffer.take(n):
            self._fold.add(batch, now_s)
        return n

    def watch(
        self, name: str, stream: str, *, candidate: float, control: float
    ) -> None:
        """
        Count a unit as bad under *name* where a value of *stream* is above a limit.

        It holds for what is recorded from now on, and replaces what *name* was before.

        Args:
            name: Under which the units count, such as ``latency_p95``.
            stream: Whose values are compared.
            candidate: Limit of the candidate's units, in the stream's unit.
            control: Limit of control's.
        """
        with self._folding:
            self._drain()
            limits = {Arm.CANDIDATE: candidate, Arm.CONTROL: control}
            self._fold.watch(name, stream, limits)

    def unwatch(self, name: str) -> None:
        """Stop counting units under *name*; those that have not counted yet still do."""
        with self._folding:
            self._drain()
            self._fold.watch(name, "", None)

    def tell_apart(self, slices: Iterable[str]) -> None:
        """
        Count the units of these slices on their own, whatever others come first.

        Args:
            slices: Those that are judged, such as ``tenant=acme``.
        """
        with self._folding:
            self._fold.slices.keep(slices)

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

        They hold what was recorded under *exposure*, or under none; events of another
        exposure are left out and counted in `Window.stale`.

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
        closed, blanks, closed_s = self._turn_over(exposure)
        alone = {arm: recorded(blanks[arm], closed, arm) for arm in Arm}
        windows = {
            arm: supplied(alone[arm], *sourced[arm], known=self._known) for arm in Arm
        }
        control, own = windows[Arm.CONTROL], alone[Arm.CONTROL]
        seen = own.counts or own.histograms
        # Whose visits these are is told once; a baseline is read as a whole.
        compared = attrs.evolve(control, visits={}) if seen else None
        return Observation(
            plan=plan,
            stage=stage,
            at_s=closed_s,
            candidate=attrs.evolve(windows[Arm.CANDIDATE], baseline=compared),
            control=control,
            exposure=exposure,
            pairs=closed.aged.pairs,
            streams=tuple(range(last + 1)) if (last := closed.aged.generation) else (),
        )

    def _turn_over(self, exposure: str) -> tuple[Closed, dict[Arm, Window], float]:
        with self._folding:
            self._drain()
            closed = self._fold.close(exposure, self._clock.machine())
            opened_s, self._opened_s = self._opened_s, self._clock.plan()
            blanks = self._blanks(opened_s, self._opened_s)
            return closed, blanks, self._opened_s

    def _blanks(self, opened_s: float, closed_s: float) -> dict[Arm, Window]:
        """Return windows that hold nothing but what was lost, and begin anew."""
        refused, blanks = self._fold.take_refused(), {}
        for arm in Arm:
            lost = self._loss.said(arm)
            if lost:
                logger.warning("telemetry of %s: %s", NAMES[arm], lost)
            said = [part for part in (lost, refused) if part]
            blanks[arm] = Window(
                opened_s=min(opened_s, closed_s),  # The clock may have been set back.
                closed_s=closed_s,
                errors={SELF: "; ".join(said)} if said else {},
                dropped=self._loss.of(arm),
            )
        self._loss.clear()
        return blanks

    def to_json(self) -> JSON:
        """
        Return what `restore` takes up again: units that have not counted yet.

        They are good and bad alike. Write it down at every turn, and once more before
        the process ends.
        """
        with self._folding:
            self._drain()
            now_s, wall_s = self._clock.machine(), self._clock.wall()
            return {
                exposure: exposed.cohort.to_json(now_s, wall_s)
                for exposure, exposed in self._fold.items()
            }

    def restore(self, value: JSON) -> None:
        """Go on from what the `to_json` of a process that is no more returned."""
        with self._folding:
            now_s, wall_s = self._clock.machine(), self._clock.wall()
            for exposure, cohort in cast("Mapping[str, JSON]", value).items():
                self._fold[exposure].cohort.restore(cohort, now_s, wall_s)
