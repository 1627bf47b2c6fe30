"""The hot path: an event is one append, and everything else happens later."""

from __future__ import annotations

import math

from collections import deque
from collections.abc import Callable, Mapping
from threading import Lock
from typing import TypeAlias

import attrs

from ..exceptions import MetricError
from ..metrics import find
from ..model import Arm, Clock, Count, Gauge, Observation, Window
from ..stats import LogHistogram
from ..stats.histogram import bucket_of


Event: TypeAlias = tuple[str, Arm, int, str, float, bool | int | float]
"""
What is recorded: (metric, arm, unit, exposure, at_s, value).

*unit* is the 64-bit hash of the unit, *exposure* the digest of what it was exposed to,
*at_s* when that was, in plan time. A bool is one opportunity and whether the event
happened; a float is a value of a distribution, times in seconds; an int is added to a
counter.
"""

Sources: TypeAlias = Callable[
    [Arm], tuple[Mapping[str, Count | float], Mapping[str, str]]
]
"""Supplies the metrics of an arm that are not recorded, and why some are missing."""


@attrs.define(eq=False)
class _Fold:
    """What has been folded of one arm since the last close."""

    counts: dict[str, list[int]] = attrs.field(factory=dict)
    adds: dict[str, int] = attrs.field(factory=dict)
    buckets: dict[str, dict[int, int]] = attrs.field(factory=dict)
    odd: dict[str, list[float]] = attrs.field(factory=dict)
    totals: dict[str, float] = attrs.field(factory=dict)
    bad: dict[str, set[int]] = attrs.field(factory=dict)
    errors: dict[str, str] = attrs.field(factory=dict)

    def add(self, metric: str, unit: int, value: float, *, bad: bool) -> None:
        """Add one event; *bad* is the value that counts against its unit."""
        if value is True or value is False:
            count = self.counts.setdefault(metric, [0, 0])
            count[1] += 1
            if value:
                count[0] += 1
            if value is bad:
                self.bad.setdefault(metric, set()).add(unit)
        elif isinstance(value, int):
            self.adds[metric] = self.adds.get(metric, 0) + value
        elif value > 0 and value < math.inf:
            buckets = self.buckets.setdefault(metric, {})
            bucket = bucket_of(value)
            buckets[bucket] = buckets.get(bucket, 0) + 1
            self.totals[metric] = self.totals.get(metric, 0.0) + value
        elif math.isfinite(value):
            self.odd.setdefault(metric, []).append(value)
        else:
            self.errors[metric] = f"recorded {value}; record finite numbers"

    def histograms(self) -> dict[str, LogHistogram]:
        """Return the distributions."""
        found = {
            metric: LogHistogram(positive=buckets, total=self.totals[metric])
            for metric, buckets in self.buckets.items()
        }
        for metric, values in self.odd.items():
            rest = LogHistogram.of(values)
            found[metric] = found[metric].merge(rest) if metric in found else rest
        return found


class Telemetry:
    """
    Takes events without waiting and turns them into observations.

    `record` is the append of a deque, handed out as it is: no lock, no call of ours, no
    file. Events are folded into the open windows by `drain` and `close`. What does not
    fit until then pushes the oldest out, and the observation says how many were lost.

    Args:
        clock: For when a window opens and closes.
        capacity: How many events may wait to be folded.
    """

    def __init__(self, clock: Clock, *, capacity: int = 65_536) -> None:
        self._clock = clock
        self._capacity = capacity
        self._events: deque[Event] = deque()
        self.record: Callable[[Event], None] = self._events.append
        self._folding = Lock()
        self._folds = {arm: _Fold() for arm in Arm}
        self._bad_value: dict[str, bool] = {}
        self._dropped = 0
        self._opened_s = clock.plan()

    def event(self, metric: str, arm: Arm, unit: int, flag: bool) -> None:  # noqa: FBT001
        """Record one opportunity of *metric*, and whether the event happened."""
        self.record((metric, arm, unit, "", self._clock.plan(), flag))

    def score(self, metric: str, arm: Arm, unit: int, value: float) -> None:
        """Record a value of *metric*; times in seconds."""
        self.record((metric, arm, unit, "", self._clock.plan(), float(value)))

    def add(self, metric: str, arm: Arm, n: int = 1) -> None:
        """Add *n* to the counter *metric*."""
        self.record((metric, arm, 0, "", self._clock.plan(), int(n)))

    def drain(self) -> int:
        """Fold what waits into the open windows; return how many events that was."""
        with self._folding:
            return self._drain()

    def _drain(self) -> int:
        waiting = len(self._events)
        surplus = max(0, waiting - self._capacity)
        for _ in range(surplus):
            self._events.popleft()
        self._dropped += surplus
        for _ in range(waiting - surplus):
            self._fold(self._events.popleft())
        return waiting - surplus

    def _fold(self, event: Event) -> None:
        try:
            metric, arm, unit, _, _, value = event
            bad = self._bad_value.get(metric)
            if bad is None:
                bad = self._bad_value[metric] = _bad_value(metric)
            self._folds[arm].add(metric, unit, value, bad=bad)
        except (TypeError, ValueError, KeyError) as error:
            for fold in self._folds.values():
                fold.errors["telemetry"] = f"event {event!r}: {error}"[:200]

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

        Args:
            plan: Name of the plan.
            stage: Name of the stage.
            exposure: Digest of the exposure in force.
            sources: Supplies what is measured elsewhere, arm by arm.
        """
        with self._folding:
            self._drain()
            folds, self._folds = self._folds, {arm: _Fold() for arm in Arm}
            dropped, self._dropped = self._dropped, 0
            opened_s, self._opened_s = self._opened_s, self._clock.plan()
            closed_s = self._opened_s
        windows = {
            arm: _window(fold, sources and sources(arm), opened_s, closed_s, dropped)
            for arm, fold in folds.items()
        }
        control = windows[Arm.CONTROL]
        compared = control if _has_data(folds[Arm.CONTROL]) else None
        return Observation(
            plan=plan,
            stage=stage,
            at_s=closed_s,
            candidate=attrs.evolve(windows[Arm.CANDIDATE], baseline=compared),
            control=control,
            exposure=exposure,
        )


def _bad_value(metric: str) -> bool:
    """Return which flag of a share counts against its unit."""
    try:
        return not find(metric).higher_is_better
    except MetricError:
        return True


def _has_data(fold: _Fold) -> bool:
    return bool(fold.counts or fold.adds or fold.buckets or fold.odd)


def _window(
    fold: _Fold,
    sourced: tuple[Mapping[str, Count | float], Mapping[str, str]] | None,
    opened_s: float,
    closed_s: float,
    dropped: int,
) -> Window:
    counts = {metric: Count(n, of) for metric, (n, of) in fold.counts.items()}
    counts |= {metric: Count(n) for metric, n in fold.adds.items()}
    histograms, gauges = fold.histograms(), {}
    metrics, missing = sourced or ({}, {})
    errors = {**fold.errors, **missing}
    for metric, value in metrics.items():
        if metric in counts or metric in histograms:
            errors[metric] = "recorded by trials and supplied by a plugin; keep one"
        elif isinstance(value, Count):
            counts[metric] = value
        else:
            gauges[metric] = Gauge.of(float(value))
    return Window(
        opened_s=opened_s,
        closed_s=closed_s,
        counts=counts,
        histograms=histograms,
        gauges=gauges,
        bad_units={metric: frozenset(units) for metric, units in fold.bad.items()},
        errors=errors,
        dropped=dropped,
    )
