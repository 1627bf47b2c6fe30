"""The contract that is published: who passes, who fails and why."""

from __future__ import annotations

import itertools
import random

import pytest

import legion

from legion.criteria import BUILTINS, Ceiling, Criterion, Floor, Never, Rise
from legion.model import Level, Missing
from legion.testing import ManualClock, check_criterion


@legion.criterion(unit="share", warning=0.01, critical=0.05, min_events=100)
def toxicity(window):
    """Share of answers that were toxic."""
    return window.share("toxic")


class Drift(Criterion):
    """An expert's criterion: how far a mean has moved from its slow average."""

    def judge(self, window, memory):
        mean = window.mean("score")
        if not mean:
            return self.no_level(Missing.NO_DATA, "no scores"), memory
        slow = (memory or {}).get("slow", mean)
        verdict = self.verdict(abs(mean - slow) / slow, window=window)
        return verdict, {"slow": 0.9 * slow + 0.1 * mean}


KINDS = (
    Ceiling("toxic", of="share", warning=0.01, critical=0.05, min_events=100),
    Ceiling("slow", of="p95", metric="latency_p95", unit="s", alert=2, min_events=100),
    Ceiling("long", of="mean", metric="tokens", warning=50, min_events=20),
    Ceiling("crashes", of="count", alert=3),
    Floor("answered", of="share", warning=0.95, alert=0.9, min_events=50),
    Rise("cost", of="mean", warning=0.2, alert=0.5, min_events=50),
    Never("refunded_twice"),
    toxicity,
    Drift("drift", metric="score", warning=0.15, alert=0.3, min_events=20),
)


@pytest.mark.parametrize("criterion", [*BUILTINS, *KINDS], ids=lambda c: c.name)
def test_every_criterion_of_ours_keeps_the_contract(criterion):
    """The 21, the four kinds, a function and an expert's class pass the same check."""
    check_criterion(criterion)


class OkWithoutData(Criterion):
    def measure(self, window):
        return window.share("m") or 0.0


class Forgetful(Criterion):
    """Judges by what it saw before, in itself."""

    seen = itertools.count()

    def measure(self, window):
        share = window.share("m")
        return None if share is None else share + next(self.seen)


class Dicing(Criterion):
    dice = random.Random(1)

    def measure(self, window):
        share = window.share("m")
        return None if share is None else self.dice.random()


class NoJson(Criterion):
    def judge(self, window, memory):
        if window.share("m") is None:
            return self.no_level(Missing.NO_DATA, "none"), None
        return self.verdict(0.0), {"seen": {1, 2}}


class TupleMemory(Criterion):
    def judge(self, window, memory):
        share = window.share("m")
        if share is None:
            return self.no_level(Missing.NO_DATA, "none"), None
        seen = (memory or {}).get("seen", ())
        level = Level.OK if isinstance(seen, tuple) else Level.ALERT
        return self.verdict(share, level=level), {"seen": (share,)}


class ListMemory(Criterion):
    def judge(self, window, memory):
        return self.no_level(Missing.NO_DATA, "none"), [1]


class Meddling(Criterion):
    def judge(self, window, memory):
        share = window.share("m")
        if share is None:
            return self.no_level(Missing.NO_DATA, "none"), {"n": 0}
        if memory is not None:
            memory["n"] = memory["n"] + 1
        return self.verdict(share), memory or {"n": 0}


class ChangesWindow(Criterion):
    def measure(self, window):
        share = window.share("m")
        window.counts.clear()
        return share


class Misnamed(Criterion):
    def judge(self, window, memory):
        return Never("somebody_else").judge(window, memory)


class OnlyVerdict(Criterion):
    def judge(self, window, memory):
        return self.no_level(Missing.NO_DATA, "none")


class Garbage(Criterion):
    def judge(self, window, memory):
        return "fine", memory


class Raising(Criterion):
    def measure(self, window):
        return window.counts["m"].n / window.counts["m"].of


class NotANumber(Criterion):
    def measure(self, window):
        return None if window.share("m") is None else float("nan")


class Upside(Criterion):
    """Levels against the grain of its own limits."""

    def verdict(self, value, **given):
        level = Level.OK if value > 0.5 else Level.ALERT
        return super().verdict(value, **{**given, "level": level})

    def measure(self, window):
        return window.share("m")


class TooEager(Criterion):
    def events(self, window):
        return 10**6

    def measure(self, window):
        return window.share("m")


class Changing(Criterion):
    __setattr__ = object.__setattr__

    def measure(self, window):
        return window.share("m")


class Hidden(Criterion):
    @legion.hookimpl
    def legion_register_criteria(self):
        return []


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        (OkWithoutData, "without events has the level"),
        (Forgetful, "two verdicts"),
        (Dicing, "two verdicts"),
        (NoJson, "no JSON"),
        (TupleMemory, "after a restart"),
        (ListMemory, "return a mapping, or None"),
        (Meddling, "changed the memory"),
        (ChangesWindow, "changed the window"),
        (Misnamed, "speaks of 'somebody_else'"),
        (OnlyVerdict, r"return \(verdict, memory\)"),
        (Garbage, "return self.verdict"),
        (Raising, "judge raised KeyError"),
        (NotANumber, "judge raised ValueError"),
        (Upside, "milder level"),
        (TooEager, "judged on 49 of 50 events"),
        (Changing, "it can be changed"),
        (Hidden, "return the criterion itself"),
    ],
)
def test_a_broken_criterion_fails_with_a_sentence(kind, says):
    """Each way to break the contract is found, and the message names it."""
    with pytest.raises(AssertionError, match=says):
        check_criterion(kind("broken", metric="m", warning=0.5, min_events=50))


def test_a_level_on_too_few_events_is_found():
    """A criterion whose events are not counted is told how to have them counted."""

    class Uncounted(Criterion):
        def judge(self, window, memory):
            share = window.share("toxic")
            if share is None:
                return self.no_level(Missing.NO_DATA, "none"), memory
            return self.verdict(share), memory

    check_criterion(Uncounted("a", metric="toxic", warning=0.1, min_events=50))
    with pytest.raises(AssertionError, match="metric="):
        check_criterion(Uncounted("a", warning=0.1, min_events=50))


def test_a_class_and_a_function_are_no_criteria():
    """What was not made an instance is told so."""
    for thing in (Drift, lambda window: 0.0, None):
        with pytest.raises(AssertionError, match="write an instance"):
            check_criterion(thing)


def test_a_manual_clock_stands_until_it_is_moved():
    """Plan time, machine time and date move by hand, and never back."""
    clock = ManualClock(100.0)

    assert (clock.plan(), clock.machine(), clock.wall()) == (100.0, 0.0, 100.0)
    clock.advance(60.0)
    assert (clock.plan(), clock.machine(), clock.wall()) == (160.0, 60.0, 160.0)
    clock.advance(3600.0, machine_s=0.5)
    assert (clock.plan(), clock.machine(), clock.wall()) == (3760.0, 60.5, 160.5)
    for seconds, machine_s in ((-1.0, None), (1.0, -1.0)):
        with pytest.raises(ValueError, match="does not go back"):
            clock.advance(seconds, machine_s=machine_s)
