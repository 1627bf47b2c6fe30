"""The pointer in the state file: what other processes do, and what goes back for good."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading

from pathlib import Path

import attrs
import pytest

from stages_rig import Router, plan, rig

import legion

from legion import canonical
from legion.exceptions import StateCorruptError, StateError
from legion.model import Finding, Level, Missing, Move, Window
from legion.stages import RolloutState, Status, SupersededError
from legion.stages.evidence import Known
from legion.stages.persistence import StateFile, recall
from legion.stages.state import Standing
from legion.store import Database
from legion.testing import ManualClock


@pytest.fixture
def path(tmp_path):
    return tmp_path / "legion.db"


def tables(path, sql, *parameters):
    """Ask the state file behind everybody's back."""
    with sqlite3.connect(path) as connection:
        found = connection.execute(sql, parameters).fetchall()
    connection.close()
    return found


def without_waiting(path):
    return Database(path, timeout_s=0.05)


# What is remembered.


def test_a_state_reads_back_equal():
    """Everything a rollout remembers is written and read without loss."""
    one = rig(Router()).climb("canary")
    one.look(bad=3)
    one.engine.deactivate(["tone"], reason="x")
    state = attrs.evolve(
        one.state,
        in_doubt=one.engine._ladder.rehearsal(rig().climb("shadow").state),
        baseline=Window.of(shares={"error_rate": (1, 2)}, values={"latency": [0.1]}),
        findings={"x": Finding(rule="x", metric="y", missing=Missing.STALE)},
        standings={
            "x": Standing(level=Level.ALERT, in_a_row=2, closed_s=1.0, length_s=2.0)
        },
    )

    assert RolloutState.from_json(state.to_json()) == state


def test_a_restart_goes_on_where_it_was(path):
    """State, exposure, evidence and clocks are those of before."""
    one = rig(state=path).climb("canary")
    one.turn()
    other = rig(state=path, clock=one.clock)

    assert other.state == one.state
    assert other.engine.exposure == one.engine.exposure
    other.turn()
    assert other.state.observed_s == 120.0


def test_a_rollout_that_went_back_stays_back_after_a_restart(path):
    """Final is final, in every process."""
    one = rig(state=path).climb("canary")
    one.engine.rollback("by order")
    other = rig(state=path, clock=one.clock)

    assert other.state.status is Status.ROLLED_BACK
    assert other.engine._pointer.latched is not None
    assert {other.turn().code for _ in range(3)} == {"rolled_back"}


def test_another_plan_of_the_same_name_is_refused(path):
    """The message says what to write."""
    rig(state=path)

    with pytest.raises(StateError, match="write a new name under `plan:`"):
        rig(state=path, rules=plan(candidate="3.0.0"))


def test_two_plans_share_a_file_and_nothing_else(path):
    """One goes back, the other one goes on."""
    with Database(path) as database:
        one = rig(state=database).climb("canary")
        other = rig(state=database, rules=plan(plan="other"), clock=one.clock)
        other.climb("canary")
        one.engine.rollback("by order")
        other.engine.poll()

        assert one.engine.exposure.share == 0.0
        assert other.engine.exposure.share == 0.25


def test_the_plan_itself_is_remembered(path):
    """The newest one is found without its file, and an empty file says so."""
    one = rig(state=path)
    with Database(path) as database:
        assert recall(database) == one.engine.plan
    with (
        Database(path.with_name("empty.db")) as database,
        pytest.raises(StateError, match="no rollout was ever started here"),
    ):
        recall(database)


# What others do.


def test_a_latch_pulled_elsewhere_is_adopted(path):
    """The row alone is enough: no move has to be written for it."""
    one = rig(state=path).climb("canary")
    with Database(path) as database:
        StateFile(database, "rig", ManualClock()).pull("from elsewhere")
    one.engine.poll()

    assert one.engine.exposure.share == 0.0
    assert one.state.status is Status.ROLLED_BACK
    assert "from elsewhere" in one.state.reason


def test_a_latch_pulled_before_the_start_holds(path):
    """A process that starts afterwards begins at the baseline."""
    one = rig(state=path).climb("canary")
    with Database(path) as database:
        StateFile(database, "rig", ManualClock()).pull("from elsewhere")

    assert rig(state=path, clock=one.clock).engine.exposure.share == 0.0


def test_the_first_reason_for_going_back_stays(path):
    """Pulling twice is pulling once."""
    with Database(path) as database:
        file = StateFile(database, "rig", ManualClock(7.0))
        file.pull("first")

        assert file.pull("second").reason == "first"
        assert file.latch().at == 7.0


def test_a_retreat_is_on_the_disk_when_it_returns(path):
    """The latch has a row of its own, with its reason."""
    one = rig(state=path).climb("canary")
    one.engine.rollback("by order")

    assert tables(path, "SELECT plan, reason FROM latch") == [("rig", "by order")]


def test_the_latch_is_on_the_disk_before_anything_else(path):
    """While the owner hangs, a kill would already find it."""
    rows = []

    class Peeking(Router):
        looks = False

        @legion.hookimpl
        def legion_activate(self, target, digest):
            if self.looks:
                rows.append(tables(path, "SELECT reason FROM latch"))
            return super().legion_activate(target, digest)

    owner = Peeking()
    one = rig(owner, state=path).climb("canary")
    owner.looks = True
    one.engine.rollback("by order")

    assert rows == [[("by order",)]]


def test_a_move_made_elsewhere_is_adopted(path):
    """A pause, a stage, a feature: at the next look they hold here, too."""
    one = rig(state=path).climb("shadow")
    other = rig(state=path, clock=one.clock).climb("canary")
    other.engine.deactivate(["tone"], reason="rude")
    other.engine.pause("lunch")
    one.engine.poll()

    assert one.state == other.state
    assert one.engine.exposure.digest == other.engine.exposure.digest
    assert not one.engine.exposure.features["tone"].enabled


def test_who_was_overtaken_writes_nothing_over(path):
    """A decision on an old state is refused, and the newer one is kept."""
    one = rig(state=path).climb("canary")
    other = rig(state=path, clock=one.clock)
    decision = one.engine.promote(one.look())
    other.engine.pause("lunch")
    outcome = one.commit(decision)

    assert outcome.applied is False
    assert one.state.status is Status.PAUSED
    assert one.stage == "canary"


def test_a_state_is_only_saved_over_the_one_it_came_from(path):
    """Compare and swap: the second writer of a version is refused."""
    with Database(path) as database:
        file = StateFile(database, "rig", ManualClock())
        first = file.save(RolloutState(plan="rig", plan_digest="x"), durable=True)
        file.save(first, durable=True)
        with pytest.raises(SupersededError, match="moved on by another process"):
            file.save(first, durable=True)
        with pytest.raises(SupersededError):
            file.save(RolloutState(plan="rig", plan_digest="x"), durable=True)

        assert file.load().version == 2


def test_a_lesson_is_only_saved_over_the_one_it_came_from(path):
    """Neither an older turn nor one of another stage is written."""
    with Database(path) as database:
        file = StateFile(database, "rig", ManualClock())
        state = file.save(RolloutState(plan="rig", plan_digest="x"), durable=True)
        one = attrs.evolve(state, turn=1)
        file.teach(one, Known(), after=0)
        with pytest.raises(SupersededError):
            file.teach(one, Known(), after=0)
        with pytest.raises(SupersededError):
            file.teach(attrs.evolve(one, entry=9, turn=2), Known(), after=1)

        assert file.load().turn == 1


def test_a_person_may_pause_what_another_process_has_moved(path):
    """A pause from a process that has not looked lately is a pause all the same."""
    one = rig(state=path).climb("shadow")
    rig(state=path, clock=one.clock).climb("canary")

    assert one.engine.pause("lunch").code == "paused"
    assert (one.state.stage, one.state.status) == ("canary", Status.PAUSED)


def test_two_processes_that_look_add_up(path):
    """Each one's evidence is learned once, whoever writes first."""
    one = rig(state=path).climb("canary")
    other = rig(state=path, clock=one.clock)
    for _ in range(2):
        for each in (one, other):
            each.turn(of=400, seconds=15.0, control=(0, 400))
    one.engine.poll()

    events = {
        finding.evidence["units"]
        for key, finding in one.state.findings.items()
        if key.startswith("validate")
    }
    assert events == {1600}
    assert one.state.turn == 4
    assert one.state.observed_s == 60.0


def test_what_was_not_written_is_learned_again_on_top_of_others(path):
    """Two have looked before either has written: nothing is lost."""
    one = rig(state=path).climb("canary")
    other = rig(state=path, clock=one.clock)
    reports = [each.look(of=400, control=(0, 400)) for each in (one, other)]
    for each, report in zip((one, other), reports, strict=True):
        each.commit(each.engine.decide(report))

    assert other.state.turn == 2
    assert {
        finding.evidence["units"]
        for key, finding in other.state.findings.items()
        if key.startswith("validate")
    } == {800}


def test_what_was_learned_in_another_stage_is_dropped(path):
    """Evidence of shadow says nothing of the canary that another process entered."""
    one = rig(state=path).climb("shadow")
    one.look(bad=40, control=(40, 1000))
    other = rig(state=path, clock=one.clock).climb("canary")
    one.engine.poll()

    assert one.state.turn == other.state.turn == 0
    assert not one.state.findings


# What goes back is kept whatever happens.


def broken(*_, **__):
    raise StateError("legion.db", "the disk is on fire")


@pytest.mark.parametrize("call", ["latch", "off", "versions", "load"])
def test_one_read_error_loses_no_latch(path, monkeypatch, call):
    """Whichever read fails, the next look finds the latch."""
    one = rig(state=path).climb("canary")
    other = rig(state=path, clock=one.clock)
    other.engine.deactivate(["tone"], reason="rude")
    other.engine.rollback("by order")
    with monkeypatch.context() as patched:
        patched.setattr(StateFile, call, broken)
        with pytest.raises(StateError, match="on fire"):
            one.engine.poll()
        assert (one.engine.exposure.share == 0.0) is (call != "latch")
    one.engine.poll()

    assert one.engine.exposure.share == 0.0
    assert one.state.status is Status.ROLLED_BACK


def test_a_latch_that_could_not_be_written_is_written_later(path):
    """Read-only for a while: in memory at once, on the disk when that is back."""
    with without_waiting(path) as database:
        one = rig(state=database).climb("canary")
        session = database._session().connection
        session.execute("PRAGMA query_only = ON")
        outcome = one.engine.rollback("by order")
        assert outcome.verified
        assert one.engine.exposure.share == 0.0
        assert tables(path, "SELECT * FROM latch") == []
        one.engine.poll()
        session.execute("PRAGMA query_only = OFF")
        one.clock.advance(61.0)
        one.engine.poll()

        assert tables(path, "SELECT reason FROM latch") == [("by order",)]
        assert one.state.status is Status.ROLLED_BACK
        assert one.journal.verify().ok


def test_a_locked_file_does_not_hold_a_rollback_up(path):
    """Another process holds the lock; users are back, and it is written afterwards."""
    with without_waiting(path) as database:
        one = rig(Router(), state=database).climb("canary")
        holder = sqlite3.connect(path, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        outcome = one.engine.rollback("by order")
        assert outcome.verified
        assert one.engine.exposure.share == 0.0
        holder.execute("ROLLBACK")
        holder.close()
        one.engine.poll()

        assert one.state.status is Status.ROLLED_BACK
        assert tables(path, "SELECT reason FROM latch") == [("by order",)]


def test_a_feature_is_off_though_the_disk_is_full(path):
    """In memory at once; state and owner follow when the disk is back."""
    owner = Router()
    with without_waiting(path) as database:
        one = rig(owner, state=database).climb("canary")
        session = database._session().connection
        session.execute("PRAGMA query_only = ON")
        outcome = one.engine.deactivate(["tone"], reason="rude")
        assert outcome.applied
        assert not one.engine.exposure.features["tone"].enabled
        one.engine.poll()
        session.execute("PRAGMA query_only = OFF")
        one.clock.advance(61.0)
        one.engine.poll()

        assert one.state.off == {"tone"}
        assert one.state.exposure == one.engine.exposure.digest == owner.live
        assert tables(path, "SELECT feature FROM off") == [("tone",)]


def test_a_feature_that_is_off_in_memory_alone_stays_off(path):
    """A move of another process is adopted without switching it on again."""
    with without_waiting(path) as database:
        one = rig(state=database).climb("canary")
        database._session().connection.execute("PRAGMA query_only = ON")
        one.engine.deactivate(["tone"], reason="rude")
        rig(state=path, clock=one.clock).engine.pause("lunch")
        one.engine.poll()

        assert one.state.status is Status.PAUSED
        assert not one.engine.exposure.features["tone"].enabled


def test_a_feature_that_a_dying_process_switched_off_is_off(path):
    """Its row is there, the move to it was never made: whoever looks makes it."""
    owner = Router()
    one = rig(owner, state=path).climb("canary")
    with Database(path) as database:
        StateFile(database, "rig", ManualClock()).switch_off(["tone"])
    one.engine.poll()

    assert not one.engine.exposure.features["tone"].enabled
    assert one.state.off == {"tone"}
    assert owner.live == one.state.exposure == one.engine.exposure.digest


def test_what_is_set_while_the_rest_is_written_is_written_too(path, monkeypatch):
    """A feature that is switched off during the write of the latch is not forgotten."""
    one = rig(state=path).climb("canary")
    pointer = one.engine._pointer
    pull = StateFile.pull

    def meanwhile(self, reason):
        latch = pull(self, reason)
        pointer.switch_off({"tone"})
        return latch

    monkeypatch.setattr(StateFile, "pull", meanwhile)
    pointer.latch("pulled")
    pointer.pull()
    pointer.pull()

    assert tables(path, "SELECT feature FROM off") == [("tone",)]


def lower(one):
    decision = one.engine.promote(one.look())
    return attrs.evolve(decision, move=Move.ROLL_BACK, to="shadow", reason="chosen")


def test_a_retreat_to_a_stage_that_was_overtaken_by_a_rollback_is_dropped(path):
    """It could not be written, and somebody has gone all the way back since."""
    owner = Router()
    with without_waiting(path) as database:
        one = rig(owner, state=database).climb("canary")
        other = rig(state=path, clock=one.clock)
        session = database._session().connection
        session.execute("PRAGMA query_only = ON")
        one.commit(lower(one))
        assert one.stage == "shadow"
        session.execute("PRAGMA query_only = OFF")
        other.engine.rollback("by order")
        owner.told.clear()
        one.clock.advance(61.0)
        one.engine.poll()

        assert set(owner.told) == {one.engine._ladder.baseline.digest}
        assert one.state.status is Status.ROLLED_BACK
        assert one.state.stage == ""
        assert one.engine.exposure.share == 0.0
        assert owner.live == one.engine._ladder.baseline.digest


def test_a_retreat_to_a_stage_that_was_overtaken_follows_the_newer_state(path):
    """Somebody paused meanwhile: the owner is brought to where the state is."""
    owner = Router()
    one = rig(owner, state=path).climb("canary")
    decision = lower(one)
    rig(state=path, clock=one.clock).engine.pause("lunch")
    one.commit(decision)
    one.engine.poll()

    assert one.state.status is Status.PAUSED
    assert one.state.stage == one.stage == "canary"
    assert owner.live == one.state.exposure


def test_nothing_goes_forward_before_a_retreat_is_written_down(path):
    """The stage that was left is not promoted because the disk has forgotten it."""
    with without_waiting(path) as database:
        one = rig(state=database).climb("canary")
        session = database._session().connection
        session.execute("PRAGMA query_only = ON")
        one.commit(lower(one))
        session.execute("PRAGMA query_only = OFF")
        decision = one.engine.promote(one.look())
        assert decision.move is Move.ADVANCE

        assert one.commit(decision).code == "retreating"
        one.clock.advance(61.0)
        one.engine.poll()
        assert one.state.stage == "shadow"


# Damage.


def test_a_damaged_exposure_gives_everybody_the_baseline(path, tmp_path):
    """What users had cannot be read: nobody gets the candidate, and `rollback` works."""
    code = legion.Registry(tmp_path / "registry")
    one = rig(state=path, code=code).climb("canary")
    code.put({"a": b"old"}, version="1.0.0")  # resolves otherwise after a restart
    code.tag("v1", "1.0.0")
    another = canonical.dumps(one.engine._ladder.exposure("everyone").to_json())
    for body in (b"\xff garbage", b"{}", b"[]", b'{"plan": 5}', another):
        tables(path, "UPDATE exposure SET body = ?", body)
        other = rig(state=path, code=code, clock=one.clock)
        assert other.engine.exposure.share == 0.0
    outcome = other.engine.rollback("by order")

    assert outcome.applied
    assert other.state.status is Status.ROLLED_BACK
    assert tables(path, "SELECT reason FROM latch") == [("by order",)]


def test_a_damaged_state_is_one_clear_error(path):
    """It says what is damaged and what to do, whatever the bytes are."""
    one = rig(state=path).climb("canary")
    for table in ("rollout", "lesson"):
        before = tables(path, f"SELECT body FROM {table}")
        for body in (b"\xff garbage", b"{}", b"[]", b"null"):
            tables(path, f"UPDATE {table} SET body = ?", body)
            with pytest.raises(StateCorruptError, match="'rig' is damaged; put a copy"):
                rig(state=path, clock=one.clock)
        tables(path, f"UPDATE {table} SET body = ?", before[0][0])


def test_a_running_rollout_goes_back_over_a_damaged_state(path):
    """The latch is a row of its own, and memory knows the rest."""
    one = rig(Router(), state=path).climb("canary")
    tables(path, "UPDATE rollout SET body = ?", b"garbage")
    outcome = one.engine.rollback("by order")

    assert outcome.verified
    assert one.state.status is Status.ROLLED_BACK
    assert rig(Router(), state=path, clock=one.clock).engine.exposure.share == 0.0


# Processes and threads.


FORK = """
import os, sys
sys.path.insert(0, sys.argv[1])
from stages_rig import rig
one = rig(state=sys.argv[2]).climb("canary")
told, tell = os.pipe()
pid = os.fork()
if pid == 0:
    assert os.read(told, 1) == b"x"
    before = one.engine.exposure.share
    one.engine.poll()
    print(before, one.engine.exposure.share, one.state.status, flush=True)
    os._exit(0)
other = rig(state=sys.argv[2], clock=one.clock)
other.engine.rollback("by order")
os.write(tell, b"x")
os.waitpid(pid, 0)
"""


def test_a_forked_child_sees_a_latch_pulled_by_another_process(path):
    """It opens the file anew, and goes back at its next look."""
    done = subprocess.run(
        [sys.executable, "-c", FORK, Path(__file__).parent, path],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.stdout, done.stderr) == ("0.25 0.0 rolled_back\n", "")


def test_engines_that_begin_at_once_begin_one_rollout(path):
    """On a fresh file, in four threads: one state, one first move, the same digest."""
    barrier = threading.Barrier(4)
    made, errors = [], []

    def begin():
        try:
            barrier.wait(20)
            made.append(rig(state=path, clock=ManualClock(1e9)))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=begin) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert errors == []
    assert [one.state.version for one in made] == [1] * 4
    assert tables(path, "SELECT version FROM rollout") == [(1,)]


def test_opening_a_second_engine_settles_nothing(path):
    """A look at a rollout in the middle of a move leaves it alone."""
    during = []

    class Peeking(Router):
        looks = False

        @legion.hookimpl
        def legion_activate(self, target, digest):
            if self.looks:
                with legion.StageEngine(plan(), state=path) as other:
                    during.append((other.state.in_doubt is not None, other.exposure))
            return super().legion_activate(target, digest)

    owner = Peeking()
    one = rig(owner, state=path).climb("canary")
    owner.looks = True
    assert one.commit(one.engine.promote(one.look())).applied

    assert during[0][0]
    assert during[0][1].stage == "canary"
    assert one.stage == "everyone"
