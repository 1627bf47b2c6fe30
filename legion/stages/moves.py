"""The acts of a rollout: forward with a ruling, back without one, and the rehearsal."""

from __future__ import annotations

import logging

import attrs

from ..exceptions import (
    LegionError,
    PluginError,
    SnapshotNotFoundError,
    StateError,
)
from ..model import Change, Clock, Decision, Move, Outcome, Ruling, Snapshots
from ..plugins import Plugins
from .decide import REHEARSAL, Ladder
from .exposure import Exposure
from .pointer import Pointer
from .retreat import Procedure, restore, verified
from .state import RolloutState, Status


logger = logging.getLogger("legion")


@attrs.define(eq=False)
class Moves:
    """
    Moves one rollout's pointer and writes down what came of it.

    Attributes:
        ladder: What each stage exposes.
        pointer: What is live.
        plugins: Who else may own the pointer's target.
        registry: Versions of the code, or None.
        clock: Machine time for the deadlines.
    """

    ladder: Ladder
    pointer: Pointer
    plugins: Plugins
    registry: Snapshots | None
    clock: Clock
    _unfinished: Decision | None = attrs.field(init=False, default=None)

    @property
    def target(self) -> str:
        """What the rollout moves."""
        return f"rollout:{self.ladder.plan.name}"

    # Forward: intent, activation, verification, and only then does anybody see it.

    def forward(
        self, decision: Decision, change: Change, ruling: Ruling | None
    ) -> Outcome:
        """Advance to ``decision.to`` if the ruling allows exactly this change."""
        refused = self._refusal(change, ruling)
        if refused is not None:
            return self._not_done(change, decision, *refused)
        assert ruling is not None
        began_s = self.clock.machine()
        state = self.pointer.state
        intent = attrs.evolve(state, in_doubt=change)
        self.pointer.save(intent, decision, ruling, change, durable=True)
        exposure = self.ladder.exposure(decision.to).without(state.off)
        try:
            done = self._activate_code(exposure) and self._activate(exposure.digest)
        except (LegionError, OSError) as error:
            logger.warning("advancing %s is in doubt", self.target, exc_info=True)
            outcome = attrs.evolve(
                self._outcome(change, decision, began_s, ruling),
                applied=None,
                code="in_doubt",
                reason=f"{type(error).__name__}: {error}",
            )
            self.pointer.record(outcome, durable=True)
            return outcome
        return self._settled(change, decision, began_s, ruling, done=done)

    def _refusal(self, change: Change, ruling: Ruling | None) -> tuple[str, str] | None:
        state = self.pointer.state
        if self.pointer.latched is not None or state.status.over:
            return "over", f"the rollout is {state.status}: {state.reason}"
        if change.before != state.exposure:
            return "superseded", "the rollout has moved since this was decided"
        if ruling is None or ruling.subject != change.digest:
            return "no_ruling", "going forward needs the gate's ruling on this change"
        if not ruling.allowed:
            return "not_allowed", ruling.reason
        return None

    def _not_done(
        self, change: Change, decision: Decision, code: str, reason: str
    ) -> Outcome:
        outcome = Outcome(
            target=change.target,
            applied=False,
            verified=True,
            digest_live=self.pointer.state.exposure,
            code=code,
            reason=reason,
            change=change.digest,
            decision=decision.digest,
        )
        self.pointer.record(outcome, durable=False)
        return outcome

    def _activate(self, digest: str) -> bool:
        """Ask whoever else owns the target; without an owner the pointer is ours."""
        done = self.plugins.activate(self.target, digest)
        if done is None:
            return True
        return done and self.plugins.active(self.target) == digest

    def _activate_code(self, exposure: Exposure) -> bool:
        """Make the candidate's snapshot the live one, where a registry holds it."""
        wanted = self.ladder.candidate
        if self.registry is None or wanted is None or not exposure.stage:
            return True
        if self.registry.active() != wanted:
            self.registry.restore(wanted)
        return self.registry.active() == wanted

    def _settled(
        self,
        change: Change,
        decision: Decision,
        began_s: float,
        ruling: Ruling | None,
        *,
        done: bool,
    ) -> Outcome:
        state = attrs.evolve(self.pointer.state, in_doubt=None)
        outcome = self._outcome(change, decision, began_s, ruling)
        if not done:
            outcome = attrs.evolve(
                outcome, applied=False, code="refused", reason="the actor left it be"
            )
            self.pointer.save(state, outcome, durable=True)
            return outcome
        exposure = self.ladder.exposure(decision.to).without(state.off)
        outcome = attrs.evolve(
            outcome, applied=True, verified=True, digest_live=exposure.digest
        )
        moved = state.entered(
            decision.to,
            exposure.digest,
            decision.reason,
            control=exposure.share < 1,
        )
        self.pointer.save(moved, outcome, durable=True, exposure=exposure)
        return outcome

    def _outcome(
        self,
        change: Change,
        decision: Decision,
        began_s: float,
        ruling: Ruling | None,
    ) -> Outcome:
        return Outcome(
            target=change.target,
            applied=None,
            verified=False,
            reason=decision.reason,
            took_s=self.clock.machine() - began_s,
            change=change.digest,
            ruling="" if ruling is None else ruling.digest,
            decision=decision.digest,
        )

    def settle(self) -> None:
        """Settle a move in doubt by looking at the live digest."""
        change = self.pointer.state.in_doubt
        if change is None or self.pointer.latched is not None:
            return
        if change.kind == REHEARSAL:
            self._resume_rehearsal(change)
            return
        try:
            live = self.plugins.active(change.target)
        except PluginError:
            logger.warning("%s stays in doubt", change.target, exc_info=True)
            return
        if live is None:  # Ours: what is in the file is what is live.
            live = self.pointer.state.exposure
        if live not in {change.before, change.after}:
            return
        decision = Decision(
            move=Move.ADVANCE,
            code="settled",
            reason=f"found {live[:12] or 'nothing'} live",
            plan=self.ladder.plan.name,
            stage=self.pointer.state.stage,
            to=str(change.detail.get("to", "")),
            change=change,
        )
        done = live == change.after
        self._settled(change, decision, self.clock.machine(), None, done=done)

    def _resume_rehearsal(self, change: Change) -> None:
        """Return from a rehearsal that a crash cut short; it counts as not done."""
        procedure = Procedure(self.clock)
        here = self.pointer.shown
        procedure.step("return", lambda: self._return(here))
        outcome = Outcome(
            target=self.target,
            applied=False,
            verified=procedure.ok,
            digest_live=here.digest,
            code="interrupted",
            reason="the rehearsal was cut short; " + (_failures(procedure) or "undone"),
            steps=tuple(procedure.steps),
            change=change.digest,
        )
        in_doubt = None if procedure.ok else change
        state = attrs.evolve(self.pointer.state, in_doubt=in_doubt)
        self.pointer.save(state, outcome, durable=True)

    # Back: visible first, then durable, and never asked about.

    def back(self, decision: Decision) -> Outcome:
        """
        Go back to ``decision.to``; "" is the baseline, and final.

        The latch is in force already: whoever pulls it does so before waiting for a
        turn here.
        """
        procedure = Procedure(self.clock)
        plan = self.ladder.plan
        exposure = self.ladder.exposure(decision.to)
        final = not decision.to
        if not final:
            self.pointer.show(exposure)
        procedure.step("route_to_baseline", lambda: self._route(exposure))
        written = self.pointer.pull() if final else True
        self._undo(procedure, exposure, final=final)
        outcome = self._returned(decision, procedure, exposure)
        state = self.pointer.state
        moved = (
            attrs.evolve(
                state,
                status=Status.ROLLED_BACK,
                stage="",
                exposure=exposure.digest,
                in_doubt=None,
                rollbacks=state.rollbacks + 1,
                reason=outcome.reason,
            )
            if final
            else state.entered(
                decision.to, exposure.digest, decision.reason, control=True
            )
        )
        try:
            nouns = (decision, *(() if decision.change is None else (decision.change,)))
            self.pointer.save(moved, *nouns, outcome, durable=True, exposure=exposure)
        except StateError:
            logger.warning("the rollback is done but not written down", exc_info=True)
            written = False
        self._unfinished = None if written else decision
        logger.info("%s: %s", plan.name, outcome.reason)
        return outcome

    def _route(self, exposure: Exposure) -> str:
        done = self.plugins.activate(self.target, exposure.digest)
        if done is False:
            msg = f"the owner of {self.target} did not go to {exposure.digest[:12]}"
            raise LegionError(msg)
        return f"{exposure.share:.0%} of the units get the candidate"

    def _undo(self, procedure: Procedure, exposure: Exposure, *, final: bool) -> None:
        plan, registry = self.ladder.plan, self.registry
        name = plan.rollback.to
        restoring = final and bool(name) and _holds_anything(registry, name)
        if restoring and "restore_registry" in plan.rollback.steps:
            assert registry is not None
            known = registry
            procedure.step("restore_registry", lambda: restore(known, name))
        if final:
            procedure.step("deactivate_features", lambda: self._features_off(exposure))
        pairs = [("exposure", exposure.digest, self.pointer.shown.digest)]
        procedure.step("validate", lambda: self._validate(pairs, restoring=restoring))

    def _features_off(self, exposure: Exposure) -> str:
        on = [name for name, one in exposure.features.items() if one.enabled]
        if on:
            msg = f"still enabled: {', '.join(on)}"
            raise LegionError(msg)
        return "no feature of the candidate is enabled"

    def _validate(self, pairs: list[tuple[str, str, str]], *, restoring: bool) -> str:
        if restoring and self.registry is not None:
            name = self.ladder.plan.rollback.to
            live = self.registry.active()
            pairs.append((name, self.registry.resolve(name), live))
            faults = self.registry.verify(name)
            if faults:
                msg = f"{name} does not verify: {', '.join(faults)}"
                raise LegionError(msg)
        return verified(pairs)

    def _returned(
        self, decision: Decision, procedure: Procedure, exposure: Exposure
    ) -> Outcome:
        took_s, within_s = procedure.took_s, decision.within_s
        late = within_s is not None and took_s > within_s
        where = self.ladder.plan.rollback.to if not decision.to else decision.to
        how = "verified by digest" if procedure.ok else "NOT verified"
        deadline = f", later than its {within_s:.0f} s" if late else ""
        return Outcome(
            target=self.target,
            applied=True,
            verified=procedure.ok,
            digest_live=exposure.digest,
            code="late" if late else "rolled_back" if procedure.ok else "unverified",
            reason=(
                f"went back to {where} in {took_s:.3f} s{deadline}, {how},"
                f" because {decision.reason}"
            ),
            took_s=took_s,
            steps=tuple(procedure.steps),
            change="" if decision.change is None else decision.change.digest,
            decision=decision.digest,
        )

    def finish(self) -> None:
        """Finish a retreat that a crash, a full disk or another process left open."""
        if self._unfinished is not None:
            self.back(self._unfinished)
        elif self.pointer.latched is not None:
            state = self.pointer.state
            if state.status is not Status.ROLLED_BACK:
                reason = self.pointer.latched
                self.back(self.ladder.retreat("finished", reason, state))

    # Back and forth, while nobody is exposed.

    def rehearse(self, change: Change, ruling: Ruling) -> Outcome:
        """Go back and return, time the way back, and verify both by digest."""
        decision = Decision(
            move=Move.HOLD,
            code="rehearsal",
            reason=change.reason,
            plan=self.ladder.plan.name,
            stage=self.pointer.state.stage,
            change=change,
        )
        refused = self._refusal(change, ruling)
        if refused is not None:
            return self._not_done(change, decision, *refused)
        intent = attrs.evolve(self.pointer.state, in_doubt=change)
        self.pointer.save(intent, decision, change, ruling, durable=True)
        here, baseline = self.pointer.shown, self.ladder.baseline
        procedure = Procedure(self.clock)
        self.pointer.show(baseline)
        procedure.step("route_to_baseline", lambda: self._route(baseline))
        self._undo(procedure, baseline, final=True)
        took_s = procedure.took_s
        procedure.step("return", lambda: self._return(here))
        within_s = self.ladder.rehearsal_within_s(self.pointer.state.stage)
        met = procedure.ok and took_s <= within_s
        outcome = Outcome(
            target=self.target,
            applied=True,
            verified=procedure.ok,
            digest_live=self.pointer.shown.digest,
            code="rehearsed" if met else "rehearsal_failed",
            reason=(
                f"the rollback took {took_s:.3f} s of {within_s:.0f} s, "
                + ("verified by digest" if procedure.ok else _failures(procedure))
            ),
            took_s=took_s,
            steps=tuple(procedure.steps),
            change=change.digest,
            ruling=ruling.digest,
            decision=decision.digest,
        )
        state: RolloutState = attrs.evolve(
            self.pointer.state,
            in_doubt=None,
            rehearsed_s=took_s if met else None,
            reason=outcome.reason,
        )
        self.pointer.save(state, outcome, durable=True)
        return outcome

    def _return(self, here: Exposure) -> str:
        if not self._activate_code(here):
            msg = "the candidate's snapshot did not come back"
            raise LegionError(msg)
        self._route(here)
        self.pointer.show(here)
        return verified([("exposure", here.digest, self.pointer.shown.digest)])

    def switch_off(self, names: frozenset[str], reason: str) -> Outcome:
        """Show the present exposure without the features *names*."""
        began_s = self.clock.machine()
        plan = self.ladder.plan
        known = {name for stage in plan.stages for name in stage.features}
        if unknown := sorted(names - known):
            msg = (
                f"deactivate: got {', '.join(unknown)};"
                f" write one of {', '.join(sorted(known))}"
            )
            raise LegionError(msg)
        state = self.pointer.state
        exposure = self.pointer.shown.without(names)
        change = Change(
            target=self.target,
            before=state.exposure,
            after=exposure.digest,
            kind="deactivate",
            reason=reason,
            proposer="by_hand",
        )
        self.pointer.show(exposure)
        moved = attrs.evolve(state, exposure=exposure.digest, off=state.off | names)
        outcome = Outcome(
            target=self.target,
            applied=True,
            verified=self.pointer.shown.digest == exposure.digest,
            digest_live=self.pointer.shown.digest,
            code="deactivated",
            reason=f"switched off {', '.join(sorted(names))}: {reason}",
            took_s=self.clock.machine() - began_s,
            change=change.digest,
        )
        self.pointer.save(moved, change, outcome, durable=True, exposure=exposure)
        return outcome


def _holds_anything(registry: Snapshots | None, name: str) -> bool:
    """Tell whether the code's versions are kept in the registry at all."""
    if registry is None:
        return False
    try:
        registry.resolve(name)
    except SnapshotNotFoundError:
        # Something is live, so the way back is missing, and that must show.
        return bool(registry.active())
    return True


def _failures(procedure: Procedure) -> str:
    failed = [step for step in procedure.steps if not step.ok]
    return "; ".join(f"{step.name}: {step.detail}" for step in failed)
