"""Every path by which a stage may be left, forward or back, and its evidence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import attrs

from ...canonical import JSON
from ...criteria import Criterion
from ...metrics import HARD_FACTS, Kind, Metric
from ...model import Level
from ...stats import Side
from ..plan import Plan, Rule, Stage, Unit
from ..slices import MOST
from .both import BothEvidence, RowEvidence
from .compared import ComparedEvidence
from .detected import Bound, DetectorEvidence
from .exact import DAY_S
from .fact import ThresholdEvidence
from .limit import LEAST, LimitEvidence, bad_share
from .protocol import Evidence
from .rates import STRETCH_S, Rate, remembered
from .sampled import HEALTHY, SampledEvidence
from .watch import Watch, watched
from .weighed import detected_at, is_fact, weighed


TRIGGER = "trigger: "
CRITICAL = "critical: "
VALIDATE = "validate: "

HORIZON_S = 30 * 86_400.0
"""For how long the budget lasts where nothing says when a stage ends."""


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
        kept_back: What of each is not for the first stay in the stage.
        slices: The slices that are judged, in the order of their places.
        rates: How control fared in the last stage that had one; see `Rate`.
    """

    plan: Plan
    stage: Stage
    required: tuple[str, ...]
    criteria: Mapping[str, Criterion]
    weights: Mapping[str, float] = attrs.field(factory=dict)
    kept_back: float = 0.0
    slices: tuple[str, ...] = ()
    rates: Mapping[str, JSON] = attrs.field(factory=dict)

    def evidence(self) -> dict[str, Evidence]:
        """Return the evidence of each path, by its key, all of it blank."""
        return {
            **dict(self._triggers()),
            **dict(self._sliced()),
            **dict(self._criticals()),
            **dict(self._proofs()),
        }

    def parts(self) -> dict[str, float]:
        """Return the parts of the budget that this stage may spend, and their weight."""
        back = {**dict(self._triggers()), **dict(self._criticals())}
        shares = {key: 1.0 for key, one in back.items() if not one.fact}
        if self.plan.slices:
            shares |= {
                place(key, number): 1 / MOST
                for key, _ in self._compares()
                for number in range(1, MOST + 1)
            }
        return {part(self.stage.name, key): share for key, share in shares.items()}

    def _triggers(self) -> Iterator[tuple[str, Evidence]]:
        for trigger in self.plan.triggers:
            if trigger.rule.metric in self.required:
                key = f"{TRIGGER}{trigger.rule}"
                yield key, self._against(trigger.rule, self._alpha(key))

    def _compares(self) -> Iterator[tuple[str, Rule]]:
        """Yield the triggers that hold the candidate against control."""
        for trigger in self.plan.triggers:
            rule = trigger.rule
            if rule.versus and rule.metric in self.required and self.share < 1:
                yield f"{TRIGGER}{rule}", rule

    def _sliced(self) -> Iterator[tuple[str, Evidence]]:
        """Yield the same in each slice: what hurts a few is not averaged away."""
        for key, rule in self._compares():
            for number, name in enumerate(self.slices, 1):
                sliced = place(key, number)
                metric, margin = (
                    self.plan.metric(rule.metric),
                    self._margin(rule.metric),
                )
                alpha = self._alpha(sliced)
                yield sliced, self._compared(rule, metric, margin, alpha, slice=name)

    def _criticals(self) -> Iterator[tuple[str, Evidence]]:
        if not self.stage.rolls_back_on_critical:
            return
        for name, criterion in self.criteria.items():
            if criterion.critical is None or is_fact(criterion):
                continue
            key = f"{CRITICAL}{name}"
            alpha = self._alpha(key)
            found = self._beyond(criterion, Level.CRITICAL, alpha)
            yield key, found or self._verdicts(criterion, alpha)

    def _proofs(self) -> Iterator[tuple[str, Evidence]]:
        for rule in self.stage.validate:
            if rule.rehearsal is None:
                yield f"{VALIDATE}{rule}", self._for(rule)

    @property
    def share(self) -> float:
        """The share of the units that get the candidate."""
        return self.plan.share(self.stage)

    def _alpha(self, key: str) -> float:
        share = self.weights.get(part(self.stage.name, key), 1.0)
        return self.plan.false_rollback * share * (1 - self.kept_back)

    @property
    def _sticky(self) -> bool:
        return self.plan.unit is not Unit.TASK

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
                clustered=self._sticky,
            )
        return self._plain(rule, metric, trigger=False)

    def _against(self, rule: Rule, alpha: float) -> Evidence:
        metric = self.plan.metric(rule.metric)
        if metric.source == "watchdog" and metric.kind is Kind.COUNT:
            # Verdicts are of noisy criteria, whether they count in a row or at all.
            return self._row(rule, metric, alpha)
        if rule.versus:
            return self._compared(rule, metric, self._margin(rule.metric), alpha)
        if metric.kind in {Kind.SHARE, Kind.TIME}:
            return self._limit(rule, metric, alpha)
        plain = self._plain(rule, metric, trigger=True)
        if metric.kind is Kind.COUNT or metric.name in HARD_FACTS:
            return plain
        return SampledEvidence(plain, alpha=alpha, looks=self._looks)

    def _margin(self, metric: str) -> float:
        return self.plan.margin(metric, self.stage)

    def _compared(
        self,
        rule: Rule,
        metric: Metric,
        margin: float,
        alpha: float,
        *,
        slice: str = "",  # noqa: A002 - what it is
    ) -> Evidence:
        if self.share == 1:
            return self._remembered(rule, metric, margin, alpha)
        return ComparedEvidence(
            rule,
            metric=metric,
            trigger=True,
            margin=margin,
            share=self.share,
            alpha=alpha,
            stale_s=self._stale_s(metric.name),
            slice=slice,
            looks=self._looks,
            visits_s=(
                looked_at_s(self.stage)
                if metric.stream in visited(self.plan) and not slice
                else None
            ),
        )

    def _remembered(
        self, rule: Rule, metric: Metric, margin: float, alpha: float
    ) -> Evidence:
        """Return the evidence that all are worse than control was, by the margin."""
        name, time = watched(metric, Side.HARM, margin), metric.kind is Kind.TIME
        rate = self.rates.get(remembered(metric))
        # Half of the path's share is for a bound that is too low.
        most = None if rate is None else Rate.from_json(rate).limit(alpha=alpha / 2)
        if most is None:
            says = "control was not measured while there was one"
            return self._detector(rule, metric, alpha, name, None, Bound(says=says))
        # A time has its margin in the edge beyond which a unit is slow.
        share = max(most if time else (1 + margin) * most, rule.or_below or 0.0)
        worst = f"control had {most:.2%} at its worst"
        bound = Bound(
            share=min(share, 1 - LEAST),
            says=f"more than {share:.2%}, as {worst}",
            learned=True,
            step_s=min(STRETCH_S, self._horizon_s / 24),
        )
        watch = Watch(name=name, metric=metric, slower=margin) if time else None
        return self._detector(rule, metric, alpha, name, watch, bound)

    def _detector(
        self,
        rule: Rule,
        metric: Metric,
        alpha: float,
        name: str,
        watch: Watch | None,
        bound: Bound,
    ) -> DetectorEvidence:
        return DetectorEvidence(
            rule,
            metric=metric,
            name=name,
            watch=watch,
            bound=bound,
            alpha=alpha,
            interval_s=self.stage.check_interval_s,
            stale_s=self._stale_s(metric.name),
            horizon_s=self._horizon_s,
            run_length_s=self._horizon_s / self.plan.false_rollback,
            clustered=self._clustered(metric),
        )

    @property
    def _looks(self) -> float:
        return self._horizon_s / self.stage.check_interval_s

    @property
    def _horizon_s(self) -> float:
        return self.stage.unbroken_for_s or self.stage.dwell_s or HORIZON_S

    def _alone(self, rule: Rule, metric: Metric, alpha: float) -> Evidence:
        """Return the evidence that the candidate is beyond a limit of its own."""
        limit = LimitEvidence(
            rule,
            metric=metric,
            trigger=True,
            alpha=alpha,
            stale_s=self._stale_s(metric.name),
            clustered=self._clustered(metric),
            looks=self._looks,
        )
        if self.share < 1:
            return limit
        share = min(max(bad_share(rule, metric), LEAST), 1 - LEAST)
        says = str(rule).removeprefix(f"{rule.metric} ")
        watch = next(iter(limit.watches), None)
        bound = Bound(share=share, says=says)
        return self._detector(rule, metric, alpha, limit.name, watch, bound)

    def _clustered(self, metric: Metric) -> bool:
        """Tell whether events of *metric* are of units that come back."""
        # What the watchdog says is said of windows and of no unit.
        return self._sticky and metric.source != "watchdog"

    def _limit(self, rule: Rule, metric: Metric, alpha: float) -> Evidence:
        limit = self._alone(rule, metric, alpha)
        shared = metric.name in self.plan.shared
        if self.share == 1 or shared or not metric.by_arm:
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
        found = weighed(criterion, level)
        if found is None:
            return None
        rule, metric = found
        if rule.versus:
            return self._compared(rule, metric, rule.worse_by or 0.0, alpha)
        return self._limit(rule, metric, alpha)

    def _verdicts(self, criterion: Criterion, alpha: float) -> Evidence:
        """Return the evidence of a criterion's own verdicts, window by window."""
        name = criterion.name
        metric = Metric(
            name=name,
            kind=Kind.SHARE,
            unit="share",
            source="watchdog",
            stream=f"{CRITICAL}{name}",
        )
        return self._alone(
            Rule(metric=name, unit="share", above=HEALTHY), metric, alpha
        )

    def _plain(self, rule: Rule, metric: Metric, *, trigger: bool) -> ThresholdEvidence:
        criterion = self.criteria.get(rule.metric)
        return ThresholdEvidence(
            rule,
            metric=metric,
            trigger=trigger,
            interval_s=self.stage.check_interval_s,
            min_events=criterion.min_events if criterion is not None else 1,
            detected_at=detected_at(criterion),
        )


def looked_at_s(stage: Stage) -> float:
    """
    Return over which plan time the exact test spreads its looks, in seconds.

    From the first check of the stage on, so that the last look is taken by the time at
    which the stage may be left, though checks come up to half an interval too early.
    """
    long_s = stage.dwell_s or stage.unbroken_for_s or DAY_S
    return max(long_s - 1.5 * stage.check_interval_s, long_s / 4)


def visited(plan: Plan) -> frozenset[str]:
    """
    Return the streams of which each visit of a unit is to be counted.

    They are the shares that the rules name, and the error rate, of which criteria ask.
    None where each unit comes once. Times are not among them: their edges differ
    between the arms and move.
    """
    if plan.unit is Unit.TASK:
        return frozenset()
    names = (name for stage in plan.stages for name in plan.metrics_of(stage))
    named = (plan.metric(name) for name in names)
    return frozenset(
        {"error_rate"}
        | {
            metric.stream
            for metric in named
            if metric.kind is Kind.SHARE and metric.source in {"run", "host", "cache"}
        }
    )


def place(key: str, number: int) -> str:
    """Return the key of one path in the slice that has the place *number*."""
    return f"{key} [slice {number}]"


def is_of(key: str, rule: Rule) -> bool:
    """Tell whether *key* is the path of a trigger's *rule*, in a slice or in all."""
    return key.partition(" [slice ")[0] == f"{TRIGGER}{rule}"


def part(stage: str, key: str) -> str:
    """Return the name of one path's part in the budget."""
    return f"{stage} | {key}"
