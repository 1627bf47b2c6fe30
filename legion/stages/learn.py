"""What a rollout learns from one observation: evidence, standings, clean time."""

from __future__ import annotations

import logging

from collections.abc import Iterable, Mapping

import attrs

from ..canonical import JSON
from ..exceptions import StateError
from ..model import (
    Count,
    Finding,
    Gauge,
    Level,
    Missing,
    Observation,
    Report,
    Window,
)
from .decide import Ladder
from .estimates import fared, measured
from .evidence import (
    CRITICAL,
    VALIDATE,
    BothEvidence,
    ComparedEvidence,
    Edge,
    Evidence,
    Known,
    LimitEvidence,
    Past,
    Stay,
    Watch,
    edges,
    no_edge_yet,
    rates,
)
from .mismatch import exposed, mismatch
from .plan import Stage, Unit
from .slices import admitted
from .state import RolloutState, Standing, standing_of
from .unit_rows import UnitRows


logger = logging.getLogger("legion")

_MORE_ROOM = (
    "Turn or drain more often or raise the capacity of telemetry where events were lost;"
    " shorten `matures` where units were not followed"
)


@attrs.define(eq=False)
class Learner:
    """
    Folds observations into a rollout's state.

    Attributes:
        ladder: The plan and what it requires.
        known: Units that went bad in this stay, and that came, where they come back.
        rows: Where those are written down; None where all of them come from here.
    """

    ladder: Ladder
    known: Known
    rows: UnitRows | None = None
    _evidence: dict[str, Evidence] = attrs.field(init=False, factory=dict)
    _holds: tuple[int, int] | None = attrs.field(init=False, default=None)
    _entry: int | None = attrs.field(init=False, default=None)
    _follows: int | None = attrs.field(init=False, default=None)
    _outdated: bool = attrs.field(init=False, default=False)

    def __attrs_post_init__(self) -> None:
        if self.rows is not None:
            self.rows.load(self.known)

    def forget(self) -> None:
        """Take up evidence and units again: somebody else has written them."""
        self._holds = None
        self._outdated = True

    def learn(
        self, state: RolloutState, observation: Observation, report: Report
    ) -> RolloutState:
        """Return the state after *observation* and the report on it."""
        self._read_units()
        share = self.ladder.exposure(state.stage).share
        at = Stay(state.stay, share, state.entry)
        if not state.stage:
            if self.known.sticky:
                self.known.visitors.see(observation, at)
            last_s = _later(state.last_s, observation.at_s)
            return attrs.evolve(state, last_s=last_s, turn=state.turn + 1)
        stage = self.ladder.plan.stage(state.stage)
        baseline = _baseline(state, observation)
        self._load(state, stage)
        self._holds = None  # Whatever happens in between, it is half learned.
        state = self._admit(state, stage, baseline)
        standings = _standings(state, report)
        required = self.ladder.required(stage)
        window = _with_derived(
            observation.candidate, state, report, required, standings
        )
        if observation.control is None:
            window = attrs.evolve(window, baseline=state.baseline)
        streams = _streams(state, observation) if self.known.sticky else ()
        seen = self.known.see(
            attrs.evolve(observation, candidate=window), at, streams=len(streams) or 1
        )
        for evidence in self._evidence.values():
            evidence.update(seen)
        last_s = _later(state.last_s, observation.at_s)
        observed_s = state.observed_s + self._passed(state, last_s, stage)
        learned = attrs.evolve(
            state,
            turn=state.turn + 1,
            last_s=last_s,
            standings=standings,
            past=_past(state, observation, self._watches()),
            baseline=baseline,
            rates=(
                state.rates
                if observation.lost
                else rates(state.rates, seen, self._watches())
            ),
            candidate=measured(state, observation, self.ladder.plan, stage),
            streams=streams,
            fared=fared(state, seen, self.ladder.plan, stage),
            exposed=self._exposed(state, observation, stage),
            evidence={key: one.to_json() for key, one in self._evidence.items()},
        )
        learned = attrs.evolve(
            learned,
            findings={
                key: self._finding(key, one, learned, observed_s, observation.lost)
                for key, one in self._evidence.items()
            },
        )
        self._holds = (state.entry, state.turn + 1)
        # What is left may look healthier than it was.
        lost = bool(observation.lost)
        return self._timed(state, learned, report, stage, lost=lost)

    def _admit(
        self, state: RolloutState, stage: Stage, baseline: Window | None
    ) -> RolloutState:
        """Give slices that have grown large a place, and begin their evidence."""
        if not self.ladder.plan.slices:
            return state
        slices = admitted(state.slices, baseline, self.ladder.plan.slices)
        if slices == state.slices:
            return state
        state = attrs.evolve(state, slices=slices)
        self._evidence = {
            **self.ladder.paths(stage, state).evidence(),
            **self._evidence,
        }
        return state

    def _exposed(
        self, state: RolloutState, observation: Observation, stage: Stage
    ) -> Mapping[str, JSON] | None:
        """Return the test of the split, of units that are surely counted once."""
        plan = self.ladder.plan
        # Who learned before it was entered has been told of every unit of it once; after
        # a restart those who come back would pass for new ones.
        if state.turn == 0 or self._entry not in {None, state.entry}:
            self._follows = state.entry
        self._entry = state.entry
        once = plan.unit is Unit.TASK or self._follows == state.entry
        return exposed(state.exposed, observation, plan=plan, stage=stage, once=once)

    def _read_units(self) -> None:
        """Read what others wrote of the units; going back does not wait for that."""
        if not self._outdated or self.rows is None:
            return
        try:
            self.rows.load(self.known)
            self._outdated = False
        except StateError:
            logger.warning("the units cannot be read again", exc_info=True)

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

    def _finding(
        self,
        key: str,
        evidence: Evidence,
        state: RolloutState,
        observed_s: float,
        lost: str,
    ) -> Finding:
        """Return the finding with its path, which a decision's findings keep."""
        found = evidence.finding()
        found = attrs.evolve(found, evidence={**found.evidence, "path": key})
        why = _unfit(key, evidence, mismatch(state.exposed), lost)
        if why:
            return attrs.evolve(
                found,
                met=None,
                missing=Missing.INCONCLUSIVE,
                reason=f"{found.metric}: {why}",
            )
        past = state.past
        if found.missing is Missing.NO_DATA:
            streams = {watch.metric.stream for watch in evidence.watches}
            known = {s: Past.from_json(past[s]) for s in streams if s in past}
            why = no_edge_yet(evidence.watches, known)
            if why:
                return attrs.evolve(
                    found,
                    missing=Missing.INCONCLUSIVE,
                    reason=f"{found.metric}: {why}",
                )
        proves = key.startswith(VALIDATE) and found.met is False and observed_s > 0
        if proves and isinstance(evidence, ComparedEvidence | LimitEvidence):
            # What came of age so far was exposed for as long as it took to mature.
            matures_s = self.ladder.plan.matures_s
            proved_s = max(observed_s - matures_s, observed_s / 2)
            return evidence.outlook(proved_s).on(found)
        return found

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
        paths = self.ladder.paths(stage, state)
        self._evidence = paths.evidence()
        for key, evidence in self._evidence.items():
            if key in state.evidence:
                evidence.restore(state.evidence[key])
        self._holds = (state.entry, state.turn)


def _unfit(key: str, evidence: Evidence, split: str, lost: str) -> str:
    """Return why this look says nothing of a comparison or a proof, or ""."""
    if isinstance(evidence, ComparedEvidence | BothEvidence):
        if split:
            return split
        if lost:
            return (
                f"{lost} in this look, maybe of one arm more than of the other; arms"
                f" are not compared by it. {_MORE_ROOM}"
            )
    elif lost and isinstance(evidence, LimitEvidence) and key.startswith(VALIDATE):
        return (
            f"{lost} in this look, and what is left may look healthier than it was; it"
            f" proves nothing. {_MORE_ROOM}"
        )
    return ""


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


def _streams(state: RolloutState, observation: Observation) -> tuple[str, ...]:
    """Return whose telemetry has told units in this stay, under which exposure."""
    named = (f"{one} {observation.exposure[:12]}" for one in observation.streams)
    return tuple(sorted({*state.streams, *named}))


def _later(last_s: float | None, at_s: float) -> float:
    """Return the later one: another process may have looked after this one did."""
    return at_s if last_s is None else max(last_s, at_s)


def _baseline(state: RolloutState, observation: Observation) -> Window | None:
    if observation.control is None:
        return state.baseline
    control = attrs.evolve(observation.control, bad_units={}, visits={}, baseline=None)
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
