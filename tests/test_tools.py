"""Marked tools: what a trial notes of them, and what makes two calls the same."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import datetime as dt
import functools
import gc
import inspect
import threading

import attrs
import pytest

import legion

from legion.exceptions import ContainmentError
from legion.stages.exposure import Exposure
from legion.stages.mirror import Mirror
from legion.stages.shadow import Shadow
from legion.stages.splitter import Splitter
from legion.stages.traffic import Traffic
from legion.telemetry import Telemetry
from legion.testing import ManualClock
from legion.tools import Calls, fence
from legion.tools.answer import Answer
from legion.tools.arguments import digest_of
from legion.tools.calls import MOST


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def traffic(clock):
    return Traffic(
        Exposure(plan="plan", stage="shadow", mirror=1.0),
        Mirror(clock),
        splitter=Splitter("plan"),
        telemetry=Telemetry(clock),
        clock=clock,
    )


def names(calls):
    return [call.tool for call in calls.made]


def without_tools(traffic):
    seen = traffic._telemetry.close(exposure=traffic.exposure.digest)
    return {
        arm: window.histograms["latency_without_tools"].total
        for arm, window in (("control", seen.control), ("candidate", seen.candidate))
        if window is not None and "latency_without_tools" in window.histograms
    }


def refund(order: str, amount: float = 1.0) -> str:
    """Give money back."""
    return f"{order}: {amount}"


async def arefund(order: str, amount: float = 1.0) -> str:
    """Give money back."""
    return f"{order}: {amount}"


# Outside of a trial.


@pytest.mark.parametrize("effects", [True, False])
def test_outside_of_a_trial_a_marked_tool_is_the_function(effects):
    """Its answer, its name, its docstring, its signature, and whether it is async."""
    marked = legion.tool(refund, effects=effects)
    later = legion.tool(arefund, effects=effects)

    assert marked("A", amount=2) == "A: 2"
    assert asyncio.run(later("A")) == "A: 1.0"
    assert marked.__name__ == "refund"
    assert marked.__doc__ == refund.__doc__
    assert inspect.signature(marked) == inspect.signature(refund)
    assert inspect.iscoroutinefunction(later)
    assert not inspect.iscoroutinefunction(marked)
    assert marked.__wrapped__("A") == "A: 1.0"


def test_a_method_can_be_marked(traffic):
    """It is bound as any function is."""

    class Agent:
        @legion.tool(effects=False)
        def search(self, words):
            return words.upper()

    with traffic.trial("1") as trial:
        assert Agent().search("a") == Agent().search("a") == "A"

    first, second = trial.calls.made
    assert first.key == second.key


def generator():
    yield 1


async def agenerator():
    yield 1


@pytest.mark.parametrize(
    ("fn", "given", "said"),
    [
        (5, {"effects": True}, "got 5; write the function that does it"),
        (generator, {"effects": True}, "mark the function that reads it to its end"),
        (agenerator, {"effects": False}, "is a generator"),
        (refund, {"effects": "yes"}, "got effects='yes'; write True or False"),
        (refund, {"effects": True, "stand_in": "ok"}, "got stand_in='ok'; write a fun"),
        (refund, {"effects": False, "stand_in": refund}, "leave stand_in out"),
        (refund, {"effects": True, "stand_in": arefund}, "write a plain function"),
        (refund, {"effects": True, "ignore": "order"}, "write ['order']"),
        (refund, {"effects": True, "ignore": ["key"]}, "takes no 'key'; write some of"),
        (refund, {"effects": True, "ignore": [1]}, "write names of its parameters"),
        (refund, {"effects": True, "ignore": 1}, "write names of its parameters"),
    ],
)
def test_what_cannot_be_marked_is_one_clear_error(fn, given, said):
    """When it is marked, and not in the first mirrored run."""
    with pytest.raises(TypeError, match=r"^legion\.tool: ") as caught:
        legion.tool(fn, **given)

    assert said in str(caught.value)


# Inside of a trial.


def test_a_trial_notes_the_calls_of_marked_tools(traffic, clock):
    """Name, arguments, time, in the order in which they began; whatever the arm."""

    @legion.tool(effects=True, name="pay")
    def pay(order):
        clock.advance(2)

    @legion.tool(effects=False)
    def look(order):
        clock.advance(1)

    with traffic.trial("1") as trial:
        look("A")
        pay("A")
        clock.advance(4)
        pay("A")

    calls = trial.calls.made
    assert [(call.tool, call.nth, call.took_s) for call in calls] == [
        ("look", 0, 1),
        ("pay", 0, 2),
        ("pay", 1, 2),
    ]
    assert calls[1].arguments == calls[2].arguments
    assert without_tools(traffic)["control"] == pytest.approx(4)


def test_a_trial_without_tools_takes_as_long_without_them(traffic, clock):
    """Both latencies are the same, so that nothing is missing."""
    with traffic.trial("1"):
        clock.advance(3)
    seen = traffic._telemetry.close(exposure=traffic.exposure.digest)

    histograms = seen.control.histograms
    assert histograms["latency_without_tools"] == histograms["latency"]


def test_where_nothing_is_mirrored_the_hot_path_records_no_more(clock):
    """One latency a trial."""
    telemetry = Telemetry(clock)
    traffic = Traffic(
        Exposure(plan="plan", stage="canary", share=0.5),
        Mirror(clock),
        splitter=Splitter("plan"),
        telemetry=telemetry,
        clock=clock,
    )
    with traffic.trial("1"):
        legion.tool(refund, effects=True)("A")

    assert telemetry.drain() == 3


def test_time_in_tools_that_overlap_is_counted_once(traffic, clock):
    """Nested and concurrent ones alike: what is left is never negative."""
    second = asyncio.Event()

    @legion.tool(effects=False)
    async def slow(name):
        if name == "first":
            await second.wait()
        else:
            clock.advance(3)
            second.set()

    @legion.tool(effects=False)
    async def both():
        clock.advance(1)
        await asyncio.gather(slow("first"), slow("second"))

    async def story():
        async with traffic.trial("1"):
            clock.advance(5)
            await both()

    asyncio.run(story())

    assert without_tools(traffic)["control"] == pytest.approx(5)


def test_a_tool_that_outlives_its_trial_counts_until_its_end(traffic, clock):
    """And ends quietly afterwards."""

    async def story():
        go = asyncio.Event()

        @legion.tool(effects=False)
        async def slow():
            await go.wait()

        async with traffic.trial("1"):
            task = asyncio.create_task(slow())
            await asyncio.sleep(0)
            clock.advance(3)
        go.set()
        await task

    asyncio.run(story())

    assert without_tools(traffic)["control"] == 0


def test_a_tool_that_raises_is_noted_and_raises(traffic, clock):
    """As if it were not marked."""

    @legion.tool(effects=True)
    def broken():
        clock.advance(1)
        raise KeyError("no such order")

    with traffic.trial("1") as trial, pytest.raises(KeyError):
        broken()

    assert trial.calls.made[0].took_s == 1


def test_what_a_tool_with_effects_calls_is_its_own_affair(traffic):
    """A mirrored run would not come there; of one without effects it would."""
    inner = legion.tool(refund, effects=True)

    @legion.tool(effects=True)
    def close(order):
        return inner(order)

    @legion.tool(effects=False)
    def ask(order):
        return inner(order)

    with traffic.trial("1") as trial:
        close("A")
        ask("B")
        inner("C")

    assert names(trial.calls) == ["close", "ask", "refund", "refund"]


def test_a_trial_inside_of_a_tool_has_a_plan_of_its_own(traffic):
    """An agent that is a tool of another agent may be rolled out by itself."""
    pay = legion.tool(refund, effects=True)
    trials = []

    @legion.tool(effects=True)
    def agent():
        with traffic.trial("inner") as trial:
            trials.append(trial)
            pay("A")

    with traffic.trial("outer") as outer:
        agent()

    assert names(outer.calls) == ["agent"]
    assert names(trials[0].calls) == ["refund"]


def test_calls_from_many_threads_are_all_noted(traffic):
    """Each with its own number among the same."""
    pay = legion.tool(refund, effects=True)
    with traffic.trial("1") as trial:
        contexts = [contextvars.copy_context() for _ in range(8)]

        def work(context):
            for _ in range(50):
                context.run(pay, "A")

        threads = [threading.Thread(target=work, args=(one,)) for one in contexts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert sorted(call.nth for call in trial.calls.made) == list(range(400))


def test_a_run_that_loops_is_noted_up_to_a_bound(traffic):
    """Memory is bounded; how many more there were is known."""
    look = legion.tool(refund, effects=False)
    with traffic.trial("1") as trial:
        for _ in range(MOST + 5):
            look("A")

    assert (len(trial.calls.made), trial.calls.left_out) == (MOST, 5)


def test_answers_are_kept_only_where_a_mirrored_run_may_ask(traffic):
    """Not by a trial of its own, not of what runs again, not where a stand-in answers."""
    seen = []

    def control():
        for effects, stand_in in ((True, None), (False, None), (True, refund)):
            legion.tool(refund, effects=effects, stand_in=stand_in)("A")
        seen.append(legion.current_trial().calls)

    with traffic.trial("1"):
        control()
    traffic.run_sync("1", control=control, candidate=pytest.fail)
    traffic.run_sync("1", control=control, candidate=pytest.fail, mirror=control)

    kept = [[call.answer is not None for call in calls.made] for calls in seen]
    assert kept == [[False] * 3, [False] * 3, [True, False, False]]


@pytest.mark.parametrize("how", ["compared", "dropped", "failed"])
def test_a_kept_answer_lives_as_long_as_its_pair(clock, traffic, how):
    """However it ends, though somebody holds the trial."""
    held = []

    @legion.tool(effects=True)
    def pay():
        return bytearray(1_000_000)

    def control():
        held.append(legion.current_trial())
        pay()
        if how == "failed":
            raise RuntimeError

    traffic.mirror.capacity = 0 if how == "dropped" else 1
    with contextlib.suppress(RuntimeError):
        traffic.run_sync("1", control=control, candidate=control, mirror=control)
    traffic.mirror.drain()
    gc.collect()

    assert [call.answer for trial in held for call in trial.calls.made] == [None] * len(
        held
    )


# The same call.


@attrs.frozen
class Order:
    number: int


class Thing:
    pass


SIGNATURE = inspect.signature(refund)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((("A", 2), {}), (("A",), {"amount": 2})),
        ((("A",), {}), ((), {"amount": 1.0, "order": "A"})),
        ((({"a": 1, "b": [2, (3,)]},), {}), (({"b": [2, [3]], "a": 1},), {})),
        (((Order(1),), {}), ((Order(1),), {})),
        (((Thing(),), {}), ((Thing(),), {})),
        (((dt.date(2030, 1, 1),), {}), ((dt.date(2030, 1, 1),), {})),
        ((({1, 2, 300},), {}), (({300, 2, 1},), {})),
        ((("too", "many", "of", "them"), {}), (("too", "many", "of", "them"), {})),
        (((float("nan"),), {}), ((float("nan"),), {})),
        ((("\ud800",), {}), (("\ud800",), {})),
        (((2**70,), {}), ((2**70,), {})),
    ],
)
def test_the_same_arguments_have_one_digest(one, other):
    """By name or by place, with or without the default, as a list or a tuple."""
    assert digest_of(SIGNATURE, *one) == digest_of(SIGNATURE, *other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("A", "B"),
        (Order(1), Order(2)),
        (Order(1), {"number": 1}),
        ([Order(1)], [Order(2)]),
        ({"a": Order(1)}, {"b": Order(1)}),
        (b"a", "a"),
        (dt.date(2030, 1, 1), dt.date(2030, 1, 2)),
        ({1, 2}, {1, 3}),
        (2**70, 2**70 + 1),
        ("\ud800", "\ud801"),
        (Thing(), Order(1)),
    ],
)
def test_other_arguments_have_another_digest(one, other):
    """What JSON has no word for is told apart by its repr."""
    digests = {digest_of(SIGNATURE, (each,), {}) for each in (one, other)}

    assert len(digests) == 2


def test_a_value_that_cannot_be_said_stands_by_its_type():
    """A repr that raises and a mapping that holds itself are no error of the tool's."""

    class Mute:
        def __repr__(self):
            raise RuntimeError

    endless = {}
    endless["again"] = endless

    assert digest_of(SIGNATURE, (Mute(),), {}) == digest_of(SIGNATURE, (Mute(),), {})
    assert len(digest_of(SIGNATURE, (endless,), {})) == 64
    assert len(digest_of(None, (endless,), {})) == 64


# The same plan.


def calls_of(*groups):
    """Return the calls of a run; those of a group overlap."""
    calls = Calls(ManualClock())
    for group in groups:
        for call in [calls.begin(tool, "") for tool in group]:
            calls.end(call)
    return calls


@pytest.mark.parametrize(
    ("control", "candidate", "same"),
    [
        (["a", "b"], ["a", "b"], True),
        (["a", "b"], ["b", "a"], False),
        (["a", "b"], ["a"], False),
        (["a"], ["a", "a"], False),
        ([], ["a"], False),
        (["ab", "c"], ["b", "a", "c"], True),
        (["ab", "c"], ["a", "c", "b"], False),
        (["abc"], ["c", "a", "b"], True),
        (["a", "b"], ["ab"], True),
    ],
)
def test_a_plan_is_a_sequence_but_for_calls_that_overlapped(control, candidate, same):
    """A stand-in answers at once, so overlap in the mirrored run says nothing."""
    assert calls_of(*control).agrees(calls_of(*candidate)) is same


# Copies of answers.


class RefusedError(Exception):
    """An error whose constructor takes other arguments than it keeps."""

    def __init__(self, code, *, why):
        super().__init__(f"{code}: {why}")
        self.code = code


@pytest.mark.parametrize(
    "error",
    [KeyError("a"), RefusedError(4, why="late"), OSError(2, "gone"), ValueError()],
)
def test_an_error_is_given_again_as_an_equal_one(error):
    """Of the same type, with the same words and fields, and not the same object."""
    answer = Answer.raised(error)

    with pytest.raises(type(error)) as caught:
        answer.give()
    assert caught.value is not error
    assert str(caught.value) == str(error)
    assert vars(caught.value) == vars(error)


def test_what_cannot_be_copied_is_not_kept():
    """A lock, a stream: nobody could hand it out twice."""
    assert Answer.returned(threading.Lock()) is None
    assert Answer.returned(x for x in "ab") is None
    assert Answer.raised(RuntimeError(threading.Lock())) is None


def test_a_kept_answer_is_nobody_elses():
    """Control may go on with its own."""
    value = {"lines": [1]}
    answer = Answer.returned(value)
    value["lines"].append(2)

    assert answer.give() == {"lines": [1]}


# Around the mark.


def test_going_around_the_mark_in_a_mirrored_run_raises(traffic):
    """It raises before anything happens; outside of one it is the function."""
    sent = []

    @legion.tool(effects=True)
    def send(text):
        sent.append(text)

    with traffic.trial("1") as trial:
        send.__wrapped__("real")
    with Shadow.of(trial), pytest.raises(ContainmentError, match="send: a mirrored"):
        send.__wrapped__("mirrored")

    assert sent == ["real"]


def test_a_trial_of_another_plan_is_inside_of_the_fence(traffic, clock):
    """What a mirrored run begins is mirrored, too."""
    with traffic.trial("1") as trial:
        assert fence() is None
    shadow = Shadow.of(trial)
    with shadow, traffic.trial("inner"):
        assert fence() is shadow.fence
    assert fence() is None


def test_the_trial_is_at_hand_deep_below(traffic):
    """The innermost one, which in a mirrored run is the candidate's."""
    assert legion.current_trial() is None
    with traffic.trial("1") as trial:
        assert legion.current_trial() is trial
        with Shadow.of(trial) as shadow:
            assert functools.reduce(lambda *_: legion.current_trial(), [1, 2]) is shadow
