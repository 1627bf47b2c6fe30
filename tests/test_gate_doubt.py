"""Doubt: an act whose outcome is unknown is shown, settled, and never repeated."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import subprocess
import sys

import pytest

from legion.exceptions import GateError
from legion.gate import SafetyGate
from legion.journal import Journal
from legion.model import Action
from legion.store import Database


def tool(**more):
    return Action(**{"kind": "tool", "name": "send", "risk": 0.1, **more})


CHILD = """
import os, sys, threading
from legion.gate import SafetyGate
from legion.journal import Journal
from legion.model import Action
from legion.store import Database

database = Database(sys.argv[1])
gate = SafetyGate(journal=Journal(database), store=database)

def send():
    with open(sys.argv[2], "a") as calls:
        calls.write("called\\n")
    print("inside", flush=True)
    threading.Event().wait()

gate.execute(Action(kind="tool", name="send", risk=0.1, key="k"), send)
"""


def test_a_killed_act_is_in_doubt_and_is_not_repeated(tmp_path):
    """Law 5: kill -9 between intent and outcome; only a person settles it."""
    path, calls = tmp_path / "g.db", tmp_path / "calls"
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, path, calls], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout.readline() == "inside\n"
    child.kill()
    child.communicate(timeout=60)
    assert child.returncode == -signal.SIGKILL

    def send():
        with calls.open("a") as file:
            file.write("called\n")

    with Database(path) as database:
        journal = Journal(database)
        gate = SafetyGate(journal=journal, store=database)
        (intent,) = gate.in_doubt()
        again = gate.execute(tool(key="k"), send)

        assert (intent.title, intent.key) == ("tool: send", "k")
        assert [r.kind for r in journal.records()] == ["ruling", "intent"]
        assert journal.verify().ok
        assert (again.ran, again.in_doubt, again.intent) == (False, True, intent.id)
        assert calls.read_text() == "called\n"

        gate.settle(intent.id, happened=False, by="ops")
        assert gate.in_doubt() == ()
        assert gate.execute(tool(key="k"), send).ran
        assert calls.read_text() == "called\n" * 2


def test_what_a_person_says_happened_is_not_done_again():
    """Settled as done, the key replays; its value is not known."""
    gate = SafetyGate()
    with pytest.raises(KeyboardInterrupt):
        gate.execute(tool(key="k"), _interrupted)
    (intent,) = gate.in_doubt()
    gate.settle(intent.id, happened=True, by="ops")

    again = gate.execute(tool(key="k"), print)

    assert (again.ran, again.value, again.replayed) == (True, None, True)
    assert "ops" in again.ruling.reason


def test_a_failed_act_can_be_settled_so_that_its_key_runs_again():
    """Whoever has looked and says that it did not happen sets the key free."""
    gate = SafetyGate()
    with pytest.raises(ZeroDivisionError):
        gate.execute(tool(key="k"), lambda: 1 // 0)
    failed = gate.execute(tool(key="k"), int)

    gate.settle(failed.intent, happened=False, by="ops")

    assert gate.execute(tool(key="k"), int).ran


@pytest.mark.parametrize(
    ("number", "by", "match"),
    [
        (1, " ", "who has looked"),
        (7, "ops", "in doubt are: 1"),
        ("x", "ops", r"write a number that in_doubt\(\) lists"),
    ],
)
def test_settling_says_what_to_write(number, by, match):
    """Without a name, or for an act that is not in doubt, nothing is settled."""
    gate = SafetyGate()
    with pytest.raises(KeyboardInterrupt):
        gate.execute(tool(), _interrupted)

    with pytest.raises(GateError, match=match):
        gate.settle(number, happened=True, by=by)
    assert len(gate.in_doubt()) == 1


def test_a_known_outcome_is_not_settled_over():
    """What has returned has happened, whoever says otherwise."""
    gate = SafetyGate()
    done = gate.execute(tool(key="k"), int)

    with pytest.raises(GateError, match="neither failed nor is in doubt"):
        gate.settle(done.intent, happened=False, by="ops")


def test_an_act_under_way_is_neither_shown_nor_settled():
    """Doubt is for what nobody is doing any more."""
    gate = SafetyGate()

    def act():
        assert gate.in_doubt() == ()
        with pytest.raises(GateError, match="under way"):
            gate.settle(1, happened=False, by="ops")
        return "done"

    assert gate.execute(tool(key="k"), act).value == "done"


def test_a_cancelled_act_is_in_doubt():
    """Cancellation is neither an error nor an outcome."""
    gate = SafetyGate()

    async def run():
        started = asyncio.Event()

        async def act():
            started.set()
            await asyncio.Event().wait()

        task = asyncio.create_task(gate.aexecute(tool(key="k"), act))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())

    assert [intent.key for intent in gate.in_doubt()] == ["k"]
    assert gate.execute(tool(key="k"), print).ruling.code == "in_doubt"


def test_a_graph_that_stops_to_ask_is_in_doubt():
    """LangGraph says so by an exception; that is no failure."""
    bubble = type("GraphBubbleUp", (Exception,), {"__module__": "langgraph.errors"})
    interrupt = type("GraphInterrupt", (bubble,), {})
    gate = SafetyGate()

    def act():
        raise interrupt

    with pytest.raises(interrupt):
        gate.execute(tool(), act)
    assert len(gate.in_doubt()) == 1


def test_settling_is_journalled():
    """Who settled what, and how, stands in the journal."""
    with Database(":memory:") as database:
        journal = Journal(database)
        gate = SafetyGate(journal=journal, store=database)
        with pytest.raises(KeyboardInterrupt):
            gate.execute(tool(), _interrupted)
        gate.settle(1, happened=True, by="ops")

        *_, last = journal.records()
        assert last.kind == "settled"
        assert last.body == {"intent": 1, "happened": True, "by": "ops"}
        assert tool().digest in last.refs


def _interrupted():
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    "stop", [KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError]
)
def test_whatever_stops_an_act_leaves_it_in_doubt(tmp_path, stop):
    """It goes on to the host, and the receipt stays: durable, shown, not repeated."""

    def act():
        raise stop

    with SafetyGate(store=tmp_path / "g.db") as gate:
        with pytest.raises(stop):
            gate.execute(tool(key="k"), act)

        assert [intent.key for intent in gate.in_doubt()] == ["k"]
        assert gate.execute(tool(key="k"), pytest.fail).in_doubt
        with SafetyGate(store=tmp_path / "g.db") as other:
            assert [intent.key for intent in other.in_doubt()] == ["k"]


def test_an_interrupt_between_intent_and_call_leaves_it_in_doubt(monkeypatch):
    """
    A signal comes between any two steps; nobody is left who could take note.

    It fails if ``Doubts.under_way`` is a plain dict.
    """
    gate = SafetyGate()
    monkeypatch.setattr(gate, "_acting", lambda *_: _interrupted())

    with contextlib.suppress(KeyboardInterrupt):
        gate.execute(tool(key="k"), pytest.fail)
    gc.collect()

    assert [intent.key for intent in gate.in_doubt()] == ["k"]
    monkeypatch.undo()
    assert gate.execute(tool(key="k"), pytest.fail).ruling.code == "in_doubt"


class Interrupted:
    """A Database in whose transactions somebody presses Ctrl-C once told so."""

    def __init__(self):
        self._inner, self.now = Database(":memory:"), False

    def transaction(self, *, durable=True):
        if self.now:
            raise KeyboardInterrupt
        return self._inner.transaction(durable=durable)

    def __getattr__(self, name):
        return getattr(self._inner, name)


@pytest.mark.parametrize("raises", [None, ValueError, KeyboardInterrupt])
def test_an_interrupt_while_the_outcome_is_written_leaves_it_in_doubt(raises):
    """
    The act may be done; as nothing says so, a person has to look.

    The traceback is kept, and with it all that the call held; it fails if
    ``doubts.end`` is not in the ``finally`` of ``Acts._try_close``, or of ``_leave``.
    """
    database = Interrupted()
    gate = SafetyGate(store=database)

    def act():
        database.now = True
        if raises is not None:
            raise raises

    with pytest.raises(KeyboardInterrupt) as held:
        gate.execute(tool(key="k"), act)
    database.now = False

    assert held.tb is not None
    assert [intent.key for intent in gate.in_doubt()] == ["k"]
    gate.settle(1, happened=False, by="ops")
    assert gate.execute(tool(key="k"), int).ran
