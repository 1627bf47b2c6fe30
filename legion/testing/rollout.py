"""A whole rollout in milliseconds, inside a test: made-up data, real decisions."""

from __future__ import annotations

import functools
import math

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Self

import attrs

from ..criteria import Criterion
from ..exceptions import MetricError
from ..host import Host, Turn
from ..metrics import Kind, Metric, find
from ..model import (
    Count,
    Decision,
    Gauge,
    Level,
    Move,
    Observation,
    Window,
)
from ..plugins import Plugins
from ..stages import Plan, Rule, Stage, Status
from ..stats import LogHistogram
from ..store import Database
from ..telemetry import Telemetry
from .clock import ManualClock


_EVENTS = 1_000
"""Requests an arm serves between two looks."""

_LOOKS = 12
"""Looks in a stage's dwell."""

_SHAPE = [0.02 * math.exp(0.5 * z) for z in (-2 + 4 * i / 199 for i in range(200))]
"""A latency distribution with a tail, in seconds; the median is 20 ms."""


@attrs.frozen(kw_only=True)
class Rehearsed:
    """
    What became of a rehearsed rollout. Its figures are made up, its decisions are not.

    Attributes:
        decision: ``complete``, ``roll_back`` or ``hold``.
        reason: Why it ended so.
        stage: The stage it ended in, or went back from.
        turns: Every turn: observation, report, decision, ruling, outcome.
        plan_s: Plan time from the first turn to the last, in seconds.
    """

    decision: str
    reason: str
    stage: str
    turns: tuple[Turn, ...]
    plan_s: float

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """Every decision, in order."""
        return tuple(turn.decision for turn in self.turns)

    @property
    def story(self) -> str:
        """One line for each time the ladder said something new."""
        lines, last = [], ""
        for decision in self.decisions:
            said = f"{decision.stage or '-'}: {decision.move.value} ({decision.code})"
            if said != last:
                lines.append(f"{said}: {decision.reason}")
            last = said
        return "\n".join(lines)


class Rollout:
    """
    Rolls a plan out over made-up, healthy traffic with the faults you feed it.

    Everything but the traffic is real: engine, watchdog, gate, journal, your plugins.
    It is deterministic, and it touches neither the disk nor a clock.

    Args:
        plan: The plan.
        plugins: Yours; the built-in ones by default.
    """

    def __init__(self, plan: Plan, plugins: Plugins | None = None) -> None:
        self._plan = attrs.evolve(plan, stages=tuple(_quick(s) for s in plan.stages))
        self._plugins = plugins if plugins is not None else Plugins()
        self._faults: dict[str, _Fault] = {}
        self._missing: set[str] = set()
        self._from: str | None = None

    def feed(
        self,
        *,
        missing: str | Iterable[str] = (),
        since: str | None = None,
        **faults: str | float,
    ) -> Self:
        """
        Add faults to the candidate's traffic.

        Args:
            missing: A metric, or several, that nobody supplies.
            since: Stage in which the faults begin; the first by default.
            **faults: By metric: ``"3x"``, ``"+50%"``, or the value it shall have.
                ``errors`` is short for ``error_rate``.

        Raises:
            MetricError: No such metric.
            ValueError: A fault is neither of these.
        """
        own = list(_own_metrics(self._plan))
        names = [missing] if isinstance(missing, str) else list(missing)
        self._missing |= {find(name, own).name for name in names}
        for name, fault in faults.items():
            metric = find({"errors": "error_rate"}.get(name, name), own)
            self._faults[metric.name] = _fault(name, fault)
        if since is not None:
            self._plan.stage(since)
            self._from = since
        return self

    def run(self) -> Rehearsed:
        """Turn the wheel until the rollout is over, or has held three dwells long."""
        clock = ManualClock()
        feed = _Feed(clock, self._figures)
        turns: list[Turn] = []
        with Host.wired(
            self._plan,
            database=Database(":memory:"),
            registry=None,
            telemetry=feed,
            clock=clock,
            plugins=self._plugins,
            probe=False,
        ) as host:
            held = 0
            while not host.engine.state.status.over:
                stage = host.engine.state.stage
                feed.stage = stage
                turn = host.tick()
                turns.append(turn)
                held = held + 1 if turn.outcome is None else 0
                if held > 3 * _LOOKS:
                    break
                clock.advance(host.interval_s)
            return _told(host, turns, clock.plan())

    def _figures(self, stage: str) -> Iterator[tuple[Metric, float, float]]:
        """Yield (metric, candidate's value, control's value) of what is supplied."""
        if not stage:
            return
        begun = self._from is None or (
            self._plan.index(stage) >= self._plan.index(self._from)
        )
        criteria = self._plugins.criteria
        for metric in _metrics(self._plan, criteria):
            if metric.name in self._missing or metric.source in {"watchdog", "engine"}:
                continue
            healthy = _healthy(
                metric, self._plan, criteria.get(metric.name), self._plan.stage(stage)
            )
            fault = self._faults.get(metric.name)
            value = fault(healthy) if fault is not None and begun else healthy
            yield metric, value, healthy


_Fault = Callable[[float], float]


def _fault(name: str, fault: str | float) -> _Fault:
    if isinstance(fault, int | float) and not isinstance(fault, bool):
        fixed = float(fault)
        return lambda _: fixed
    text = str(fault).strip()
    try:
        if text.endswith("x"):
            factor = float(text[:-1])
            return lambda value: value * factor
        if text.endswith("%") and text[0] in "+-":
            factor = 1 + float(text[:-1]) / 100
            return lambda value: value * factor
    except ValueError:
        text = "?"
    msg = f'feed: got {name}={fault!r}; write "3x", "+50%" or a number'
    raise ValueError(msg)


def _quick(stage: Stage) -> Stage:
    """Look a dozen times in the stage's time, instead of every few minutes."""
    longest_s = max(stage.dwell_s or 0.0, stage.unbroken_for_s or 0.0, 12.0)
    return attrs.evolve(stage, check_interval_s=longest_s / _LOOKS)


def _own_metrics(plan: Plan) -> Iterable[Metric]:
    return plan.metrics


def _metrics(plan: Plan, criteria: Mapping[str, Criterion]) -> list[Metric]:
    names = dict.fromkeys(
        [
            *criteria,
            *(trigger.rule.metric for trigger in plan.triggers),
            *(rule.metric for stage in plan.stages for rule in stage.validate),
        ]
    )
    found = {}
    for name in names:
        try:
            metric = find(name, _own_metrics(plan))
        except MetricError:  # A criterion of yours that reads what your plugins supply.
            continue
        found[metric.name] = metric
    return list(found.values())


def _healthy(
    metric: Metric, plan: Plan, criterion: Criterion | None, stage: Stage
) -> float:
    """Return a value that is well by every rule of the plan and by the criterion."""
    value = {
        Kind.SHARE: 0.95 if metric.higher_is_better else 0.01,
        Kind.TIME: 0.05,
        Kind.GAUGE: _level(metric),
        Kind.COUNT: 0.0,
    }[metric.kind]
    if criterion is not None and not criterion.compares:
        for level, limit in criterion.limits:
            if level is Level.WARNING or value != 0:
                value = (
                    max(value, min(1.0, limit * 1.05))
                    if criterion.lower_is_worse
                    else min(value, limit * 0.5)
                )
    for rule in _rules(plan, metric.name):
        value = _within(rule, value, metric, stage)
    return value


def _level(metric: Metric) -> float:
    if metric.unit != "share":
        return 0.0
    return 0.9 if metric.higher_is_better else 0.3


def _rules(plan: Plan, metric: str) -> Iterator[Rule]:
    for stage in plan.stages:
        for rule in stage.validate:
            if rule.metric == metric:
                yield rule


def _within(rule: Rule, value: float, metric: Metric, stage: Stage) -> float:
    upper = rule.below if rule.below is not None else rule.at_most
    if upper is not None:
        value = min(value, upper * 0.6)
    if rule.at_least is not None and rule.per is not None:
        period_s = {"day": 86_400.0, "hour": 3_600.0}[rule.per]
        return max(value, rule.at_least * 1.5 * stage.check_interval_s / period_s)
    if rule.at_least is not None:
        more = rule.at_least + (1 - rule.at_least) / 2
        counted = metric.kind in {Kind.COUNT, Kind.TIME}
        value = max(value, rule.at_least * 1.5 if counted else min(1.0, more))
    return rule.equals if rule.equals is not None else value


class _Feed(Telemetry):
    """Telemetry whose windows are made up from wanted figures."""

    def __init__(
        self,
        clock: ManualClock,
        figures: Callable[[str], Iterator[tuple[Metric, float, float]]],
    ) -> None:
        super().__init__(clock)
        self._figures = figures
        self._began_s = 0.0
        self.stage = ""

    def close(self, **keywords: object) -> Observation:
        """Return made-up windows, with what your plugins supply laid over them."""
        seen = super().close(**keywords)  # type: ignore[arg-type]
        opened_s, self._began_s = self._began_s, seen.at_s
        wanted = list(self._figures(self.stage))
        candidate = _window(wanted, opened_s, seen.at_s)
        healthy = [(metric, value, value) for metric, _, value in wanted]
        control = _window(healthy, opened_s, seen.at_s)
        return attrs.evolve(
            seen,
            candidate=_laid(candidate, seen.candidate, control),
            control=control,
        )


def _laid(made: Window, supplied: Window, control: Window) -> Window:
    return attrs.evolve(
        made,
        counts={**made.counts, **supplied.counts},
        gauges={**made.gauges, **supplied.gauges},
        errors=supplied.errors,
        baseline=control,
    )


def _window(
    figures: list[tuple[Metric, float, float]], opened_s: float, closed_s: float
) -> Window:
    """Make a window of (metric, value, healthy value)."""
    counts: dict[str, Count] = {}
    gauges: dict[str, Gauge] = {}
    scales: dict[str, tuple[float, float]] = {}
    for metric, value, healthy in figures:
        match metric.kind:
            case Kind.SHARE:
                counts[metric.stream] = Count(round(value * _EVENTS), _EVENTS)
            case Kind.COUNT:
                counts[metric.stream] = Count(round(value))
            case Kind.GAUGE:
                gauges[metric.stream] = Gauge.of(value)
            case Kind.TIME:
                scale, worse = scales.get(metric.stream, (math.inf, 0.0))
                fits = healthy / _natural(metric.quantile)
                scales[metric.stream] = (
                    min(scale, fits),
                    max(worse, value / healthy),
                )
    return Window(
        opened_s=opened_s,
        closed_s=closed_s,
        counts=counts,
        gauges=gauges,
        histograms={s: _times(scale * worse) for s, (scale, worse) in scales.items()},
    )


@functools.cache
def _times(scale: float) -> LogHistogram:
    return LogHistogram.of([x * scale for x in _SHAPE] * (_EVENTS // len(_SHAPE)))


@functools.cache
def _natural(quantile: float) -> float:
    return _times(1.0).quantile(quantile) or 1.0


def _told(host: Host, turns: list[Turn], plan_s: float) -> Rehearsed:
    state = host.engine.state
    last = turns[-1].decision
    decision = {
        Status.COMPLETE: "complete",
        Status.ROLLED_BACK: Move.ROLL_BACK.value,
    }.get(state.status, Move.HOLD.value)
    return Rehearsed(
        decision=decision,
        reason=state.reason if state.status.over else last.reason,
        stage=last.stage,
        turns=tuple(turns),
        plan_s=plan_s,
    )
