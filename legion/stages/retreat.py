"""Going back: visible first, then durable, then verified; never asked about."""

from __future__ import annotations

import contextlib
import logging

import attrs

from ..exceptions import LegionError, StateError
from ..model import Change, Clock, Decision, Noun, Outcome
from .decide import Ladder
from .exposure import Exposure
from .moves import lowered, rolled_back, settled, switched_off
from .persistence import SupersededError
from .pointer import Pointer
from .procedure import Procedure
from .state import RolloutState, Status
from .world import World


logger = logging.getLogger("legion")

_RETRY_S = (1.0, 60.0)
"""Shortest and longest machine time between two tries to finish a retreat."""


@attrs.define(eq=False)
class Retreat:
    """
    Takes one rollout back, and finishes what a crash or another process left open.

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
    _about: object = attrs.field(init=False, default=None)
    _finished: bool = attrs.field(init=False, default=False)
    _wait_s: float = attrs.field(init=False, default=0.0)
    _next_s: float = attrs.field(init=False, default=float("-inf"))
    _unwritten: Decision | None = attrs.field(init=False, default=None)
    _going: bool = attrs.field(init=False, default=False)

    def back(self, decision: Decision) -> Outcome:
        """
        Go back to ``decision.to``; "" is the baseline, and final.

        The latch is in force already: whoever pulls it does so before waiting for a
        turn here.

        Raises:
            SupersededError: Another process has moved, and this is to a lower stage.
        """
        exposure = self.ladder.exposure(decision.to).without(self.pointer.off)
        if self._going:
            return self._under_way(decision, exposure)
        if not decision.to and self._stands(exposure):
            self._unwritten = None
            return self._standing(decision, exposure)
        nouns = [decision] if decision.change is None else [decision, decision.change]
        if decision.to:
            # No latch remembers it, so the state says where to go before it is done.
            self.pointer.show(exposure)
            reason = decision.reason
            moved = lowered(self.pointer.state, exposure, decision.code, reason)
            try:
                self._write(moved, decision, *nouns, exposure=exposure)
            except SupersededError:
                self.pointer.show(self.pointer.pointed)
                raise
            nouns = []
        self._going = True
        try:
            procedure = self.procedure(exposure)
        finally:
            self._going = False
        outcome = self._outcome(decision, procedure, exposure)
        if self._unwritten is None or not decision.to:
            moved = self._moved(decision, outcome, exposure)
            # Overtaken now, it is unsettled in the newer state, and finished there.
            with contextlib.suppress(SupersededError):
                self._write(moved, decision, *nouns, outcome, exposure=exposure)
        logger.info("%s: %s", self.ladder.plan.name, outcome.reason)
        return outcome

    def _write(
        self,
        moved: RolloutState,
        decision: Decision,
        *nouns: Noun,
        exposure: Exposure,
    ) -> None:
        """
        Write a retreat down, or remember that it is not.

        A file that did not take the latch just now is not waited for once more.

        Raises:
            SupersededError: Another process has moved: a retreat to a stage is not
                about what is now.
        """
        if not decision.to and not self.pointer.kept:
            self._unwritten = decision
            return
        try:
            self.pointer.save(moved, *nouns, durable=True, exposure=exposure)
            self._unwritten = None
        except (LegionError, ValueError) as error:
            if isinstance(error, SupersededError):
                if decision.to:
                    raise
                logger.debug("another process was faster; it is looked at again")
            else:
                logger.warning("going back is not written down", exc_info=True)
            self._unwritten = decision

    @property
    def pending(self) -> bool:
        """Whether a retreat to a stage was made that is not written down yet."""
        return self._unwritten is not None

    def _stands(self, exposure: Exposure) -> bool:
        state = self.pointer.state
        back = state.status is Status.ROLLED_BACK and not state.unsettled
        return back and not self.world.differences(exposure)

    def procedure(self, exposure: Exposure) -> Procedure:
        """Bring the world to *exposure*, by the steps that the plan names."""
        procedure = Procedure(self.clock)
        steps = self.ladder.plan.rollback.steps
        routed = self.pointer.state.routed
        procedure.step(
            "route_to_baseline", lambda: self.world.route(exposure, routed=routed)
        )
        if self.world.registry is not None and "restore_registry" in steps:
            procedure.step("restore_registry", lambda: self._restore(exposure))
        if not exposure.stage:
            procedure.step("deactivate_features", self._features_off)
        procedure.step("validate", lambda: self._validate(exposure))
        return procedure

    def _restore(self, exposure: Exposure) -> str:
        if self.ladder.damage and exposure.live_code is None:
            raise LegionError(self.ladder.damage)
        return self.world.swap_code(exposure)

    def _features_off(self) -> str:
        on = [name for name, one in self.pointer.shown.features.items() if one.enabled]
        if on and self.pointer.latched is not None:
            msg = f"still enabled: {', '.join(on)}"
            raise LegionError(msg)
        return "no user has a feature of the candidate"

    def _validate(self, exposure: Exposure) -> str:
        shown = self.pointer.shown.digest
        if shown != exposure.digest:
            msg = f"users see {shown[:12]}, not {exposure.digest[:12]}"
            raise LegionError(msg)
        return f"users see {shown[:12]}, {self.world.verify(exposure)}"

    def _moved(
        self, decision: Decision, outcome: Outcome, exposure: Exposure
    ) -> RolloutState:
        """Return the state once it is done."""
        if decision.to:
            return attrs.evolve(self.pointer.state, unsettled=not outcome.verified)
        return rolled_back(
            self.pointer.state,
            exposure.digest,
            decision.code,
            outcome.reason,
            verified=outcome.verified,
        )

    def _outcome(
        self, decision: Decision, procedure: Procedure, exposure: Exposure
    ) -> Outcome:
        took_s, within_s = procedure.took_s, decision.within_s
        late = within_s is not None and took_s > within_s
        restored = self.world.registry is not None and exposure.live_code is not None
        where = decision.to or (
            self.ladder.plan.rollback.to if restored else "the baseline"
        )
        how = (
            "verified by digest"
            if procedure.ok
            else f"NOT verified ({procedure.failures})"
        )
        deadline = f", later than its {within_s:.0f} s" if late else ""
        return Outcome(
            target=self.world.target,
            applied=True,
            verified=procedure.ok,
            digest_live=exposure.digest,
            code="unverified"
            if not procedure.ok
            else "late"
            if late
            else "rolled_back",
            reason=(
                f"went back to {where} in {took_s:.3f} s{deadline}, {how},"
                f" because {decision.reason}"
            ),
            took_s=took_s,
            steps=tuple(procedure.steps),
            change="" if decision.change is None else decision.change.digest,
            decision=decision.digest,
        )

    def _standing(self, decision: Decision, exposure: Exposure) -> Outcome:
        return Outcome(
            target=self.world.target,
            applied=True,
            verified=True,
            digest_live=exposure.digest,
            code="rolled_back",
            reason=self.pointer.state.reason,
            decision=decision.digest,
        )

    def left(self, decision: Decision) -> Outcome:
        """Leave the steps to whoever turns the wheel: users are safe already."""
        return Outcome(
            target=self.world.target,
            applied=True,
            verified=False,
            digest_live=self.ladder.baseline.digest,
            code="latched",
            reason=(
                "everybody has the baseline; the rest follows as soon as the state file"
                f" can be written, because {decision.reason}"
            ),
            decision=decision.digest,
        )

    def _under_way(self, decision: Decision, exposure: Exposure) -> Outcome:
        """Answer a hook that goes back from inside going back."""
        return Outcome(
            target=self.world.target,
            applied=None,
            verified=False,
            digest_live=exposure.digest,
            code="under_way",
            reason="the rollout is going back already",
            decision=decision.digest,
        )

    def finish(self) -> None:
        """
        Finish what a crash, a full disk or another process left open.

        A process that adopts a retreat looks once whether its own world agrees, since
        the one that made it may not have had the owner of the target; what fails is
        tried again, ever more seldom.
        """
        self.pointer.pull()
        if self._about != self._now:
            self._about, self._finished = self._now, False
            self._wait_s, self._next_s = 0.0, float("-inf")
        if self._finished:
            self.pointer.withdraw()
        if self._finished or self.clock.machine() < self._next_s:
            return
        self._settle_later(ok=self._open_ends())
        self._about = self._now

    @property
    def _now(self) -> object:
        """What there may be to finish; the same as long as nothing happens."""
        latched = self.pointer.latched is not None
        return self.pointer.state.version, latched, self.pointer.off, self._unwritten

    def _open_ends(self) -> bool:
        """Finish the first thing that is open; False if it must be tried again."""
        if self.pointer.latched is not None:
            return self._to_the_end(self.pointer.latched)
        state = self.pointer.state
        if self._unwritten is not None and self._unwritten.version == state.version:
            return self._again(self._unwritten)
        self._unwritten = None
        if state.in_doubt is not None:
            return True  # That is settled first, and makes a new version.
        if forgotten := self.pointer.off - state.off:
            self.switch_off(forgotten, "finished after an interruption")
            return self.pointer.off <= self.pointer.state.off
        if state.unsettled:
            return self._agree(state, self.pointer.pointed)
        return True

    def _to_the_end(self, latched: str) -> bool:
        """Finish going back to the baseline; a retreat to a stage is none any more."""
        state, decision = self.pointer.state, self._unwritten
        if decision is None and state.status is Status.ROLLED_BACK:
            return self._agree(state, self.ladder.baseline)
        if decision is None or decision.to:
            decision = self.ladder.retreat("finished", latched, state)
        return self._again(decision)

    def _again(self, decision: Decision) -> bool:
        self.back(decision)
        return self._unwritten is None and not self.pointer.state.unsettled

    def _agree(self, state: RolloutState, exposure: Exposure) -> bool:
        """Bring the world to *exposure*, where the state is already."""
        if not state.unsettled and not self.world.differences(exposure):
            return True
        if state.routed and not self.world.routed:
            return False  # Whoever has the owner finishes it.
        procedure = self.procedure(exposure)
        if not procedure.ok:
            logger.warning("%s: %s", self.world.target, procedure.failures)
            return False
        outcome = Outcome(
            target=self.world.target,
            applied=True,
            verified=True,
            digest_live=exposure.digest,
            code="finished" if exposure.stage else "rolled_back",
            reason=f"finished going back, verified by digest: {state.reason}",
            took_s=procedure.took_s,
            steps=tuple(procedure.steps),
        )
        try:
            moved = settled(state, outcome.reason)
            self.pointer.save(moved, outcome, durable=True)
        except StateError:
            logger.warning("going back is finished but not on disk", exc_info=True)
            return False
        return True

    def _settle_later(self, *, ok: bool) -> None:
        self._finished = ok
        least, most = _RETRY_S
        self._wait_s = 0.0 if ok else min(max(2 * self._wait_s, least), most)
        self._next_s = self.clock.machine() + self._wait_s

    def switch_off(self, names: frozenset[str], reason: str) -> Outcome:
        """Write down that features are off, and let the target's owner know."""
        state, shown = self.pointer.state, self.pointer.shown
        change = Change(
            target=self.world.target,
            before=state.exposure,
            after=shown.digest,
            kind="deactivate",
            reason=reason,
            proposer="by_hand",
            detail={"features": sorted(names)},
        )
        procedure = Procedure(self.clock)
        routed = state.routed
        procedure.step("route", lambda: self.world.route(shown, routed=routed))
        procedure.step("validate", lambda: self._validate(shown))
        outcome = Outcome(
            target=self.world.target,
            applied=True,
            verified=procedure.ok,
            digest_live=shown.digest,
            code="deactivated" if procedure.ok else "unverified",
            reason=f"switched off {', '.join(sorted(names))}: {reason}",
            took_s=procedure.took_s,
            steps=tuple(procedure.steps),
            change=change.digest,
        )
        moved = switched_off(state, names, shown.digest, verified=procedure.ok)
        try:
            self.pointer.save(moved, change, outcome, durable=True, exposure=shown)
        except (LegionError, ValueError):
            logger.warning("switched off, but not written down", exc_info=True)
        return outcome
