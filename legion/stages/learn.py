"""What a rollout learns from one observation: evidence, standings, clean time."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from ..criteria import Criterion
from ..model import Count, Gauge, Level, Observation, Report, Window
from .decide import TRIGGER, VALIDATE, Ladder
from .evidence import Evidence
from .plan import Rule, Stage
from .state import RolloutState, Standing, standing_of
from .threshold import ThresholdEvidence


@attrs.define(eq=False)
class Learner:
    """
    Folds observations into a rollout's state.

    Attributes:
        ladder: The plan and what it requires.
    """

    ladder: Ladder
    _evidence: dict[str, Evidence] = attrs.field(init=False, factory=dict)
    _holds: tuple[int, int] | None = attrs.field(init=False, default=None)

    def forget(self) -> None:
        """Take up the evidence from the state again: somebody else has written it."""
        self._holds = None

    def learn(
        self,
        state: RolloutState,
        observation: Observation,
        report: Report,
        criteria: Mapping[str, Criterion],
    ) -> RolloutState:
        """Return the state after *observation* and the report on it."""
        if not state.stage:
            last_s = _later(state.last_s, observation.at_s)
            return attrs.evolve(state, last_s=last_s, turn=state.turn + 1)
        stage = self.ladder.plan.stage(state.stage)
        self._load(state, stage, criteria)
        self._holds = None  # Whatever happens in between, it is half learned.
        standings = _standings(state, report)
        required = self.ladder.required(stage)
        window = _with_derived(
            observation.candidate, state, report, required, standings
        )
        if observation.control is None:
            window = attrs.evolve(window, baseline=state.baseline)
        seen = attrs.evolve(observation, candidate=window)
        for evidence in self._evidence.values():
            evidence.update(seen)
        passed_s = self._passed(state, observation.at_s, stage)
        unhealthy = any(
            standing.level.unhealthy
            for name, standing in standings.items()
            if name in required
        )
        clean_s = passed_s if report.level is not None else 0.0
        self._holds = (state.entry, state.turn + 1)
        return attrs.evolve(
            state,
            turn=state.turn + 1,
            last_s=_later(state.last_s, observation.at_s),
            observed_s=state.observed_s + passed_s,
            unbroken_s=0.0 if unhealthy else state.unbroken_s + clean_s,
            standings=standings,
            baseline=_baseline(state, observation),
            evidence={key: one.to_json() for key, one in self._evidence.items()},
            findings={key: one.finding() for key, one in self._evidence.items()},
        )

    def _passed(self, state: RolloutState, at_s: float, stage: Stage) -> float:
        """Return the observed time; a gap longer than two checks is downtime."""
        if state.last_s is None:
            return 0.0
        return min(max(at_s - state.last_s, 0.0), 2 * stage.check_interval_s)

    def _load(
        self, state: RolloutState, stage: Stage, criteria: Mapping[str, Criterion]
    ) -> None:
        if self._holds == (state.entry, state.turn):
            return
        rules: dict[str, Rule] = {}
        for trigger in self.ladder.plan.triggers:
            if trigger.rule.metric in self.ladder.required(stage):
                rules[f"{TRIGGER}{trigger.rule}"] = trigger.rule
        for rule in stage.validate:
            if rule.rehearsal is None:
                rules[f"{VALIDATE}{rule}"] = rule
        self._evidence = {}
        for key, rule in rules.items():
            criterion = criteria.get(rule.metric)
            evidence = ThresholdEvidence(
                rule,
                metric=self.ladder.plan.metric(rule.metric),
                trigger=key.startswith(TRIGGER),
                interval_s=stage.check_interval_s,
                min_events=criterion.min_events if criterion is not None else 1,
                detected_at=_detected_at(criterion),
            )
            if key in state.evidence:
                evidence.restore(state.evidence[key])
            self._evidence[key] = evidence


def _later(last_s: float | None, at_s: float) -> float:
    """Return the later one: another process may have looked after this one did."""
    return at_s if last_s is None else max(last_s, at_s)


def _detected_at(criterion: Criterion | None) -> float:
    """Return from which value on a metric is detected: the criterion's first harm."""
    if criterion is None:
        return 1.0
    limits = (criterion.alert, criterion.critical, criterion.warning)
    return next((limit for limit in limits if limit is not None), 1.0)


def _baseline(state: RolloutState, observation: Observation) -> Window | None:
    if observation.control is None:
        return state.baseline
    control = attrs.evolve(observation.control, bad_units={}, baseline=None)
    return control if state.baseline is None else state.baseline.merge(control)


def _standings(state: RolloutState, report: Report) -> dict[str, Standing]:
    standings = dict(state.standings)
    for verdict in report.verdicts:
        standing = standing_of(verdict)
        if standing is not None:
            standings[verdict.criterion] = standing
    return standings


def _with_derived(
    window: Window,
    state: RolloutState,
    report: Report,
    required: tuple[str, ...],
    standings: Mapping[str, Standing],
) -> Window:
    """Add what the report itself says: how many verdicts turned bad, and so on."""
    judged = [verdict for verdict in report.verdicts if verdict.level is not None]
    # Said once a stage: the windows of a stage are added up.
    first = state.turn == 0
    counts = {
        "rollbacks": Count(state.rollbacks if first else 0),
        "unplanned_rollbacks": Count(state.unplanned if first else 0),
    }
    gauges: dict[str, Gauge] = {}
    if judged:
        turned = [
            verdict.level
            for verdict in judged
            if verdict.level is not None
            and verdict.level > _level_before(state, verdict.criterion)
        ]
        critical = sum(level is Level.CRITICAL for level in turned)
        counts |= {
            "watchdog_warnings": Count(sum(x is Level.WARNING for x in turned)),
            "watchdog_alerts": Count(sum(x.unhealthy for x in turned)),
            "watchdog_critical_alerts": Count(critical),
            "critical_incidents": Count(critical),
            "health_check_pass": Count(int(report.healthy), 1),
        }
        rows = [s.in_a_row for name, s in standings.items() if name in required]
        gauges["health_check"] = Gauge.of(max(rows, default=0))
    return attrs.evolve(
        window,
        counts={**window.counts, **counts},
        gauges={**window.gauges, **gauges},
    )


def _level_before(state: RolloutState, criterion: str) -> Level:
    standing = state.standings.get(criterion)
    return Level.OK if standing is None else standing.level
