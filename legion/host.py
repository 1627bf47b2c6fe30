"""The host: everything wired, and the wheel that turns it."""

from __future__ import annotations

import asyncio
import logging
import os

from pathlib import Path
from threading import Event, Lock, Thread
from typing import Self, cast

import attrs

from .exceptions import StateError
from .gate import Policy, SafetyGate
from .journal import Journal
from .model import (
    Arm,
    Clock,
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
from .registry import Registry
from .stages import Order, Plan, StageEngine, recall
from .store import Database, Memory
from .telemetry import Probe, SystemClock, Telemetry
from .watchdog import Watchdog


logger = logging.getLogger("legion")

_FILE = "legion.db"


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


@attrs.define(eq=False)
class Host:
    """
    Everything wired: one plan, its engine, and all that watches it.

    Make one with `Host.open`. It owns nothing global and starts no thread until
    `start`; ``with`` closes it, ``async with`` also starts it.

    Attributes:
        plan: The plan.
        plugins: Criteria, sources, reviewers, recorders, channels.
        engine: Which arm a unit gets, and the pointer.
        watchdog: Judges every observation.
        gate: Rules on every forward act.
        journal: What happened, tamper-evident.
        registry: Versions of the code and the settings.
        telemetry: Where trials record.
        clock: Plan time and machine time.
    """

    plan: Plan
    plugins: Plugins
    engine: StageEngine
    watchdog: Watchdog
    gate: SafetyGate
    journal: Journal
    registry: Registry | None
    telemetry: Telemetry
    clock: Clock
    _database: Database = attrs.field(alias="database")
    _memory: Memory = attrs.field(alias="memory")
    _turning: Lock = attrs.field(init=False, factory=Lock)
    _stop: Event = attrs.field(init=False, factory=Event)
    _thread: Thread | None = attrs.field(init=False, default=None)
    _last_s: float | None = attrs.field(init=False, default=None)

    @classmethod
    def open(
        cls,
        plan: Plan | str | os.PathLike[str],
        *,
        state: str | os.PathLike[str],
        plugins: Plugins | None = None,
        policy: Policy | None = None,
        clock: Clock | None = None,
        splitter: Order | None = None,
    ) -> Host:
        """
        Wire everything for *plan*, and go on where an earlier host stopped.

        Args:
            plan: The plan, or its file.
            state: Directory of the state: one SQLite file and the registry. It is made
                if it is not there.
            plugins: Yours; the built-in criteria and parts are added to them.
            policy: What the gate allows; the standard one by default.
            clock: The system's by default.
            splitter: The order of units, the same in every process and after every
                restart; the engine's by default.

        Raises:
            PlanError: The plan is wrong.
            StateError: The state cannot be used.
        """
        directory = Path(state)
        directory.mkdir(parents=True, exist_ok=True)
        clock = clock or SystemClock()
        found = plan if isinstance(plan, Plan) else Plan.load(plan)
        return cls.wired(
            found,
            database=Database(directory / _FILE),
            registry=Registry(directory / "registry", clock=clock),
            telemetry=Telemetry(clock, metrics=found.metrics),
            plugins=plugins,
            policy=policy,
            clock=clock,
            splitter=splitter,
        )

    @classmethod
    def reopen(cls, state: str | os.PathLike[str]) -> Host:
        """
        Open a state directory with the plan that was rolled out in it last.

        Raises:
            StateError: Nothing was ever rolled out there.
        """
        file = Path(state) / _FILE
        if not file.is_file():
            raise StateError(str(file), "no such file; write --state DIR of a host")
        with Database(file) as database:
            plan = recall(database)
        return cls.open(plan, state=state)

    @classmethod
    def wired(
        cls,
        plan: Plan,
        *,
        database: Database,
        registry: Registry | None,
        telemetry: Telemetry,
        clock: Clock,
        plugins: Plugins | None = None,
        policy: Policy | None = None,
        probe: bool = True,
        splitter: Order | None = None,
    ) -> Host:
        """
        Wire a host from parts that are open already; it closes them.

        Args:
            plan: The plan.
            database: State, questions and journal.
            registry: Versions of the code, or None where they are kept elsewhere.
            telemetry: Where trials record.
            clock: Plan time and machine time.
            plugins: Yours; the built-in parts are added to them.
            policy: What the gate allows.
            probe: Whether this process's memory and CPU are measured.
            splitter: The order of units; the engine's by default.
        """
        plugins = plugins if plugins is not None else Plugins()
        journal = Journal(database, clock=clock, recorders=plugins.record)
        gate = SafetyGate(
            policy, plugins=plugins, journal=journal, store=database, clock=clock
        )
        for name, part in (
            ("legion-probe", Probe(clock) if probe else None),
            ("legion-registry", registry),
            ("legion-gate", gate),
        ):
            if part is not None:
                plugins.register(part, name=name)
        engine = StageEngine(
            plan,
            plugins=plugins,
            state=database,
            journal=journal,
            registry=registry,
            telemetry=telemetry,
            clock=clock,
            splitter=splitter,
        )
        memory = Memory(database)
        limits = cast("dict[str, dict[str, float] | None]", dict(plan.criteria))
        watchdog = Watchdog(plugins, limits=limits)
        remembered = memory.load("watchdog")
        if remembered is not None:
            watchdog.restore(remembered)
        return cls(
            plan=plan,
            plugins=plugins,
            engine=engine,
            watchdog=watchdog,
            gate=gate,
            journal=journal,
            registry=registry,
            telemetry=telemetry,
            clock=clock,
            database=database,
            memory=memory,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.engine.traffic.mirror.join()
        await asyncio.to_thread(self.close)

    @property
    def interval_s(self) -> float:
        """Plan time between two turns: the stage's check interval."""
        stage = self.engine.state.stage
        if not stage:
            return self.plan.stages[0].check_interval_s
        return self.plan.stage(stage).check_interval_s

    def tick(self) -> Turn:
        """
        Turn the wheel once: observe, judge, decide, act, record.

        Raises:
            StateError: The state file cannot be used; nothing went forward.
        """
        with self._turning:
            self.engine.poll()
            self.engine.traffic.mirror.drain()
            observation = self._observe()
            report = self._judge(observation)
            decision = self.engine.choose(self.engine.decide(report), report)
            turn = self._act(observation, report, decision)
            self._rehearse()
            self._notify(turn)
            return turn

    def _observe(self) -> Observation:
        def sources(arm: Arm) -> tuple[dict[str, Count | float], dict[str, str]]:
            observed = self.plugins.observe(self.plan.name, arm)
            return observed.metrics, observed.errors

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

    def _judge(self, observation: Observation) -> Report:
        self.watchdog.interval_s = self.interval_s
        report = self.watchdog.judge(observation, self.engine.state.baseline)
        self._memory.save("watchdog", self.watchdog.to_json())
        self.journal.append(observation, durable=False)
        self.journal.append(report, durable=False)
        self.engine.learn(observation, report)
        return report

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
        if ruling.allowed:
            self.engine.rehearse(change, ruling)
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

    def promote(self) -> Turn:
        """
        Go to the next stage before its time is over, if evidence and gate allow it.

        The answer is a turn whose decision says why, where it holds.
        """
        with self._turning:
            self.engine.poll()
            observation = self._observe()
            report = self._judge(observation)
            return self._act(observation, report, self.engine.promote(report))

    def start(self, *, watch_s: float = 0.2) -> None:
        """
        Turn the wheel in a thread, at the stage's check interval, until `close`.

        In between it drains mirrored runs and telemetry, and looks every *watch_s* of
        machine time whether somebody has pulled the latch.
        """
        if self._thread is not None:
            return
        self._stop.clear()
        self._thread = Thread(
            target=self._turn, args=(watch_s,), name="legion-host", daemon=True
        )
        self._thread.start()

    def _turn(self, watch_s: float) -> None:
        while not self._stop.wait(watch_s):
            try:
                now_s = self.clock.plan()
                if self._last_s is None or now_s - self._last_s >= self.interval_s:
                    self._last_s = now_s
                    self.tick()
                else:
                    self.engine.poll()
                    self.engine.traffic.mirror.drain()
                    self.telemetry.drain()
            except Exception:
                # The wheel must not stop for one bad turn; nothing went forward in it.
                logger.warning("a turn of the wheel failed", exc_info=True)

    def close(self) -> None:
        """Stop the thread, tell the plugins, close the files; safe to call twice."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self.plugins.shutdown()
        self._database.close()
