"""One rollout after the other in one state file: what stays of the earlier ones."""

from __future__ import annotations

import signal
import subprocess
import sys

from pathlib import Path

import pytest

from test_wheel import PLAN, open_host

import legion

from legion import canonical
from legion.stages import Status
from legion.stages.persistence import StateFile
from legion.store import Database
from legion.testing import ManualClock


TESTS = Path(__file__).parent
QUICK = {
    **PLAN,
    "plan": "v2",
    "candidate": "2",
    "baseline": "1",
    "stages": [{"name": "everyone", "traffic": "100%", "dwell": "3m"}],
}
NEXT = {**QUICK, "plan": "v3", "candidate": "3", "baseline": "2"}
OTHER = {**QUICK, "plan": "w2", "candidate": "w2", "baseline": "w1"}


@pytest.fixture
def clock():
    return ManualClock(1e9)


@pytest.fixture
def opened(tmp_path, clock):
    """Return a function that opens a host of a plan, with a criterion that fires."""

    def opens(raw):
        toxic = legion.criterion(
            unit="share", warning=0.01, alert=0.02, critical=0.5, min_events=10
        )

        @toxic
        def toxicity(window):
            return window.share("toxic")

        return open_host(legion.Plan.from_dict(raw), tmp_path, clock, toxicity)

    return opens


def counted(folder, plan):
    """Return how many rows of units *plan* has in the file."""
    with Database(folder / "legion.db") as database:
        return sum(
            database.read(f"SELECT COUNT(*) FROM {table} WHERE plan = ?", (plan,))[0][0]
            for table in ("bad_unit", "visitor")
        )


def toxic_turn(host, clock, *, share):
    """Turn once, after 100 answers of which *share* were toxic."""
    for i in range(100):
        with host.engine.trial(f"{clock.plan():.0f}-{i}") as trial:
            trial.event("toxic", i < 100 * share)
            if i < 3:
                trial.fail("no answer")
    clock.advance(60)
    return host.tick()


def record(host):
    return host.watchdog._records["toxicity"]


def test_two_plans_in_one_file_keep_two_memories(opened, clock):
    """Each goes on from its own after a restart, whichever turned last."""
    with opened(QUICK) as one, opened(OTHER) as other:
        for host in (one, other):
            host.tick()
        toxic_turn(one, clock, share=0.1)
        toxic_turn(one, clock, share=0.1)
        toxic_turn(other, clock, share=0.0)
        assert record(one).in_a_row == 2
    with opened(QUICK) as one, opened(OTHER) as other:
        assert (record(one).in_a_row, record(one).incident != "") == (2, True)
        assert (record(other).in_a_row, record(other).incident) == (0, "")


def test_the_next_plan_takes_up_no_evidence_of_the_one_before(opened, clock):
    """Only its open incident, which the next one confirms or resolves once."""
    with opened(QUICK) as host:
        host.tick()
        while not host.engine.state.status.over:
            toxic_turn(host, clock, share=0.1)
        incident = record(host).incident
    with opened(NEXT) as host:
        found = record(host)
        assert (found.in_a_row, found.open, found.last) == (0, None, None)
        assert found.incident == incident
        host.tick()
        toxic_turn(host, clock, share=0.0)
        assert record(host).incident == ""
    with opened({**NEXT, "plan": "v4", "baseline": "3", "candidate": "4"}) as host:
        assert "toxicity" not in host.watchdog._records


def test_a_memory_from_before_it_was_told_by_plan_is_read(opened, tmp_path, clock):
    """By the plan that wrote it, as the exposure in it says; by no other."""
    with opened(QUICK) as host:
        host.tick()
        toxic_turn(host, clock, share=0.1)
        toxic_turn(host, clock, share=0.1)
        remembered = host.watchdog.to_json()
    with (
        Database(tmp_path / "legion.db") as database,
        database.transaction() as connection,
    ):
        connection.execute("UPDATE memory SET name = 'watchdog'")
    with opened(OTHER) as host:
        assert record(host).in_a_row == 0
    with opened(QUICK) as host:
        assert host.watchdog.to_json() == remembered


@pytest.mark.parametrize("ending", [Status.COMPLETE, Status.ROLLED_BACK])
def test_units_of_a_rollout_are_let_go_when_its_successor_begins(
    opened, tmp_path, clock, ending
):
    """Its state, its latch and what it spent stay; who went bad in it does not."""
    with opened(QUICK) as host:
        host.tick()
        for _ in range(4):
            toxic_turn(host, clock, share=0.0)
        if ending is Status.ROLLED_BACK:
            host.engine.rollback("by hand")
            host.tick()
        assert host.engine.state.status is ending
        spent = host.engine.budget
    assert counted(tmp_path, "v2") > 0
    with opened(NEXT):
        assert counted(tmp_path, "v2") == 0
    with opened(QUICK) as host:
        assert host.engine.state.status is ending
        assert host.engine.budget == spent


@pytest.mark.parametrize("after", [OTHER, {**NEXT, "plan": "v4", "baseline": "1"}])
def test_units_of_what_goes_on_are_kept(opened, tmp_path, clock, after):
    """A rollout that is not over, or that another one does not succeed, needs them."""
    with opened(QUICK) as host:
        host.tick()
        toxic_turn(host, clock, share=0.0)
        kept = counted(tmp_path, "v2")
    with opened(NEXT):
        assert counted(tmp_path, "v2") == kept > 0
    with opened(QUICK) as host:
        while not host.engine.state.status.over:
            toxic_turn(host, clock, share=0.0)
        kept = counted(tmp_path, "v2")
    with opened(after):
        assert counted(tmp_path, "v2") == kept > 0


def test_units_of_what_somebody_still_turns_are_kept(opened, tmp_path, clock):
    """A host that watches a complete rollout counts nobody twice."""
    with opened(QUICK) as host:
        host.tick()
        while not host.engine.state.status.over:
            toxic_turn(host, clock, share=0.0)
        kept = counted(tmp_path, "v2")
        with opened(NEXT):
            assert counted(tmp_path, "v2") == kept > 0


def test_a_state_file_does_not_grow_with_the_units_of_each_rollout(
    opened, tmp_path, clock
):
    """After many rollouts it holds the units of the last one alone."""
    for n in range(2, 5):
        raw = {**QUICK, "plan": f"v{n}", "candidate": f"{n}", "baseline": f"{n - 1}"}
        with opened(raw) as host:
            host.tick()
            while not host.engine.state.status.over:
                toxic_turn(host, clock, share=0.1)
    assert [counted(tmp_path, f"v{n}") > 0 for n in range(2, 5)] == [0, 0, 1]
    with Database(tmp_path / "legion.db") as database:
        assert len(database.read("SELECT name FROM memory")) == 1


BEGIN = """
import os, signal, sys
import legion, legion.canonical
from legion.stages import unit_rows
from legion.store import Database

real = unit_rows.UnitRows.clear
def killed(self):
    real(self)
    os.kill(os.getpid(), signal.SIGKILL)
unit_rows.UnitRows.clear = killed
plan = legion.Plan.from_dict(legion.canonical.loads(open(sys.argv[1], "rb").read()))
legion.StageEngine(plan, state=sys.argv[2])
"""


def test_a_kill_while_a_successor_begins_leaves_both_or_neither(
    opened, tmp_path, clock
):
    """The units of the one are deleted with the row that begins the other."""
    with opened(QUICK) as host:
        host.tick()
        while not host.engine.state.status.over:
            toxic_turn(host, clock, share=0.0)
    kept = counted(tmp_path, "v2")
    plan = legion.Plan.from_dict(NEXT)
    (tmp_path / "next.json").write_bytes(canonical.dumps(plan.to_dict()))
    killed = subprocess.run(
        [sys.executable, "-c", BEGIN, tmp_path / "next.json", tmp_path / "legion.db"],
        cwd=TESTS,
        check=False,
        timeout=60,
    )
    assert killed.returncode == -signal.SIGKILL
    assert counted(tmp_path, "v2") == kept > 0
    with Database(tmp_path / "legion.db") as database:
        assert StateFile.of(database, "v3").load() is None
    with opened(NEXT):
        assert counted(tmp_path, "v2") == 0
