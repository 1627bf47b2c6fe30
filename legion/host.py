"""The host: everything wired, and the wheel that turns it."""

from __future__ import annotations

import asyncio
import logging
import os

from pathlib import Path
from threading import Event, Thread, current_thread
from typing import Self, cast

import attrs

from .exceptions import PluginError, StateCorruptError, StateError
from .gate import Policy, SafetyGate
from .journal import Journal
from .judges import Judges
from .model import (
    Clock,
)
from .plugins import Plugins
from .registry import Registry
from .stages import Order, Plan, StageEngine, order_of, recall, visited
from .stages.given import refuse_unless
from .stages.latch import pull_beside
from .store import Database, Memory
from .telemetry import Probe, SystemClock, Telemetry
from .watchdog import Watchdog
from .wheel import Turn, Wheel
from .workers import Workers


logger = logging.getLogger("legion")

_FILE = "legion.db"

_PARTS = ("legion-probe", "legion-registry", "legion-gate")

_MOMENT_S = 0.5
"""How long `Host.close` waits for a mirrored run, in seconds."""


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
    _workers: Workers = attrs.field(alias="workers")
    _wheel: Wheel = attrs.field(alias="wheel")
    _stop: Event = attrs.field(init=False, factory=Event)
    _thread: Thread | None = attrs.field(init=False, default=None)
    _mirroring: Thread | None = attrs.field(init=False, default=None)
    _last_s: float | None = attrs.field(init=False, default=None)
    _closed: bool = attrs.field(init=False, default=False)

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
            PluginError: The plugins serve another host.
            LegionError: An argument is of the wrong type.
        """
        _refuse_wrong_types(plan, state, plugins, policy)
        directory = _made(Path(state).absolute())
        clock = clock or SystemClock()
        found = plan if isinstance(plan, Plan) else Plan.load(plan)
        database = Database(directory / _FILE)
        try:
            return cls.wired(
                found,
                database=database,
                registry=Registry(directory / "registry", clock=clock),
                telemetry=_telemetry(found, clock),
                plugins=plugins,
                policy=policy,
                clock=clock,
                splitter=splitter,
            )
        except BaseException:
            database.close()
            raise

    @classmethod
    def reopen(cls, state: str | os.PathLike[str], *, readonly: bool = False) -> Host:
        """
        Open a state directory with the plan that was rolled out in it last.

        Where its units are split by an order of yours, nothing can be assigned here:
        open it with `open` and that order to serve.

        Args:
            state: The directory.
            readonly: Only look: nothing is written there, not even where it could be,
                and what would have to write raises. Do not turn the wheel.

        Raises:
            StateError: Nothing was ever rolled out there.
        """
        file = Path(state) / _FILE
        if not file.is_file():
            raise StateError(str(file), "no such state; write --state DIR of a host")
        if not file.stat().st_size:
            msg = "it is empty; put back a copy from before, or write --state DIR"
            raise StateCorruptError(str(file), msg)
        if readonly:
            return cls._looked_at(Path(state))
        with Database(file) as database:
            plan = recall(database)
            splitter = order_of(database, plan.name)
        return cls.open(plan, state=state, splitter=splitter)

    @staticmethod
    def latch(state: str | os.PathLike[str], *, reason: str) -> Path:
        """
        Give everybody the baseline though the state in a directory cannot be used.

        Every host on that directory, running or started later, goes back at its next
        look, as `StageEngine.rollback` has it do; what the state says is not read. Use
        that where the state can be read.

        Args:
            state: The directory.
            reason: Why.

        Returns:
            The file that says so. Delete it once the state is whole again, or the next
            plan in that directory is held back, too.

        Raises:
            StateError: There is no such state, or the file cannot be written.
        """
        file = Path(state) / _FILE
        if not file.is_file():
            raise StateError(str(file), "no such state; write --state DIR of a host")
        return pull_beside(str(file), reason)

    @classmethod
    def _looked_at(cls, directory: Path) -> Host:
        clock = SystemClock()
        database = Database(directory / _FILE, readonly=True)
        try:
            plan = recall(database)
            return cls.wired(
                plan,
                database=database,
                registry=Registry(directory / "registry", clock=clock),
                telemetry=_telemetry(plan, clock),
                clock=clock,
                probe=False,
                splitter=order_of(database, plan.name),
            )
        except BaseException:
            database.close()
            raise

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
        _refuse_second_host(plugins)
        journal = Journal(database, clock=clock, recorders=plugins.record)
        gate = SafetyGate(
            policy,
            plugins=plugins,
            journal=journal,
            store=database,
            clock=clock,
            judges=Judges(plan, plugins),
        )
        own = (Probe(clock) if probe else None, registry, gate)
        parts = dict(zip(_PARTS, own, strict=True))
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
        engine.lead(0)
        memory = Memory(database, plan.name)
        workers = Workers(
            plan=plan,
            plugins=plugins,
            telemetry=telemetry,
            database=database,
            clock=clock,
        )
        try:
            for name, part in parts.items():
                if part is not None:
                    plugins.register(part, name=name)
            plugins.startup()
            watchdog = _watchdog(plan, plugins, memory, engine.state.exposure)
        except BaseException:
            _take_out(plugins)
            raise
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
            workers=workers,
            wheel=Wheel(
                plan=plan,
                plugins=plugins,
                engine=engine,
                watchdog=watchdog,
                gate=gate,
                journal=journal,
                telemetry=telemetry,
                memory=memory,
                workers=workers,
            ),
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
        return self._wheel.interval_s

    def tick(self) -> Turn:
        """
        Turn the wheel once: observe, judge, decide, act, record.

        Of several hosts on one state directory one leads. The others only observe:
        what they saw is left to the leader's next turn, and their own decision is to
        hold, with the code ``not_leader``, on a report without verdicts.

        Raises:
            StateError: The state file cannot be used; nothing went forward.
        """
        return self._wheel.tick()

    def promote(self) -> Turn:
        """
        Go to the next stage before its time is over, if evidence and gate allow it.

        The answer is a turn whose decision says why, where it holds. Only the host that
        leads can do it.
        """
        return self._wheel.promote()

    def start(self, *, watch_s: float = 0.2) -> None:
        """
        Turn the wheel in a thread, at the stage's check interval, until `close`.

        In between it drains telemetry, and looks every *watch_s* of machine time whether
        somebody has pulled the latch. Mirrored runs have a thread of their own. A host
        that was opened before a fork is started in each process.
        """
        if self._closed:
            msg = "this host is closed; open another one"
            raise StateError(self._database.path, msg)
        if self._thread is not None and self._thread.is_alive():
            return
        stop = self._stop = Event()  # One from before a fork may be locked for ever.
        self._wheel.started = True
        turning, mirroring = (
            Thread(target=turns, args=(stop, watch_s), name=name, daemon=True)
            for name, turns in (
                ("legion-host", self._turn),
                ("legion-mirror", self._mirror),
            )
        )
        self._thread, self._mirroring = turning, mirroring
        # The first turn may close this host, and must find both at work.
        mirroring.start()
        turning.start()

    def _mirror(self, stop: Event, watch_s: float) -> None:
        """Run what is mirrored; nobody waits for it."""
        while not stop.wait(watch_s):
            self.engine.traffic.mirror.serve(stop)

    def _turn(self, stop: Event, watch_s: float) -> None:
        while not stop.wait(watch_s):
            try:
                if self._is_due(self.clock.plan()):
                    self._wheel.tick(mirrored=False)
                else:
                    self.engine.poll()
                    self._workers.renew()
                    self.telemetry.drain()
            except BaseException:
                # The wheel must not stop for one bad turn; nothing went forward in it.
                logger.warning("a turn of the wheel failed", exc_info=True)

    def _is_due(self, now_s: float) -> bool:
        """Tell whether to turn; a date that was set back does not put it off."""
        if self._last_s is not None and 0 <= now_s - self._last_s < self.interval_s:
            return False
        self._last_s = now_s
        return True

    def _leave(self) -> None:
        """Let another host lead, and have the units that are not of age."""
        try:
            self._workers.leave()
        except StateError:
            logger.warning("units that are not of age are lost", exc_info=True)

    def close(self) -> None:
        """
        Stop the threads, tell the plugins, close the files; safe to call twice.

        A mirrored run that does not end in a moment is left to itself.
        """
        self._stop.set()
        threads = (self._thread, None), (self._mirroring, _MOMENT_S)
        self._thread = self._mirroring = None
        self._wheel.started = False
        for thread, most_s in threads:
            # From inside a turn it may be waiting for that turn: it ends by itself.
            if thread not in {None, current_thread()} and not self._wheel.is_inside:
                thread.join(most_s)
        if not self._closed:
            self._closed = True
            self._leave()
            _take_out(self.plugins)
            self.plugins.shutdown()
            self._database.close()


def _telemetry(plan: Plan, clock: Clock) -> Telemetry:
    """Return what counts the units as *plan* compares them."""
    return Telemetry(
        clock,
        metrics=plan.metrics,
        matures=plan.ages_s,
        default_s=plan.matures_s,
        visits=visited(plan),
    )


def _watchdog(plan: Plan, plugins: Plugins, memory: Memory, exposure: str) -> Watchdog:
    """Return the plan's watchdog with what it remembers, or what was left to it."""
    limits = cast("dict[str, dict[str, float] | None]", dict(plan.criteria))
    watchdog = Watchdog(plugins, limits=limits)
    if (remembered := memory.load()) is not None:
        watchdog.restore(remembered)
    elif (left := memory.left()) is not None:
        watchdog.restore(left)
        if watchdog.exposure != exposure:
            watchdog.succeed()
    return watchdog


def _take_out(plugins: Plugins) -> None:
    """Take the host's own parts out of *plugins*, which may serve another host then."""
    for name in set(_PARTS) & set(plugins.names()):
        plugins.unregister(name)


def _made(directory: Path) -> Path:
    """Make the state directory."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = "it is a file" if directory.exists() else error.strerror or str(error)
        msg = f"{why}; write state=DIR, a directory or where one can be made"
        raise StateError(str(directory), msg) from error
    return directory


def _refuse_wrong_types(
    plan: object, state: object, plugins: object, policy: object
) -> None:
    who, path = "Host.open", str | os.PathLike
    fits = isinstance(plan, Plan | path)
    write = "a legion.Plan, or the path of its file"
    refuse_unless(fits, who, "plan", plan, write=write)
    write = "the path of a directory"
    refuse_unless(isinstance(state, path), who, "state", state, write=write)
    write = "legion.Plugins(...), with yours inside"
    fits = plugins is None or isinstance(plugins, Plugins)
    refuse_unless(fits, who, "plugins", plugins, write=write)
    write = "legion.Policy(...), such as legion.Policy(strict=True)"
    fits = policy is None or isinstance(policy, Policy)
    refuse_unless(fits, who, "policy", policy, write=write)


def _refuse_second_host(plugins: Plugins) -> None:
    taken = sorted(set(_PARTS) & set(plugins.names()))
    if taken:
        msg = (
            f"these plugins serve another host, which registered {', '.join(taken)};"
            " close that host first, or give this one plugins of its own"
        )
        raise PluginError(taken[0], msg)
