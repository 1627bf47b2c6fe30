"""Estimates: what each arm's figures are, and how far off they may be. Never decisive."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

import attrs

from ..canonical import JSON
from ..metrics import Kind, Metric
from ..model import Arm, Observation, Window, as_json
from ..stats import (
    LogHistogram,
    Moments,
    bernoulli_interval,
    change_interval,
    mean_interval,
    quantile_interval,
)
from ..stats.histogram import RELATIVE_ERROR
from .evidence import Seen, visited
from .plan import Plan, Stage, Unit
from .state import RolloutState


CONFIDENCE = 0.95
"""How surely an interval holds, at every look at once."""

MOST = 16
"""How many distributions that no rule names are kept."""

_ALPHA = 1 - CONFIDENCE
_T_OPT = 10_000
_CLUSTERED = "events of units that come back are not independent: no interval"


@attrs.frozen(kw_only=True)
class Value:
    """
    One arm's figure, and within what it lies.

    Attributes:
        value: The figure, in the metric's unit.
        n: Of how many units or events.
        low: Lower bound of a confidence sequence, or None where there is none.
        high: Upper bound, or None.
    """

    value: float
    n: int
    low: float | None = None
    high: float | None = None


@attrs.frozen(kw_only=True)
class Estimate:
    """
    What a metric is in both arms of a stage: for people, and nothing rests on it.

    Attributes:
        metric: The metric.
        statistic: ``share``, ``mean``, or a quantile such as ``p95``.
        unit: The unit of the figures.
        by: What was counted: ``unit`` or ``event``.
        candidate: The candidate's figure, or None.
        control: Control's, of the last stage that had one; or None.
        change: By which share the candidate's mean is more than control's, or None.
        why: Why there is no interval, or "".
    """

    metric: str
    statistic: str
    unit: str
    by: str
    candidate: Value | None = None
    control: Value | None = None
    change: Value | None = None
    why: str = ""

    def to_json(self) -> dict[str, JSON]:
        """Return the fields as JSON values."""
        return as_json(self)


def measured(
    state: RolloutState, observation: Observation, plan: Plan, stage: Stage
) -> Window | None:
    """Return what the candidate did in the stage, of what estimates are made of."""
    window = observation.candidate
    named = {metric.stream for metric in _metrics(plan, stage)}
    known = () if state.candidate is None else state.candidate.histograms
    others = [*known, *(name for name in window.histograms if name not in known)]
    kept = {*named, *[name for name in others if name not in named][:MOST]}
    newer = Window(
        opened_s=window.opened_s,
        closed_s=window.closed_s,
        counts={name: c for name, c in window.counts.items() if name in named},
        histograms={name: h for name, h in window.histograms.items() if name in kept},
    )
    return newer if state.candidate is None else state.candidate.merge(newer)


def fared(
    state: RolloutState, seen: Seen, plan: Plan, stage: Stage
) -> Mapping[str, JSON]:
    """Return by arm and metric how many units were bad, and how many there were."""
    streams = {m.stream for m in _metrics(plan, stage) if m.kind is Kind.SHARE}
    found = {arm: dict(_counts(state, Arm(arm))) for arm in state.fared}
    for arm in Arm:
        window = seen.observation.window(arm)
        for name in streams & set(() if window is None else window.units):
            counts = found.setdefault(arm.value, {})
            bad, n = counts.get(name, (0, 0))
            more_bad, more, _ = seen.units(arm, name)
            counts[name] = bad + more_bad, n + more
    return {
        arm: {name: list(both) for name, both in counts.items()}
        for arm, counts in found.items()
    }


def estimates(plan: Plan, state: RolloutState) -> tuple[Estimate, ...]:
    """
    Return what is known of the stage's metrics, with intervals where they are honest.

    They are confidence sequences at 95 %: they may be looked at as often as one likes.
    Shares are of units, each once; quantiles and means are of events, which in units
    that come back are not independent of one another, so that there is no interval.
    """
    if not state.stage or state.candidate is None:
        return ()
    metrics = tuple(_metrics(plan, plan.stage(state.stage)))
    sticky = plan.unit is not Unit.TASK
    # Where nothing tells them apart, several processes may have counted one unit.
    once = visited(plan) if plan.share(plan.stage(state.stage)) else frozenset()
    shared = sticky and len(state.streams) > 1
    shares = _shares(metrics, state, sticky=sticky, once=once if shared else None)
    times = _times(metrics, state, sticky=sticky)
    named = {metric.stream for metric in metrics}
    return (*shares, *times, *_means(named, state, sticky=sticky))


def _metrics(plan: Plan, stage: Stage) -> Iterator[Metric]:
    """Yield the shares and times that the rules of *stage* name, each once."""
    for name in plan.metrics_of(stage):
        metric = plan.metric(name)
        if metric.kind in {Kind.SHARE, Kind.TIME}:
            yield metric


def _counts(state: RolloutState, arm: Arm) -> Mapping[str, tuple[int, int]]:
    raw = cast("Mapping[str, Sequence[int]]", state.fared.get(arm.value, {}))
    return {name: (both[0], both[1]) for name, both in raw.items()}


def _shares(
    metrics: Sequence[Metric],
    state: RolloutState,
    *,
    sticky: bool,
    once: frozenset[str] | None,
) -> Iterator[Estimate]:
    """Yield the shares; *once*: whose units count once all the same, None for all."""
    for metric in metrics:
        if metric.kind is not Kind.SHARE:
            continue
        units = [_counts(state, arm).get(metric.stream) for arm in _ARMS]
        by_unit = any(both is not None and both[1] for both in units)
        bare = sticky and not by_unit
        bare |= once is not None and metric.stream not in once
        values = [
            _of_units(metric, both, bare=bare)
            if by_unit
            else _of_events(metric, window, bare=bare)
            for both, window in zip(units, _windows(state), strict=True)
        ]
        if any(values):
            yield Estimate(
                metric=metric.name,
                statistic="share",
                unit="share",
                by="unit" if by_unit else "event",
                candidate=values[0],
                control=values[1],
                why=_CLUSTERED if bare else "",
            )


def _of_units(
    metric: Metric, both: tuple[int, int] | None, *, bare: bool
) -> Value | None:
    if both is None or not both[1]:
        return None
    bad, n = both
    return _share(n - bad if metric.higher_is_better else bad, n, bare=bare)


def _of_events(metric: Metric, window: Window | None, *, bare: bool) -> Value | None:
    count = None if window is None else window.counts.get(metric.stream)
    if count is None or not count.of:
        return None
    return _share(count.n, count.of, bare=bare)


def _share(n: int, of: int, *, bare: bool) -> Value:
    if bare:
        return Value(value=n / of, n=of)
    found = bernoulli_interval(n, of, alpha=_ALPHA, t_opt=_T_OPT)
    return Value(value=n / of, n=of, low=found.low, high=found.high)


def _times(
    metrics: Sequence[Metric], state: RolloutState, *, sticky: bool
) -> Iterator[Estimate]:
    for metric in metrics:
        if metric.kind is not Kind.TIME or not 0 < metric.quantile < 1:
            continue
        values = [_quantile(window, metric, bare=sticky) for window in _windows(state)]
        if any(values):
            yield Estimate(
                metric=metric.name,
                statistic=f"p{100 * metric.quantile:g}",
                unit=metric.unit,
                by="event",
                candidate=values[0],
                control=values[1],
                why=_CLUSTERED if sticky else "",
            )


def _quantile(window: Window | None, metric: Metric, *, bare: bool) -> Value | None:
    values = _histogram(window, metric.stream)
    value = None if values is None else values.quantile(metric.quantile)
    if values is None or value is None:
        return None
    low, high = (
        (None, None)
        if bare
        else quantile_interval(values, q=metric.quantile, alpha=_ALPHA, t_opt=_T_OPT)
    )
    return Value(value=value, n=values.count, low=low, high=high)


def _means(named: set[str], state: RolloutState, *, sticky: bool) -> Iterator[Estimate]:
    """Yield the means of the distributions that no rule names: scores, cost, tokens."""
    assert state.candidate is not None
    for stream in sorted(state.candidate.histograms):
        if stream in named:
            continue
        moments = [_moments(_histogram(w, stream)) for w in _windows(state)]
        change = None
        if moments[0] is not None and moments[1] is not None and not sticky:
            found = change_interval(moments[0], moments[1], alpha=_ALPHA)
            n = moments[0].n + moments[1].n
            if found is not None:
                change = Value(
                    value=found.estimate, n=n, low=found.low, high=found.high
                )
        yield Estimate(
            metric=stream,
            statistic="mean",
            unit="",
            by="event",
            candidate=_mean(moments[0], bare=sticky),
            control=_mean(moments[1], bare=sticky),
            change=change,
            why=_CLUSTERED if sticky else "",
        )


def _mean(values: Moments | None, *, bare: bool) -> Value | None:
    if values is None:
        return None
    # Where all are 0 nothing is known of how far a mean may be off.
    known = not bare and values.squares > 0
    found = mean_interval(values, alpha=_ALPHA) if known else None
    if found is None:
        return Value(value=values.mean, n=values.n)
    return Value(value=values.mean, n=values.n, low=found.low, high=found.high)


def _moments(values: LogHistogram | None) -> Moments | None:
    """
    Return the moments of a distribution, its spread as wide as its buckets allow.

    A value is known to within 1 %: all of them may stand at one end of their bucket or at
    the other, which is most of the spread where they hardly differ.
    """
    if values is None or values.mean is None:
        return None
    mean = values.mean
    squares = sum(
        n * (abs(value - mean) + RELATIVE_ERROR * abs(value)) ** 2
        for value, n in values.buckets()
    )
    return Moments(n=values.count, mean=mean, squares=squares)


_ARMS = (Arm.CANDIDATE, Arm.CONTROL)


def _windows(state: RolloutState) -> tuple[Window | None, Window | None]:
    return state.candidate, state.baseline


def _histogram(window: Window | None, stream: str) -> LogHistogram | None:
    return None if window is None else window.histograms.get(stream)
