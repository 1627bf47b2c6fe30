"""The gate: the strictest wins, failures deny, intent before and outcome after."""

from __future__ import annotations

import asyncio
import math
import threading

import attrs
import pytest

from hypothesis import given, settings
from hypothesis import strategies as st

import legion

from legion.exceptions import GateError, StateError
from legion.gate import Policy, SafetyGate
from legion.journal import Journal
from legion.model import Action, Arm, Change, Count, Permission, Record, Ruling
from legion.plugins import Plugins
from legion.store import Database


ALLOW, ASK, DENY = Permission


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
    """A double of Plugins: answers with what it was made of."""

    def __init__(self, *answers):
        self.answers, self.asked = answers, 0

    def review(self, subject, report):
        self.asked += 1
        return self.answers


class Log:
    """A double of the journal that keeps what it is told."""

    def __init__(self):
        self.bodies = []

    def append(self, body, *, kind=None, refs=(), durable=True):
        kind = kind or type(body).__name__.lower()
        self.bodies.append((kind, body, durable))
        n = len(self.bodies)
        return Record(id=f"r{n}", seq=n, kind=kind, at=0.0, body={}, refs=tuple(refs))

    @property
    def kinds(self):
        return [kind for kind, _, _ in self.bodies]


def says(permission, plugin="reviewer", **more):
    return Answer(
        plugin,
        Ruling(permission=permission, code="its_code", reason="its reason", **more),
    )


def make(policy=None, **more):
    return SafetyGate(policy, clock=more.pop("clock", Clock()), **more)


def tool(risk=0.1, **more):
    return Action(**{"kind": "tool", "name": "send", "risk": risk, **more})


# Review.


@given(
    st.floats(0, 1),
    st.booleans(),
    st.lists(st.sampled_from([*Permission, None]), max_size=4),
    st.sampled_from([*Permission, None]),
)
@settings(max_examples=60, deadline=None)
def test_adding_a_reviewer_never_makes_a_ruling_more_permissive(
    risk, strict, others, added
):
    """Whatever it answers, or if it raises, the ruling stays or gets stricter."""

    def ruling(answers):
        reviewers = Reviewers(
            *(
                Answer("broken", error="it raised") if one is None else says(one)
                for one in answers
            )
        )
        with make(Policy(strict=strict), plugins=reviewers) as gate:
            return gate.review(tool(risk))

    before, after = ruling(others), ruling([*others, added])

    assert before.permission <= after.permission
    assert after.permission >= (DENY if added is None else added)


def test_a_reviewer_that_raises_is_a_denial():
    """Law 3: a broken reviewer makes the gate more careful, and is named."""
    gate = make(plugins=Reviewers(says(ALLOW), Answer("broken", error="ZeroDivision")))

    ruling = gate.review(tool())

    assert (ruling.permission, ruling.code) == (DENY, "reviewer_raised")
    assert ruling.by == "broken"
    assert "ZeroDivision" in ruling.reason


def test_a_reviewer_without_answer_and_error_is_a_denial():
    """An answer that says nothing is not taken for consent."""
    both = attrs.evolve(says(ALLOW), error="it raised after all")

    for answer in (Answer("mute"), both):
        assert make(plugins=Reviewers(answer)).review(tool()).permission is DENY


@pytest.mark.parametrize("raised", [RuntimeError("x"), KeyError("x"), GateError("x")])
def test_a_gate_that_fails_denies(raised):
    """Law 3: whatever goes wrong inside the gate, the answer is no, with the reason."""

    class Broken:
        def review(self, subject, report):
            raise raised

    gate, calls = make(plugins=Broken()), []

    ruling = gate.review(tool())
    done = gate.execute(tool(), calls.append, 1)

    assert (ruling.permission, ruling.code) == (DENY, "gate_error")
    assert type(raised).__name__ in ruling.reason
    assert done.ruling.code == "gate_error"
    assert not done.ran
    assert calls == []


def test_every_reviewer_is_in_the_evidence():
    """What each reviewer said can be read, not only what the strictest did."""
    ruling = make(plugins=Reviewers(says(ALLOW, "a"), says(DENY, "b"))).review(tool())

    assert [one["by"] for one in ruling.evidence["reviews"]] == ["a", "b"]
    assert ruling.by == "b"


def test_a_reviewer_cannot_forge_whose_ruling_it_is():
    """Subject, policy, question and name are the gate's to write."""
    forged = says(ASK, "b", subject="s", policy="p", ask="ask-9", by="gate")
    gate = make(plugins=Reviewers(forged))

    ruling = gate.review(tool())

    assert ruling.subject == tool().digest
    assert ruling.policy == gate.policy.digest
    assert ruling.ask == gate.asks()[0].id
    assert ruling.by == "b"


def test_a_bad_risk_is_denied_though_it_has_no_digest():
    """NaN cannot be written as JSON; the reason says that it is the risk."""
    gate, calls = make(), []

    assert gate.review(tool(math.nan)).code == "bad_risk"
    assert gate.execute(tool(math.nan), calls.append, 1).ruling.code == "bad_risk"
    assert calls == []


def test_arguments_that_are_no_json_are_denied():
    """What has no digest cannot be approved, so it is not done."""
    done = make().execute(tool(args={"x": object()}), print)

    assert (done.ran, done.ruling.code) == (False, "gate_error")


@pytest.mark.parametrize("kind", ["roll_back", "deactivate"])
def test_a_rollout_s_way_back_asks_nobody(kind):
    """Law 2: a retreat is allowed; reviewers who would say no are not asked."""
    reviewers = Reviewers(says(DENY))
    gate = make(Policy(deny_kinds={kind}, strict=True), plugins=reviewers)

    ruling = gate.review(
        Change(target="rollout:plan", before="b", after="a", kind=kind, risk=1)
    )

    assert (ruling.permission, ruling.code) == (ALLOW, "retreat")
    assert reviewers.asked == 0


def test_calling_oneself_a_retreat_is_no_way_around_the_gate():
    """Law 4: the word alone does not pass a patch, and an action is never a retreat."""
    gate = make(plugins=Reviewers(says(DENY)))
    patch = Change(target="code:main", before="b", after="a", kind="roll_back")

    assert gate.review(patch).permission is DENY
    assert gate.review(tool(kind="roll_back")).permission is DENY


# Execute.


def test_intent_is_recorded_before_the_call_and_outcome_after():
    """Law 5: ruling and intent stand durably before the call, the outcome after it."""
    log = Log()
    gate = make(journal=log)

    done = gate.execute(tool(), lambda: list(log.kinds))

    assert done.value == ["ruling", "intent"]
    assert log.kinds == ["ruling", "intent", "outcome"]
    assert all(durable for _, _, durable in log.bodies)
    assert done.records == ("r1", "r2", "r3")
    assert (done.ran, done.replayed, done.in_doubt) == (True, False, False)
    assert gate.in_doubt() == ()


def test_a_denied_act_is_recorded_and_not_called():
    """The denial stands in the journal; there is no intent."""
    log, calls = Log(), []

    done = make(Policy(deny_kinds={"tool"}), journal=log).execute(
        tool(), calls.append, 1
    )

    assert (done.ran, done.value, calls) == (False, None, [])
    assert log.kinds == ["ruling"]


def test_an_exception_is_recorded_and_raised_on():
    """The caller gets the exception itself, the journal its type and message."""
    log = Log()

    with pytest.raises(ZeroDivisionError) as raised:
        make(journal=log).execute(tool(), lambda: 1 // 0)

    _, outcome, _ = log.bodies[-1]
    assert outcome.applied is False
    assert outcome.code == "failed"
    assert str(raised.value) in outcome.reason


def test_an_exception_that_cannot_be_printed_is_recorded_all_the_same():
    """Neither a broken __str__ nor a lone surrogate keeps the outcome out."""

    class RudeError(Exception):
        def __str__(self):
            raise RuntimeError

    for error in (RudeError(), ValueError("\ud800")):
        log = Log()
        gate = make(journal=log)

        def act(error=error):
            raise error

        with pytest.raises(type(error)):
            gate.execute(tool(key="k"), act)
        assert log.kinds[-1] == "outcome"
        assert gate.in_doubt() == ()


@pytest.mark.parametrize(
    "value", [None, 0, 1.5, "x", True, [1, {"a": None}], {"b": []}]
)
def test_the_same_key_returns_the_first_outcome(value):
    """Called once; what it returned is returned again as JSON says it."""
    gate, calls = make(), []

    def act():
        calls.append(1)
        return value

    first, second = (gate.execute(tool(key="k"), act) for _ in range(2))

    assert calls == [1]
    assert (first.value, second.value) == (value, value)
    assert (first.replayed, second.replayed) == (False, True)
    assert second.ran
    assert second.ruling.code == "replayed"
    assert second.intent == first.intent


@pytest.mark.parametrize("value", [object(), math.nan, 2**60, {1: 2}, b"x", "\ud800"])
def test_a_value_that_is_no_json_is_not_kept(value):
    """The replay says so, and still does not call again."""
    gate, calls = make(), []

    def act():
        calls.append(1)
        return value

    first, second = (gate.execute(tool(key="k"), act) for _ in range(2))

    assert first.value is value
    assert (second.value, second.replayed, calls) == (None, True, [1])
    assert "not kept" in second.ruling.reason


def test_a_failure_is_an_outcome_too():
    """The same key after an exception does not call again; the reason has the error."""
    gate, calls = make(), []

    def act():
        calls.append(1)
        raise OSError("the line is down")

    with pytest.raises(OSError, match="line"):
        gate.execute(tool(key="k"), act)
    again = gate.execute(tool(key="k"), act)

    assert calls == [1]
    assert (again.ran, again.replayed, again.ruling.code) == (
        False,
        True,
        "failed_before",
    )
    assert "the line is down" in again.ruling.reason


def test_a_replay_asks_nobody():
    """It is no new act: reviewers are not asked, and no question is opened."""
    reviewers = Reviewers()
    gate = make(plugins=reviewers)

    for _ in range(2):
        assert gate.execute(tool(key="k"), int).ran
    assert reviewers.asked == 1


def test_the_same_key_for_another_action_is_an_error():
    """A key names one act; nothing is called."""
    gate = make()
    gate.execute(tool(key="k", args={"to": "a"}), int)

    with pytest.raises(GateError, match="write a new key"):
        gate.execute(tool(key="k", args={"to": "b"}), print)


def test_without_a_key_every_call_is_an_act_of_its_own():
    """Nothing is replayed, and nothing is kept once the outcome is known."""
    gate, calls = make(), []

    for _ in range(3):
        gate.execute(tool(), calls.append, 1)

    assert calls == [1, 1, 1]
    assert gate._database.read("SELECT count(*) FROM outcomes") == [(0,)]


def test_an_action_that_changes_while_it_is_reviewed_is_denied():
    """What was reviewed is what is done, or nothing is."""
    args = {"to": "friend"}

    class Sly:
        def review(self, subject, report):
            args["to"] = "foe"
            return ()

    gate, calls = make(plugins=Sly()), []

    done = gate.execute(tool(args=args), calls.append, 1)

    assert (done.ran, done.ruling.code, calls) == (False, "changed", [])


def test_an_action_that_changes_after_the_review_is_denied():
    """The digest is looked at again when the intent is written, before the call."""
    args, calls = {"to": "friend"}, []

    class Late(Broken):
        def transaction(self, *, durable=True):
            args["to"] = "foe"
            return super().transaction(durable=durable)

    gate = make(store=Late())
    args["to"] = "friend"

    done = gate.execute(tool(args=args), calls.append, 1)

    assert (done.ran, done.ruling.code, calls) == (False, "changed", [])


def test_a_key_that_is_taken_during_the_review_is_replayed(tmp_path):
    """Another process was faster: its outcome is returned, nothing is called here."""
    path, calls = tmp_path / "g.db", []
    other = make(store=path)

    class Slow:
        def review(self, subject, report):
            other.execute(tool(key="k"), lambda: "theirs")
            return ()

    gate = make(store=path, plugins=Slow())

    done = gate.execute(tool(key="k"), calls.append, 1)

    assert (done.value, done.replayed, calls) == ("theirs", True, [])
    gate.close()
    other.close()


def test_two_threads_with_one_key_call_once(tmp_path):
    """The second waits and gets the first one's value."""
    gate, calls = make(store=tmp_path / "g.db"), []
    results = []

    def act():
        calls.append(1)
        return len(calls)

    barrier = threading.Barrier(8)

    def run():
        barrier.wait()
        results.append(gate.execute(tool(key="k"), act))

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert calls == [1]
    assert [one.value for one in results] == [1] * 8
    assert sum(not one.replayed for one in results) == 1
    assert gate._turns._places == {}
    gate.close()


def test_an_act_inside_itself_is_under_way():
    """The same key from inside its own call neither runs nor deadlocks."""
    gate = make()

    inner = gate.execute(tool(key="k"), lambda: gate.execute(tool(key="k"), int)).value

    assert (inner.ran, inner.in_doubt, inner.ruling.code) == (False, True, "under_way")


def test_aexecute_awaits_and_two_tasks_call_once():
    """The second task is told that the first one is under way."""
    gate, calls = make(), []

    async def act(n):
        calls.append(n)
        await asyncio.sleep(0)
        return n

    async def both():
        return await asyncio.gather(
            *(gate.aexecute(tool(key="k"), act, n) for n in (1, 2))
        )

    first, second = asyncio.run(both())

    assert (first.value, calls) == (1, [1])
    assert (second.ran, second.ruling.code) == (False, "under_way")


def test_execute_refuses_what_has_to_be_awaited():
    """A coroutine that nobody awaits would be recorded as done and never run."""

    async def act():
        raise AssertionError

    def sly():
        return act()

    log = Log()
    gate = make(journal=log)

    with pytest.raises(GateError, match="aexecute"):
        gate.execute(tool(), act)
    assert log.kinds == []
    with pytest.raises(GateError, match="aexecute"):
        gate.execute(tool(), sly)
    assert log.bodies[-1][1].applied is False


def test_arguments_may_be_called_what_they_like():
    """``action`` and ``fn`` as keywords reach the function."""
    done = make().execute(tool(), dict, action=1, fn=2, self=3)

    assert done.value == {"action": 1, "fn": 2, "self": 3}


# Containment.


def test_observe_lets_it_run_and_writes_down_what_it_would_have_said():
    """Law-abiding hosts can try a policy out: nothing is stopped, all is recorded."""
    log = Log()
    gate = make(Policy(containment="observe", deny_kinds={"x"}), journal=log)

    asked, denied = gate.review(tool(0.9)), gate.review(tool(kind="x"))

    assert (asked.code, denied.code) == ("observed", "observed")
    assert asked.allowed
    assert denied.allowed
    assert (asked.evidence["would"], denied.evidence["would"]) == ("ask", "deny")
    assert denied.evidence["code"] == "denied_kind"
    assert log.kinds == ["ruling", "ruling"]
    assert gate.asks() == ()


def test_an_act_that_ran_against_a_denial_is_counted():
    """Only where the policy observes can one run; a question unasked is not counted."""
    gate = make(Policy(containment="observe", deny_kinds={"x"}))

    gate.execute(tool(0.9), int)
    assert gate.legion_observe("p", Arm.CANDIDATE)["unauthorized_actions"] == Count(0)
    gate.execute(tool(kind="x"), int)
    assert gate.legion_observe("p", Arm.CANDIDATE)["unauthorized_actions"] == Count(1)
    assert gate.legion_observe("p", Arm.CANDIDATE)["unauthorized_actions"] == Count(0)


def test_a_reviewer_that_raises_is_observed_too():
    """Observing does not stop for a broken reviewer either; it is written down."""
    gate = make(
        Policy(containment="observe"), plugins=Reviewers(Answer("b", error="oops"))
    )

    ruling = gate.review(tool())

    assert (ruling.code, ruling.evidence["code"]) == ("observed", "reviewer_raised")


# Stores that break, and the real neighbours.


class Broken:
    """A Database whose disk is full once it is told so."""

    def __init__(self):
        self._inner, self.full = Database(":memory:"), False

    def transaction(self, *, durable=True):
        if self.full:
            raise StateError("gate.db", "there is no room left")
        return self._inner.transaction(durable=durable)

    def read(self, sql, parameters=()):
        return self._inner.read(sql, parameters)

    def ensure(self, schema):
        self._inner.ensure(schema)


@pytest.mark.parametrize("risk", [0.1, 0.6, 0.99])
def test_a_full_disk_denies_forward_acts(risk):
    """Laws 3 and 5: without a durable intent nothing is done; the reason says so."""
    store, calls = Broken(), []
    gate = make(store=store)
    store.full = True

    done = gate.execute(tool(risk), calls.append, 1)

    assert (done.ran, calls) == (False, [])
    assert (done.ruling.permission, done.ruling.code) == (DENY, "gate_error")
    assert "no room left" in done.ruling.reason


def test_a_full_disk_does_not_stop_a_retreat():
    """Law 2: going back needs no disk."""
    store = Broken()
    gate = make(store=store)
    store.full = True

    back = Change(target="rollout:p", before="b", after="a", kind="roll_back")
    assert gate.review(back).allowed


def test_a_disk_that_fills_up_during_the_call_leaves_the_act_in_doubt():
    """The caller hears that it ran; the record of it honestly does not."""
    store = Broken()
    gate = make(store=store)

    def act():
        store.full = True
        return "sent"

    done = gate.execute(tool(key="k"), act)
    store.full = False

    assert (done.ran, done.value, done.in_doubt) == (True, "sent", True)
    assert [one.id for one in gate.in_doubt()] == [done.intent]
    again = gate.execute(tool(key="k"), act)
    assert (again.ran, again.ruling.code) == (False, "in_doubt")


def test_a_journal_that_fails_denies():
    """Law 5: an intent that cannot be journalled is none; the file is as it was."""

    class Full(Log):
        def append(self, body, **more):
            raise StateError("journal.db", "there is no room left")

    gate, calls = make(journal=Full()), []

    done = gate.execute(tool(key="k"), calls.append, 1)

    assert (done.ran, calls, done.ruling.code) == (False, [], "gate_error")
    assert gate.in_doubt() == ()


def test_it_works_with_the_real_plugins_and_the_real_journal(tmp_path):
    """A reviewer hook that raises denies; story puts the act together again."""

    class Careful:
        @legion.hookimpl
        def legion_review(self, change):
            if change.args.get("to") == "everyone":
                return Ruling(permission=DENY, code="too_many", reason="that is a lot")
            return None if change.args else 1 // 0

    plugins = Plugins(Careful(), builtins=False)
    with Database(tmp_path / "one.db") as database:
        clock = Clock()
        journal = Journal(database, clock=clock, recorders=plugins.record)
        gate = SafetyGate(plugins=plugins, journal=journal, store=database, clock=clock)
        plugins.register(gate, name="gate")

        sent = gate.execute(tool(args={"to": "one"}), str.upper, "hello")
        lot = gate.execute(tool(args={"to": "everyone"}), str.upper, "hello")
        broken = gate.execute(tool(), str.upper, "hello")

        assert sent.value == "HELLO"
        assert (lot.ran, lot.ruling.code, lot.ruling.by) == (
            False,
            "too_many",
            "Careful",
        )
        assert broken.ruling.code == "reviewer_raised"
        assert [r.id for r in journal.story(sent.records[0])] == list(sent.records)
        assert journal.verify().ok
        measured = plugins.observe("p", Arm.CANDIDATE).metrics
        assert measured["safety_gate_bypasses"] == Count(0)
        assert plugins.observe("p", Arm.CONTROL).metrics == {}
        plugins.shutdown()
