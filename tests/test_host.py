"""The host: one wheel, turned by one at a time, that goes back whatever the disk does."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sqlite3
import subprocess
import sys
import threading

from pathlib import Path

import pytest

from test_wheel import PLAN, open_host, serve, turn

import legion

from legion.exceptions import LegionError, PlanError, PluginError, StateError
from legion.model import Move
from legion.registry import Registry
from legion.stages import Status
from legion.stages.latch import beside
from legion.stages.persistence import StateFile
from legion.store import Database
from legion.store.fault import locked
from legion.telemetry import Telemetry
from legion.testing import ManualClock


TESTS = Path(__file__).parent
FEATURED = {
    **PLAN,
    "stages": [{**s, "features": {"tone": {"enabled": True}}} for s in PLAN["stages"]],
}


@pytest.fixture
def plan():
    return legion.Plan.from_dict(PLAN)


@pytest.fixture
def clock():
    return ManualClock(1e9)


class Owner:
    """Owns the rollout's target, and tells when the baseline is back."""

    def __init__(self, baseline=None):
        self.live = ""
        self.back = threading.Event()
        self.baseline = baseline

    @legion.hookimpl
    def legion_activate(self, target, digest):
        if not target.startswith("rollout:"):
            return None
        self.live = digest
        if digest == self.baseline:
            self.back.set()
        return True

    @legion.hookimpl
    def legion_active(self, target):
        return self.live if target.startswith("rollout:") else None


def canary(host, clock):
    while host.engine.state.stage != "canary":
        turn(host, clock, 120)
    return host


def impatient(plan, folder, clock, *plugins):
    """Open a host that does not wait for locks."""
    return legion.Host.wired(
        plan,
        database=Database(folder / "legion.db", timeout_s=0.05),
        registry=Registry(folder / "registry", clock=clock),
        telemetry=Telemetry(clock),
        clock=clock,
        plugins=legion.Plugins(*plugins),
        probe=False,
    )


def script(body, *arguments):
    """Run *body* in a fresh interpreter and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", body, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


# What it is given.


@pytest.mark.parametrize(
    ("name", "given", "write"),
    [
        ("plan", 5, "a legion.Plan, or the path of its file"),
        ("plan", {"plan": "x"}, "a legion.Plan"),
        ("state", 5, "the path of a directory"),
        ("plugins", [], "legion.Plugins"),
        ("policy", "strict", "legion.Policy"),
    ],
)
def test_an_argument_of_the_wrong_type_is_one_clear_error(
    plan, tmp_path, name, given, write
):
    """Who was given what, and what to write; nothing was made."""
    arguments = {"plan": plan, "state": tmp_path / "x", name: given}

    with pytest.raises(LegionError, match=f"Host.open: got {name}=.*; write .*{write}"):
        legion.Host.open(arguments.pop("plan"), **arguments)
    assert not (tmp_path / "x").exists()


def test_a_state_directory_that_is_a_file_is_one_clear_error(plan, tmp_path):
    """It says so, and the file is left alone."""
    file = tmp_path / "file.txt"
    file.write_text("mine")

    with pytest.raises(StateError, match=r"file\.txt: it is a file; write state=DIR"):
        legion.Host.open(plan, state=file)
    with pytest.raises(StateError, match="write state=DIR"):
        legion.Host.open(plan, state=file / "below")
    assert file.read_text() == "mine"


def test_a_plan_that_is_not_there_is_a_fault_of_the_plan(tmp_path):
    """The file is named, and no state is begun."""
    with pytest.raises(PlanError, match=r"nowhere\.yaml"):
        legion.Host.open(tmp_path / "nowhere.yaml", state=tmp_path / "state")
    assert not (tmp_path / "state" / "legion.db").exists()


def test_plugins_serve_one_host_at_a_time(plan, tmp_path, clock):
    """A second host is refused while the first is open, and welcome afterwards."""
    plugins = legion.Plugins()
    first = legion.Host.open(plan, state=tmp_path / "1", clock=clock, plugins=plugins)
    with pytest.raises(PluginError, match=r"serve another host.*close that host first"):
        legion.Host.open(plan, state=tmp_path / "2", clock=clock, plugins=plugins)
    first.tick()
    first.close()
    with legion.Host.open(
        plan, state=tmp_path / "2", clock=clock, plugins=plugins
    ) as second:
        assert second.tick().decision.code == "start"


def test_a_host_that_could_not_open_leaves_the_plugins_free(
    plan, tmp_path, clock, monkeypatch
):
    """Once the reason is gone, the same plugins open."""
    plugins = legion.Plugins()
    with monkeypatch.context() as patched:
        patched.setattr(
            "legion.host.Watchdog", lambda *_, **__: (_ for _ in ()).throw(OSError("x"))
        )
        with pytest.raises(OSError, match="x"):
            legion.Host.open(plan, state=tmp_path, clock=clock, plugins=plugins)
    with legion.Host.open(plan, state=tmp_path, clock=clock, plugins=plugins) as host:
        assert host.tick().decision.code == "start"


# One turn at a time.


@pytest.mark.parametrize("method", ["tick", "promote"])
@pytest.mark.parametrize("timeout_s", [None, 5.0])
def test_a_hook_that_turns_the_wheel_gets_one_clear_error(
    plan, tmp_path, clock, method, timeout_s
):
    """Inline or in a worker thread, it is told and does not wait for itself."""
    errors = []

    class Eager:
        host = None

        def __init__(self):
            self.timeout_s = timeout_s

        @legion.hookimpl
        def legion_observe(self, plan, arm):
            try:
                getattr(self.host, method)()
            except LegionError as error:
                errors.append(str(error))

    eager = Eager()
    with open_host(plan, tmp_path, clock, eager) as host:
        eager.host = host
        host.tick()

    assert set(errors) == {
        "wheel: a plugin turned the wheel from inside a turn; return from the hook first"
    }


def test_a_mirrored_run_that_turns_the_wheel_gets_the_same_error(plan, tmp_path, clock):
    """It runs inside a turn, though in the context of the request it mirrors."""
    errors = []

    def mirrored(x):
        try:
            host.tick()
        except LegionError as error:
            errors.append(str(error))
        return x

    with open_host(plan, tmp_path, clock) as host:
        host.tick()
        host.engine.run_sync(
            "u",
            control=lambda x: x,
            candidate=lambda x: x,
            args=(1,),
            mirror=mirrored,
        )
        clock.advance(60)
        host.tick()

    assert len(errors) == 1
    assert "from inside a turn" in errors[0]


def test_a_task_begun_inside_a_turn_may_turn_later(plan, tmp_path, clock):
    """The turn it was begun in is over: that is no turn inside a turn."""
    tasks = []

    class Starter:
        host = None

        @legion.hookimpl
        def legion_observe(self, plan, arm):
            if not tasks:
                tasks.append(asyncio.get_running_loop().create_task(self.later()))

        async def later(self):
            return self.host.tick().decision.code

    starter = Starter()

    async def main():
        starter.host.tick()
        return await tasks[0]

    with open_host(plan, tmp_path, clock, starter) as host:
        starter.host = host
        assert asyncio.run(main())
        assert host.engine.state.stage == "shadow"


def test_promote_asks_the_choosers_and_the_evidence(plan, tmp_path, clock):
    """By hand a stage is left early; not without evidence, and not against a chooser."""

    class Chooser:
        @legion.hookimpl
        def legion_choose_stage(self, stage):
            return "canary"

    with open_host(plan, tmp_path, clock) as host:
        canary(host, clock)
        assert host.promote().decision.code == "missing_evidence"
        host.plugins.register(Chooser(), name="chooser")
        serve(host, 500)
        clock.advance(60)
        assert host.promote().decision.code == "chosen"
        host.plugins.unregister("chooser")
        assert host.promote().decision.code == "advance"


def test_promote_does_not_skip_the_rehearsal(plan, tmp_path, clock, monkeypatch):
    """Shadow is not left before the way back was tried, not even by hand."""
    with open_host(plan, tmp_path, clock) as host:
        monkeypatch.setattr(type(host._wheel), "_rehearse", lambda self: None)
        host.tick()
        for _ in range(4):
            serve(host, 500)
            clock.advance(60)
            assert host.promote().decision.code in {"missing_evidence", "rehearsal"}
        assert host.promote().decision.code == "rehearsal"
        assert host.engine.state.stage == "shadow"


def test_a_critical_verdict_of_ones_own_takes_back(plan, tmp_path, clock):
    """A criterion the host registered is a reason to go back, in no rule of the plan."""
    level = {"value": 0.0}

    @legion.criterion(unit="count", critical=1.0)
    def burning(window):
        return level["value"]

    with open_host(plan, tmp_path, clock, burning) as host:
        canary(host, clock)
        level["value"] = 2.0
        turned = turn(host, clock)

        assert turned.decision.code == "critical:burning"
        assert host.engine.exposure.share == 0.0


def test_users_are_back_before_anything_is_written_of_why(plan, tmp_path, clock):
    """Whoever is shown the report that takes it back finds everybody at the baseline."""
    shares = []

    class Recorder:
        host = None

        @legion.hookimpl
        def legion_record(self, record):
            if record.kind == "report":
                shares.append(self.host.engine.exposure.share)

    recorder = Recorder()
    with open_host(plan, tmp_path, clock) as host:
        canary(host, clock)
        recorder.host = host
        host.plugins.register(recorder)
        serve(host, 800, failing=True)
        clock.advance(60)
        host.tick()

    assert shares == [0.0]


# The thread.


def test_a_started_host_hears_of_a_latch_pulled_elsewhere(plan, tmp_path, clock):
    """It looks between two turns, and has the owner go back."""
    owner = Owner()
    with open_host(plan, tmp_path, clock, owner) as host:
        owner.baseline = host.engine._ladder.baseline.digest
        canary(host, clock)
        owner.back.clear()
        host._last_s = clock.plan()  # The next turn is a minute of plan time away.
        host.start(watch_s=0.01)
        with sqlite3.connect(tmp_path / "legion.db") as other:
            other.execute("INSERT INTO latch VALUES ('wheel', 'from elsewhere', 0)")
        other.close()

        assert owner.back.wait(20)
        assert host.engine.exposure.share == 0.0


def test_a_started_host_turns_and_survives_a_bad_turn(plan, tmp_path, clock):
    """One turn that fails is logged; the next one is made."""
    turned = threading.Event()
    calls = []

    class Shaky:
        @legion.hookimpl
        def legion_observe(self, plan, arm):
            calls.append(arm)
            if len(calls) > 2:
                turned.set()

    with open_host(plan, tmp_path, clock, Shaky()) as host:
        judge, bad = host.watchdog.judge, [1]

        def once(*given):
            if bad:
                bad.pop()
                raise RuntimeError("a bad turn")
            return judge(*given)

        host.watchdog.judge = once
        host._last_s = clock.plan() - 1e6
        host.start(watch_s=0.01)
        while not turned.wait(0.01):
            clock.advance(60)
            if len(calls) > 1000:
                break
        assert turned.is_set()


def test_a_host_may_be_closed_from_its_own_thread(plan, tmp_path, clock):
    """A hook closes it: nobody waits for themselves, and the thread ends."""
    closed, said, threads = threading.Event(), [], []

    class Closer:
        host = None

        @legion.hookimpl
        def legion_observe(self, plan, arm):
            threads.append(threading.current_thread())
            try:
                said.append(self.host.close())
            except BaseException as error:
                said.append(error)
            closed.set()

    closer = Closer()
    host = open_host(plan, tmp_path, clock, closer)
    closer.host = host
    host.start(watch_s=0.01)
    assert closed.wait(20)
    threads[0].join(20)

    assert not threads[0].is_alive()
    assert said[0] is None
    host.close()


class Told:
    """A lock that tells when somebody has to wait for it."""

    def __init__(self):
        self.lock = threading.Lock()
        self.waited_for = threading.Event()

    def __enter__(self):
        if not self.lock.acquire(blocking=False):
            self.waited_for.set()
            self.lock.acquire()

    def __exit__(self, *_):
        self.lock.release()


def test_a_host_may_be_closed_by_a_hook_while_its_thread_waits(plan, tmp_path, clock):
    """The turn is somebody else's and the thread waits for it: no embrace."""

    class Closer:
        host = None

        @legion.hookimpl
        def legion_observe(self, plan, arm):
            self.host.start(watch_s=0.001)
            assert self.host._wheel._turning.waited_for.wait(20)
            self.host.close()

    closer = Closer()
    host = open_host(plan, tmp_path, clock, closer)
    closer.host = host
    host._wheel._turning = Told()
    caller = threading.Thread(target=_ignore, args=(host.tick,), daemon=True)
    caller.start()
    caller.join(20)

    assert not caller.is_alive()


def _ignore(act):
    try:
        act()
    except LegionError:
        return


def test_closing_twice_and_using_it_afterwards(plan, tmp_path, clock):
    """The second close is nothing; what comes later is one clear error."""
    host = open_host(plan, tmp_path, clock)
    host.close()
    host.close()

    with pytest.raises(StateError, match="closed"):
        host.tick()
    with pytest.raises(StateError, match="closed; open another"):
        host.start()


FORKED = """
import os, sys, threading
sys.path.insert(0, sys.argv[1])
import legion
from test_wheel import PLAN
host = legion.Host.open(legion.Plan.from_dict(PLAN), state=sys.argv[2])
host.start(watch_s=60)  # It waits, and holds no lock, while the process is forked.
if child := os.fork():
    assert os.waitpid(child, 0)[1] == 0
    host.close()
    print("parent done")
else:
    host.start(watch_s=0.01)
    names = sorted(t.name for t in threading.enumerate() if "legion" in t.name)
    host.close()
    print(*names, len(threading.enumerate()), flush=True)
    os._exit(0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_host_that_was_forked_starts_again(tmp_path):
    """Its threads did not come along; in the new process there are new ones."""
    said = script(FORKED, TESTS, tmp_path).splitlines()

    assert said == ["legion-host legion-mirror 1", "parent done"]


def test_async_with_starts_and_closes(plan, tmp_path):
    """An asyncio host gets the thread for nothing."""

    async def main():
        async with legion.Host.open(plan, state=tmp_path) as host:
            assert host._thread.is_alive()
            thread = host._thread
        assert not thread.is_alive()

    asyncio.run(main())


# The disk.


def test_a_disk_that_turned_read_only_does_not_hold_a_rollback_up(
    plan, tmp_path, clock
):
    """A whole turn while everything fails: users are back, the latch is written later."""
    owner = Owner()
    with impatient(plan, tmp_path, clock, owner) as host:
        canary(host, clock)
        session = host._database._session().connection
        session.execute("PRAGMA query_only = ON")
        serve(host, 800, failing=True)
        clock.advance(60)
        turned = host.tick()

        assert turned.decision.move is Move.ROLL_BACK
        assert turned.outcome.verified
        assert host.engine.exposure.share == 0.0
        assert owner.live == host.engine.exposure.digest
        session.execute("PRAGMA query_only = OFF")
        clock.advance(60)
        host.tick()
        assert host.engine.state.status is Status.ROLLED_BACK
        assert host.engine._pointer._file.latch() is not None
        assert host.journal.verify().ok


def test_a_read_only_disk_stops_the_way_forward(plan, tmp_path, clock):
    """A good turn that cannot be written is an error, and nothing goes forward."""
    with impatient(plan, tmp_path, clock) as host:
        canary(host, clock)
        host._database._session().connection.execute("PRAGMA query_only = ON")
        for _ in range(5):
            with pytest.raises(StateError):
                turn(host, clock)

        assert host.engine.exposure.share == 0.25


def test_a_state_file_that_was_removed_stops_the_way_forward(plan, tmp_path, clock):
    """Nothing is written that is lost at once; a retreat is beside, for who opens next."""
    with impatient(plan, tmp_path, clock) as host:
        canary(host, clock)
        for file in tmp_path.glob("legion.db*"):
            file.unlink()
        for _ in range(5):
            with pytest.raises(StateError, match="removed or replaced"):
                turn(host, clock)
        assert host.engine.exposure.share == 0.25

        serve(host, 800, failing=True)
        clock.advance(60)
        assert host.tick().decision.move is Move.ROLL_BACK
        assert host.engine.exposure.share == 0.0
    with impatient(plan, tmp_path, clock) as again:
        again.engine.poll()
        assert again.engine.state.status is Status.ROLLED_BACK


def test_a_full_file_does_not_hold_a_rollback_up(plan, tmp_path, clock):
    """The file may not grow by a page: the same."""
    with impatient(plan, tmp_path, clock) as host:
        canary(host, clock)
        session = host._database._session().connection
        (pages,) = session.execute("PRAGMA page_count").fetchone()
        session.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(StateError, match="no room"):
            host.journal.append({"filler": "x" * 2**20})
        serve(host, 800, failing=True)
        clock.advance(60)
        host.tick()
        assert host.engine.exposure.share == 0.0
        session.execute("PRAGMA max_page_count = 1000000")
        clock.advance(60)
        host.tick()

        assert host.engine.state.status is Status.ROLLED_BACK
        assert host.engine._pointer._file.latch() is not None
        assert host.journal.verify().ok


FULL = """
import resource, signal, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
import legion
from legion.stages import Status
from legion.testing import ManualClock
from test_host import canary, impatient
from test_wheel import PLAN, serve
clock, folder = ManualClock(1e9), Path(sys.argv[2])
host = canary(impatient(legion.Plan.from_dict(PLAN), folder, clock), clock)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
size = (folder / "legion.db-wal").stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
try:
    host.journal.append({"n": 1})
except legion.exceptions.StateError as error:
    print(type(error).__name__)
serve(host, 800, failing=True)
clock.advance(60)
turned = host.tick()
print(turned.decision.code, host.engine.exposure.share)
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
print(host.engine._pointer._file.latch())
clock.advance(60)
host.tick()
print(host.engine._pointer._file.latch() is not None, host.engine.state.status)
print(host.journal.verify().ok)
host.close()
"""


def test_a_full_disk_does_not_hold_a_rollback_up(tmp_path):
    """No file may grow, in a process of its own: back in memory, on the disk later."""
    said = script(FULL, TESTS, tmp_path).splitlines()

    assert said == [
        "StateError",
        "trigger:error_rate 0.0",
        "None",
        "True rolled_back",
        "True",
    ]


def test_a_rollback_by_hand_waits_for_a_locked_file_once(
    plan, tmp_path, clock, monkeypatch
):
    """The latch lies beside it then; the file is written when it can be."""
    waits = []

    def waited(*_, **given):
        waits.append(given)
        return locked(*_, **given)

    with impatient(plan, tmp_path, clock) as host:
        canary(host, clock)
        holder = sqlite3.connect(tmp_path / "legion.db", isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        with monkeypatch.context() as patched:
            patched.setattr("legion.store.fault.locked", waited)
            outcome = host.engine.rollback("enough")
        assert outcome.applied
        assert len(waits) == 1
        assert beside(str(tmp_path / "legion.db")).exists()
        holder.close()
        clock.advance(60)
        host.tick()

        assert host.engine.state.status is Status.ROLLED_BACK
        assert host.engine._pointer._file.latch() is not None


def test_a_rollback_by_hand_waits_for_nobody_who_waits_for_the_file(
    plan, tmp_path, clock
):
    """The thread that has the turn finishes it; users are back at once."""
    with impatient(plan, tmp_path, clock) as host:
        canary(host, clock)
        holder = sqlite3.connect(tmp_path / "legion.db", isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        taken, done = threading.Event(), threading.Event()

        def busy():
            with host.engine._lock:
                taken.set()
                done.wait(60)

        thread = threading.Thread(target=busy)
        thread.start()
        assert taken.wait(20)
        said = []
        caller = threading.Thread(
            target=lambda: said.append(host.engine.rollback("enough")), daemon=True
        )
        caller.start()
        caller.join(20)
        stuck = caller.is_alive()
        done.set()
        thread.join()
        holder.close()

        assert not stuck
        assert (said[0].code, said[0].verified) == ("latched", False)
        assert host.engine.exposure.share == 0.0
        host.tick()
        assert host.engine.state.status is Status.ROLLED_BACK


def test_a_latch_beside_is_heard_by_a_host_that_cannot_read_its_file(
    plan, tmp_path, clock, monkeypatch
):
    """It is looked at first, and needs nothing of the file."""

    def broken(*_, **__):
        raise StateError("legion.db", "input/output error")

    with open_host(plan, tmp_path, clock) as host:
        canary(host, clock)
        legion.Host.latch(tmp_path, reason="the disk burned")
        for name in ("latch", "off", "versions", "load"):
            monkeypatch.setattr(StateFile, name, broken)
        with pytest.raises(StateError, match="input/output"):
            host.engine.poll()
        assert host.engine.exposure.share == 0.0


def test_a_locked_file_does_not_hold_a_rollback_up(plan, tmp_path, clock):
    """Another process holds the write lock through a whole turn."""
    with impatient(plan, tmp_path, clock) as host:
        canary(host, clock)
        holder = sqlite3.connect(tmp_path / "legion.db", isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        serve(host, 800, failing=True)
        clock.advance(60)
        turned = host.tick()
        assert turned.decision.code == "trigger:error_rate"
        assert host.engine.exposure.share == 0.0
        holder.execute("ROLLBACK")
        holder.close()
        clock.advance(60)
        host.tick()

        assert host.engine.state.status is Status.ROLLED_BACK
        assert host.engine._pointer._file.latch() is not None


def test_a_latch_beside_a_locked_file_goes_once_the_retreat_is_written_down(
    plan, tmp_path, clock
):
    """It stands for a second and until the state says so; then nobody else needs it."""
    latch = tmp_path / "legion.db.latch"
    with impatient(plan, tmp_path, clock) as host:
        canary(host, clock)
        holder = sqlite3.connect(tmp_path / "legion.db", isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        host.engine.rollback("enough")
        clock.advance(60)
        host.engine.poll()
        assert latch.exists()
        holder.execute("ROLLBACK")
        holder.close()
        for _ in range(3):
            host.engine.poll()
            clock.advance(60)

        assert host.engine.state.status is Status.ROLLED_BACK
        assert host.engine._pointer._file.latch() is not None
        assert not latch.exists()


def _pulled_again(folder):
    legion.Host.latch(folder, reason="somebody else's")


def _from_a_copy(folder):
    with sqlite3.connect(folder / "legion.db", isolation_level=None) as connection:
        connection.execute("DELETE FROM latch")


@pytest.mark.parametrize("happens", [_pulled_again, _from_a_copy, None])
def test_a_latch_beside_stays_where_anything_is_in_doubt(
    plan, tmp_path, clock, happens
):
    """It is somebody else's too, the file lost its own, or nobody knows who pulled it."""
    latch = tmp_path / "legion.db.latch"
    with impatient(plan, tmp_path, clock) as host:
        canary(host, clock)
        holder = sqlite3.connect(tmp_path / "legion.db", isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        host.engine.rollback("enough")
        holder.execute("ROLLBACK")
        holder.close()
        if happens is not None:
            host.engine.poll()
            assert host.engine.state.status is Status.ROLLED_BACK
            happens(tmp_path)
            clock.advance(60)
            host.engine.poll()
    with impatient(plan, tmp_path, clock) as host:
        for _ in range(3):
            clock.advance(60)
            host.engine.poll()

        assert latch.exists()


def test_a_file_that_cannot_be_read_does_not_hold_a_rollback_up(
    plan, tmp_path, clock, monkeypatch
):
    """What others did is not known; what the candidate does is, and takes it back."""

    def broken(*_, **__):
        raise StateError("legion.db", "input/output error")

    with open_host(plan, tmp_path, clock) as host:
        canary(host, clock)
        with monkeypatch.context() as patched:
            for name in ("latch", "off", "versions", "load", "save", "pull", "teach"):
                patched.setattr(StateFile, name, broken)
            with pytest.raises(StateError, match="input/output"):
                turn(host, clock)
            assert host.engine.exposure.share == 0.25
            serve(host, 800, failing=True)
            clock.advance(60)
            assert host.tick().decision.move is Move.ROLL_BACK
            assert host.engine.exposure.share == 0.0
        clock.advance(60)
        host.tick()
        assert host.engine.state.status is Status.ROLLED_BACK


# Several processes.


def test_two_hosts_on_one_directory_learn_together(plan, tmp_path, clock):
    """Each serves a part of the traffic; the rollout knows of all of it."""
    with (
        canary(open_host(plan, tmp_path, clock), clock) as one,
        open_host(plan, tmp_path, clock) as other,
    ):
        other.engine.poll()
        for host in (one, other):
            serve(host, 400)
        clock.advance(60)
        assert other.tick().decision.code == "not_leader"
        one.tick()
        other.engine.poll()
        state = other.engine.state
        events = [
            finding.evidence["units"]
            for key, finding in state.findings.items()
            if key.startswith("validate")
        ]
        assert state.turn == 1
        served = sum(
            one.engine.assign(f"{clock.plan() - 60:.0f}-{i}") is legion.Arm.CANDIDATE
            for i in range(400)
        )
        assert events == [2 * served]


TWICE = """
import sys
sys.path.insert(0, sys.argv[1])
import legion
from legion.testing import ManualClock
from test_wheel import PLAN, open_host
sys.stdin.readline()
with open_host(legion.Plan.from_dict(PLAN), sys.argv[2], ManualClock(1e9)) as host:
    print(host.engine.state.version, host.engine.state.status, flush=True)
    sys.stdin.readline()
    print(host.tick().decision.code, flush=True)
"""


def test_hosts_that_open_at_once_begin_one_rollout(tmp_path):
    """On a fresh directory, in four processes: all open, one moves, all agree."""
    children = [
        subprocess.Popen(
            [sys.executable, "-c", TWICE, TESTS, tmp_path / "new"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for child in children:
        child.stdin.write("go\n")
        child.stdin.flush()
    first = [child.stdout.readline() for child in children]
    rest = [child.communicate("go\n", timeout=60)[0] for child in children]

    assert first == ["1 ready\n"] * 4
    assert [child.returncode for child in children] == [0] * 4
    assert "start\n" in rest
    with open_host(
        legion.Plan.from_dict(PLAN), tmp_path / "new", ManualClock(1e9)
    ) as h:
        assert h.engine.state.stage == "shadow"
        moved = [
            r for r in h.journal.records(kind="outcome") if r.body["code"] == "applied"
        ]
        assert len(moved) == 1
        assert h.journal.verify().ok


def test_reopening_during_a_move_settles_nothing(tmp_path, clock):
    """A look from a command line beside a host that is moving leaves it alone."""
    seen = []

    class Peeking(Owner):
        looks = False

        @legion.hookimpl
        def legion_activate(self, target, digest):
            if self.looks and target.startswith("rollout:"):
                with legion.Host.reopen(tmp_path) as other:
                    seen.append(other.engine.state.in_doubt is not None)
                    seen.append(other.engine.exposure.stage)
            return super().legion_activate(target, digest)

    owner = Peeking()
    with open_host(legion.Plan.from_dict(PLAN), tmp_path, clock, owner) as host:
        canary(host, clock)
        serve(host, 500)
        clock.advance(60)
        owner.looks = True
        outcome = host.promote().outcome

        assert outcome.applied
        assert seen == [True, "canary"]
        assert host.engine.state.stage == "everyone"


MOVING = """
import json, sys
sys.path.insert(0, sys.argv[1])
import legion
from legion.registry import Registry
from legion.testing import ManualClock
from test_host import Owner, canary
from test_wheel import PLAN, open_host, serve

class Slow(Owner):
    slow = False
    @legion.hookimpl
    def legion_activate(self, target, digest):
        if self.slow and target.startswith("rollout:"):
            self.slow = False
            print("moving", flush=True)
            sys.stdin.readline()
        return super().legion_activate(target, digest)

folder, clock, owner = sys.argv[2], ManualClock(1e9), Slow()
registry = Registry(folder + "/registry")
registry.put({"a": b"old"}, version="1.0.0")
registry.tag("v1", "1.0.0")
registry.put({"a": b"new"}, version="2.0.0")
host = canary(open_host(legion.Plan.from_dict(PLAN), folder, clock, owner), clock)
serve(host, 500)
clock.advance(60)
owner.slow = True
turned = host.promote()
state, exposure = host.engine.state, host.engine.exposure
print(json.dumps({
    "outcome": turned.outcome.code,
    "applied": turned.outcome.applied,
    "status": state.status,
    "unsettled": state.unsettled,
    "share": exposure.share,
    "route": owner.live == exposure.digest == state.exposure,
    "code": host.registry.active() == host.registry.resolve("v1"),
    "journal": host.journal.verify().ok,
}), flush=True)
host.close()
"""


def test_a_rollback_from_the_command_line_wins_over_a_move_under_way(tmp_path):
    """The first process hangs in its owner, moving forward; it ends at the baseline."""
    with subprocess.Popen(
        [sys.executable, "-c", MOVING, TESTS, tmp_path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as first:
        assert first.stdout.readline() == "moving\n"
        back = subprocess.run(
            [
                *(sys.executable, "-m", "legion", "rollback", "--state", tmp_path),
                *("--version", "1.0.0", "--reason", "drill", "--immediate", "--json"),
            ],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        # Its owner is in the other process, so this one cannot verify.
        assert json.loads(back.stdout)["applied"] is True, back.stderr
        out, err = first.communicate("go\n", timeout=60)

    assert first.returncode == 0, err[-3000:]
    assert json.loads(out) == {
        "outcome": "in_doubt",
        "applied": None,
        "status": "rolled_back",
        "unsettled": False,
        "share": 0.0,
        "route": True,
        "code": True,
        "journal": True,
    }


def test_a_deactivated_feature_is_off_in_every_host(tmp_path, clock):
    """One host switches it off, the other one hears of it, a third one starts so."""
    plan = legion.Plan.from_dict(FEATURED)
    with (
        canary(open_host(plan, tmp_path, clock), clock) as one,
        open_host(plan, tmp_path, clock) as other,
    ):
        one.engine.deactivate(["tone"], reason="rude")
        other.engine.poll()
        assert not other.engine.exposure.features["tone"].enabled
    with open_host(plan, tmp_path, clock) as third:
        assert not third.engine.exposure.features["tone"].enabled


def test_a_source_whose_error_cannot_be_written_down_is_no_obstacle(
    plan, tmp_path, clock, monkeypatch
):
    """Half a character in a plugin's error neither blinds the judge nor stops a retreat."""

    # What is logged is the plugin's own traceback, which pytest cannot write either.
    monkeypatch.setattr(logging.getLogger("legion"), "disabled", True)

    class Garbled:
        @legion.hookimpl
        def legion_observe(self, plan, arm):
            raise OSError("caf\udce9")

        @legion.hookimpl
        def legion_choose_stage(self, stage):
            raise OSError("caf\udce9")

    with open_host(plan, tmp_path, clock) as host:
        canary(host, clock)
        host.plugins.register(Garbled(), name="garbled")
        assert turn(host, clock).decision.move is Move.HOLD
        serve(host, 800, failing=True)
        clock.advance(60)

        assert host.tick().decision.code == "trigger:error_rate"
        assert host.engine.exposure.share == 0.0
        assert host.journal.verify().ok
