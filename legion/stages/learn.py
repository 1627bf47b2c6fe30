"""What a rollout learns from one observation: evidence, standings, clean time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import attrs

from ..canonical import JSON
from ..model import Count, Finding, Gauge, Level, Observation, Report, Window
from .decide import Ladder
from .evidence import CRITICAL, Edge, Evidence, Known, Past, Watch, edges
from .plan import Stage
from .state import RolloutState, Standing, standing_of


@attrs.define(eq=False)
class Learner:
    """
    Folds observations into a rollout's state.

    Attributes:
        ladder: The plan and what it requires.
        known: Units that went bad in this rollout, where units come back; a task's are
            told once by telemetry.
    """

    ladder: Ladder
    known: Known
    _evidence: dict[str, Evidence] = attrs.field(init=False, factory=dict)
    _holds: tuple[int, int] | None = attrs.field(init=False, default=None)

    def forget(self) -> None:
        """Take up the evidence from the state again: somebody else has written it."""
        self._holds = None

    def learn(
        self, state: RolloutState, observation: Observation, report: Report
    ) -> RolloutState:
        """Return the state after *observation* and the report on it."""
        if not state.stage:
            last_s = _later(state.last_s, observation.at_s)
            return attrs.evolve(state, last_s=last_s, turn=state.turn + 1)
        stage = self.ladder.plan.stage(state.stage)
        self._load(state, stage)
        self._holds = None  # Whatever happens in between, it is half learned.
        standings = _standings(state, report)
        required = self.ladder.required(stage)
        window = _with_derived(
            observation.candidate, state, report, required, standings
        )
        if observation.control is None:
            window = attrs.evolve(window, baseline=state.baseline)
        seen = self.known.see(attrs.evolve(observation, candidate=window))
        for evidence in self._evidence.values():
            evidence.update(seen)
        learned = attrs.evolve(
            state,
            turn=state.turn + 1,
            last_s=_later(state.last_s, observation.at_s),
            standings=standings,
            past=_past(state, observation, self._watches()),
            baseline=_baseline(state, observation),
            evidence={key: one.to_json() for key, one in self._evidence.items()},
            findings={key: _named(key, one) for key, one in self._evidence.items()},
        )
        self._holds = (state.entry, state.turn + 1)
        # Where events were lost, what is left may look healthier than it was.
        windows = (observation.candidate, observation.control or Window())
        lost = any(window.dropped for window in windows)
        return self._timed(state, learned, report, stage, lost=lost)

    def _timed(
        self,
        state: RolloutState,
        learned: RolloutState,
        report: Report,
        stage: Stage,
        *,
        lost: bool,
    ) -> RolloutState:
        """Count observed time; what speaks of harm breaks the clean stretch."""
        assert learned.last_s is not None
        passed_s = 0.0 if lost else self._passed(state, learned.last_s, stage)
        harm = self.ladder.budget(learned).freezes or any(self.ladder.alerts(learned))
        clean_s = passed_s if report.level is not None else 0.0
        return attrs.evolve(
            learned,
            observed_s=state.observed_s + passed_s,
            unbroken_s=0.0 if harm else state.unbroken_s + clean_s,
        )

    def _passed(self, state: RolloutState, at_s: float, stage: Stage) -> float:
        """Return the observed time; a gap longer than two checks is downtime."""
        if state.last_s is None:
            return 0.0
        return min(max(at_s - state.last_s, 0.0), 2 * stage.check_interval_s)

    def edges(self, state: RolloutState) -> tuple[Edge, ...]:
        """Return beyond which times units are bad from now on."""
        if not state.stage:
            return ()
        self._load(state, self.ladder.plan.stage(state.stage))
        past = {stream: Past.from_json(one) for stream, one in state.past.items()}
        return tuple(edges(self._watches(), past))

    def _watches(self) -> tuple[Watch, ...]:
        return tuple(w for one in self._evidence.values() for w in one.watches)

    def _load(self, state: RolloutState, stage: Stage) -> None:
        if self._holds == (state.entry, state.turn):
            return
        self._evidence = self.ladder.paths(stage, state.weights).evidence()
        for key, evidence in self._evidence.items():
            if key in state.evidence:
                evidence.restore(state.evidence[key])
        self._holds = (state.entry, state.turn)


def _named(key: str, evidence: Evidence) -> Finding:
    """Return the finding with the path it is of, which a decision's findings keep."""
    found = evidence.finding()
    return attrs.evolve(found, evidence={**found.evidence, "path": key})


def _past(
    state: RolloutState, observation: Observation, watches: Iterable[Watch]
) -> Mapping[str, JSON]:
    """Return control's past values with the newest, of the streams that are asked."""
    if observation.control is None:
        return state.past
    past = dict(state.past)
    for stream in {watch.metric.stream for watch in watches if watch.limit is None}:
        values = observation.control.histograms.get(stream)
        if values is not None:
            before = Past.from_json(past[stream]) if stream in past else Past()
            past[stream] = before.plus(values).to_json()
    return past


def _later(last_s: float | None, at_s: float) -> float:
    """Return the later one: another process may have looked after this one did."""
    return at_s if last_s is None else max(last_s, at_s)


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
    # In the order in which a state file gives them back.
    return dict(sorted(standings.items()))


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
    for verdict in judged:
        critical = verdict.level is Level.CRITICAL
        counts[f"{CRITICAL}{verdict.criterion}"] = Count(int(critical), 1)
    if judged:
        turned = [
            verdict.level
            for verdict in judged
            if verdict.level is not None
            and verdict.level > _level_before(state, verdict.criterion)
        ]
        worst = sum(level is Level.CRITICAL for level in turned)
        counts |= {
            "watchdog_warnings": Count(sum(x is Level.WARNING for x in turned)),
            "watchdog_alerts": Count(sum(x.unhealthy for x in turned)),
            "watchdog_critical_alerts": Count(worst),
            "critical_incidents": Count(worst),
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
