"""
Which commits wait for the disk: all that something forward or backward rests on.

``synchronous`` is read on the very connection, when it commits. Each test says which
line was broken to see it fail.
"""

from __future__ import annotations

import sqlite3

import pytest

from test_wheel import PLAN, open_host, turn

import legion

from legion.exceptions import GateError
from legion.gate import SafetyGate
from legion.journal import Journal
from legion.model import Action
from legion.stages.persistence import StateFile
from legion.store import Database
from legion.testing import ManualClock


NORMAL, FULL = 1, 2


@pytest.fixture
def commits(monkeypatch):
    """Watch every commit: the statements in it, and how it waits for the disk."""
    found: list[tuple[str, int]] = []

    class Watched(sqlite3.Connection):
        statements = ""

        def execute(self, sql, *more):
            if sql == "COMMIT":
                (level,) = super().execute("PRAGMA synchronous").fetchone()
                found.append((self.statements, level))
            self.statements = "" if sql.startswith("BEGIN") else self.statements + sql
            return super().execute(sql, *more)

    real = sqlite3.connect

    def connect(*given, **more):
        return real(*given, factory=Watched, **more)

    monkeypatch.setattr(sqlite3, "connect", connect)
    return found


def levels(commits, statement):
    """Return how each commit with such a *statement* waited for the disk."""
    found = [level for statements, level in commits if statement in statements]
    assert found, statement
    return found


def act(**more):
    return Action(**{"kind": "tool", "name": "send", "risk": 0.1, **more})


def test_the_latch_is_on_the_disk_when_it_is_pulled(tmp_path, commits):
    """
    Also after a commit that did not wait.

    Broken to see it fail: ``durable=False`` in ``StateFile.pull``; "NORMAL" for "FULL"
    in ``Database._begin``; the pragma sent only once a session.
    """
    with Database(tmp_path / "s.db") as database:
        file = StateFile(database, plan="p", clock=ManualClock(1e9))
        with database.transaction(durable=False) as connection:
            connection.execute("CREATE TABLE note (n INTEGER)")
        file.pull("by order")

        assert levels(commits, "CREATE TABLE note") == [NORMAL]
        assert levels(commits, "INTO latch") == [FULL]


def test_every_transition_of_a_rollout_is_on_the_disk(tmp_path, commits):
    """
    Two advances, a rehearsal and the way back: intent and outcome of each, together
    with their records, in a commit that waits. What was only seen does not.

    Broken to see it fail: ``durable=False`` in each of the five ``save`` that these go
    through in `legion.stages.moves`, and in that of ``Pointer.open``.
    """
    clock = ManualClock(1e9)
    with open_host(legion.Plan.from_dict(PLAN), tmp_path, clock) as host:
        opened = levels(commits, "INTO rollout")
        while host.engine.state.stage != "canary":
            turn(host, clock)
        host.engine.rollback("by order")

    transitions = [
        level
        for statements, level in commits
        if "UPDATE rollout" in statements and "INTO journal_entry" in statements
    ]
    seen = [
        level
        for statements, level in commits
        if "INTO journal_entry" in statements and "rollout" not in statements
    ]
    assert opened == [FULL]
    assert transitions == [FULL] * 7
    assert NORMAL in seen
    assert levels(commits, "INTO latch") == [FULL]


def test_what_the_gate_rests_on_is_on_the_disk(tmp_path, commits):
    """
    Question, answer, intent, outcome, doubt and what a person found out.

    Broken to see it fail: ``durable=False`` in ``SafetyGate._ask``, ``Acts.begin``,
    ``Receipts.leave`` and ``Doubts.settle``.
    """
    with Database(tmp_path / "g.db") as database:
        gate = SafetyGate(journal=Journal(database), store=database)
        commits.clear()
        asked = gate.review(act(risk=0.6))
        gate.answer(asked.ask, approve=True, by="ops")
        gate.execute(act(risk=0.6, key="a"), int)
        gate.execute(act(key="b"), int)
        with pytest.raises(KeyboardInterrupt):
            gate.execute(act(key="c"), _interrupted)
        (intent,) = gate.in_doubt()
        gate.settle(intent.id, happened=False, by="ops")
        gate.guard(int, action="x")
        with pytest.raises(GateError):
            gate.guard(int)()

        for statement in (
            "INTO asks",
            "UPDATE asks",
            "INTO outcomes",
            "UPDATE outcomes SET is_left",
            "UPDATE outcomes SET state",
        ):
            assert set(levels(commits, statement)) == {FULL}, statement
        *rest, bypass = levels(commits, "INTO journal_entry")
        assert set(rest) == {FULL}
        assert bypass == NORMAL


@pytest.mark.parametrize(("durable", "level"), [(True, FULL), (False, NORMAL)])
def test_the_journal_waits_as_it_is_told(tmp_path, commits, durable, level):
    """
    An entry, its nodes and the checkpoint are one commit.

    Broken to see it fail: ``durable`` not handed on in ``Journal.append``.
    """
    with Journal(tmp_path / "j.db") as journal:
        journal.append({"n": 1}, durable=not durable)
        commits.clear()
        journal.append({"n": 2}, durable=durable)

    ((statements, found),) = commits
    assert found == level
    assert "journal_entry" in statements
    assert "journal_head" in statements


def test_the_disk_itself_is_asked_to_write(tmp_path):
    """
    On macOS only ``fullfsync`` makes the drive write.

    Broken to see it fail: that pragma taken out of `legion.store.format`.
    """
    with Database(tmp_path / "s.db") as database:
        assert database.read("PRAGMA fullfsync") == [(1,)]
        assert database.read("PRAGMA journal_mode") == [("wal",)]


def _interrupted():
    raise KeyboardInterrupt
