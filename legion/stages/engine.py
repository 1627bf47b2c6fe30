"""The engine of one rollout: what is exposed, why, and how it moves."""

from __future__ import annotations

import contextlib
import logging
import os

from collections.abc import Callable, Iterable, Iterator
from threading import RLock

import attrs

from ..exceptions import LegionError, StateError
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
from .advance import Advance
from .budget import Budget
from .decide import Ladder
from .estimates import Estimate, estimates
from .evidence import Edge, Known, visited
from .exposure import Exposure
from .given import refuse_unless
from .learn import Learner
from .lessons import Lessons
from .mirror import Mirror
from .moves import marked
from .persistence import StateFile, SupersededError
from .plan import Plan, Unit
from .pointer import Pointer
from .rehearsal import Rehearsal
from .retreat import Retreat
from .splitter import Order, Splitter, name_of
from .state import RolloutState, Status
from .traffic import Traffic
from .world import World


logger = logging.getLogger("legion")


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
        telemetry: Where trials record; by default one of its own, with the plan's
            metrics and ages.
        clock: Plan time and machine time; the system's by default.
        splitter: The order of units, the same in every process and after every
            restart; by default a hash of theirs with the plan's name.

    Raises:
        StateError: The state file cannot be used, or it holds another plan of this
            name, or one whose units are split by another order.
        LegionError: An argument is of the wrong type.
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
        _refuse_wrong_types(plan, plugins, state)
        self.plan = plan
        self.plugins = plugins if plugins is not None else Plugins()
        self.clock = clock or SystemClock()
        visits = visited(plan)
        self.telemetry = telemetry or Telemetry(
            self.clock,
            metrics=plan.metrics,
            matures=plan.ages_s,
            default_s=plan.matures_s,
            visits=visits,
        )
        self._owned = None if isinstance(state, Database) else Database(state)
        database = state if isinstance(state, Database) else self._owned
        assert database is not None
        self._lock = RLock()
        self._under_way = False
        self._ladder = Ladder(plan=plan, plugins=self.plugins, registry=registry)
        file = StateFile(database, plan.name, self.clock)
        order = splitter or Splitter(plan.name)
        self.traffic = Traffic(
            self._ladder.baseline,
            Mirror(self.clock),
            splitter=order,
            telemetry=self.telemetry,
            clock=self.clock,
            slices=plan.slices,
        )
        self._pointer = Pointer.open(
            self._ladder,
            file,
            traffic=self.traffic,
            journal=journal,
            splitter=name_of(order),
        )
        known = Known(sticky=plan.unit is not Unit.TASK, visits=visits)
        self._lessons = Lessons(Learner(self._ladder, known, file.units), self._pointer)
        world = World(plan, self.plugins, registry)
        parts = (self._ladder, self._pointer, world, self.clock)
        self._advance = Advance(*parts)
        self._retreat = Retreat(*parts)
        self._rehearsal = Rehearsal(
            *parts, advance=self._advance, retreat=self._retreat
        )
        # Handed out as they are: the hot path pays for no second call.
        self.assign = self.traffic.assign
        self.assign_many = self.traffic.assign_many
        self.places = self.traffic.places
        self.feature = self.traffic.feature
        self.trial = self.traffic.trial
        self.run = self.traffic.run
        self.run_sync = self.traffic.run_sync

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
    def budget(self) -> Budget:
        """What is spent of the plan's ``false_rollback``, and by what."""
        return self._ladder.budget(self.state)

    @property
    def estimates(self) -> tuple[Estimate, ...]:
        """What the stage's metrics are in both arms; for people, and never decisive."""
        return estimates(self.plan, self.state)

    @property
    def edges(self) -> tuple[Edge, ...]:
        """Beyond which times units are to be counted as bad from now on."""
        with self._lock:
            return self._lessons.edges

    @property
    def exposure(self) -> Exposure:
        """What users are exposed to right now."""
        return self.traffic.exposure

    def learn(self, observation: Observation, report: Report) -> None:
        """
        Take an observation and the report on it into account, in memory.

        `keep` writes it down, or `commit` before anything goes forward; a retreat waits
        for no write.
        """
        with self._lock:
            self._lessons.take(observation, report)

    def lead(self, token: int) -> None:
        """
        Go forward under *token* of the lease, and never once there is a newer one.

        Args:
            token: See `legion.store.lease`; 0 goes nowhere once somebody leads.
        """
        with self._lock:
            self._pointer.lead(token)

    def follow(self) -> None:
        """
        Go on from what another process wrote, without what was not written here.

        Raises:
            StateError: The state file cannot be read.
        """
        with self._lock:
            self._lessons.follow()

    def keep(self, *, also: Callable[[], object] | None = None) -> None:
        """
        Write down what was learned, on top of what others have learned.

        The journal gets the observations and reports in the same transaction: what is
        in it was learned, in its order, and nothing else was.

        Args:
            also: Writes what is not to be parted from it; it may be called again.

        Raises:
            NotLeadingError: Another process leads: what is not written is forgotten
                here, and what that one wrote is adopted.
            StateError: It could not be written.
        """
        with self._lock:
            self._lessons.keep(also=also)

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
        lowered = self._ladder.lowered(decision, report, self.state, self.plugins)
        return _written_down(lowered)

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
            self.keep()
            if decision.move is Move.ADVANCE and decision.change is not None:
                return self._forward(decision, decision.change, ruling)
            self._mark(decision)
        return None

    def _forward(
        self, decision: Decision, change: Change, ruling: Ruling | None
    ) -> Outcome:
        if self._retreat.pending:
            why = "a retreat is not written down yet; that is done first"
            return self._advance.not_done(decision, change, "retreating", why)
        try:
            with self._moving():
                outcome = self._advance.forward(decision, change, ruling)
        except SupersededError as error:
            return self._overtaken(decision, change, error)
        self._lessons.drop()
        if outcome.applied is None:
            # It may be in doubt because somebody went back while it was under way.
            try:
                self._lessons.adopt()
                self._retreat.finish()
            except StateError:
                logger.warning("what others did cannot be read", exc_info=True)
        return outcome

    def _overtaken(
        self, decision: Decision, change: Change, error: SupersededError
    ) -> Outcome:
        """Follow another process that moved the rollout while this one was at it."""
        self.poll()
        stale = self._advance.stale(decision) or ("superseded", str(error))
        return self._advance.not_done(decision, change, *stale)

    @contextlib.contextmanager
    def _moving(self) -> Iterator[None]:
        """Hold the lock for a move; a hook that polls meanwhile finds it under way."""
        with self._lock:
            before, self._under_way = self._under_way, True
            try:
                yield
            finally:
                self._under_way = before

    def latch(self, decision: Decision) -> None:
        """
        Make users safe from what *decision* takes back, before anything else is done.

        For a retreat to the baseline: in memory at once, then in the state file if that
        can be written. For anything else, nothing.
        """
        if self._latches(decision):
            self._pointer.latch(_sayable(decision.reason))
            self._pointer.pull()

    def _latches(self, decision: Decision) -> bool:
        ours = decision.plan in {"", self.plan.name}
        return ours and decision.move is Move.ROLL_BACK and not decision.to

    def rollback(self, reason: str, *, code: str = "by_hand") -> Outcome:
        """
        Go back to the baseline now: from any state, without asking anybody.

        Args:
            reason: Why, for the journal.
            code: Stable word for programs.
        """
        reason = _sayable(reason)
        return self._back(self._ladder.retreat(code, reason, self.state))

    def _back(self, decision: Decision) -> Outcome:
        # Users are safe, and the file says so, before anybody is waited for.
        self.latch(decision)
        decision = _written_down(decision)
        if self._latches(decision) and not self._is_free():
            return self._retreat.left(decision)
        with self._moving():
            refused = None if self._latches(decision) else self._not_lower(decision)
            nothing = Change(target="", before="", after="", kind="roll_back")
            change = decision.change or nothing
            if refused is not None:
                return self._advance.not_done(decision, change, *refused)
            self._lessons.drop()
            try:
                return self._retreat.back(decision)
            except SupersededError as error:
                overtaken = error
        with self._lock:
            return self._overtaken(decision, change, overtaken)

    def _is_free(self) -> bool:
        """
        Tell whether to wait for a turn.

        Where the file takes nothing, whoever has it may wait for the file, again and
        again, and finishes the retreat by itself.
        """
        if self._pointer.kept:
            return True
        free = self._lock.acquire(blocking=False)
        if free:
            self._lock.release()
        return free

    def _not_lower(self, decision: Decision) -> tuple[str, str] | None:
        """Return why a retreat to a stage is none, or is not about this state."""
        stale = self._advance.stale(decision)
        if stale is not None:
            return stale
        names = ["", *(stage.name for stage in self.plan.stages)]
        here = self.state.stage
        if decision.to not in names:
            return "not_lower", f"the plan has no stage {decision.to!r}"
        if names.index(decision.to) >= names.index(here):
            return "not_lower", f"{decision.to} is not below {here or 'the baseline'}"
        return None

    def _mark(self, decision: Decision) -> None:
        """Write down where the ladder stands; only a change of status is a write."""
        move, reason = decision.move, decision.reason
        moved = marked(self.state, move, reason, rungs=self._ladder)
        if moved is self.state or self._advance.stale(decision) is not None:
            self._pointer.record(decision, durable=False)
            return
        self._pointer.save(moved, decision, durable=True, forward=True)

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
        names = frozenset(features)
        known = {name for stage in self.plan.stages for name in stage.features}
        if unknown := sorted(names - known):
            there = ", ".join(sorted(known)) or "none; this plan has no features"
            msg = f"deactivate: got {', '.join(unknown)}; write one of {there}"
            raise LegionError(msg)
        self._pointer.switch_off(names)
        self._pointer.pull()
        with self._moving():
            return self._retreat.switch_off(names, _sayable(reason))

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
        try:
            with self._moving():
                return self._rehearsal.run(change, ruling)
        except SupersededError as error:
            with self._lock:
                again = self._ladder.rehearsing(change, self.state)
                return self._overtaken(again, change, error)

    def poll(self) -> None:
        """
        Adopt what other processes did, finish what a crash left, settle doubt.

        A latch beside the file is in force before anybody is waited for, and though the
        file cannot be read.

        Raises:
            StateError: The state file cannot be read.
        """
        self._pointer.heed()
        with self._lock:
            if self._under_way:
                return  # A hook asks from inside a move, which comes to its end first.
            self._lessons.adopt()
            self._ladder.look()
            if self.state.status is Status.READY:
                self._ladder.take_up()
            try:
                self._retreat.finish()
                self._advance.settle()
            except SupersededError:
                # Another process was faster; the next poll sees what it did.
                logger.debug("%s was moved on by another process", self.plan.name)

    def _by_hand(self, to: Status, allowed: set[Status], reason: str) -> Decision:
        with self._lock:
            self._lessons.adopt()
            state, reason = self.state, _sayable(reason)
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
                version=state.version,
            )
            if state.status in allowed:
                moved = attrs.evolve(state, status=to, reason=reason)
                self._pointer.save(moved, decision, durable=True)
            else:
                self._pointer.record(decision, durable=False)
            return decision


def _sayable(reason: object) -> str:
    """Return *reason* as text that can be written down, whatever it is."""
    return str(reason).encode("utf-8", "backslashreplace").decode()


def _written_down(decision: Decision) -> Decision:
    """Return *decision* with reasons that can be written down: a plugin may give any."""
    change = decision.change
    if change is not None:
        change = attrs.evolve(change, reason=_sayable(change.reason))
    return attrs.evolve(decision, reason=_sayable(decision.reason), change=change)


def _refuse_wrong_types(plan: object, plugins: object, state: object) -> None:
    who = "StageEngine"
    write = "a legion.Plan, such as legion.Plan.load(path)"
    refuse_unless(isinstance(plan, Plan), who, "plan", plan, write=write)
    write = "legion.Plugins(...), with yours inside"
    fits = plugins is None or isinstance(plugins, Plugins)
    refuse_unless(fits, who, "plugins", plugins, write=write)
    write = 'the path of a file, an open Database, or ":memory:"'
    fits = isinstance(state, Database | str | os.PathLike)
    refuse_unless(fits, who, "state", state, write=write)
