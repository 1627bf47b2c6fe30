"""Several hosts on one state directory: all observe, one leads, anyone goes back."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading

from pathlib import Path

import attrs
import pytest

from stages_rig import rig
from test_host import canary
from test_wheel import PLAN, open_host, serve, turn

import legion

from legion.exceptions import StateError
from legion.model import Arm, Count, Gauge, Observation, Pairs, Window
from legion.stages import Status
from legion.stages.evidence import Known
from legion.stages.persistence import NotLeadingError
from legion.store import Database
from legion.store.lease import Lease
from legion.store.owner import this_process
from legion.testing import ManualClock


TESTS = Path(__file__).parent
SLOW = legion.Plan.from_dict(
    {**PLAN, "stages": [{**PLAN["stages"][0]}, {**PLAN["stages"][1], "dwell": "1h"}]}
)
ME = f"{this_process()}/1"
OTHER = f"{this_process()}/2"
DEAD = f"{this_process().rsplit(':', 2)[0]}:999999999:0.00/3"
ELSEWHERE = "elsewhere:1:0.00/4"


@pytest.fixture
def plan():
    return legion.Plan.from_dict(PLAN)


@pytest.fixture
def clock():
    return ManualClock(1e9)


@pytest.fixture
def database(tmp_path):
    with Database(tmp_path / "legion.db") as database:
        yield database


class Wall(ManualClock):
    """A clock whose date and plan time can be set back, too."""

    date_s = 0.0
    planned_s = 0.0

    def wall(self):
        return super().wall() + self.date_s

    def plan(self):
        return super().plan() + self.planned_s


# The lease.


def leases(database, clock, n=2):
    return [Lease(database, "wheel", clock) for _ in range(n)]


def test_one_holds_the_lease_and_renews_it_seldom(database, clock):
    """A second one is refused; ten seconds are no reason to write."""
    one, other = leases(database, clock)
    assert one.take(ME, 30.0)
    assert not other.take(OTHER, 30.0)
    until = one.held().until
    for _ in range(9):
        clock.advance(1.0)
        assert one.take(ME, 30.0)
    assert one.held().until == until
    clock.advance(2.0)
    assert one.take(ME, 30.0)
    assert one.held().until == until + 11.0
    assert one.token == 1


def test_a_holder_that_died_loses_the_lease_at_once(database, clock):
    """Its process is gone, so nobody waits; the token grows."""
    gone, other = leases(database, clock)
    assert gone.take(DEAD, 30.0)

    assert other.take(OTHER, 30.0)
    assert (gone.token, other.token) == (1, 2)


@pytest.mark.parametrize("holder", [ME, ELSEWHERE], ids=["here", "elsewhere"])
def test_a_holder_that_is_not_heard_of_loses_the_lease_after_its_time(
    database, clock, holder
):
    """It hangs, or nobody here can tell whether it lives."""
    hung, other = leases(database, clock)
    assert hung.take(holder, 30.0)
    clock.advance(29.0)
    assert not other.take(OTHER, 30.0)
    clock.advance(1.0)

    assert other.take(OTHER, 30.0)
    assert not hung.take(holder, 30.0)
    assert (hung.token, other.token) == (1, 2)


def test_a_lease_that_was_given_back_is_free_and_the_token_grows(database, clock):
    """Who had it once does not write under the token of then."""
    one, other = leases(database, clock)
    one.take(ME, 30.0)
    other.release(OTHER)
    assert one.held().owner == ME
    one.release(ME)

    assert other.take(OTHER, 30.0)
    assert other.token == 2


@pytest.mark.parametrize("step_s", [-36_000.0, 36_000.0])
def test_a_step_of_the_date_blocks_nobody(database, step_s):
    """Ten hours back or forth: the holder keeps it or another takes it, none waits."""
    clock = Wall(1e9)
    one, other = leases(database, clock)
    one.take(ME, 30.0)
    clock.date_s = step_s
    assert other.take(OTHER, 30.0)
    assert not one.take(ME, 30.0)
    clock.advance(31.0)
    assert one.take(ME, 30.0)
    assert one.token == 3


# Forward writes.


def test_a_stale_leader_moves_nothing(plan, tmp_path, clock):
    """It hangs between deciding and writing, and another one leads by then."""
    with (
        canary(open_host(plan, tmp_path, clock), clock) as one,
        open_host(plan, tmp_path, clock) as other,
    ):
        serve(one, 500)
        clock.advance(60)
        turned = one.tick()
        assert turned.decision.code == "dwell"
        decision = one.engine.promote(turned.report)
        clock.advance(1e6)
        other.tick()
        ruling = one.gate.review(decision.change)
        outcome = one.engine.commit(decision, ruling)

        assert outcome.applied is False
        assert "leads rollout 'wheel' by now (token 2, ours is 1)" in outcome.reason
        assert other.engine.state.stage == "canary"
        assert one.engine.rollback("anyone may").code == "rolled_back"
        other.engine.poll()
        assert other.engine.state.status is Status.ROLLED_BACK


def test_what_a_stale_leader_saw_is_learned_by_the_new_one(plan, tmp_path, clock):
    """It lost the lease in the middle of its turn: nothing is lost, nothing twice."""

    class Hung:
        other = None

        @legion.hookimpl
        def legion_observe(self, plan, arm):
            if self.other is not None and arm is Arm.CANDIDATE:
                clock.advance(1e6)
                assert self.other.tick().decision.code != "not_leader"
                self.other = None

    hung = Hung()
    with (
        canary(open_host(plan, tmp_path, clock, hung), clock) as one,
        open_host(plan, tmp_path, clock) as other,
    ):
        serve(one, 400)
        served = _of_the_candidate(one, 400)
        hung.other = other
        assert one.tick().decision.code == "not_leader"
        clock.advance(60)
        other.tick()

        assert _units(other) == {served}
        assert other._workers._file.waiting() == []
        assert one.tick().decision.code == "not_leader"
        clock.advance(60)
        other.tick()
        assert _units(other) == {served}


def _units(host):
    return {
        finding.evidence["units"]
        for key, finding in host.engine.state.findings.items()
        if key.startswith("validate")
    }


def _of_the_candidate(host, n):
    at_s = host.clock.plan()
    units = (f"{at_s:.0f}-{i}" for i in range(n))
    return sum(host.engine.assign(unit) is Arm.CANDIDATE for unit in units)


def test_an_engine_that_never_led_is_fenced(plan, tmp_path, clock):
    """Beside a host that leads, another host's engine writes nothing it learned."""
    with (
        canary(open_host(plan, tmp_path, clock), clock) as one,
        open_host(plan, tmp_path, clock) as other,
    ):
        observation = one._wheel._observe()
        other.engine.learn(observation, other.watchdog.judge(observation))
        with pytest.raises(NotLeadingError):
            other.engine.keep()
        assert other.engine.state == one.engine.state


# Evidence adds up.


def test_windows_of_two_places_add_up_and_take_no_longer():
    """Counts and units add, the worse gauge holds, errors are kept apart."""
    here = Window(
        opened_s=0.0,
        closed_s=60.0,
        counts={"error_rate": Count(1, 10), "alone": Count(1)},
        gauges={"memory_usage": Gauge.of(0.9), "storage_efficiency": Gauge.of(0.9)},
        units={"error_rate": 10},
        bad_units={"error_rate": frozenset({1})},
        errors={"a": "one", "b": "same"},
        dropped=1,
    )
    there = Window(
        opened_s=-30.0,
        closed_s=50.0,
        counts={"error_rate": Count(2, 20)},
        gauges={"memory_usage": Gauge.of(0.3), "storage_efficiency": Gauge.of(0.2)},
        units={"error_rate": 20},
        bad_units={"error_rate": frozenset({1, 2})},
        errors={"a": "two", "b": "same"},
        dropped=2,
    )
    both = here.beside(there, falls={"storage_efficiency"})

    assert (both.opened_s, both.closed_s) == (0.0, 60.0)
    assert both.counts == {"error_rate": Count(3, 30), "alone": Count(1)}
    assert both.gauge("memory_usage") == 0.9
    assert both.gauge("storage_efficiency") == 0.2
    assert (both.gauges["memory_usage"].low, both.gauges["memory_usage"].n) == (0.3, 2)
    assert both.units == {"error_rate": 30}
    assert both.bad_units == {"error_rate": frozenset({1, 2})}
    assert both.errors == {"a": "one; two", "b": "same"}
    assert both.dropped == 3


def test_observations_of_two_places_have_one_baseline():
    """Control's windows are added up, and are what the candidate is compared with."""
    control = Window.of(shares={"error_rate": (1, 100)})
    alone = Window.of(shares={"error_rate": (1, 10)})
    here = Observation(at_s=60.0, candidate=alone, control=Window())
    there = Observation(
        at_s=50.0,
        candidate=attrs.evolve(alone, baseline=control),
        control=control,
        pairs={"error_rate": Pairs(n=2, both=1)},
    )
    for both in (here.beside(there), there.beside(here)):
        assert both.candidate.share("error_rate") == 0.1
        assert both.candidate.events("error_rate") == 20
        assert both.candidate.baseline == both.control
        assert both.control.events("error_rate") == 100
        assert both.pairs == {"error_rate": Pairs(n=2, both=1)}
    assert here.beside(there).at_s == 60.0
    assert here.merge(there).at_s == 50.0


def test_four_workers_learn_what_one_would(plan, tmp_path, clock):
    """The same traffic by one host and by four: the same evidence, stage by stage."""
    with contextlib.ExitStack() as stack:
        leader, *others = [
            stack.enter_context(open_host(plan, tmp_path / "four", clock))
            for _ in range(4)
        ]
        alone = stack.enter_context(open_host(plan, tmp_path / "one", clock))
        for host in (leader, alone):
            host.tick()
        stages = []
        while not alone.engine.state.status.over:
            hosts = (leader, *others)
            for host in hosts:
                host.engine.poll()
            for i in range(240):
                for host in (hosts[i % 4], alone):
                    host.engine.run_sync(
                        f"{clock.plan():.0f}-{i}",
                        control=int,
                        candidate=int,
                        args=(i,),
                        mirror=int,
                    )
                    host.engine.traffic.mirror.drain()
            clock.advance(60)
            codes = {host.tick().decision.code for host in others}
            assert codes == {"not_leader"}
            assert leader.tick().decision.code == alone.tick().decision.code
            assert leader.engine.state.stage == alone.engine.state.stage
            assert leader.engine.state.observed_s == alone.engine.state.observed_s
            assert _units(leader) == _units(alone)
            stages.append(alone.engine.state.stage)

        assert set(stages) == {"shadow", "canary", "everyone"}
        assert leader.engine.state.status is Status.COMPLETE
        assert leader.journal.verify().ok


def test_a_worker_that_saw_another_exposure_is_told_apart(plan, tmp_path, clock):
    """What it published of shadow is no evidence of the canary, and is counted."""
    with (
        open_host(plan, tmp_path, clock) as one,
        open_host(plan, tmp_path, clock) as other,
    ):
        turn(one, clock)
        other.engine.poll()
        serve(other, 50)
        other.tick()
        other_seen = other._workers._file.waiting()
        assert len(other_seen) == 1
        with one._database.transaction() as connection:
            connection.execute(
                "UPDATE published SET body = replace(body, ?, ?)",
                (other_seen[0].observation.exposure, "0" * 64),
            )
        clock.advance(60)
        seen = one.tick().observation

        assert seen.candidate.events("error_rate") == 0
        assert seen.candidate.stale + seen.control.stale >= 50
        assert one._workers._file.waiting() == []


def test_what_a_worker_published_and_nobody_can_read_is_missed(plan, tmp_path, clock):
    """It is dropped, so the window says that events were lost, and no time is clean."""
    with (
        canary(open_host(plan, tmp_path, clock), clock) as one,
        open_host(plan, tmp_path, clock) as other,
    ):
        other.engine.poll()
        other.tick()
        with one._database.transaction() as connection:
            connection.execute("UPDATE published SET body = x'ff'")
        serve(one, 200)
        clock.advance(60)
        seen = one.tick().observation

        assert seen.candidate.dropped == 1
        assert "could not be read" in seen.candidate.errors["workers"]
        assert one.engine.state.observed_s == 0.0
        assert one._workers._file.waiting() == []


def test_the_next_leader_goes_on_with_the_watchdogs_memory(plan, tmp_path, clock):
    """Rows and open windows are those of the leader before, not of long ago."""
    with open_host(plan, tmp_path, clock) as other:
        with canary(open_host(plan, tmp_path, clock), clock) as one:
            turn(one, clock)
            before = one.watchdog.to_json()
            assert other.watchdog.to_json() != before
        clock.advance(60)
        other.tick()
        last = other.watchdog.last("error_rate")

        assert other._workers.token == 2
        assert last is not None
        assert last.closed_s == clock.plan() - 60


# Workers that die.


WORKER = """
import sys
sys.path.insert(0, sys.argv[1])
import legion
from legion.testing import ManualClock
from test_wheel import PLAN, open_host
host = open_host(legion.Plan.from_dict(PLAN), sys.argv[2], ManualClock(float(sys.argv[3])))
host.engine.poll()
units = [f"w{i}" for i in range(400)]
mine = [u for u in units if host.engine.assign(u) is legion.Arm.CANDIDATE][:5]
for unit in mine:
    host.engine.trial(unit).__enter__()  # It never ends.
print(host.tick().decision.code, flush=True)
sys.stdin.readline()
"""


def test_units_of_a_killed_worker_are_bad(plan, tmp_path, clock):
    """What it had begun and never ended, the leader counts as failed, once."""
    with canary(open_host(plan, tmp_path, clock), clock) as one:
        with subprocess.Popen(
            [sys.executable, "-c", WORKER, TESTS, tmp_path, str(clock.plan())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as worker:
            assert worker.stdout.readline() == "not_leader\n"
            clock.advance(60)
            alive = one.tick().observation
            worker.kill()
        clock.advance(60)
        seen = one.tick().observation
        clock.advance(60)
        after = one.tick().observation

    assert alive.candidate.bad_units == {}
    assert len(seen.candidate.bad_units["error_rate"]) == 5
    assert after.candidate.bad_units == {}


STARTED = """
import sys, time
import legion
host = legion.Host.reopen(sys.argv[1])
units = [f"u{i}" for i in range(400)]
host.engine.poll()
with host:
    host.start()
    print(sum(a is legion.Arm.CANDIDATE for a in map(host.engine.assign, units)), flush=True)
    if sys.stdin.readline() == "pull\\n":
        print(time.time(), flush=True)
        host.engine.rollback("pulled by a worker")
    while any(host.engine.assign(u) is legion.Arm.CANDIDATE for u in units):
        time.sleep(0.001)
    print(time.time(), flush=True)
    sys.stdin.readline()
"""


def test_a_latch_pulled_in_one_process_reaches_all(plan, tmp_path, clock):
    """Four started processes, one pulls: nobody gets the candidate in any of them."""
    canary(open_host(plan, tmp_path, clock), clock).close()
    with contextlib.ExitStack() as stack:
        workers = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", STARTED, tmp_path],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            for _ in range(4)
        ]
        killer = threading.Timer(60, lambda: [worker.kill() for worker in workers])
        killer.start()
        assert all(int(worker.stdout.readline()) > 50 for worker in workers)
        for worker, word in zip(workers, ["pull", "", "", ""], strict=True):
            worker.stdin.write(f"{word}\n")
            worker.stdin.flush()
        pulled_s = float(workers[0].stdout.readline())
        back_s = [float(worker.stdout.readline()) - pulled_s for worker in workers]
        for worker in workers:
            worker.communicate("\n", timeout=60)
        killer.cancel()

    print("seconds from the pull:", *(f"{s:.3f}" for s in back_s))
    assert [worker.returncode for worker in workers] == [0] * 4
    with open_host(plan, tmp_path, ManualClock(2e9)) as host:
        assert host.engine.state.status is Status.ROLLED_BACK
        assert host.journal.verify().ok


# Clocks.


def test_plan_time_that_stands_still_is_not_observed(plan, tmp_path):
    """A laptop sleeps for eight hours: the date moves on, dwell does not."""
    clock = Wall(1e9)
    with canary(open_host(plan, tmp_path, clock), clock) as host:
        turn(host, clock)
        observed_s = host.engine.state.observed_s
        clock.date_s = 28_800.0
        serve(host, 200)
        host.tick()

        assert host.engine.state.observed_s == observed_s
        assert host.engine.state.stage == "canary"


@pytest.mark.parametrize("hours", [-5, 5])
def test_a_jump_of_plan_time_is_no_clean_time(tmp_path, hours):
    """Five hours back or forth are two checks at most; then it goes on."""
    clock = Wall(1e9)
    with canary(open_host(SLOW, tmp_path, clock), clock) as host:
        clock.planned_s = clock.date_s = hours * 3600.0
        seen = turn(host, clock).observation.candidate
        before_s = host.engine.state.observed_s
        turned = turn(host, clock)

        assert before_s in {0.0, 60.0, 120.0}
        assert host.engine.state.observed_s == before_s + 60.0
        assert seen.seconds == max(0.0, 60.0 + hours * 3600.0)
        assert turned.observation.candidate.seconds == 60.0
        assert turned.decision.code == "dwell"


def test_nothing_stays_fresh_because_the_date_was_set_back(tmp_path):
    """Levels of before grow old in the rollout's own time, as they do without that."""
    told = []
    for step_s in (0.0, -18_000.0):
        clock, folder = Wall(1e9), tmp_path / str(step_s)
        with canary(open_host(SLOW, folder, clock), clock) as host:
            turn(host, clock)
        clock.planned_s = clock.date_s = step_s
        codes = []
        with open_host(SLOW, folder, clock) as host:
            for _ in range(8):
                clock.advance(60)
                codes.append(host.tick().decision.code)
        told.append(codes)

    assert told[0] == told[1]
    assert told[0][-1] == "missing_evidence"


def test_a_started_host_turns_though_the_date_was_set_back(plan, tmp_path):
    """The wheel does not wait until the clock has caught up."""
    clock, turned = Wall(1e9), threading.Event()

    class Watching:
        @legion.hookimpl
        def legion_observe(self, plan, arm):
            if clock.planned_s:
                turned.set()

    with open_host(plan, tmp_path, clock, Watching()) as host:
        host.tick()
        host._last_s = clock.plan()
        clock.planned_s = -18_000.0
        host.start(watch_s=0.01)

        assert turned.wait(20)


# The disk.


def test_what_could_not_be_published_is_published_later(plan, tmp_path, clock):
    """The file is read only for a while; a worker keeps what it saw."""
    with (
        canary(open_host(plan, tmp_path, clock), clock) as one,
        open_host(plan, tmp_path, clock) as other,
    ):
        other.tick()
        one.tick()
        serve(other, 400)
        served = _of_the_candidate(other, 400)
        session = other._database._session().connection
        session.execute("PRAGMA query_only = ON")
        with pytest.raises(StateError):
            other.tick()
        session.execute("PRAGMA query_only = OFF")
        clock.advance(60)
        other.tick()
        one.tick()

        assert _units(one) == {served}


def test_two_engines_without_a_host_know_each_others_bad_users(tmp_path):
    """A user who went bad elsewhere is not bad for the first time here."""
    from stages_rig import plan as rules

    path = tmp_path / "legion.db"
    sticky = rules(unit="user")
    one = rig(rules=sticky, state=path).climb("canary")
    other = rig(rules=sticky, state=path, clock=one.clock)
    seen = one.seen(bad=5)
    for each in (one, other):
        each.engine.poll()
        report = each.watchdog.judge(seen, each.state.baseline)
        each.engine.learn(seen, report)
        each.commit(each.engine.decide(report))

    known = other.engine._lessons.learner.known.units["error_rate"]
    assert set(known) == seen.candidate.bad_units["error_rate"]
    written = Known()
    other.engine._lessons.learner.rows.load(written)
    assert written.units == other.engine._lessons.learner.known.units


@contextlib.contextmanager
def refusing(host):
    """Let the host's file be read and not written."""
    connection = host._database._session().connection
    connection.execute("PRAGMA query_only = ON")
    try:
        yield
    finally:
        connection.execute("PRAGMA query_only = OFF")


def test_who_leads_again_learns_nothing_twice(tmp_path):
    """What it took and could not write was learned by who led meanwhile."""
    clock = ManualClock(1e9)
    with (
        canary(open_host(SLOW, tmp_path, clock), clock) as one,
        open_host(SLOW, tmp_path, clock) as other,
        open_host(SLOW, tmp_path, clock) as third,
    ):
        third.tick()
        clock.advance(60)
        one.tick()
        other.tick()
        serve(third, 400)
        served = _of_the_candidate(third, 400)
        third.tick()
        with refusing(one), pytest.raises(StateError):
            one.tick()
        clock.advance(1e6)
        other.tick()
        assert _units(other) == {served}
        other.close()
        clock.advance(60)
        one.tick()

        assert _units(one) == {served}


def test_what_was_published_stays_until_it_is_written_as_learned(tmp_path):
    """Taking over the units of a dead worker deletes nothing that was only learned."""
    clock = ManualClock(1e9)
    with (
        canary(open_host(SLOW, tmp_path, clock), clock) as one,
        open_host(SLOW, tmp_path, clock) as other,
    ):
        other.tick()
        clock.advance(60)
        one.tick()
        serve(other, 400)
        other.tick()
        with refusing(one), pytest.raises(StateError):
            one.tick()
        waiting = len(one._workers._file.waiting())
        one._workers._file.join(DEAD.rpartition("/")[0])
        one._workers.inherit()

        assert waiting
        assert len(one._workers._file.waiting()) == waiting


# Each unit once, whoever saw it.


def _failed(host, users):
    for user in users:
        with host.engine.trial(user) as trial:
            trial.fail("wrong")


def _counted(host):
    return {
        (finding.evidence["units"], finding.evidence["bad_units"])
        for finding in host.engine.state.findings.values()
        if "bad_units" in finding.evidence and finding.metric == "error_rate"
    }


def test_a_user_counts_once_in_four_workers(tmp_path, clock):
    """Each of them sees all users, one after the other: they count as one sees them."""
    sticky = legion.Plan.from_dict({**SLOW.to_dict(), "unit": "user"})
    users = [f"user-{n}" for n in range(120)]
    with contextlib.ExitStack() as stack:
        hosts = [
            stack.enter_context(open_host(sticky, tmp_path, clock)) for _ in range(4)
        ]
        one, *others = hosts
        canary(one, clock)
        for host in hosts:
            host.engine.poll()
            _failed(host, users)
            for other in others:
                other.tick()
            clock.advance(60)
            one.tick()
        mine = sum(one.engine.assign(user) is Arm.CANDIDATE for user in users)

        assert mine > 10
        assert _counted(one) == {(mine, mine)}
        assert len(one.engine.state.streams) == 4


def test_a_user_counts_once_after_restarts(tmp_path, clock):
    """What a new process is told of users again is nothing new."""
    sticky = legion.Plan.from_dict({**SLOW.to_dict(), "unit": "user"})
    users = [f"user-{n}" for n in range(120)]
    canary(open_host(sticky, tmp_path, clock), clock).close()
    for _ in range(3):
        with open_host(sticky, tmp_path, clock) as host:
            _failed(host, users)
            clock.advance(60)
            host.tick()
            mine = sum(host.engine.assign(user) is Arm.CANDIDATE for user in users)

    assert _counted(host) == {(mine, mine)}
    assert len(host.engine.state.streams) == 3


def test_users_that_telemetry_forgot_are_another_stream(tmp_path, clock, monkeypatch):
    """One that comes back then counts once more, so a limit is judged by the mean."""
    sticky = {**SLOW.to_dict(), "unit": "user"}
    streams = {}
    for unit in ("user", "task"):
        plan = legion.Plan.from_dict({**sticky, "plan": f"by-{unit}", "unit": unit})
        with open_host(plan, tmp_path, clock) as host:
            canary(host, clock)
            monkeypatch.setattr("legion.telemetry.units.KEPT", 40)
            for _ in range(3):
                for n in range(120):
                    host.engine.run_sync(f"user-{n}", control=int, candidate=int)
                clock.advance(60)
                host.tick()
            streams[unit] = len(host.engine.state.streams)
            monkeypatch.undo()

    assert streams["user"] > 3
    assert streams["task"] == 0


def test_a_task_is_bad_once_in_two_workers(tmp_path, clock):
    """It fails here, and is tried again there a turn later, where it fails as well."""
    tasks = [f"task-{n}" for n in range(120)]
    with (
        canary(open_host(SLOW, tmp_path, clock), clock) as one,
        open_host(SLOW, tmp_path, clock) as other,
    ):
        for host in (one, other):
            host.engine.poll()
            _failed(host, tasks)
            other.tick()
            clock.advance(60)
            one.tick()
        mine = sum(one.engine.assign(task) is Arm.CANDIDATE for task in tasks)

        assert _counted(one) == {(mine, mine)}
