"""Going forward: intent, activation, verification, and only then does anybody see it."""

from __future__ import annotations

import logging

import attrs

from ..exceptions import LegionError
from ..model import Arm, Change, Clock, Decision, Move, Outcome, Ruling
from ..store.owner import is_alive, this_process
from .decide import REHEARSAL, Ladder
from .exposure import Exposure
from .moves import UPDATE, arrived, code_of, intended, undone
from .pointer import Pointer
from .procedure import Procedure
from .state import Status
from .world import World


logger = logging.getLogger("legion")


@attrs.define(eq=False)
class Advance:
    """
    Moves one rollout's pointer forward, and settles what a crash left in doubt.

    Attributes:
        ladder: What each stage exposes.
        pointer: What is live.
        world: What must agree with it.
        clock: Machine time for the deadlines.
    """

    ladder: Ladder
    pointer: Pointer
    world: World
    clock: Clock

    def forward(
        self, decision: Decision, change: Change, ruling: Ruling | None
    ) -> Outcome:
        """Advance to ``decision.to`` if the ruling allows exactly this change."""
        refused = self.refusal(decision, change, ruling)
        if refused is not None:
            return self.not_done(decision, change, *refused)
        assert ruling is not None
        began_s = self.clock.machine()
        self.intend(change, decision, ruling)
        exposure = self._aim(change, decision.to)
        outcome = attrs.evolve(
            self._outcome(change, decision, ruling), reason=decision.reason
        )
        try:
            self.world.swap_code(exposure)
            self.world.route(exposure, routed=self.pointer.state.routed)
            self.world.verify(exposure)
        except (LegionError, OSError) as error:
            logger.warning("advancing %s is in doubt", change.target, exc_info=True)
            outcome = attrs.evolve(
                outcome,
                code="in_doubt",
                reason=f"{type(error).__name__}: {error}",
                took_s=self.clock.machine() - began_s,
            )
            self.pointer.record(outcome, durable=True)
            return outcome
        outcome = attrs.evolve(outcome, took_s=self.clock.machine() - began_s)
        return self._done(change, exposure, outcome, decision.reason, forward=True)

    def _aim(self, change: Change, stage: str) -> Exposure:
        """Return what *change* exposes in *stage*, with the code that it names."""
        named = code_of(change)
        code = {Arm(arm): one for arm, one in named.items()} if named else None
        return self.ladder.exposure(stage, code).without(self.pointer.off)

    def refusal(
        self, decision: Decision, change: Change, ruling: Ruling | None
    ) -> tuple[str, str] | None:
        """Return why this decision cannot be carried out now, as (code, reason)."""
        state = self.pointer.state
        stale = self.stale(decision)
        if stale is not None:
            return stale
        if change.before != state.exposure or self._other_than(change, decision.to):
            return "superseded", "this is not about what is exposed now"
        if state.status is Status.PAUSED:
            return "paused", state.reason
        if ruling is None or ruling.subject != change.digest:
            return "no_ruling", "going forward needs the gate's ruling on this change"
        if not ruling.allowed:
            return "not_allowed", ruling.reason
        return None

    def _other_than(self, change: Change, stage: str) -> bool:
        """Tell whether going to *stage* would expose something else than *change*."""
        if change.kind == REHEARSAL:
            return False
        code = self.ladder.newer if change.kind == UPDATE else self.ladder.code
        exposure = self.ladder.exposure(stage, code).without(self.pointer.off)
        return exposure.digest != change.after

    def stale(self, decision: Decision) -> tuple[str, str] | None:
        """Return why this decision is not about the rollout as it stands, or None."""
        state = self.pointer.state
        if decision.plan != self.ladder.plan.name:
            return "foreign", f"this was decided for the plan {decision.plan!r}"
        if self.pointer.latched is not None or state.status is Status.ROLLED_BACK:
            return "over", f"the rollout went back: {self.pointer.latched}"
        if state.in_doubt is not None:
            return "in_doubt", f"a change of {state.in_doubt.target} is in doubt"
        if decision.version != state.version:
            return "superseded", "the rollout has moved since this was decided"
        return None

    def intend(self, change: Change, decision: Decision, ruling: Ruling) -> None:
        """Write down, durably, what is about to be done and by which process."""
        state = attrs.evolve(
            intended(self.pointer.state, change),
            mover=f"{this_process()}@{self.clock.wall():.0f}",
            routed=self.pointer.state.routed or self.world.routed,
        )
        self.pointer.save(state, decision, ruling, change, durable=True, forward=True)

    def not_done(
        self, decision: Decision, change: Change, code: str, reason: str
    ) -> Outcome:
        """Record that nothing was done, and why."""
        outcome = attrs.evolve(
            self._outcome(change, decision, None),
            applied=False,
            verified=True,
            digest_live=self.pointer.state.exposure,
            code=code,
            reason=reason,
        )
        self.pointer.record(outcome, durable=False)
        return outcome

    def _outcome(
        self, change: Change, decision: Decision, ruling: Ruling | None
    ) -> Outcome:
        return Outcome(
            target=change.target,
            applied=None,
            verified=False,
            change=change.digest,
            ruling="" if ruling is None else ruling.digest,
            decision=decision.digest,
        )

    def _done(
        self,
        change: Change,
        exposure: Exposure,
        outcome: Outcome,
        reason: str,
        *,
        forward: bool,
    ) -> Outcome:
        state = self.pointer.state
        outcome = attrs.evolve(
            outcome, applied=True, verified=True, digest_live=exposure.digest
        )
        if self.pointer.latched is not None:
            # Somebody went back meanwhile; their procedure undoes this one.
            outcome = attrs.evolve(
                outcome, applied=False, code="over", reason=self.pointer.latched
            )
            self.pointer.record(outcome, durable=True)
            return outcome
        moved = arrived(state, change, exposure, reason, rungs=self.ladder)
        moved = attrs.evolve(moved, routed=state.routed or self.world.routed)
        self.pointer.save(
            moved, outcome, durable=True, exposure=exposure, forward=forward
        )
        return outcome

    def settle(self) -> None:
        """Settle a move whose process is gone, by looking at what is live."""
        state = self.pointer.state
        change = state.in_doubt
        if change is None or self.pointer.latched is not None or self._is_moving():
            return
        if state.routed and not self.world.routed:
            logger.debug("%s is settled where its owner is", change.target)
            return
        after = self._aim(change, str(change.detail.get("to", state.stage)))
        decision = Decision(
            move=Move.ADVANCE,
            code="settled",
            reason=f"{change.reason}; found live after an interruption",
            plan=self.ladder.plan.name,
            stage=state.stage,
            to=after.stage,
            change=change,
        )
        outcome = self._outcome(change, decision, None)
        there = after.digest == change.after and not self.world.differences(after)
        elsewhere = self.world.differences(self.pointer.pointed)
        wanted = change.kind != REHEARSAL and state.status is not Status.PAUSED
        if there and elsewhere and wanted:
            reason = decision.reason
            outcome = attrs.evolve(outcome, code="settled", reason=reason)
            self._done(change, after, outcome, reason, forward=False)
        else:
            self._undo(change, outcome)

    def _is_moving(self) -> bool:
        """Tell whether the process that began the move may still be at it."""
        mover, _, began = self.pointer.state.mover.rpartition("@")
        if not mover or mover == this_process():
            return False  # Ours; whoever asks holds the lock, so it is not under way.
        alive = is_alive(mover)
        if alive is None:
            return self.clock.wall() - float(began) < self.ladder.plan.rollback.within_s
        return alive

    def _undo(self, change: Change, outcome: Outcome) -> None:
        """Bring the world back to where the pointer points; it stays in doubt else."""
        here = self.pointer.pointed
        procedure = Procedure(self.clock)
        procedure.step("code", lambda: self.world.swap_code(here))
        routed = self.pointer.state.routed
        procedure.step("route", lambda: self.world.route(here, routed=routed))
        procedure.step("validate", lambda: self.world.verify(here))
        rehearsal = change.kind == REHEARSAL
        what = "the rehearsal was cut short" if rehearsal else "it was not completed"
        outcome = attrs.evolve(
            outcome,
            applied=False,
            verified=procedure.ok,
            digest_live=here.digest,
            code="interrupted" if rehearsal else "refused",
            reason=f"{what}; {procedure.failures or 'undone'}",
            steps=tuple(procedure.steps),
        )
        if not procedure.ok:
            logger.warning("%s stays in doubt: %s", change.target, outcome.reason)
            return
        self.pointer.save(
            undone(self.pointer.state), outcome, durable=True, exposure=here
        )
