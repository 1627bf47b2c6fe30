"""Which arm a unit gets, whose features it sees, and what an answer records."""

from __future__ import annotations

import asyncio
import functools
import logging

import numpy as np
import pytest

from legion.model import Arm, Count
from legion.stages import current_trial
from legion.stages.exposure import Exposure
from legion.stages.mirror import Mirror
from legion.stages.plan import Feature
from legion.stages.splitter import Splitter
from legion.stages.traffic import Traffic
from legion.telemetry import Telemetry
from legion.testing import ManualClock


CONTROL, CANDIDATE = Arm.CONTROL, Arm.CANDIDATE
ON = Feature(enabled=True, settings={"k": 3})


class GraphInterrupt(Exception):  # noqa: N818 - as LangGraph names it
    """Looks like the exception by which LangGraph stops to ask a person."""


class GraphBubbleUp(Exception):  # noqa: N818
    """Its base there."""

    __module__ = "langgraph.errors"


class Paused(GraphBubbleUp):
    """A graph that waits for a person."""


def made(plan="plan", *, share=0.5, mirror=0.0, clock=None, capacity=64, splitter=None):
    clock = clock or ManualClock()
    return Traffic(
        Exposure(
            plan=plan, stage="canary", share=share, mirror=mirror, features={"new": ON}
        ),
        Mirror(clock, capacity=capacity),
        splitter=splitter or Splitter(plan),
        telemetry=Telemetry(clock),
        clock=clock,
    )


@pytest.fixture
def traffic():
    return made()


@pytest.fixture
def mirroring():
    return made(share=0.0, mirror=1.0)


def close(traffic):
    return traffic._telemetry.close(exposure=traffic.exposure.digest)


def unit_of(traffic, arm):
    return next(u for u in map(str, range(1000)) if traffic.assign(u) is arm)


@pytest.mark.parametrize("call", ["assign", "trial"])
@pytest.mark.parametrize(
    ("unit", "kind", "said"),
    [
        (5, TypeError, "got the unit 5 of <class 'int'>; write a str"),
        (None, TypeError, "NoneType"),
        (b"user", TypeError, "bytes"),
        (["user"], TypeError, "list"),
        ([], TypeError, "list"),
        ("", ValueError, "got an empty unit; write whose request it is"),
        ("\ud800", ValueError, "write text that UTF-8 can hold"),
        ("x" * 10_000_000, ValueError, "10,000,000 characters; write a hash of it"),
    ],
)
def test_what_is_no_unit_is_one_clear_error(traffic, call, unit, kind, said):
    """It names the method, what it got and what to write, and nothing is recorded."""
    with pytest.raises(kind, match=said) as caught:
        getattr(traffic, call)(unit)

    assert str(caught.value).startswith(f"{call}: ")
    assert len(str(caught.value)) < 200
    assert traffic._telemetry.drain() == 0


@pytest.mark.parametrize(
    ("units", "kind", "said"),
    [
        ([1], TypeError, "got the unit 1 of"),
        (["a", None], TypeError, "NoneType"),
        (["a", b"b"], TypeError, "bytes"),
        ("abc", TypeError, "got the one unit 'abc'; write a list of units"),
        (b"abc", TypeError, "write a list of units"),
        (["a", ""], ValueError, "empty"),
        (["a", "\ud800"], ValueError, "UTF-8"),
        (["a", "x" * 5000], ValueError, "5,000 characters"),
    ],
)
def test_many_units_of_which_one_is_none_are_one_clear_error(
    traffic, units, kind, said
):
    """The first that is wrong is named."""
    with pytest.raises(kind, match=said) as caught:
        traffic.assign_many(units)

    assert str(caught.value).startswith("assign_many: ")


def test_any_iterable_of_strings_is_many_units(traffic):
    """A generator, an array, no units at all."""
    units = [f"user-{i}" for i in range(50)]
    expected = [traffic.assign(unit) is CANDIDATE for unit in units]

    assert traffic.assign_many(iter(units)).tolist() == expected
    assert traffic.assign_many(np.array(units)).tolist() == expected
    assert traffic.assign_many([]).shape == (0,)


def test_an_order_that_raises_is_not_blamed_on_the_unit():
    """Its own error comes through."""

    class Broken:
        def hash(self, unit):
            raise ValueError("no table")

    traffic = made(splitter=Broken())
    with pytest.raises(ValueError, match="no table"):
        traffic.assign("user-1")


def test_a_feature_obeys_the_arm_of_the_trial(traffic):
    """Inside a trial the arm of that trial counts, whatever the unit's own."""
    control, candidate = (unit_of(traffic, arm) for arm in (CONTROL, CANDIDATE))
    with traffic.trial(candidate):
        assert traffic.feature("new", control).enabled
    with traffic.trial(control):
        assert not traffic.feature("new", candidate).enabled

    assert traffic.feature("new", candidate).settings == {"k": 3}


def test_a_trial_of_another_plan_says_nothing():
    """Two plans in one process do not share arms."""
    one, other = made("one"), made("other", share=0.0)
    with one.trial(unit_of(one, CANDIDATE)):
        assert not other.feature("new", "user-1").enabled
        assert one.feature("new", "user-1").enabled
        with other.trial("user-1"):
            assert one.feature("new", "user-1").enabled
            assert not other.feature("new", "user-1").enabled


def test_a_feature_inside_a_trial_is_of_the_exposure_it_began_under(traffic):
    """A move in the middle of a request does not change it half-way."""
    with traffic.trial(unit_of(traffic, CANDIDATE)) as trial:
        traffic.exposure = Exposure(plan="plan", stage="later")
        assert traffic.feature("new", trial.unit) == trial.feature("new") == ON

    assert not traffic.feature("new", trial.unit).enabled


def test_a_mirrored_run_has_the_candidates_features(mirroring):
    """Code inside sees the candidate's arm, though the unit is control's."""
    seen = []

    def answer():
        seen.append(mirroring.feature("new", "user-1").enabled)

    mirroring.run_sync("user-1", control=answer, candidate=answer, mirror=answer)
    mirroring.mirror.drain()

    assert seen == [False, True]


def test_only_units_of_control_below_the_mirror_share_are_mirrored():
    """Of the candidate's none; of control's as many as the stage says."""
    traffic = made(share=0.5, mirror=0.4, capacity=10_000)
    mirrored, answered = [], []
    for unit in map(str, range(2000)):
        traffic.run_sync(
            unit,
            control=answered.append,
            candidate=lambda _: None,
            mirror=mirrored.append,
            args=(unit,),
        )
    traffic.mirror.drain()

    assert set(mirrored) <= set(answered)
    assert abs(len(mirrored) / len(answered) - 0.4) < 0.07
    assert all(traffic.assign(unit) is CONTROL for unit in mirrored)


def test_without_a_mirror_nothing_is_mirrored(mirroring):
    """The candidate is not called in its place."""
    mirroring.run_sync("1", control=lambda: 1, candidate=pytest.fail)

    assert mirroring.mirror.drain() == 0


def test_a_mirrored_unit_is_a_pair(mirroring):
    """Both arms answered it, and only the candidate failed."""

    def broken():
        raise RuntimeError

    mirroring.run_sync("1", control=lambda: 1, candidate=pytest.fail, mirror=broken)
    mirroring.mirror.drain()
    seen = close(mirroring)

    assert seen.control.counts["error_rate"] == Count(0, 1)
    assert seen.candidate.counts["error_rate"] == Count(1, 1)
    assert (seen.pairs["error_rate"].n, seen.pairs["error_rate"].candidate) == (1, 1)
    assert "disagreement" not in seen.candidate.counts


def test_the_time_and_the_errors_of_agree_are_not_the_candidates():
    """It runs after the trial; where it raises, evidence is missing and that is said."""
    clock = ManualClock()
    traffic = made(share=0.0, mirror=1.0, clock=clock)

    def agree(one, other):
        clock.advance(9)
        raise KeyError("no such field")

    traffic.run_sync(
        "1", control=lambda: 1, candidate=int, mirror=lambda: 1, agree=agree
    )
    traffic.mirror.drain()
    window = close(traffic).candidate

    assert window.counts == {"error_rate": Count(0, 1)}
    assert window.histograms["latency"].total == 0.0
    assert window.errors == {"disagreement": "1 value left out: agree raised KeyError"}


def test_an_agree_that_raises_is_logged(mirroring, caplog):
    """With its traceback, for whoever wrote it."""
    with caplog.at_level(logging.WARNING, logger="legion"):
        mirroring.run_sync(
            "1", control=int, candidate=int, mirror=int, agree=lambda a, b: 1 / 0
        )
        mirroring.mirror.drain()

    assert "agree raised" in caplog.text
    assert "ZeroDivisionError" in caplog.text


def test_an_agree_that_is_async_is_said():
    """Its coroutine is true, whatever it would find."""
    traffic = made(share=0.0, mirror=1.0)

    async def agree(one, other):
        return False

    traffic.run_sync("1", control=int, candidate=int, mirror=int, agree=agree)
    traffic.mirror.drain()
    window = close(traffic).candidate

    assert "disagreement" not in window.counts
    assert "write a plain function" in window.errors["disagreement"]


def test_answers_that_differ_are_disagreements(mirroring):
    """One flag a mirrored answer."""
    for unit, other in enumerate([1, 1, 2]):
        mirroring.run_sync(
            f"{unit}", control=lambda: 1, candidate=int, mirror=lambda x=other: x
        )
    mirroring.mirror.drain()

    assert close(mirroring).candidate.counts["disagreement"] == Count(1, 3)


def test_mirrored_runs_that_are_dropped_are_in_the_window():
    """They are counted and named, so that nobody takes them for health."""
    traffic = made(share=0.0, mirror=1.0, capacity=2)
    for unit in range(5):
        traffic.run_sync(f"{unit}", control=int, candidate=int, mirror=int)
    seen = close(traffic)

    assert seen.candidate.unmirrored == 3
    assert "3 mirrored runs were dropped" in seen.candidate.errors["mirror"]
    assert "mirror" not in seen.control.errors


async def aint(x: int = 0) -> int:
    """Answer at once."""
    return x


class AsyncCallable:
    async def __call__(self) -> int:
        return 0


@pytest.mark.parametrize(
    "ask", [aint, functools.partial(aint, 1), AsyncCallable(), AsyncCallable().__call__]
)
@pytest.mark.parametrize("which", ["control", "candidate", "mirror"])
def test_plain_code_is_not_given_an_async_function(traffic, ask, which):
    """It is refused before anything is called or recorded."""
    given = {"control": pytest.fail, "candidate": pytest.fail, which: ask}
    with pytest.raises(TypeError, match=r"which is async; write await engine\.run"):
        traffic.run_sync("user-1", **given)

    assert traffic._telemetry.drain() == 0


def test_a_plain_function_that_returns_a_coroutine_has_failed(traffic):
    """It has not answered; nothing warns that it was never awaited."""
    with pytest.raises(TypeError, match="which is async"):
        traffic.run_sync("1", control=lambda: aint(1), candidate=lambda: aint(1))

    seen = close(traffic)
    assert [seen.window(arm).count("error_rate") for arm in Arm].count(1) == 1


def chunks():
    yield "one"
    raise OSError


async def async_chunks():
    yield "one"
    raise OSError


@pytest.mark.parametrize("ask", [chunks, async_chunks, lambda: (n for n in "no")])
def test_an_answer_that_nobody_has_read_is_no_success(traffic, ask):
    """A stream that breaks later would have counted as good, and as quick."""
    said = pytest.raises(TypeError, match=r"write `with engine\.trial\(unit\)` around")
    if ask is not async_chunks:
        with said:
            traffic.run_sync("1", control=ask, candidate=ask)
    with said:
        asyncio.run(traffic.run("2", control=ask, candidate=ask))

    seen = close(traffic)
    bad = [seen.window(arm).count("error_rate") or 0 for arm in Arm]
    assert sum(bad) == (1 if ask is async_chunks else 2)


@pytest.mark.parametrize("ask", [aint, int, lambda: aint(0), AsyncCallable()])
def test_async_code_takes_both_kinds(traffic, ask):
    """What can be awaited is, what cannot is the answer."""
    assert asyncio.run(traffic.run("1", control=ask, candidate=ask)) == 0
    assert [close(traffic).window(arm).errors for arm in Arm] == [{}, {}]


@pytest.mark.parametrize(
    "error", [asyncio.CancelledError, GeneratorExit, SystemExit, Paused]
)
def test_an_interruption_is_neither_an_error_nor_an_outcome(traffic, error):
    """It goes on to whoever asked, and nothing but its unit's exposure is recorded."""

    def stop():
        raise error

    with pytest.raises(error):
        traffic.run_sync("1", control=stop, candidate=stop)
    seen = close(traffic)

    for arm in Arm:
        assert not seen.window(arm).counts
        assert not seen.window(arm).histograms
        assert not seen.window(arm).units
    assert current_trial() is None


def test_a_cancelled_task_is_neither_an_error_nor_an_outcome(traffic):
    """As when a client hangs up."""

    async def story():
        task = asyncio.create_task(
            traffic.run(
                "1", control=asyncio.Event().wait, candidate=asyncio.Event().wait
            )
        )
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(story())
    seen = close(traffic)

    assert not any(seen.window(arm).counts for arm in Arm)
    assert not any(seen.window(arm).units for arm in Arm)


def test_an_error_of_ones_own_is_an_error_whatever_its_name(traffic):
    """Only LangGraph's is an interruption."""
    with pytest.raises(GraphInterrupt), traffic.trial("1"):
        raise GraphInterrupt
    seen = close(traffic)

    assert [seen.window(arm).count("error_rate") for arm in Arm].count(1) == 1
