"""A rollout that is told again: it learns, decides and moves as records say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import attrs

from ..canonical import JSON
from ..model import Arm, Change, Decision, Move, Observation, Report
from ..plugins import Plugins
from .decide import REHEARSAL, Ladder
from .evidence import Known, visited
from .learn import Learner
from .moves import (
    UPDATE,
    arrived,
    code_of,
    intended,
    lowered,
    marked,
    rehearsed,
    rolled_back,
    settled,
    switched_off,
    undone,
)
from .plan import Plan, Unit
from .retry import Retry
from .state import RolloutState, Status


@attrs.define(eq=False)
class History:
    """
    A plan on its way without a world, a gate or a file.

    It learns and decides as an engine does. What moves it is what came of the moves:
    `intend`, `back` and `take` are told of the moves, `mark` and `by_hand` of what was
    decided beside them.

    Attributes:
        ladder: The plan, and what is decided on it.
        state: Where it stands.
    """

    ladder: Ladder
    _learner: Learner
    state: RolloutState
    _about: Change | None = attrs.field(init=False, default=None)
    _back: tuple[str, str] = attrs.field(init=False, default=("", ""))
    _left: set[str] = attrs.field(init=False, factory=set)

    @classmethod
    def of(cls, plan: Plan, plugins: Plugins, retry: Retry) -> History:
        """Begin where *plan* began, with the evidence of an earlier try."""
        ladder = Ladder(plan=plan, plugins=plugins)
        state = RolloutState(
            plan=plan.name,
            plan_digest=plan.digest,
            exposure=ladder.baseline.digest,
            version=1,
            before=retry.log_e,
        )
        sticky = plan.unit is not Unit.TASK
        known = Known(sticky=sticky, visits=visited(plan))
        return cls(ladder, Learner(ladder, known), state)

    def learn(self, observation: Observation, report: Report) -> bool:
        """
        Take a look into account; False where it is of a stage or code that was left.

        Another process may have moved on between seeing and writing down.
        """
        here = observation.stage == self.state.stage
        if not here or observation.exposure in self._left:
            return False
        self.state = self._learner.learn(self.state, observation, report)
        return True

    def decide(
        self,
        report: Report,
        change: Change | None,
        *,
        state: RolloutState | None = None,
        dwell: bool = True,
    ) -> Decision:
        """
        Say what should happen next, as an engine would.

        Args:
            report: The report that was learned.
            change: What was decided on it, for the code that the registry had then.
            state: Where the rollout stood; where it stands by default.
            dwell: Whether the stage's time must be over.
        """
        state = self.state if state is None else state
        code = None if change is None else code_of(change)
        named = {Arm(arm): one for arm, one in code.items()} if code else None
        self.ladder.found = dict.fromkeys(Arm)
        if named is not None and state.status is Status.READY:
            assert change is not None
            self.ladder.hold(named)
            state = attrs.evolve(state, exposure=change.before)
        elif named is not None:
            self.ladder.found = dict(named)
        return self.ladder.decide(report, state, dwell=dwell)

    def rehearse(self) -> Decision | None:
        """Say that the rehearsal which is asked for is made now; None where none is."""
        change = self.ladder.rehearsal(self.state)
        return None if change is None else self.ladder.rehearsing(change, self.state)

    @property
    def watched(self) -> frozenset[str]:
        """Names under which slow units are to be counted from now on."""
        return frozenset(edge.name for edge in self._learner.edges(self.state))

    def mark(self, move: Move, reason: str) -> None:
        """Stand where a decision leaves the ladder that moves no pointer."""
        moved = marked(self.state, move, reason, rungs=self.ladder)
        if moved is not self.state:
            self._save(moved)

    def by_hand(self, status: Status, reason: str) -> None:
        """Stand where a person put the ladder."""
        self._save(attrs.evolve(self.state, status=status, reason=reason))

    def intend(self, change: Change) -> None:
        """Take it that *change* is about to be made."""
        self._about = change
        if change.kind not in {"roll_back", "deactivate"}:
            self._save(intended(self.state, change))

    def back(self, change: Change, *, to: str, code: str, reason: str) -> None:
        """Take it that the rollout goes back; a lower stage is entered at once."""
        self._about, self._back = change, (to, code)
        if to:
            exposure = self.ladder.exposure(to).without(self.state.off)
            self._save(lowered(self.state, exposure, code, reason))

    def take(self, outcome: Mapping[str, JSON]) -> None:
        """Take into account what came of a change; *outcome* is the record's body."""
        change, reason = self._about or self.state.in_doubt, str(outcome["reason"])
        applied, code = outcome["applied"], outcome["code"]
        if change is None or outcome["change"] != change.digest:
            # Nobody decided it: it finishes what was left open.
            if applied and not outcome["change"] and not outcome["decision"]:
                self._save(settled(self.state, reason))
            return
        self._about = None
        if change.kind in {"deactivate", "roll_back"}:
            self._went_back(change, outcome)
        elif change.kind == REHEARSAL and code != "interrupted":
            took_s = float(cast("float", outcome["took_s"]))
            self._save(
                rehearsed(
                    self.state,
                    took_s=took_s if code == "rehearsed" else None,
                    reason=reason,
                    returned=applied is True,
                )
            )
        elif applied is True:
            self._arrive(change, reason)
        elif code in {"refused", "interrupted"}:
            self._save(undone(self.state))

    def _went_back(self, change: Change, outcome: Mapping[str, JSON]) -> None:
        live, verified = str(outcome["digest_live"]), bool(outcome["verified"])
        state, (to, code) = self.state, self._back
        if change.kind == "deactivate":
            off = frozenset(cast("list[str]", change.detail["features"]))
            moved = switched_off(state, off, live, verified=verified)
        elif to:
            moved = attrs.evolve(state, unsettled=not verified)
        else:
            reason = str(outcome["reason"])
            moved = rolled_back(state, live, code, reason, verified=verified)
        self._save(moved)

    def _arrive(self, change: Change, reason: str) -> None:
        named = code_of(change)
        code = {Arm(a): c for a, c in named.items()} if named else self.ladder.code
        stage = str(change.detail.get("to", self.state.stage))
        exposure = self.ladder.exposure(stage, code).without(self.state.off)
        if change.kind == UPDATE:
            self._left.add(change.before)
            self._left.discard(change.after)
        self._save(arrived(self.state, change, exposure, reason, rungs=self.ladder))
        self.ladder.hold(code)

    def _save(self, moved: RolloutState) -> None:
        self.state = attrs.evolve(moved, version=self.state.version + 1)
