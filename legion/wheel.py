"""The wheel of one host: observe, judge, decide, act, record."""

from __future__ import annotations

import contextlib
import logging

from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from threading import Lock, get_ident

import attrs

from .exceptions import LegionError, StateError
from .gate import SafetyGate
from .journal import Journal
from .metrics import METRICS
from .model import (
    Arm,
    Count,
    Decision,
    Move,
    Notice,
    Observation,
    Outcome,
    Permission,
    Report,
    Ruling,
)
from .plugins import Plugins
from .stages import Plan, StageEngine
from .stages.persistence import NotLeadingError
from .store import Memory
from .telemetry import Telemetry
from .watchdog import Watchdog
from .workers import Workers


logger = logging.getLogger("legion")

_turn: ContextVar[object] = ContextVar("legion_turn", default=None)
"""The turn this code runs inside of: it follows hooks into worker threads."""


@attrs.frozen(kw_only=True)
class Turn:
    """
    One turn of the wheel: what was seen, judged, decided and done.

    Attributes:
        observation: What was seen.
        report: What the criteria say of it.
        decision: What follows.
        ruling: The gate's answer, where it was asked.
        outcome: What came of acting, where something was done.
    """

    observation: Observation
    report: Report
    decision: Decision
    ruling: Ruling | None = None
    outcome: Outcome | None = None


@attrs.define(eq=False, kw_only=True)
class Wheel:
    """
    Turns one rollout: what is seen is judged, decided on, done and written down.

    One turn at a time, whichever threads ask for it; a hook that asks from inside a
    turn is refused.

    Attributes:
        started: Whether a thread turns it; else somebody calls, as seldom as they like.
    """

    plan: Plan
    plugins: Plugins
    engine: StageEngine
    watchdog: Watchdog
    gate: SafetyGate
    journal: Journal
    telemetry: Telemetry
    _memory: Memory = attrs.field(alias="memory")
    _workers: Workers = attrs.field(alias="workers")
    started: bool = attrs.field(init=False, default=False)
    _led: int = attrs.field(init=False, default=0)
    _set_back_s: float = attrs.field(init=False, default=0.0)
    _turning: Lock = attrs.field(init=False, factory=Lock)
    _now: object = attrs.field(init=False, default=None)
    _turner: int | None = attrs.field(init=False, default=None)

    @property
    def interval_s(self) -> float:
        """Plan time between two turns: the stage's check interval."""
        stage = self.engine.state.stage
        if not stage:
            return self.plan.stages[0].check_interval_s
        return self.plan.stage(stage).check_interval_s

    def tick(self, *, mirrored: bool = True) -> Turn:
        """
        Turn once; where another host leads, only observe.

        Args:
            mirrored: Whether to run what is mirrored first.

        Raises:
            StateError: The state file cannot be used; nothing went forward.
        """
        with self._turn_alone():
            unread = self._poll()
            if mirrored:
                self.engine.traffic.mirror.drain()
            if not self._leads():
                return self._follow()
            turn = self._round(self.engine.decide)
            if unread is not None and turn.decision.move is not Move.ROLL_BACK:
                raise unread
            self._rehearse()
            self._notify(turn)
            return turn

    def _poll(self) -> StateError | None:
        """Return why the state cannot be read: going back does not need it."""
        try:
            self.engine.poll()
        except StateError as error:
            logger.warning("what others did cannot be read", exc_info=True)
            return error
        return None

    def promote(self) -> Turn:
        """Turn once without waiting for the stage's time to be over."""
        with self._turn_alone():
            self.engine.poll()
            if not self._leads():
                return self._follow()
            return self._round(self.engine.promote)

    def _leads(self) -> bool:
        """Tell whether this host leads; a new leader goes on from what the last wrote."""
        if not self._workers.leads(0.0 if self.started else self.interval_s):
            return False
        if self._led != self._workers.token:
            # Whoever led meanwhile may have learned what could not be written here.
            self._workers.unlearn()
            self.engine.follow()
            self.engine.lead(self._workers.token)
            if (remembered := self._memory.load()) is not None:
                self.watchdog.restore(remembered)
            self._led = self._workers.token
        return True

    def _follow(self) -> Turn:
        """Leave what was seen to the host that leads."""
        self.engine.follow()
        observation = self._observe()
        self._workers.publish(observation)
        self._watch()
        return self._led_by_another(observation)

    def _led_by_another(self, observation: Observation) -> Turn:
        state = self.engine.state
        report = Report(
            plan=self.plan.name,
            stage=state.stage,
            at_s=observation.at_s,
            observation=observation.digest,
        )
        decision = Decision(
            move=Move.HOLD,
            code="not_leader",
            reason=f"{self._workers.leader} leads; what was seen here is left to it",
            plan=self.plan.name,
            stage=state.stage,
            to=state.stage,
            at_s=observation.at_s,
            version=state.version,
            report=report.digest,
        )
        return Turn(observation=observation, report=report, decision=decision)

    def _watch(self) -> None:
        self.telemetry.tell_apart(self.engine.state.slices)
        for edge in self.engine.edges:
            self.telemetry.watch(
                edge.name, edge.stream, candidate=edge.candidate, control=edge.control
            )

    @contextlib.contextmanager
    def _turn_alone(self) -> Iterator[None]:
        if self.is_inside:
            msg = (
                f"{self.plan.name}: a plugin turned the wheel from inside a turn; "
                "return from the hook first"
            )
            raise LegionError(msg)
        with self._turning:
            self._now, self._turner = object(), get_ident()
            token = _turn.set(self._now)
            try:
                yield
            finally:
                _turn.reset(token)
                self._now = self._turner = None

    @property
    def is_inside(self) -> bool:
        """Whether the caller is a hook or a mirrored run of the turn under way."""
        now = self._now
        return now is not None and (_turn.get() is now or self._turner == get_ident())

    def _round(self, decide: Callable[[Report], Decision]) -> Turn:
        """Observe, judge, decide; then write, unless users must be made safe first."""
        observation = self._workers.gather(self._inherit_and_observe())
        self.watchdog.interval_s = self.interval_s
        report = self.watchdog.judge(observation, self.engine.state.baseline)
        self.engine.learn(observation, report)
        self._watch()
        decision = decide(report)
        self.engine.latch(decision)
        decision = self.engine.choose(decision, report)
        try:
            self.engine.keep(also=self._remember)
        except Exception as error:
            if decision.move is not Move.ROLL_BACK:
                if isinstance(error, NotLeadingError):
                    self._workers.publish()
                    return self._led_by_another(observation)
                raise
            logger.warning("going back without a record of why", exc_info=True)
        return self._act(observation, report, decision)

    def _remember(self) -> None:
        self._memory.save(self.watchdog.to_json())
        self._workers.write()

    def _inherit_and_observe(self) -> Observation:
        try:
            self._workers.inherit()
        except StateError:
            logger.warning("units of others are left where they are", exc_info=True)
        return self._going_on(self._observe())

    def _going_on(self, seen: Observation) -> Observation:
        """
        Return *seen* in the rollout's time, which goes on where the date was set back.

        Otherwise nothing would grow old, and no time be observed, until it has caught
        up. Two hosts whose clocks differ by less than two checks are left to differ.
        """
        last_s = self.engine.state.last_s
        if last_s is not None:
            behind_s = last_s - (seen.at_s + self._set_back_s)
            if behind_s > 2 * self.interval_s:
                self._set_back_s += behind_s + max(0.0, seen.candidate.seconds)
        return seen.moved(self._set_back_s) if self._set_back_s else seen

    def _misfits(self, metrics: Mapping[str, Count | float]) -> dict[str, str]:
        """Say what no source can have measured, by metric; of unknown ones nothing."""
        known = {**METRICS, **{one.name: one for one in self.plan.metrics}}
        said = {k: known[k].misfit(v) for k, v in metrics.items() if k in known}
        return {name: why for name, why in said.items() if why}

    def _observe(self) -> Observation:
        def sources(arm: Arm) -> tuple[dict[str, Count | float], dict[str, str]]:
            observed = self.plugins.observe(self.plan.name, arm)
            errors = {**self._misfits(observed.metrics), **observed.errors}
            fit = {k: v for k, v in observed.metrics.items() if k not in errors}
            return fit, errors

        seen = self.telemetry.close(
            plan=self.plan.name,
            stage=self.engine.state.stage,
            exposure=self.engine.exposure.digest,
            sources=sources,
        )
        if self.engine.exposure.share < 1:
            return seen
        # Nobody has the control any more: what it did before is the baseline.
        alone = attrs.evolve(seen.candidate, baseline=None)
        return attrs.evolve(seen, candidate=alone, control=None)

    def _act(
        self, observation: Observation, report: Report, decision: Decision
    ) -> Turn:
        ruling = None
        if decision.move is Move.ADVANCE and decision.change is not None:
            ruling = self.gate.review(decision.change, report)
            if not ruling.allowed:
                self.journal.append(ruling, durable=False)
                code = "asked" if ruling.permission is Permission.ASK else "denied"
                decision = attrs.evolve(
                    decision, move=Move.HOLD, code=code, reason=ruling.reason
                )
        outcome = self.engine.commit(decision, ruling)
        if ruling is not None and outcome is not None and outcome.applied is not False:
            # An approval is for one move; in doubt counts as used.
            self.gate.consume(ruling)
        return Turn(
            observation=observation,
            report=report,
            decision=decision,
            ruling=ruling,
            outcome=outcome,
        )

    def _rehearse(self) -> None:
        change = self.engine.rehearsal
        if change is None:
            return
        ruling = self.gate.review(change)
        outcome = self.engine.rehearse(change, ruling)
        if outcome.applied is not False:
            self.gate.consume(ruling)

    def _notify(self, turn: Turn) -> None:
        self.plugins.retry_notices()
        notices = [*self.watchdog.notices(), *self.gate.notices()]
        if turn.outcome is not None and turn.decision.move is Move.ROLL_BACK:
            notices.append(
                Notice(
                    kind="incident",
                    id=f"rollback@{turn.decision.digest[:12]}",
                    title=f"{self.plan.name} went back",
                    reason=turn.outcome.reason,
                    at_s=turn.decision.at_s,
                )
            )
        for notice in notices:
            self.plugins.notify(notice)
