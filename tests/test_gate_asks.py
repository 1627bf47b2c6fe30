"""Questions: durable, bound to one act and one policy, answered once, used once."""

from __future__ import annotations

import json
import subprocess
import sys
import threading

import attrs
import pytest

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from legion.exceptions import GateError, StateError
from legion.gate import AskState, Policy, SafetyGate
from legion.journal import Journal
from legion.model import Action, Change, Permission, Ruling
from legion.store import Database


ALLOW, ASK, DENY = Permission
DAY_S = 86_400.0


@attrs.define
class Clock:
    now: float = 1_700_000_000.0

    def plan(self):
        return self.now

    def machine(self):
        return self.now

    def wall(self):
        return self.now


@attrs.frozen
class Answer:
    plugin: str
    value: Ruling | None = None
    error: str | None = None


class Reviewers:
    def __init__(self, *permissions):
        self.permissions = permissions

    def review(self, subject, report):
        return [
            Answer("r", Ruling(permission=one, code="c", reason="r"))
            for one in self.permissions
        ]


def make(policy=None, **more):
    return SafetyGate(policy, clock=more.pop("clock", Clock()), **more)


def risky(**more):
    given = {"kind": "tool", "name": "pay", "risk": 0.6, "principal": "agent"}
    return Action(**{**given, **more})


def test_a_question_is_asked_once_however_often_one_looks():
    """The same open question is not doubled; its id stays."""
    gate = make()

    rulings = [gate.review(risky()) for _ in range(3)]

    assert {one.permission for one in rulings} == {ASK}
    assert {one.ask for one in rulings} == {gate.asks()[0].id}
    (ask,) = gate.asks()
    assert (ask.state, ask.title, ask.principal) == ("pending", "tool: pay", "agent")
    assert ask.act["risk"] == 0.6
    assert ask.subject == risky().digest
    assert ask.expires == ask.created + DAY_S


def test_an_approval_lets_the_act_run_once():
    """Looking does not use it up, executing does; the next time it is asked anew."""
    gate, calls = make(), []
    asked = gate.execute(risky(), calls.append, 1)
    gate.answer(asked.ruling.ask, approve=True, by="ops", reason="seen the bill")

    looked = [gate.review(risky()) for _ in range(2)]
    done, again = (gate.execute(risky(), calls.append, 1) for _ in range(2))

    assert {(one.code, one.by) for one in looked} == {("approved", "ops")}
    assert "seen the bill" in looked[0].reason
    assert (done.ran, again.ran, calls) == (True, False, [1])
    assert again.ruling.ask not in {None, asked.ruling.ask}
    assert [a.state for a in gate.asks(open_only=False)] == ["used", "pending"]


def test_nobody_answers_and_it_does_not_run():
    """A question is no consent, however long it waits; an expired one is told apart."""
    clock, calls = Clock(), []
    gate = make(clock=clock)
    first = gate.execute(risky(), calls.append, 1).ruling
    clock.now += DAY_S

    second, third = (gate.execute(risky(), calls.append, 1).ruling for _ in range(2))

    assert calls == []
    assert (second.permission, second.code) == (ASK, "expired")
    assert "unanswered" in second.reason
    assert (third.code, third.ask) == ("medium_risk", second.ask)
    assert second.ask != first.ask
    assert [a.state for a in gate.asks(open_only=False)] == ["expired", "pending"]


def test_an_approval_expires_too():
    """Yesterday's yes is not today's; the reason says that it was not used."""
    clock = Clock()
    gate = make(clock=clock)
    gate.answer(gate.review(risky()).ask, approve=True, by="ops")
    ruling = gate.review(risky())
    clock.now += DAY_S

    assert not gate.consume(ruling)
    late = gate.review(risky())
    assert (late.permission, late.code) == (ASK, "expired")
    assert "unused" in late.reason


def test_a_refusal_is_a_denial_while_it_holds():
    """The person's name and words are in the reason; later it is asked again."""
    clock = Clock()
    gate = make(clock=clock)
    gate.answer(gate.review(risky()).ask, approve=False, by="ops", reason="not now")

    refused = gate.review(risky())
    assert (refused.permission, refused.code) == (DENY, "refused_by_person")
    assert (refused.by, refused.reason) == ("ops", "denied by ops: not now")

    clock.now += DAY_S
    assert gate.review(risky()).permission is ASK


@pytest.mark.parametrize("change", ["name", "args", "risk", "principal", "key"])
def test_an_approval_fits_exactly_the_act_that_was_shown(change):
    """One thing approved, another executed: that is asked about anew."""
    gate = make()
    gate.answer(gate.review(risky()).ask, approve=True, by="ops")
    other = {"args": {"n": 2}, "risk": 0.61}.get(change, "other")

    assert gate.review(risky(**{change: other})).permission is ASK
    assert gate.review(risky()).allowed


def test_a_rollout_that_words_its_reason_anew_asks_once():
    """A change is its move: reason and report differ at every look, it does not."""
    gate = make()
    move = {"target": "rollout:p", "before": "a", "after": "b", "kind": "advance"}

    first = gate.review(Change(**move, risk=0.6, reason="after 1 h", report="1"))
    gate.answer(first.ask, approve=True, by="ops")
    later = Change(**move, risk=0.6, reason="after 2 h", report="2")
    other = Change(**{**move, "after": "c"}, risk=0.6, reason="after 2 h")

    ruling = gate.review(later)
    assert (ruling.code, ruling.subject) == ("approved", later.digest)
    assert gate.review(other).permission is ASK
    assert gate.consume(ruling)
    assert not gate.consume(ruling)
    assert gate.review(later).permission is ASK


def test_an_approval_under_another_policy_does_not_count():
    """The rules changed since; a person is asked under the new ones."""
    database = Database(":memory:")
    old, new = make(store=database), make(Policy(mode="conservative"), store=database)
    old.answer(old.review(risky()).ask, approve=True, by="ops")

    assert new.review(risky()).permission is ASK
    assert old.review(risky()).allowed


def test_a_denial_beats_an_approval():
    """The approval answers the question, and nothing else."""
    database = Database(":memory:")
    gate = make(store=database)
    gate.answer(gate.review(risky()).ask, approve=True, by="ops")

    assert make(store=database, plugins=Reviewers(DENY)).review(risky()).code == "c"
    assert make(store=database, plugins=Reviewers(ASK, ALLOW)).review(risky()).allowed


def test_an_approval_is_not_spent_on_what_does_not_run():
    """An act that changed under review leaves it for later, and no question behind."""
    args = {"to": "friend"}
    gate = make()
    gate.answer(gate.review(risky(args=args)).ask, approve=True, by="ops")
    sly = risky(args=args)

    class Sly:
        def review(self, subject, report):
            args["to"] = "foe"
            return ()

    gate._reviewers = Sly()
    assert gate.execute(sly, print).ruling.code == "changed"
    assert gate.asks() == ()
    gate._reviewers = None
    args["to"] = "friend"
    assert gate.execute(sly, int).ran


@pytest.mark.parametrize(
    ("by", "approve", "match"),
    [
        ("", True, "write who answers"),
        ("  ", False, "write who answers"),
        ("agent", True, "somebody else"),
        (" AGENT ", True, "somebody else"),
    ],
)
def test_not_everybody_can_answer(by, approve, match):
    """Neither nobody nor whoever wants to act; the question stays open."""
    gate = make()
    ask = gate.review(risky()).ask

    with pytest.raises(GateError, match=match):
        gate.answer(ask, approve=approve, by=by)
    assert gate.asks()[0].id == ask


def test_a_proposer_cannot_approve_its_own_change():
    """For a change, who wants to act is its proposer."""
    gate = make()
    change = Change(
        target="t", before="", after="b", kind="patch", risk=0.6, proposer="improver"
    )

    with pytest.raises(GateError, match="somebody else"):
        gate.answer(gate.review(change).ask, approve=True, by="improver")


@pytest.mark.parametrize(
    ("approve", "by", "match"),
    [
        ("no", "ops", "got approve='no'; write True or False"),
        ("yes", "ops", "got approve='yes'; write True or False"),
        (1, "ops", "got approve=1; write True or False"),
        (None, "ops", "got approve=None; write True or False"),
        (True, None, "write who answers"),
        (True, 7, "write who answers"),
        (True, ["ops"], "write who answers"),
    ],
)
def test_only_true_is_a_yes(approve, by, match):
    """A word is no answer, whatever Python makes of it; the question stays open."""
    gate = SafetyGate()
    ask = gate.review(risky()).ask
    with pytest.raises(GateError, match=match):
        gate.answer(ask, approve=approve, by=by)
    assert [one.id for one in gate.asks()] == [ask]


def test_an_answer_is_given_once():
    """Twice the same is one; another answer, or another person's, is refused."""
    gate = make()
    ask = gate.review(risky()).ask
    first = gate.answer(ask, approve=True, by="ops")

    assert gate.answer(ask, approve=True, by="ops") == first
    for approve, by in ((False, "ops"), (True, "boss"), (False, "boss")):
        with pytest.raises(GateError, match=r"approved already, answered by ops"):
            gate.answer(ask, approve=approve, by=by)


def test_an_unknown_question_lists_those_that_are_open():
    """A mistyped id is answered with the ids there are."""
    gate = make()
    ask = gate.review(risky()).ask

    with pytest.raises(GateError, match=ask):
        gate.answer("ask-99", approve=True, by="ops")


def test_an_expired_question_cannot_be_answered():
    """It says to have the act reviewed again."""
    clock = Clock()
    gate = make(clock=clock)
    ask = gate.review(risky()).ask
    clock.now += DAY_S

    with pytest.raises(GateError, match="reviewed again"):
        gate.answer(ask, approve=True, by="ops")


def test_questions_and_answers_are_journalled():
    """The journal has the question with the act, and the answer with the name."""
    with Database(":memory:") as database:
        journal = Journal(database, clock=Clock())
        gate = make(journal=journal, store=database)
        ask = gate.review(risky()).ask
        for _ in range(2):
            gate.answer(ask, approve=True, by="ops", reason="fine")

        question, answer = journal.records()
        assert (question.kind, question.body["act"]["name"]) == ("question", "pay")
        assert answer.kind == "answer"
        assert answer.body == {
            "ask": ask,
            "state": "approved",
            "by": "ops",
            "reason": "fine",
        }
        assert question.refs == answer.refs == (risky().digest,)


def test_an_answer_that_cannot_be_journalled_is_not_given():
    """Answer and record stand or fall together."""

    class Full:
        def append(self, body, *, kind=None, refs=(), durable=True):
            raise StateError("journal.db", "there is no room left")

    database = Database(":memory:")
    ask = make(store=database).review(risky()).ask
    gate = make(store=database, journal=Full())

    with pytest.raises(StateError, match="no room"):
        gate.answer(ask, approve=True, by="ops")
    assert gate.asks()[0].state is AskState.PENDING


def test_notices_tell_each_open_question_once():
    """A restart tells those that are still open again, with the same id."""
    database = Database(":memory:")
    gate = make(store=database)
    one, two = (gate.review(risky(args={"n": n})).ask for n in (1, 2))

    assert [(n.kind, n.id) for n in gate.notices()] == [
        ("question", one),
        ("question", two),
    ]
    assert gate.notices() == ()
    gate.answer(one, approve=True, by="ops")
    assert [n.id for n in make(store=database).notices()] == [two]


ANSWER = """
import sys
from legion.gate import SafetyGate
with SafetyGate(store=sys.argv[1]) as gate:
    (ask,) = gate.asks()
    gate.answer(ask.id, approve=sys.argv[2] == "yes", by="ops")
"""


@pytest.mark.parametrize(("word", "ran"), [("yes", True), ("no", False)])
def test_another_process_answers(tmp_path, word, ran):
    """The answer comes from a process of its own; the host has waited in this one."""
    path, calls = tmp_path / "g.db", []
    with SafetyGate(store=path) as gate:
        assert gate.execute(risky(), calls.append, 1).ruling.permission is ASK
        subprocess.run(
            [sys.executable, "-c", ANSWER, path, word], check=True, timeout=60
        )

        assert gate.execute(risky(), calls.append, 1).ran is ran
    assert calls == [1] * ran
    with SafetyGate(store=path) as reopened:
        assert [a.by for a in reopened.asks(open_only=False)] == ["ops"]


WORKER = """
import json, sys
from legion.gate import SafetyGate
from legion.model import Action
print("ready", flush=True)
sys.stdin.readline()
with SafetyGate(store=sys.argv[1]) as gate:
    action = Action(kind="tool", name="pay", risk=0.6, principal="agent")
    ran = gate.execute(action, int).ran
    acts = [Action(kind="tool", name=str(n), risk=0.6) for n in range(20)]
    asks = [gate.review(act).ask for act in acts]
print(json.dumps([ran, asks]))
"""


def test_processes_at_once_share_one_approval_and_one_question_each(tmp_path):
    """Three workers: one of them uses the approval, all see the same questions."""
    path = tmp_path / "g.db"
    with SafetyGate(store=path) as gate:
        gate.answer(gate.review(risky()).ask, approve=True, by="ops")
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for worker in workers:
        assert worker.stdout.readline() == "ready\n"
    said = [worker.stdin.write("go\n") and worker.stdin.flush() for worker in workers]
    said = [json.loads(worker.communicate(timeout=60)[0]) for worker in workers]

    assert sum(ran for ran, _ in said) == 1
    assert said[0][1] == said[1][1] == said[2][1]
    assert len(set(said[0][1])) == 20


def test_threads_at_once_share_one_approval():
    """Eight threads, one approval: one call."""
    gate, calls, barrier = make(), [], threading.Barrier(8)
    gate.answer(gate.review(risky()).ask, approve=True, by="ops")

    def run():
        barrier.wait()
        gate.execute(risky(), calls.append, 1)

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert calls == [1]


class Questions(RuleBasedStateMachine):
    """Against a model: what may run is what was approved, in time, and not yet used."""

    def __init__(self):
        super().__init__()
        self.clock = Clock()
        self.database = Database(":memory:")
        self.gate = make(Policy(expires_s=10), clock=self.clock, store=self.database)
        self.model = {}  # act -> [state, expires, id]
        self.runs = self.approvals = 0

    def teardown(self):
        self.database.close()

    def state(self, n):
        if n not in self.model:
            return None
        state, expires, _ = self.model[n]
        if state == "used" or self.clock.now < expires:
            return state
        return "expired"

    acts = st.integers(0, 2)

    @rule(n=acts)
    def review(self, n):
        before = self.state(n)
        ruling = self.gate.review(risky(args={"n": n}))
        if before in {"approved", "denied"}:
            assert ruling.allowed == (before == "approved")
            assert ruling.ask == self.model[n][2]
            return
        assert ruling.permission is ASK
        if before == "pending":
            assert ruling.ask == self.model[n][2]
        else:
            self.model[n] = ["pending", self.clock.now + 10, ruling.ask]

    @rule(n=acts, approve=st.booleans())
    def answer(self, n, approve):
        if n not in self.model:
            return
        word, before = "approved" if approve else "denied", self.state(n)
        try:
            self.gate.answer(self.model[n][2], approve=approve, by="ops")
        except GateError:
            assert before not in {"pending", word}
        else:
            # A refusal that holds no more is still the answer that was given.
            assert before in {"pending", word} or self.model[n][0] == word == "denied"
            self.approvals += before == "pending" and approve
            self.model[n][0] = word

    @rule(n=acts)
    def execute(self, n):
        before = self.state(n)
        done = self.gate.execute(risky(args={"n": n}), int)
        assert done.ran == (before == "approved")
        self.runs += done.ran
        if done.ran:
            self.model[n][0] = "used"
        elif before not in {"pending", "denied"}:
            self.model[n] = ["pending", self.clock.now + 10, done.ruling.ask]

    @rule(seconds=st.sampled_from([1, 5, 10]))
    def wait(self, seconds):
        self.clock.now += seconds

    @precondition(lambda self: self.model)
    @rule()
    def restart(self):
        self.gate = make(Policy(expires_s=10), clock=self.clock, store=self.database)

    @invariant()
    def nothing_runs_without_an_approval_of_its_own(self):
        assert self.runs <= self.approvals

    @invariant()
    def open_questions_are_those_that_are_pending(self):
        pending = {m[2] for n, m in self.model.items() if self.state(n) == "pending"}
        assert {ask.id for ask in self.gate.asks()} == pending


Questions.TestCase.settings = settings(
    max_examples=30, stateful_step_count=25, deadline=None
)
test_whatever_happens_an_act_runs_only_on_an_approval = Questions.TestCase
