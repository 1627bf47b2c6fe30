"""The ladder: what a report and a state say should happen next. No clock, no file."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import attrs

from ..exceptions import SnapshotNotFoundError
from ..metrics import METRICS
from ..model import (
    Arm,
    Change,
    Decision,
    Finding,
    Level,
    Move,
    Report,
    Snapshots,
)
from ..plugins import Plugins
from .exposure import Exposure
from .plan import Plan, Stage
from .state import RolloutState, Status


TRIGGER = "trigger: "
VALIDATE = "validate: "
REHEARSAL = "rehearsal"


@attrs.frozen(kw_only=True)
class Ladder:
    """
    A plan together with what the ladder needs to know of its surroundings.

    Attributes:
        plan: The plan.
        plugins: Whose criteria are in force, and who may choose a lower stage.
        baseline: What is exposed after going back.
        stages: What each stage exposes, in the order of the plan.
        candidate: Digest of the candidate's snapshot, where a registry holds it.
    """

    plan: Plan
    plugins: Plugins
    baseline: Exposure
    stages: tuple[Exposure, ...]
    candidate: str | None = None

    @classmethod
    def of(cls, plan: Plan, plugins: Plugins, registry: Snapshots | None) -> Ladder:
        """Make the ladder of *plan*, with the code that the registry holds for it."""
        candidate = _digest_in(registry, plan.candidate)
        baseline = _digest_in(registry, plan.rollback.to)
        code = {
            Arm.CONTROL: baseline or plan.baseline,
            Arm.CANDIDATE: candidate or plan.candidate,
        }
        return cls(
            plan=plan,
            plugins=plugins,
            baseline=Exposure.of(plan, "", code=code),
            stages=tuple(Exposure.of(plan, s.name, code=code) for s in plan.stages),
            candidate=candidate,
        )

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
        """Return the metrics without which *stage* may not be left."""
        return tuple(
            metric
            for metric in self.plan.requires(stage, self.criteria)
            if stage.mirror > 0 or not _from_shadow(metric)
        )

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

    def _harm(self, report: Report, state: RolloutState) -> Decision | None:
        if state.status is Status.READY:
            return None
        for trigger in self.plan.triggers:
            finding = state.findings.get(f"{TRIGGER}{trigger.rule}")
            if finding is not None and finding.met:
                return self._retreat(
                    f"trigger:{trigger.rule.metric}",
                    finding.reason,
                    report,
                    state,
                    within_s=trigger.within_s,
                )
        if not self._rolls_back_on_critical(state):
            return None
        for verdict in report.verdicts:
            if verdict.level is Level.CRITICAL:
                code = f"critical:{verdict.criterion}"
                return self._retreat(code, verdict.reason, report, state)
        return None

    def _rolls_back_on_critical(self, state: RolloutState) -> bool:
        stage = self.plan.stage(state.stage)
        watchdog = stage.host.get("watchdog_v4_1")
        return watchdog is None or bool(
            watchdog.settings.get("rollback_on_critical", True)
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
        required = self.required(self.plan.stage(state.stage))
        for name, standing in state.standings.items():
            if name in required and standing.level.unhealthy:
                code = f"alert:{name}"
                return self._say(Move.FREEZE, code, standing.reason, report, state)
        return None

    def _climb(self, report: Report, state: RolloutState, *, dwell: bool) -> Decision:
        stage = self.plan.stage(state.stage)
        missing = self.missing(stage, state, report.at_s)
        unmet = tuple(_unmet(state.findings, stage))
        waits = tuple(self._waits(stage, state)) if dwell else ()
        for code, reasons in (
            ("missing_evidence", tuple(f"{m}: not measured" for m in missing)),
            ("dwell", waits),
            ("validation", tuple(finding.reason for finding in unmet)),
        ):
            if reasons:
                reason = "; ".join(reasons)
                if code == "dwell" and missing:
                    continue
                return self._say(Move.HOLD, code, reason, report, state, missing)
        following = self.next_stage(stage.name)
        if following is None:
            return self._complete(report, state)
        return self._advance(report, state, "advance", f"{stage.name} is proven")

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

    def _waits(self, stage: Stage, state: RolloutState) -> Iterable[str]:
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
        if self.rehearsal_within_s(stage.name) and state.rehearsed_s is None:
            yield f"the rollback is not rehearsed ({state.reason})"

    def _advance(
        self, report: Report, state: RolloutState, code: str, reason: str
    ) -> Decision:
        following = self.next_stage(state.stage)
        assert following is not None
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
            detail={"from": state.stage, "to": following, "share": exposure.share},
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
        if not state.stage or state.status.over:
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
        if names[lowest] == state.stage:
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
        applicable: Collection[str] = (
            self.required(self.plan.stage(state.stage)) if state.stage else ()
        )
        return Decision(
            move=move,
            code=code,
            reason=reason,
            plan=self.plan.name,
            stage=state.stage,
            to=state.stage,
            at_s=report.at_s,
            findings=tuple(state.findings.values()),
            missing=missing,
            not_applicable=tuple(
                name for name in sorted(self.criteria) if name not in applicable
            ),
            report=report.digest,
        )


def _digest_in(registry: Snapshots | None, name: str) -> str | None:
    if registry is None or not name:
        return None
    try:
        return registry.resolve(name)
    except SnapshotNotFoundError:
        return None


def _unmet(findings: Mapping[str, Finding], stage: Stage) -> Iterable[Finding]:
    for rule in stage.validate:
        finding = findings.get(f"{VALIDATE}{rule}")
        if finding is not None and not finding.met and finding.missing is None:
            yield finding


def _from_shadow(metric: str) -> bool:
    known = METRICS.get(metric)
    return known is not None and known.source == "shadow"


def _hours(seconds: float) -> str:
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
