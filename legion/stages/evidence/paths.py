"""Every path by which a stage may be left, forward or back, and its evidence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import attrs

from ...criteria import Criterion
from ...criteria.kinds import Ceiling, Floor, Rise
from ...metrics import HARD_FACTS, Kind, Metric
from ...model import Level
from ..plan import Plan, Rule, Stage
from .both import BothEvidence, RowEvidence
from .compared import ComparedEvidence
from .fact import ThresholdEvidence
from .limit import LimitEvidence
from .protocol import Evidence
from .sampled import HEALTHY, SampledEvidence


TRIGGER = "trigger: "
CRITICAL = "critical: "
VALIDATE = "validate: "

_RISES = {"p50": 0.50, "p95": 0.95, "p99": 0.99}


@attrs.frozen(kw_only=True)
class Paths:
    """
    What a stage is judged by.

    Attributes:
        plan: The plan.
        stage: The stage.
        required: Metrics without which the stage may not be left.
        criteria: Criteria that can take the stage back, with the limits that hold.
        weights: By part, its share of the budget; see `part`.
    """

    plan: Plan
    stage: Stage
    required: tuple[str, ...]
    criteria: Mapping[str, Criterion]
    weights: Mapping[str, float] = attrs.field(factory=dict)

    def evidence(self) -> dict[str, Evidence]:
        """Return the evidence of each path, by its key, all of it blank."""
        return {
            **dict(self._triggers()),
            **dict(self._criticals()),
            **dict(self._proofs()),
        }

    def parts(self) -> tuple[str, ...]:
        """Return the parts of the budget that this stage may spend."""
        back = {**dict(self._triggers()), **dict(self._criticals())}
        return tuple(
            part(self.stage.name, key) for key, one in back.items() if not one.fact
        )

    def _triggers(self) -> Iterator[tuple[str, Evidence]]:
        for trigger in self.plan.triggers:
            if trigger.rule.metric in self.required:
                key = f"{TRIGGER}{trigger.rule}"
                evidence = self._against(trigger.rule, self._alpha(key))
                if evidence is not None:
                    yield key, evidence

    def _criticals(self) -> Iterator[tuple[str, Evidence]]:
        if not self.stage.rolls_back_on_critical:
            return
        for name, criterion in self.criteria.items():
            if criterion.critical is None or is_fact(criterion):
                continue
            key = f"{CRITICAL}{name}"
            alpha = self._alpha(key)
            found = self._beyond(criterion, Level.CRITICAL, alpha)
            compares = type(criterion) is Rise
            if found is None and not (compares and self.share == 1):
                found = self._verdicts(criterion, alpha)
            if found is not None:
                yield key, found

    def _proofs(self) -> Iterator[tuple[str, Evidence]]:
        for rule in self.stage.validate:
            if rule.rehearsal is None:
                yield f"{VALIDATE}{rule}", self._for(rule)

    @property
    def share(self) -> float:
        """The share of the units that get the candidate."""
        return self.plan.share(self.stage)

    def _alpha(self, key: str) -> float:
        return self.plan.false_rollback * self.weights.get(
            part(self.stage.name, key), 1.0
        )

    def _stale_s(self, metric: str) -> float:
        return 3 * max(self.stage.check_interval_s, self.plan.matures(metric))

    def _for(self, rule: Rule) -> Evidence:
        metric = self.plan.metric(rule.metric)
        if rule.versus and self.share < 1:
            return ComparedEvidence(
                rule,
                metric=metric,
                trigger=False,
                margin=rule.margin or 0.0,
                share=self.share,
                alpha=self.plan.false_promotion,
                stale_s=self._stale_s(metric.name),
            )
        drawn = metric.source not in {"watchdog", "engine"} and rule.equals is None
        counted = metric.kind in {Kind.SHARE, Kind.TIME} and drawn
        if counted and not rule.versus:
            return LimitEvidence(
                rule,
                metric=metric,
                trigger=False,
                alpha=self.plan.false_promotion,
                stale_s=self._stale_s(metric.name),
            )
        return self._plain(rule, metric, trigger=False)

    def _against(self, rule: Rule, alpha: float) -> Evidence | None:
        metric = self.plan.metric(rule.metric)
        if rule.failures_in_a_row is not None:
            return self._row(rule, metric, alpha)
        if rule.versus:
            if self.share == 1:
                return None  # Nobody has the control; what it did before is no control.
            return self._compared(rule, metric, self._margin(rule.metric), alpha)
        if metric.kind in {Kind.SHARE, Kind.TIME}:
            return self._limit(rule, metric, alpha)
        plain = self._plain(rule, metric, trigger=True)
        if metric.kind is Kind.COUNT or metric.name in HARD_FACTS:
            return plain
        return SampledEvidence(plain, alpha=alpha)

    def _margin(self, metric: str) -> float:
        return self.plan.margin(metric, self.stage)

    def _compared(
        self, rule: Rule, metric: Metric, margin: float, alpha: float
    ) -> ComparedEvidence:
        return ComparedEvidence(
            rule,
            metric=metric,
            trigger=True,
            margin=margin,
            share=self.share,
            alpha=alpha,
            stale_s=self._stale_s(metric.name),
        )

    def _limit(self, rule: Rule, metric: Metric, alpha: float) -> Evidence:
        limit = LimitEvidence(
            rule,
            metric=metric,
            trigger=True,
            alpha=alpha,
            stale_s=self._stale_s(metric.name),
        )
        compares = metric.source in {"run", "shadow"} and metric.name != "disagreement"
        if self.share == 1 or not compares:
            return limit
        versus = self._compared(rule, metric, self._margin(rule.metric), alpha)
        return BothEvidence(limit, versus, alpha=alpha)

    def _row(self, rule: Rule, metric: Metric, alpha: float) -> Evidence:
        found = {
            name: self._beyond(criterion, Level.ALERT, alpha)
            for name, criterion in self.criteria.items()
            if name in self.required
        }
        return RowEvidence(
            self._plain(rule, metric, trigger=True),
            {name: one for name, one in found.items() if one is not None},
            alpha=alpha,
        )

    def _beyond(
        self, criterion: Criterion, level: Level, alpha: float
    ) -> Evidence | None:
        """Return the evidence that a noisy criterion is beyond one of its limits."""
        limit = dict(criterion.limits).get(level)
        if limit is None or criterion.name in HARD_FACTS:
            return None
        # Not of a subclass: that has a rule of its own, which only its verdicts tell.
        kind, of = type(criterion), str(getattr(criterion, "of", ""))
        if kind is Rise and of in _RISES:
            if self.share == 1:
                return None
            metric = _metric(criterion, Kind.TIME, "s")
            rule = _rule(criterion, worse_by=limit)
            return self._compared(rule, metric, limit, alpha)
        if kind in {Ceiling, Floor} and of == "share":
            metric = _metric(criterion, Kind.SHARE, "share")
            low = criterion.lower_is_worse
            rule = (
                _rule(criterion, below=limit) if low else _rule(criterion, above=limit)
            )
            return self._limit(rule, metric, alpha)
        return None

    def _verdicts(self, criterion: Criterion, alpha: float) -> Evidence:
        """Return the evidence of a criterion's own verdicts, window by window."""
        name = criterion.name
        metric = Metric(
            name=name, kind=Kind.SHARE, unit="share", stream=f"{CRITICAL}{name}"
        )
        rule = Rule(metric=name, unit="share", above=HEALTHY)
        return LimitEvidence(
            rule,
            metric=metric,
            trigger=True,
            alpha=alpha,
            stale_s=self._stale_s(metric.name),
        )

    def _plain(self, rule: Rule, metric: Metric, *, trigger: bool) -> ThresholdEvidence:
        criterion = self.criteria.get(rule.metric)
        return ThresholdEvidence(
            rule,
            metric=metric,
            trigger=trigger,
            interval_s=self.stage.check_interval_s,
            min_events=criterion.min_events if criterion is not None else 1,
            detected_at=_detected_at(criterion),
        )


def is_fact(criterion: Criterion) -> bool:
    """
    Tell whether one critical verdict of *criterion* is enough to go back.

    It is for the hard facts, and for what counts: a criterion whose unit is ``count``
    and which reads no sampled level.
    """
    counts = criterion.unit == "count" and getattr(criterion, "of", "count") == "count"
    return criterion.name in HARD_FACTS or counts


def is_weighed(criterion: Criterion) -> bool:
    """Tell whether a criterion's figure is weighed, unit by unit, beside its verdicts."""
    of = getattr(criterion, "of", "")
    share = type(criterion) in {Ceiling, Floor} and of == "share"
    return share or (type(criterion) is Rise and of in _RISES)


def part(stage: str, key: str) -> str:
    """Return the name of one path's part in the budget."""
    return f"{stage} | {key}"


def _metric(criterion: Criterion, kind: Kind, unit: str) -> Metric:
    of = str(getattr(criterion, "of", ""))
    return Metric(
        name=criterion.name,
        kind=kind,
        unit=unit,
        source="run" if criterion.stream in {"latency", "error_rate"} else "host",
        higher_is_better=criterion.lower_is_worse,
        stream=criterion.stream,
        quantile=_RISES.get(of, 0.95),
    )


def _rule(
    criterion: Criterion,
    *,
    below: float | None = None,
    above: float | None = None,
    worse_by: float | None = None,
) -> Rule:
    return Rule(
        metric=criterion.name,
        unit=criterion.unit,
        higher_is_better=criterion.lower_is_worse,
        below=below,
        above=above,
        worse_by=worse_by,
        versus="baseline" if worse_by is not None else "",
    )


def _detected_at(criterion: Criterion | None) -> float:
    """Return from which value on a metric is detected: the criterion's first harm."""
    if criterion is None:
        return 1.0
    limits = (criterion.alert, criterion.critical, criterion.warning)
    return next((limit for limit in limits if limit is not None), 1.0)
