"""What judges is named in every ruling, and so in every receipt."""

from __future__ import annotations

from collections import UserDict

import pytest

from legion.exceptions import GateError
from legion.gate import Policy, SafetyGate
from legion.journal import Journal
from legion.model import Action, Change, Permission
from legion.store import Database


JUDGES = {"plan": "a" * 64, "criteria": "b" * 64}


def tool(**more):
    return Action(**{"kind": "tool", "name": "send", "risk": 0.1, **more})


class Lost(UserDict):
    """Judges whose digests cannot be had any more, once told so."""

    gone = False

    def __getitem__(self, name):
        if self.gone:
            raise OSError("gone")
        return super().__getitem__(name)


@pytest.mark.parametrize(
    "subject",
    [
        tool(),
        tool(risk=0.6),
        tool(kind="payment"),
        Action(kind="tool", name="x", risk=float("nan")),
        Change(target="x", before="", after="a", kind="patch"),
        Change(target="rollout:p", before="a", after="", kind="roll_back"),
    ],
    ids=["allowed", "asked", "denied", "bad risk", "change", "retreat"],
)
@pytest.mark.parametrize("containment", ["enforce", "observe"])
def test_every_ruling_names_what_judges(subject, containment):
    """Whatever it says: the digests that were given, and the policy's own."""
    policy = Policy(deny_kinds={"payment"}, containment=containment)
    ruling = SafetyGate(policy, judges=JUDGES).review(subject)

    assert ruling.evidence["judges"] == {**JUDGES, "policy": policy.digest}


def test_the_policy_is_named_without_further_judges_and_cannot_be_forged():
    """It is the gate's own to name."""
    gate = SafetyGate(judges={"policy": "c" * 64})

    assert gate.review(tool()).evidence["judges"] == {"policy": gate.policy.digest}
    assert SafetyGate().review(tool()).evidence["judges"].keys() == {"policy"}


def test_the_journalled_ruling_of_an_act_has_them():
    """Law 4: from the receipt one can tell under what it was given."""
    with Database(":memory:") as database:
        journal = Journal(database)
        gate = SafetyGate(journal=journal, store=database, judges=JUDGES)
        done = gate.execute(tool(key="k"), int)

        ruling = journal.get(done.records[0])
        assert ruling.kind == "ruling"
        assert ruling.body["evidence"]["judges"] == {
            **JUDGES,
            "policy": gate.policy.digest,
        }


def test_judges_are_read_anew_for_each_ruling():
    """Another set of criteria shows from the next ruling on."""
    judges = dict(JUDGES)
    gate = SafetyGate(judges=judges)
    judges["criteria"] = "d" * 64

    assert gate.review(tool()).evidence["judges"]["criteria"] == "d" * 64


def test_without_its_judges_the_gate_denies_and_lets_a_retreat_pass():
    """Forward is closed where nobody can say under what; back is always open."""
    judges = Lost(JUDGES)
    gate = SafetyGate(judges=judges)
    judges.gone = True
    back = Change(target="rollout:p", before="a", after="", kind="roll_back")

    assert gate.review(tool()).permission is Permission.DENY
    assert gate.review(tool()).code == "gate_error"
    assert gate.review(back).allowed


@pytest.mark.parametrize("digest", ["", "abc", "A" * 64, None, 7])
def test_what_is_no_digest_is_refused(digest):
    """The message says what to write."""
    with pytest.raises(GateError, match=r"judges: got plan=.*write a SHA-256"):
        SafetyGate(judges={"plan": digest})
