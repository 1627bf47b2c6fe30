"""The ladder: what a report and a state say should happen next. No clock, no file."""

from __future__ import annotations

import logging

from collections.abc import Iterator, Mapping

import attrs

from ..criteria import Criterion
from ..exceptions import SnapshotError, SnapshotNotFoundError
from ..metrics import HARD_FACTS, METRICS
from ..model import (
    Arm,
    Change,
    Decision,
    Finding,
    Level,
    Move,
    Report,
    Snapshots,
    Verdict,
)
from ..plugins import Plugins
from ..stats import WeightedSum, decides
from .budget import Budget, excess_of
from .evidence import TRIGGER, VALIDATE, Paths, is_fact, is_weighed
from .exposure import Exposure
from .plan import Plan, Stage
from .state import RolloutState, Standing, Status


logger = logging.getLogger("legion")

REHEARSAL = "rehearsal"


@attrs.define(kw_only=True, eq=False)
class Ladder:
    """
    A plan together with what the ladder needs to know of its surroundings.

    Attributes:
        plan: The plan.
        plugins: Whose criteria are in force, and who may choose a lower stage.
        registry: Versions of the code; None where they are kept elsewhere.
        baseline: What is exposed after going back.
        stages: What each stage exposes, in the order of the plan.
        damage: What in the registry cannot be read, or "": nothing goes forward then.
    """

    plan: Plan
    plugins: Plugins
    registry: Snapshots | None = None
    baseline: Exposure = attrs.field(init=False)
    stages: tuple[Exposure, ...] = attrs.field(init=False)
    damage: str = attrs.field(init=False, default="")
    _required: dict[str, tuple[Mapping[str, Criterion], tuple[str, ...]]] = attrs.field(
        init=False, factory=dict
    )

    def __attrs_post_init__(self) -> None:
        self.look()

    def look(self) -> None:
        """Take the code that the registry holds for the plan's versions now."""
        self.damage = ""
        plan = self.plan
        code = {
            Arm.CONTROL: self._digest_of(plan.rollback.to) or plan.baseline,
            Arm.CANDIDATE: self._digest_of(plan.candidate) or plan.candidate,
        }
        self.baseline = Exposure.of(plan, "", code=code)
        self.stages = tuple(Exposure.of(plan, s.name, code=code) for s in plan.stages)

    def _digest_of(self, name: str) -> str | None:
        if self.registry is None or not name:
            return None
        try:
            return self.registry.resolve(name)
        except SnapshotNotFoundError:
            return None
        except (SnapshotError, OSError) as error:
            # Going back must work all the same; its own step will say so again.
            logger.warning("snapshot %s cannot be resolved", name, exc_info=True)
            self.damage = f"{name}: {error}"
            return None

    @property
    def criteria(self) -> frozenset[str]:
        """Names of the criteria in force: those registered and not switched off."""
        off = {name for name, limits in self.plan.criteria.items() if limits is None}
        return frozenset(self.plugins.criteria) - off

    def exposure(self, stage: str) -> Exposure:
        """Return what *stage* exposes; "" is the baseline."""
        return self.stages[self.plan.index(stage)] if stage else self.baseline

    def next_stage(self, stage: str) -> str | None:
        """Return the stage after *stage*, or None after the last one."""
        following = self.plan.index(stage) + 1 if stage else 0
        stages = self.plan.stages
        return stages[following].name if following < len(stages) else None

    def required(self, stage: Stage) -> tuple[str, ...]:
        """
        Return the metrics without which *stage* may not be left.

        What only a mirror supplies is not required where a stage has none, unless its
        own validate names it: then the stage holds.
        """
        in_force = self.plugins.criteria
        known = self._required.get(stage.name)
        if known is None or known[0] is not in_force:
            known = self._required[stage.name] = in_force, self._requires(stage)
        return known[1]

    def _requires(self, stage: Stage) -> tuple[str, ...]:
        named = {rule.metric for rule in stage.validate}
        return tuple(
            metric
            for metric in self.plan.requires(stage, self.criteria)
            if stage.mirror > 0 or metric in named or not _from_shadow(metric)
        )

    def harmful(self, stage: Stage) -> frozenset[str]:
        """
        Return the criteria of which a critical verdict takes *stage* back.

        They are those it requires, the hard facts, and those the host registered
        itself: a built-in one that no rule asks about does not.
        """
        own = {
            name
            for name, criterion in self.plugins.criteria.items()
            if not type(criterion).__module__.startswith("legion.")
            or name not in METRICS
        }
        return self.criteria & (frozenset(self.required(stage)) | HARD_FACTS | own)

    def decide(
        self, report: Report, state: RolloutState, *, dwell: bool = True
    ) -> Decision:
        """
        Say what should happen next.

        Going back is looked at before anything else. Missing evidence never promotes
        and never rolls back.

        Args:
            report: The newest report.
            state: The rollout after it has learned from that report's observation.
            dwell: Whether the stage's time must be over; a person who promotes by hand
                may skip the time, never the evidence.
        """
        if state.status is Status.ROLLED_BACK:
            return self._say(Move.HOLD, "rolled_back", state.reason, report, state)
        harm = self._harm(report, state)
        if harm is not None:
            return harm
        stop = self._stopped(report, state)
        if stop is not None:
            return stop
        if state.status is Status.READY:
            return self._advance(report, state, "start", "nothing is exposed yet")
        return self._climb(report, state, dwell=dwell)

    def paths(self, stage: Stage, weights: Mapping[str, float]) -> Paths:
        """Return the paths by which *stage* may be left, forward or back."""
        harmful = self.harmful(stage)
        return Paths(
            plan=self.plan,
            stage=stage,
            required=self.required(stage),
            criteria={
                name: self._limited(criterion)
                for name, criterion in self.plugins.criteria.items()
                if name in harmful
            },
            weights=weights,
        )

    def _limited(self, criterion: Criterion) -> Criterion:
        limits = self.plan.criteria.get(criterion.name)
        return criterion if not limits else criterion.limited(dict(limits))

    def weights(self) -> dict[str, float]:
        """
        Return each path's share of the budget, fixed before anything is exposed.

        A criterion that comes later has none: it warns, and takes nothing back.
        """
        parts = [p for stage in self.plan.stages for p in self.paths(stage, {}).parts()]
        return dict(WeightedSum.equal(parts).weights) if parts else {}

    def budget(self, state: RolloutState) -> Budget:
        """Return what is spent of the plan's ``false_rollback``."""
        return Budget.of(state, alpha=self.plan.false_rollback)

    def _harm(self, report: Report, state: RolloutState) -> Decision | None:
        if state.status is Status.READY or not state.stage:
            return None
        for key, finding in state.findings.items():
            if key.startswith(TRIGGER) and finding.fact and finding.met:
                return self._fired(key, finding, report, state)
        for verdict in report.verdicts:
            if verdict.level is Level.CRITICAL and self._is_fact(verdict, state):
                code = f"critical:{verdict.criterion}"
                return self._retreat(code, verdict.reason, report, state)
        budget = self.budget(state)
        if budget.decides:
            key = next(
                spent.key for spent in budget.parts if spent.key in state.findings
            )
            return self._fired(key, state.findings[key], report, state)
        return None

    def _fired(
        self, key: str, finding: Finding, report: Report, state: RolloutState
    ) -> Decision:
        within_s = next(
            (t.within_s for t in self.plan.triggers if f"{TRIGGER}{t.rule}" == key),
            None,
        )
        code = f"{key.partition(':')[0]}:{finding.metric}"
        return self._retreat(code, finding.reason, report, state, within_s=within_s)

    def _is_fact(self, verdict: Verdict, state: RolloutState) -> bool:
        stage = self.plan.stage(state.stage)
        criterion = self.plugins.criteria.get(verdict.criterion)
        return (
            criterion is not None
            and is_fact(criterion)
            and criterion.name in self.harmful(stage)
            and stage.rolls_back_on_critical
        )

    def _stopped(self, report: Report, state: RolloutState) -> Decision | None:
        if state.status is Status.COMPLETE:
            return self._say(Move.HOLD, "complete", state.reason, report, state)
        if state.in_doubt is not None:
            reason = (
                f"it is in doubt whether {state.in_doubt.target} moved to"
                f" {state.in_doubt.after[:12]}; that is settled first"
            )
            return self._say(Move.HOLD, "in_doubt", reason, report, state)
        if state.status is Status.PAUSED:
            return self._say(Move.HOLD, "paused", state.reason, report, state)
        if not state.stage:
            return None
        return self._frozen(report, state)

    def _frozen(self, report: Report, state: RolloutState) -> Decision | None:
        """Say that the ladder stops for evidence of harm that is no proof yet."""
        budget = self.budget(state)
        if budget.freezes:
            key = next(
                spent.key for spent in budget.parts if spent.key in state.findings
            )
            finding = state.findings[key]
            reason = (
                f"combined evidence of harm {budget.e:.3g}, frozen from 10 and taken"
                f" back from {1 / budget.alpha:.3g}; {finding.reason}"
            )
            code = f"evidence:{finding.metric}"
            return self._say(Move.FREEZE, code, reason, report, state)
        for name, standing in self.alerts(state):
            code = f"alert:{name}"
            return self._say(Move.FREEZE, code, standing.reason, report, state)
        return self._overspent(report, state)

    def _overspent(self, report: Report, state: RolloutState) -> Decision | None:
        """Say that the stage has harmed as many units as it may, proven or not."""
        most = self.plan.stage(state.stage).harm_budget
        for finding in state.findings.values():
            excess = excess_of(finding)
            if most is not None and excess is not None and excess > most:
                reason = f"{excess:.0f} bad units in excess of {most}; {finding.reason}"
                code = f"harm_budget:{finding.metric}"
                return self._say(Move.FREEZE, code, reason, report, state)
        return None

    def alerts(self, state: RolloutState) -> Iterator[tuple[str, Standing]]:
        """
        Yield the required criteria whose alert alone stops the ladder.

        They are facts, and those of the host's own kind: their verdict is all there is.
        """
        required = self.required(self.plan.stage(state.stage))
        criteria = self.plugins.criteria
        for name, standing in state.standings.items():
            known = name in required and name in criteria
            if known and standing.level.unhealthy and not is_weighed(criteria[name]):
                yield name, standing

    def _unhealthy(self, stage: Stage, state: RolloutState) -> Iterator[str]:
        """Yield why the stage is not left just now, though the evidence is no proof."""
        required = self.required(stage)
        for name, standing in state.standings.items():
            if name in required and standing.level.unhealthy:
                yield standing.reason

    def _climb(self, report: Report, state: RolloutState, *, dwell: bool) -> Decision:
        stage = self.plan.stage(state.stage)
        missing = self.missing(stage, state, report.at_s)
        holds = (
            ("missing_evidence", tuple(self._why_missing(missing, state))),
            ("dwell", tuple(_waits(stage, state)) if dwell else ()),
            ("validation", tuple(_unmet(state.findings, stage))),
            ("alert", tuple(self._unhealthy(stage, state))),
            ("rehearsal", tuple(self._unrehearsed(state))),
            ("damaged_registry", (self.damage,) if self.damage else ()),
        )
        for code, reasons in holds:
            if reasons:
                reason = "; ".join(reasons)
                return self._say(Move.HOLD, code, reason, report, state, missing)
        following = self.next_stage(stage.name)
        if following is None:
            return self._complete(report, state)
        return self._advance(report, state, "advance", f"{stage.name} is proven")

    def _why_missing(
        self, missing: tuple[str, ...], state: RolloutState
    ) -> Iterator[str]:
        reasons = {
            finding.metric: finding.reason
            for finding in state.findings.values()
            if finding.missing is not None and finding.reason
        }
        for metric in missing:
            yield reasons.get(metric, f"{metric}: no verdict yet")

    def _unrehearsed(self, state: RolloutState) -> Iterator[str]:
        if self.rehearsal_within_s(state.stage) and state.rehearsed_s is None:
            why = state.rehearsal or "not tried yet"
            yield f"the rollback is not rehearsed: {why}"

    def missing(
        self, stage: Stage, state: RolloutState, at_s: float
    ) -> tuple[str, ...]:
        """Return the required metrics that have no evidence, or only an old one."""
        absent = {
            finding.metric
            for finding in state.findings.values()
            if finding.missing is not None
        }
        judged = {
            name
            for name, standing in state.standings.items()
            if not standing.stale(at_s, stage.check_interval_s)
        }
        found = {finding.metric for finding in state.findings.values()}
        return tuple(
            metric
            for metric in self.required(stage)
            if metric in absent
            or (metric not in found and metric not in judged)
            or (metric in self.criteria and metric not in judged)
        )

    def _advance(
        self, report: Report, state: RolloutState, code: str, reason: str
    ) -> Decision:
        following = self.next_stage(state.stage)
        assert following is not None
        if self.damage:
            return self._say(Move.HOLD, "damaged_registry", self.damage, report, state)
        exposure = self.exposure(following).without(state.off)
        change = Change(
            target=f"rollout:{self.plan.name}",
            before=state.exposure,
            after=exposure.digest,
            kind="advance",
            risk=round(0.2 * exposure.share, 6),
            reason=f"{reason}; to {following} with {exposure.share:.0%} of the units",
            proposer="stages",
            report=report.digest,
            detail={
                "from": state.stage,
                "to": following,
                "share": exposure.share,
                "share_before": self.exposure(state.stage).share,
            },
        )
        return attrs.evolve(
            self._say(Move.ADVANCE, code, change.reason, report, state),
            to=following,
            change=change,
        )

    def _complete(self, report: Report, state: RolloutState) -> Decision:
        reason = f"{state.stage} met every target; the rollout is complete"
        return self._say(Move.ADVANCE, "complete", reason, report, state)

    def _retreat(
        self,
        code: str,
        reason: str,
        report: Report,
        state: RolloutState,
        *,
        within_s: float | None = None,
        to: str = "",
    ) -> Decision:
        return self.retreat(
            code, reason, state, to=to, within_s=within_s, report=report
        )

    def lowered(
        self, decision: Decision, report: Report, state: RolloutState, plugins: Plugins
    ) -> Decision:
        """Return *decision*, or a lower one where a chooser asks for it."""
        if state.status.over or decision.move in {Move.ROLL_BACK, Move.FREEZE}:
            return decision
        names = ["", *(stage.name for stage in self.plan.stages)]
        wanted = names.index(decision.to)
        lowest, reason = wanted, ""
        for answer in plugins.choose_stage(self.plan.name, decision.to, report):
            if answer.error is not None or answer.value not in names:
                said = answer.error or f"answered {answer.value!r}, not a stage"
                hold = names.index(state.stage)
                place, why = min(wanted, hold), f"{answer.plugin}: {said}"
            else:
                place = names.index(answer.value)
                why = f"{answer.plugin} chose {answer.value or 'the baseline'}"
            if place < lowest:
                lowest, reason = place, why
        if lowest == wanted:
            return decision
        if lowest >= names.index(state.stage):
            return self._say(Move.HOLD, "chosen", reason, report, state)
        return self.retreat("chosen", reason, state, to=names[lowest], report=report)

    def rehearsal(self, state: RolloutState) -> Change | None:
        """Return the rehearsal that the stage asks for and that is not done yet."""
        if state.status is not Status.RUNNING or state.in_doubt is not None:
            return None
        if state.rehearsed_s is not None or not self.rehearsal_within_s(state.stage):
            return None
        return Change(
            target=f"rollout:{self.plan.name}",
            before=state.exposure,
            after=state.exposure,
            kind=REHEARSAL,
            risk=0.0,
            reason="the rollback is rehearsed before any user is exposed",
            proposer="stages",
        )

    def rehearsal_within_s(self, stage: str) -> float:
        """Return how long the rehearsed rollback may take, or 0 where none is asked."""
        rules = self.plan.stage(stage).validate if stage else ()
        found = [rule.within_s for rule in rules if rule.rehearsal]
        return float(found[0] or self.plan.rollback.within_s) if found else 0.0

    def retreat(
        self,
        code: str,
        reason: str,
        state: RolloutState,
        *,
        to: str = "",
        within_s: float | None = None,
        report: Report | None = None,
    ) -> Decision:
        """Say that the rollout goes back, to the baseline or to a lower stage."""
        report = report or Report(plan=self.plan.name, stage=state.stage)
        change = Change(
            target=f"rollout:{self.plan.name}",
            before=state.exposure,
            after=self.exposure(to).digest,
            kind="roll_back",
            reason=reason,
            proposer="stages",
            report=report.digest,
        )
        deadline_s = self.plan.rollback.within_s
        return attrs.evolve(
            self._say(Move.ROLL_BACK, code, reason, report, state),
            to=to,
            change=change,
            within_s=min(within_s, deadline_s) if within_s else deadline_s,
        )

    def _say(
        self,
        move: Move,
        code: str,
        reason: str,
        report: Report,
        state: RolloutState,
        missing: tuple[str, ...] = (),
    ) -> Decision:
        applicable: set[str] = set()
        if state.stage:
            stage = self.plan.stage(state.stage)
            applicable = {*self.required(stage), *self.harmful(stage)}
        return Decision(
            move=move,
            code=code,
            reason=reason,
            plan=self.plan.name,
            stage=state.stage,
            to=state.stage,
            at_s=report.at_s,
            version=state.version,
            findings=tuple(state.findings.values()),
            missing=missing,
            not_applicable=tuple(
                name for name in sorted(self.criteria) if name not in applicable
            ),
            report=report.digest,
        )


def _deciding(budget: Budget, state: RolloutState) -> str:
    """Return the plan's first trigger that would do alone, else what weighs most."""
    here = [spent for spent in budget.parts if spent.key in state.findings]
    alone = {spent.key for spent in here if decides(spent.log_term, alpha=budget.alpha)}
    triggers = [
        key for key in state.findings if key in alone and key.startswith(TRIGGER)
    ]
    return (triggers or [spent.key for spent in here])[0]


def _unmet(findings: Mapping[str, Finding], stage: Stage) -> Iterator[str]:
    for rule in stage.validate:
        if rule.rehearsal is not None:
            continue
        finding = findings.get(f"{VALIDATE}{rule}")
        if finding is None:
            yield f"{rule}: nothing was seen yet"
        elif not finding.met:
            yield finding.reason


def _waits(stage: Stage, state: RolloutState) -> Iterator[str]:
    if stage.dwell_s is not None and state.observed_s < stage.dwell_s:
        yield (
            f"observed {_hours(state.observed_s)} of {_hours(stage.dwell_s)}"
            f" in {stage.name}"
        )
    unbroken_s = stage.unbroken_for_s
    if unbroken_s is not None and state.unbroken_s < unbroken_s:
        yield (
            f"healthy without a break for {_hours(state.unbroken_s)} of"
            f" {_hours(unbroken_s)}"
        )


def _from_shadow(metric: str) -> bool:
    known = METRICS.get(metric)
    return known is not None and known.source == "shadow"


def _hours(seconds: float) -> str:
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
