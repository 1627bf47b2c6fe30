"""Damaged state files: one clear error, and everybody gets the baseline all the same."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import sqlite3

import pytest

from cli_session import legion_says
from test_host import canary
from test_wheel import PLAN, open_host, serve

import legion

from legion.exceptions import LegionError, StateCorruptError
from legion.stages import Status
from legion.stages.latch import beside
from legion.stages.persistence import StateFile
from legion.store import Database
from legion.testing import ManualClock


BACK = ("rollback", "--version", "1.0.0", "--reason", "burning", "--immediate")
TABLES = {
    "rollout": "body",
    "lesson": "body",
    "exposure": "body",
    "plan": "body",
    "memory": "body",
    "worker": "units",
    "published": "body",
    "lease": "token",
    "journal_head": "peaks",
    "journal_entry": "data",
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A rollout at 25 % with a row in every table, closed."""
    folder = tmp_path_factory.mktemp("whole")
    clock = ManualClock(1e9)
    with open_host(legion.Plan.from_dict(PLAN), folder, clock) as host:
        canary(host, clock)
        with open_host(legion.Plan.from_dict(PLAN), folder, clock) as other:
            other.engine.poll()
            serve(other, 20)
            other.tick()
    return folder


@pytest.fixture(autouse=True)
def hurried(monkeypatch):
    """Nobody runs beside a command in this process: its latch need not stand."""
    monkeypatch.setattr("legion.cli.latch.STANDS_S", 0.0)


@pytest.fixture
def state(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "state")


def is_latched(state):
    """Tell whether the latch can be seen by whoever looks."""
    path = str(state / "legion.db")
    if beside(path).exists():
        return True
    with Database(path) as database:
        return StateFile(database, "wheel", ManualClock()).latch() is not None


def safe_or_refused(state):
    """Open a host as a new process would: nobody gets the candidate."""
    try:
        host = open_host(legion.Plan.from_dict(PLAN), state, ManualClock(2e9))
    except LegionError:
        return True
    with host:
        return host.engine.exposure.share == 0.0


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("body", [b"\xff garbage", b"{}"])
def test_a_damaged_row_of_any_table_does_not_hold_a_rollback_up(state, table, body):
    """In a new process, from the command line; a host that runs hears of it."""
    clock = ManualClock(1.1e9)
    with open_host(legion.Plan.from_dict(PLAN), state, clock) as running:
        assert running.engine.exposure.share == 0.25
        with sqlite3.connect(state / "legion.db") as connection:
            connection.execute("PRAGMA ignore_check_constraints = ON")
            connection.execute(f"UPDATE {table} SET {TABLES[table]} = ?", [body])
        connection.close()
        said = legion_says(*BACK, "--state", state)
        assert said.code in {0, 1}, said.err
        with contextlib.suppress(StateCorruptError):
            running.engine.poll()
        assert running.engine.exposure.share == 0.0

    assert is_latched(state)
    assert safe_or_refused(state)


@pytest.mark.parametrize("left", [0, 100, 4096, 10_000])
def test_a_truncated_file_does_not_hold_a_rollback_up(state, left):
    """What is left of it is no state any more; the latch lies beside it."""
    with (state / "legion.db").open("r+b") as file:
        file.truncate(left)
    said = legion_says(*BACK, "--state", state)

    assert said.code == 1
    assert "goes back because of" in said.out
    assert is_latched(state)
    assert safe_or_refused(state)


def test_flipped_bytes_anywhere_do_not_hold_a_rollback_up(state, tmp_path):
    """
    Files with eight bytes flipped each: latched, and nobody crashes.

    Fifteen of them, or as many as `nox -s kills` asks for.
    """
    rng, clear = random.Random(20261126), 0
    bytes_before = (state / "legion.db").read_bytes()
    for n in range(int(os.environ.get("LEGION_KILLS", "15"))):
        place = tmp_path / str(n)
        shutil.copytree(state, place)
        damaged = bytearray(bytes_before)
        for _ in range(8):
            damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        (place / "legion.db").write_bytes(damaged)
        said = legion_says(*BACK, "--state", place)
        assert said.code in {0, 1}, (n, said.err)
        assert is_latched(place), n
        assert safe_or_refused(place), n
        clear += said.code
        shutil.rmtree(place)

    assert clear


def test_the_latch_beside_the_file_outlasts_a_copy_from_before(whole, state):
    """Who puts a good copy back does not bring the candidate back with it."""
    (state / "legion.db").write_bytes(b"x" * 100)
    assert legion_says(*BACK, "--state", state).code == 1
    shutil.copyfile(whole / "legion.db", state / "legion.db")
    clock = ManualClock(2e9)
    with open_host(legion.Plan.from_dict(PLAN), state, clock) as host:
        assert host.engine.exposure.share == 0.0
        host.engine.poll()
        assert host.engine.state.status is Status.ROLLED_BACK
    beside(str(state / "legion.db")).unlink()
    with open_host(legion.Plan.from_dict(PLAN), state, clock) as host:
        assert host.engine.state.status is Status.ROLLED_BACK


def test_a_damaged_latch_is_a_latch(state):
    """Its reason cannot be read; that it was pulled can."""
    clock = ManualClock(1.1e9)
    with open_host(legion.Plan.from_dict(PLAN), state, clock) as running:
        with sqlite3.connect(state / "legion.db") as connection:
            connection.execute(
                "INSERT INTO latch VALUES ('wheel', CAST(x'ff' AS TEXT), x'00')"
            )
        connection.close()
        running.engine.poll()

        assert running.engine.state.status is Status.ROLLED_BACK


def test_a_latch_where_there_is_no_state_is_refused(tmp_path):
    """A wrong directory is said, and nothing is written there."""
    with pytest.raises(legion.exceptions.StateError, match="no such state"):
        legion.Host.latch(tmp_path, reason="x")
    assert list(tmp_path.iterdir()) == []
