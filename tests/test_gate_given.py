"""What callers give by mistake: one clear error, and nothing happens."""

from __future__ import annotations

import asyncio

import pytest

from legion.exceptions import GateError
from legion.gate import SafetyGate
from legion.journal import Journal
from legion.model import Action, Permission
from legion.store import Database


def briefly(value):
    """Name a case; without addresses, which differ between processes."""
    return f"{type(value).__name__} {ascii(value)[:12]}"


WRONG = [None, 7, True, b"ops", ["ops"], object(), float("nan")]
UNWRITABLE = ["", " ", "\ud800", "half \udfff a pair", "x" * 100_000]


def tool(**more):
    return Action(**{"kind": "tool", "name": "send", "risk": 0.1, **more})


@pytest.fixture
def gate():
    with Database(":memory:") as database:
        yield SafetyGate(journal=Journal(database), store=database)


def told(error):
    """Return a message that says what was given and what to write, and is short."""
    message = str(error.value)
    assert "got" in message
    assert "write" in message
    assert len(message) < 300
    message.encode()
    return message


@pytest.mark.parametrize("by", [*WRONG, *UNWRITABLE], ids=briefly)
def test_who_answers_has_a_name(gate, by):
    """Neither an answer nor what a person found out is anonymous."""
    ask = gate.review(tool(risk=0.6)).ask

    with pytest.raises(GateError, match="by=") as error:
        gate.answer(ask, approve=True, by=by)
    told(error)
    with pytest.raises(GateError, match="by=") as error:
        gate.settle(1, happened=False, by=by)
    told(error)
    assert [one.id for one in gate.asks()] == [ask]


@pytest.mark.parametrize(
    "yes", [None, 0, 1, "no", "", b"", ["no"], float("nan")], ids=briefly
)
def test_a_yes_is_true_and_nothing_else(gate, yes):
    """
    The text "no" would have approved a payment.

    It fails if ``yes_or_no`` returns ``bool(value)``.
    """
    ask = gate.review(tool(risk=0.6)).ask
    with pytest.raises(KeyboardInterrupt):
        gate.execute(tool(key="k"), _interrupted)

    with pytest.raises(GateError, match=r"approve=.*write True or False"):
        gate.answer(ask, approve=yes, by="ops")
    for claim in ({"happened": yes}, {"happened": False, "ended": yes}):
        with pytest.raises(GateError, match="write True or False"):
            gate.settle(1, **claim, by="ops")
    assert len(gate.asks()) == len(gate.in_doubt()) == 1


@pytest.mark.parametrize("ask_id", [*WRONG, *UNWRITABLE, "ask-9"], ids=briefly)
def test_a_question_that_is_not_there_cannot_be_answered(gate, ask_id):
    """Whatever it is called."""
    gate.review(tool(risk=0.6))

    with pytest.raises(GateError) as error:
        gate.answer(ask_id, approve=True, by="ops")
    assert len(str(error.value)) < 300


@pytest.mark.parametrize(
    "reason", [None, 7, b"x", "\ud800", "x" * 100_000], ids=briefly
)
def test_what_is_said_with_an_answer_is_text(gate, reason):
    """It stands in the journal for good."""
    ask = gate.review(tool(risk=0.6)).ask

    with pytest.raises(GateError, match="reason=") as error:
        gate.answer(ask, approve=True, by="ops", reason=reason)
    told(error)


@pytest.mark.parametrize(
    "number", [None, True, "1", 1.0, 0, -1, 2**70, "\ud800", []], ids=briefly
)
def test_an_intent_has_a_number(gate, number):
    """True is no 1, and what is too large for the file is not looked up."""
    with pytest.raises(KeyboardInterrupt):
        gate.execute(tool(key="k"), _interrupted)

    with pytest.raises(GateError, match="intent_id=") as error:
        gate.settle(number, happened=False, by="ops")
    told(error)
    assert len(gate.in_doubt()) == 1


@pytest.mark.parametrize("key", [7, True, b"k", ["k"], *UNWRITABLE], ids=briefly)
def test_a_key_is_text(gate, key):
    """5 and "5" would have been the same act, or two, as SQLite sees fit."""
    with pytest.raises(GateError, match="key=") as error:
        gate.execute(tool(key=key), pytest.fail)
    told(error)


@pytest.mark.parametrize("fn", [None, "send", 7, object()], ids=briefly)
def test_what_cannot_be_called_is_no_act(gate, fn):
    """It is refused before an intent is written, and the key stays free."""
    for refused in (
        lambda: gate.execute(tool(key="k"), fn),
        lambda: asyncio.run(gate.aexecute(tool(key="k"), fn)),
        lambda: gate.guard(fn),
    ):
        with pytest.raises(GateError) as error:
            refused()
        told(error)
    assert gate.execute(tool(key="k"), int).ran


@pytest.mark.parametrize("subject", [*WRONG, *UNWRITABLE], ids=briefly)
def test_what_is_no_act_is_denied_and_not_executed(gate, subject):
    """A gate that is asked about nothing does not say yes to it."""
    ruling = gate.review(subject)

    assert ruling.permission is Permission.DENY
    assert "write a legion.Action or a legion.Change" in ruling.reason
    with pytest.raises(GateError, match=r"write a legion\.Action"):
        gate.execute(subject, pytest.fail)
    with pytest.raises(GateError, match="write the ruling"):
        gate.consume(subject)


@pytest.mark.parametrize("field", ["kind", "name"])
@pytest.mark.parametrize("value", [None, 7, ["tool"], "", "\ud800"], ids=briefly)
def test_an_act_that_is_not_called_anything_is_denied(gate, field, value):
    """An unknown kind goes by its risk, but it has to be a kind."""
    ruling = gate.review(tool(**{field: value}))

    assert (ruling.permission, ruling.code) == (Permission.DENY, "gate_error")
    assert f"got {field}=" in ruling.reason


def _interrupted():
    raise KeyboardInterrupt
