"""The engine of one rollout: what is exposed, why, and how it moves."""

from __future__ import annotations

import os

from collections.abc import Iterable
from threading import RLock

import attrs

from ..model import (
    Change,
    Clock,
    Decision,
    Log,
    Move,
    Observation,
    Outcome,
    Report,
    Ruling,
    Snapshots,
)
from ..plugins import Plugins
from ..store import Database
from ..telemetry import SystemClock, Telemetry
from .decide import Ladder
from .exposure import Exposure
from .learn import Learner
from .mirror import Mirror
from .moves import Moves
from .persistence import StateFile
from .plan import Plan
from .pointer import Pointer
from .splitter import Order, Splitter
from .state import RolloutState, Status
from .traffic import Traffic


class StageEngine:
    """
    Rolls one plan out, stage by stage, and takes it back.

    The hot path (`assign`, `feature`, `trial`, `run`) reads memory alone. A move is
    durable before it is visible, except for going back, which is visible first.

    Args:
        plan: What to roll out, and when not to.
        plugins: Criteria, actors and choosers; the built-in ones by default.
        state: The state file, an open `Database`, or ``":memory:"``.
        journal: Where decisions and moves are recorded; None records nowhere.
        registry: Versions of the code; None where the host keeps them elsewhere.
        telemetry: Where trials record; one of its own by default.
        clock: Plan time and machine time; the system's by default.
        splitter: The order of units, the same in every process and after every
            restart; by default a hash of theirs with the plan's name.

    Raises:
        StateError: The state file cannot be used, or it holds another plan of this
            name.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        plugins: Plugins | None = None,
        state: Database | str | os.PathLike[str] = ":memory:",
        journal: Log | None = None,
        registry: Snapshots | None = None,
        telemetry: Telemetry | None = None,
        clock: Clock | None = None,
        splitter: Order | None = None,
    ) -> None:
        self.plan = plan
        self.plugins = plugins if plugins is not None else Plugins()
        self.clock = clock or SystemClock()
        self.telemetry = telemetry or Telemetry(self.clock)
        self._owned = None if isinstance(state, Database) else Database(state)
        database = state if isinstance(state, Database) else self._owned
        assert database is not None
        self._lock = RLock()
        self._ladder = Ladder.of(plan, self.plugins, registry)
        self._learner = Learner(self._ladder)
        self.traffic = Traffic(
            self._ladder.baseline,
            Mirror(),
            splitter=splitter or Splitter(plan.name),
            telemetry=self.telemetry,
            clock=self.clock,
        )
        self._pointer = Pointer.open(
            self._ladder,
            StateFile(database, plan.name, self.clock),
            traffic=self.traffic,
            journal=journal,
        )
        self._moves = Moves(
            self._ladder, self._pointer, self.plugins, registry, self.clock
        )
        # Handed out as they are: the hot path pays for no second call.
        self.assign = self.traffic.assign
        self.assign_many = self.traffic.assign_many
        self.feature = self.traffic.feature
        self.trial = self.traffic.trial
        self.run = self.traffic.run
        self.run_sync = self.traffic.run_sync
        self.poll()

    def __enter__(self) -> StageEngine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the state file if the engine opened it."""
        if self._owned is not None:
            self._owned.close()

    @property
    def state(self) -> RolloutState:
        """What the rollout remembers; a new value after every turn."""
        return self._pointer.state

    @property
    def exposure(self) -> Exposure:
        """What users are exposed to right now."""
        return self.traffic.exposure

    def learn(self, observation: Observation, report: Report) -> None:
        """
        Take an observation and the report on it into account.

        Raises:
            StateError: The state file cannot be written; nothing was learned.
        """
        with self._lock:
            criteria = self.plugins.criteria
            state = self._learner.learn(self.state, observation, report, criteria)
            self._pointer.save(state, durable=False)

    def decide(self, report: Report) -> Decision:
        """
        Say what should happen next; changes nothing, asks nobody and reads no clock.

        Args:
            report: The report on the newest observation, which was learned before.
        """
        return self._ladder.decide(report, self.state)

    def promote(self, report: Report) -> Decision:
        """Decide as `decide` does, without waiting for the stage's time to be over."""
        return self._ladder.decide(report, self.state, dwell=False)

    def choose(self, decision: Decision, report: Report) -> Decision:
        """
        Ask the hooks for a lower stage than the ladder's; a retreat is not asked about.

        A plugin that raises makes the rollout hold.
        """
        if decision.move in {Move.ROLL_BACK, Move.FREEZE}:
            return decision
        return self._ladder.lowered(decision, report, self.state, self.plugins)

    def commit(
        self, decision: Decision, ruling: Ruling | None = None
    ) -> Outcome | None:
        """
        Do what was decided.

        Args:
            decision: What `decide` or `choose` returned.
            ruling: The gate's, on ``decision.change``; a retreat needs none.

        Returns:
            What came of it, or None where there was nothing to move.

        Raises:
            StateError: Going forward could not be written down, so it did not happen.
        """
        if decision.move is Move.ROLL_BACK:
            return self._back(decision)
        with self._lock:
            if decision.move is Move.ADVANCE and decision.change is not None:
                return self._moves.forward(decision, decision.change, ruling)
            self._mark(decision)
        return None

    def rollback(self, reason: str, *, code: str = "by_hand") -> Outcome:
        """
        Go back to the baseline now: from any state, without asking anybody.

        Args:
            reason: Why, for the journal.
            code: Stable word for programs.
        """
        return self._back(self._ladder.retreat(code, reason, self.state))

    def _back(self, decision: Decision) -> Outcome:
        # Users are safe before anybody is waited for.
        if not decision.to:
            self._pointer.latch(decision.reason)
        with self._lock:
            return self._moves.back(decision)

    def _mark(self, decision: Decision) -> None:
        """Write down where the ladder stands; only a change of status is a write."""
        state = self.state
        status = {
            Move.FREEZE: Status.FROZEN,
            Move.ADVANCE: Status.COMPLETE,
        }.get(decision.move, state.status)
        if decision.move is Move.HOLD and state.status is Status.FROZEN:
            status = Status.RUNNING
        if status is not state.status:
            moved = attrs.evolve(state, status=status, reason=decision.reason)
            self._pointer.save(moved, decision, durable=True)
        else:
            self._pointer.record(decision, durable=False)

    def pause(self, reason: str) -> Decision:
        """Stop the ladder until `resume`; going back stays possible."""
        return self._by_hand(Status.PAUSED, {Status.RUNNING, Status.FROZEN}, reason)

    def resume(self, reason: str = "resumed by hand") -> Decision:
        """Let the ladder go on after `pause`."""
        return self._by_hand(Status.RUNNING, {Status.PAUSED}, reason)

    def deactivate(self, features: Iterable[str], *, reason: str) -> Outcome:
        """
        Switch features off for everybody; for good in this plan, and without asking.

        Raises:
            LegionError: No stage of the plan has a feature of that name.
        """
        with self._lock:
            return self._moves.switch_off(frozenset(features), reason)

    @property
    def rehearsal(self) -> Change | None:
        """The rehearsal that the stage asks for and that is not done, for the gate."""
        return self._ladder.rehearsal(self.state)

    def rehearse(self, change: Change, ruling: Ruling) -> Outcome:
        """
        Go back and forth once while no user is exposed, and time the way back.

        Args:
            change: What `rehearsal` returned.
            ruling: The gate's, on that change.

        Raises:
            StateError: The result could not be written down.
        """
        with self._lock:
            return self._moves.rehearse(change, ruling)

    def poll(self) -> None:
        """
        Adopt what other processes did, finish what a crash left, settle doubt.

        Raises:
            StateError: The state file cannot be read.
        """
        with self._lock:
            self._pointer.refresh()
            self._moves.finish()
            self._moves.settle()

    def _by_hand(self, to: Status, allowed: set[Status], reason: str) -> Decision:
        with self._lock:
            state = self.state
            decision = Decision(
                move=Move.HOLD,
                code=to.value if state.status in allowed else "not_now",
                reason=(
                    reason
                    if state.status in allowed
                    else f"the rollout is {state.status}: {state.reason}"
                ),
                plan=self.plan.name,
                stage=state.stage,
                to=state.stage,
                at_s=self.clock.plan(),
            )
            if state.status in allowed:
                moved = attrs.evolve(state, status=to, reason=reason)
                self._pointer.save(moved, decision, durable=True)
            else:
                self._pointer.record(decision, durable=False)
            return decision
