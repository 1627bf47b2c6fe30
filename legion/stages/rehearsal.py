"""Back and forth, while nobody is exposed: the way back is timed before it is needed."""

from __future__ import annotations

import attrs

from ..exceptions import LegionError
from ..model import Change, Clock, Decision, Outcome, Ruling
from .advance import Advance
from .decide import Ladder
from .exposure import Exposure
from .moves import rehearsed
from .pointer import Pointer
from .procedure import Procedure
from .retreat import Retreat
from .world import World


@attrs.define(eq=False)
class Rehearsal:
    """
    Goes back and returns, times the way back, and verifies both by digest.

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
    _advance: Advance = attrs.field(alias="advance")
    _retreat: Retreat = attrs.field(alias="retreat")

    def run(self, change: Change, ruling: Ruling) -> Outcome:
        """Rehearse if the ruling allows it; nothing is latched."""
        decision = self.ladder.rehearsing(change, self.pointer.state)
        refused = self._advance.refusal(decision, change, ruling)
        if refused is not None:
            return self._advance.not_done(decision, change, *refused)
        self._advance.intend(change, decision, ruling)
        here = self.pointer.shown
        self.pointer.show(self.ladder.baseline)
        procedure = self._retreat.procedure(self.ladder.baseline)
        took_s = procedure.took_s
        procedure.step("return", lambda: self._return(here))
        return self._noted(decision, change, ruling, procedure, took_s)

    def _return(self, here: Exposure) -> str:
        if self.pointer.latched is not None:
            msg = f"the rollout went back meanwhile: {self.pointer.latched}"
            raise LegionError(msg)
        self.world.swap_code(here)
        self.world.route(here, routed=self.pointer.state.routed)
        self.pointer.show(here)
        return self.world.verify(here)

    def _noted(
        self,
        decision: Decision,
        change: Change,
        ruling: Ruling,
        procedure: Procedure,
        took_s: float,
    ) -> Outcome:
        within_s = self.ladder.rehearsal_within_s(self.pointer.state.stage)
        met = procedure.ok and took_s <= within_s
        returned = procedure.steps[-1].ok  # If not, it is in doubt until it has.
        outcome = Outcome(
            target=self.world.target,
            applied=True if returned else None,
            verified=procedure.ok,
            digest_live=self.pointer.shown.digest,
            code="rehearsed" if met else "rehearsal_failed",
            reason=(
                f"the rollback took {took_s:.3f} s of {within_s:.0f} s, "
                + ("verified by digest" if procedure.ok else procedure.failures)
            ),
            took_s=took_s,
            steps=tuple(procedure.steps),
            change=change.digest,
            ruling=ruling.digest,
            decision=decision.digest,
        )
        state = rehearsed(
            self.pointer.state,
            took_s=took_s if met else None,
            reason=outcome.reason,
            returned=returned,
        )
        self.pointer.save(state, outcome, durable=True, forward=True)
        return outcome
