"""The ladder: what a report and a state say should happen next. No clock, no file."""

from __future__ import annotations

import logging

from collections.abc import Iterator, Mapping

import attrs

from ..model import (
    Arm,
    Change,
    Decision,
    Finding,
    Level,
    Move,
    Report,
    Verdict,
)
from ..plugins import Plugins
from ..stats import FREEZE_AT, decides
from .budget import Budget, excess_of
from .evidence import TRIGGER, VALIDATE, is_fact, is_of
from .exposure import Exposure
from .mismatch import mismatch
from .moves import UPDATE
from .plan import Stage
from .rungs import Rungs
from .state import RolloutState, Status


logger = logging.getLogger("legion")

REHEARSAL = "rehearsal"


@attrs.define(kw_only=True, eq=False)
class Ladder(Rungs):
    """A plan's rungs, and what is decided on them: up, stay, or down."""

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
            path = _deciding(budget, state)
            if path is not None:
                return self._fired(path, state.findings[path], report, state)
            reason = f"{_combined(budget)}, all of it in stages that were left"
            return self._retreat("evidence:spent", reason, report, state)
        return None

    def _fired(
        self, key: str, finding: Finding, report: Report, state: RolloutState
    ) -> Decision:
        within_s = next(
            (t.within_s for t in self.plan.triggers if is_of(key, t.rule)),
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
            found = [state.findings.get(spent.key) for spent in budget.parts]
            finding = next(filter(None, found), None)
            why = "all of it in stages that were left"
            reason = (
                f"{_combined(budget)}; {why if finding is None else finding.reason}"
            )
            code = f"evidence:{'spent' if finding is None else finding.metric}"
            return self._say(Move.FREEZE, code, reason, report, state)
        for name, standing in self.alerts(state):
            code = f"alert:{name}"
            return self._say(Move.FREEZE, code, standing.reason, report, state)
        return self._overspent(report, state)

    def _overspent(self, report: Report, state: RolloutState) -> Decision | None:
        """Say that the stage has harmed as many units as it may, proven or not."""
        most = self.plan.stage(state.stage).harm_budget
        for finding in state.findings.values():
            excess = None if finding.slice else excess_of(finding)
            if most is not None and excess is not None and excess > most:
                reason = f"{excess:.0f} bad units in excess of {most}; {finding.reason}"
                code = f"harm_budget:{finding.metric}"
                return self._say(Move.FREEZE, code, reason, report, state)
        return None

    def _unhealthy(self, stage: Stage, state: RolloutState) -> Iterator[str]:
        """Yield why the stage is not left just now, though the evidence is no proof."""
        required = self.required(stage)
        for name, standing in state.standings.items():
            if name in required and standing.level.unhealthy:
                yield standing.reason

    def _climb(self, report: Report, state: RolloutState, *, dwell: bool) -> Decision:
        stage = self.plan.stage(state.stage)
        if self.newer is not None:
            return self._update(report, state, self.newer)
        missing = self.missing(stage, state, report.at_s)
        split = mismatch(state.exposed)
        holds = (
            ("ratio_mismatch", (split,) if split else ()),
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
            if finding.missing is not None and finding.reason and not finding.slice
        }
        for metric in missing:
            yield reasons.get(metric, f"{metric}: no verdict yet")

    def _unrehearsed(self, state: RolloutState) -> Iterator[str]:
        if self.rehearsal_within_s(state.stage) and state.rehearsed_s is None:
            why = state.rehearsal or "not tried yet"
            yield f"the rollback is not rehearsed: {why}"

    def _advance(
        self, report: Report, state: RolloutState, code: str, reason: str
    ) -> Decision:
        following = self.next_stage(state.stage)
        assert following is not None
        if self.damage:
            return self._say(Move.HOLD, "damaged_registry", self.damage, report, state)
        exposure = self.exposure(following).without(state.off)
        reason = f"{reason}; to {following} with {exposure.share:.0%} of the units"
        change = self._change("advance", exposure, reason, report, state)
        return attrs.evolve(
            self._say(Move.ADVANCE, code, reason, report, state),
            to=following,
            change=change,
        )

    def _update(
        self, report: Report, state: RolloutState, code: Mapping[Arm, str]
    ) -> Decision:
        """Say that the stage goes on with the code that the candidate's name has now."""
        before, after = self.code[Arm.CANDIDATE], code[Arm.CANDIDATE]
        reason = (
            f"{self.plan.candidate} is {after[:12]} now, no more {before[:12]};"
            f" {state.stage} proves it anew"
        )
        if self.damage:
            return self._say(Move.HOLD, "damaged_registry", self.damage, report, state)
        exposure = self.exposure(state.stage, code).without(state.off)
        return attrs.evolve(
            self._say(Move.ADVANCE, UPDATE, reason, report, state),
            change=self._change(UPDATE, exposure, reason, report, state),
        )

    def _change(
        self,
        kind: str,
        exposure: Exposure,
        reason: str,
        report: Report,
        state: RolloutState,
    ) -> Change:
        return Change(
            target=f"rollout:{self.plan.name}",
            before=state.exposure,
            after=exposure.digest,
            kind=kind,
            risk=round(0.2 * exposure.share, 6),
            reason=reason,
            proposer="stages",
            report=report.digest,
            detail={
                "from": state.stage,
                "to": exposure.stage,
                "share": exposure.share,
                "share_before": self.exposure(state.stage).share,
                "code": {arm.value: one for arm, one in exposure.code.items()},
            },
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

    def rehearsing(self, change: Change, state: RolloutState) -> Decision:
        """Say that *change*, a rehearsal, is made now."""
        return Decision(
            move=Move.HOLD,
            code=REHEARSAL,
            reason=change.reason,
            plan=self.plan.name,
            stage=state.stage,
            to=state.stage,
            version=state.version,
            change=change,
        )

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


def _deciding(budget: Budget, state: RolloutState) -> str | None:
    """Return the plan's first trigger that would do alone, else what weighs most."""
    here = [spent for spent in budget.parts if spent.key in state.findings]
    alone = {spent.key for spent in here if decides(spent.log_term, alpha=budget.alpha)}
    triggers = [
        key for key in state.findings if key in alone and key.startswith(TRIGGER)
    ]
    return next(iter([*triggers, *(spent.key for spent in here)]), None)


def _combined(budget: Budget) -> str:
    return (
        f"combined evidence of harm {budget.e:.3g}, frozen from {FREEZE_AT:.3g} and"
        f" taken back from {1 / budget.alpha:.3g}"
    )


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


def _hours(seconds: float) -> str:
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
