"""Owners: what another process is doing right now is nobody else's to settle."""

from __future__ import annotations

import subprocess
import sys
import threading

import attrs
import pytest

from legion.exceptions import GateError
from legion.gate import Intent, SafetyGate
from legion.gate.owner import Owner, here
from legion.journal import Journal
from legion.model import Action, Record
from legion.store import Database


CHILD = """
import os, sys
from legion.gate import SafetyGate
from legion.journal import Journal
from legion.model import Action
from legion.store import Database

database = Database(sys.argv[1])
gate = SafetyGate(journal=Journal(database), store=database)

def send():
    print("inside", flush=True)
    if sys.stdin.readline() == "interrupt\\n":
        raise KeyboardInterrupt
    return "sent"

action = Action(kind="tool", name="send", risk=0.1, key="k")
try:
    done = gate.execute(action, send)
    print(done.value, done.in_doubt, flush=True)
except KeyboardInterrupt:
    print("interrupted", flush=True)
sys.stdin.readline()
"""


def tool(**more):
    return Action(**{"kind": "tool", "name": "send", "risk": 0.1, **more})


@pytest.fixture
def path(tmp_path):
    return tmp_path / "g.db"


@pytest.fixture
def child(path):
    """Be another process that is in the middle of its act."""
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "inside\n"
    yield process
    process.kill()
    process.communicate(timeout=60)


def tell(child, line):
    """Write *line* to the child and return what it says to that."""
    child.stdin.write(line + "\n")
    child.stdin.flush()
    return child.stdout.readline()


def test_what_another_process_is_doing_cannot_be_settled(path, child):
    """Set free, the key would run a second time while the first one still does."""
    with Database(path) as database:
        gate = SafetyGate(journal=Journal(database), store=database)

        assert gate.in_doubt() == ()
        for claim in (True, False):
            with pytest.raises(
                GateError, match=rf"(?s)intent 1 \(tool: send\).*process {child.pid} on"
            ) as refused:
                gate.settle(1, happened=False, by="ops", ended=claim)
        assert "wait for its outcome, or end that process" in str(refused.value)

        again = gate.execute(tool(key="k"), pytest.fail)
        assert (again.ran, again.ruling.code) == (False, "under_way")
        assert str(child.pid) in again.ruling.reason

        assert tell(child, "go on") == "sent False\n"
        assert gate.execute(tool(key="k"), pytest.fail).value == "sent"
        with pytest.raises(GateError, match="neither failed nor is in doubt"):
            gate.settle(1, happened=False, by="ops")


def test_once_its_process_is_dead_it_can_be_settled(path, child):
    """A process that nobody has waited for yet is dead, too."""
    with SafetyGate(store=path) as gate:
        child.kill()
        child.stdout.read()  # it is a zombie now, or will be in a moment
        for _ in range(2000):
            if gate.in_doubt():
                break
            threading.Event().wait(0.005)

        gate.settle(1, happened=False, by="ops")
        assert gate.execute(tool(key="k"), int).ran


def test_an_interrupted_act_is_let_go_while_its_process_lives_on(path, child):
    """A server that goes on after a cancelled call does not keep it from a person."""
    with SafetyGate(store=path) as gate:
        assert tell(child, "interrupt") == "interrupted\n"
        assert child.poll() is None

        assert [intent.id for intent in gate.in_doubt()] == [1]
        gate.settle(1, happened=False, by="ops")
        assert gate.execute(tool(key="k"), int).ran


def test_an_act_of_another_gate_of_this_process_is_left_alone(path):
    """This process lives, so what it does elsewhere is under way."""
    with SafetyGate(store=path) as one, SafetyGate(store=path) as other:

        def act():
            assert other.in_doubt() == ()
            with pytest.raises(GateError, match="wait for its outcome"):
                other.settle(1, happened=False, by="ops")
            return "done"

        assert one.execute(tool(key="k"), act).value == "done"


def test_the_number_of_an_intent_that_was_taken_back_is_somebody_elses(path):
    """The journal was full, the next one got number 1: that one is not ours."""

    class Full:
        def append(self, body, **_):
            if isinstance(body, Intent):
                raise OSError("full")
            return Record(id="1", seq=0, kind="note", at=0.0, body={})

    with SafetyGate(store=path, journal=Full()) as one, SafetyGate(store=path) as other:
        assert one.execute(tool(key="k"), pytest.fail).ruling.code == "gate_error"

        def act():
            with pytest.raises(GateError, match="wait for its outcome"):
                one.settle(1, happened=False, by="ops")

        assert other.execute(tool(key="k"), act).intent == 1


def strangers(path, **fields):
    """Leave the intent of some other process in the file, and open a gate on it."""
    gate = SafetyGate(store=path)
    gate._acts.receipts.open(
        tool(key="k"), subject=tool(key="k").digest, at=1.0, owner=_owner(**fields)
    )
    return gate


def _owner(**fields):
    return attrs.evolve(here(), **fields)


@pytest.mark.parametrize("fields", [{"host": "elsewhere"}, {"space": "pid:[1]"}])
def test_what_cannot_be_seen_from_here_needs_a_word_that_it_ended(path, fields):
    """A process of another machine or container: only a person can have looked."""
    with strangers(path, **fields) as gate:
        assert len(gate.in_doubt()) == 1
        with pytest.raises(GateError, match=r"look there.*write ended=True"):
            gate.settle(1, happened=False, by="ops")

        gate.settle(1, happened=False, by="ops", ended=True)
        assert gate.execute(tool(key="k"), int).ran


def test_a_process_that_got_the_number_of_a_dead_one_is_not_it(path):
    """Numbers come round again; the time of the start does not."""
    with strangers(path, started_s=here().started_s - 100) as gate:
        gate.settle(1, happened=True, by="ops")
        assert gate.execute(tool(key="k"), pytest.fail).replayed


def test_the_owner_of_a_receipt_is_this_process():
    """Its number, its host, and when it began; the same at every look."""
    assert here().lives()
    assert here() == here()
    child = subprocess.run(
        [sys.executable, "-c", "from legion.gate.owner import here; print(here().pid)"],
        capture_output=True,
        text=True,
        check=True,
    )
    gone = _owner(pid=int(child.stdout))
    assert not gone.lives()
    assert Owner.from_json(gone.to_json()) == gone


def test_an_outcome_is_not_written_over_what_a_person_said(path):
    """Settled by force while it ran, it stays settled; the journal has both."""
    with Database(path) as database:
        journal = Journal(database)
        gate = SafetyGate(journal=journal, store=database)

        def act():
            gate._acts.receipts.settled(1, happened=False, by="ops")
            return "done"

        done = gate.execute(tool(key="k"), act)

        assert (done.value, done.in_doubt) == ("done", True)
        assert gate._acts.receipts.get(1).state == "not_done"
        assert journal.records()[-1].kind == "outcome"
        assert "ops" in journal.records()[-1].body["reason"]


def test_an_act_without_a_key_that_was_settled_meanwhile_is_not_lost_either(path):
    """Its row is gone by then; that is told, and nothing else is taken away."""
    with SafetyGate(store=path) as gate:

        def act():
            gate._acts.receipts.settled(1, happened=False, by="ops")

        assert gate.execute(tool(), act).in_doubt
