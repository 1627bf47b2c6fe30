"""Two laws: no evidence is not health, and a broken criterion harms no other."""

from __future__ import annotations

import logging

import attrs
import pytest

import legion

from legion.criteria import BUILTINS, Ceiling, Criterion, Never
from legion.model import Level, Missing, Observation, Window
from legion.watchdog import Watchdog


@attrs.define
class Some:
    criteria: dict

    @classmethod
    def of(cls, *criteria):
        return cls({criterion.name: criterion for criterion in criteria})


TOXIC = Ceiling("toxic", warning=0.01, alert=0.03, critical=0.05, min_events=100)


def observation(at_s=60.0, **given):
    window = Window.of(opened_s=at_s - 60.0, closed_s=at_s, **given)
    return Observation(at_s=at_s, candidate=window)


def test_absence_of_evidence_is_not_health():
    """Law 1: nothing recorded gives no level for any of the 21, and no health."""
    report = legion.Watchdog(legion.Plugins(), interval_s=60.0).judge(observation())

    assert report.level is None
    assert not report.healthy
    assert set(report.missing()) == {criterion.name for criterion in BUILTINS}
    assert all(verdict.missing for verdict in report.verdicts)


def test_a_warning_does_not_hide_what_is_missing():
    """Law 1: what has no level is missing beside any level, and so is the unasked."""
    watchdog = Watchdog(Some.of(TOXIC, Never("bypasses")), interval_s=60.0)
    report = watchdog.judge(observation(shares={"toxic": (2, 100)}))

    assert report.level is Level.WARNING
    assert report.missing() == ("bypasses",)
    assert report.missing("toxic", "bypasses", "unheard_of") == (
        "bypasses",
        "unheard_of",
    )


def test_a_window_that_is_not_full_is_missing_though_it_looks_fine():
    """Law 1: 99 good events of 100 are not yet good."""
    watchdog = Watchdog(Some.of(TOXIC), interval_s=60.0)
    report = watchdog.judge(observation(shares={"toxic": (0, 99)}))

    assert report.missing("toxic") == ("toxic",)
    assert report.level is None


class Broken(Criterion):
    """Counts in its memory how often it was asked, and raises if it is told to."""

    def judge(self, window, memory):
        asked = (memory or {}).get("asked", 0) + 1
        if isinstance(memory, dict):
            memory["asked"] = 99
        if window.count("raise"):
            msg = "no luck"
            raise RuntimeError(msg)
        return self.verdict(0.0, window=window), {"asked": asked}


def test_a_criterion_that_raises_has_no_level_and_the_others_have(caplog):
    """Law 3: no level, with the traceback; the others run; it is logged by name."""
    broken = Broken("broken", metric="raise", alert=1.0)
    watchdog = Watchdog(Some.of(broken, TOXIC, Never("zero")), interval_s=60.0)

    with caplog.at_level(logging.WARNING, logger="legion"):
        report = watchdog.judge(
            observation(shares={"toxic": (6, 100)}, counts={"raise": 1, "zero": 0})
        )

    verdict = report.verdict("broken")
    assert verdict.missing is Missing.ERROR
    assert verdict.code == "raised"
    assert "no luck" in verdict.reason
    assert "RuntimeError: no luck" in verdict.evidence["traceback"]
    assert "in judge" in verdict.evidence["traceback"]
    assert report.verdict("toxic").level is Level.CRITICAL
    assert report.verdict("zero").level is Level.OK
    assert "broken" in caplog.text
    assert "no luck" in caplog.text


def test_a_criterion_that_raises_keeps_the_memory_it_had():
    """Law 3: raising half-way changes nothing of what it remembered."""
    watchdog = Watchdog(
        Some.of(Broken("broken", metric="raise", alert=1.0)), interval_s=60.0
    )

    def asked():
        return watchdog.to_json()["criteria"]["broken"]["memory"]

    watchdog.judge(observation(60.0, counts={"raise": 0}))
    assert asked() == {"asked": 1}
    watchdog.judge(observation(120.0, counts={"raise": 1}))
    assert asked() == {"asked": 1}
    watchdog.judge(observation(180.0, counts={"raise": 0}))
    assert asked() == {"asked": 2}


class Says(Criterion):
    """Answers with what it is given."""

    def judge(self, window, memory):
        return ANSWERS[self.summary](self)


ANSWERS = {
    "a string": lambda _: "fine",
    "nothing": lambda _: None,
    "one value": lambda c: c.verdict(0.0),
    "three values": lambda c: (c.verdict(0.0), None, None),
    "no verdict": lambda _: ("fine", None),
    "another's verdict": lambda _: (Never("other").verdict(0.0), None),
    "memory of sets": lambda c: (c.verdict(0.0), {"seen": {1}}),
    "memory of NaN": lambda c: (c.verdict(0.0), {"seen": float("nan")}),
    "memory of integer keys": lambda c: (c.verdict(0.0), {1: 2}),
    "a list as memory": lambda c: (c.verdict(0.0), [1]),
    "NaN": lambda c: (attrs.evolve(c.verdict(0.0), value=float("nan")), None),
    "NaN as evidence": lambda c: (
        c.verdict(0.0, evidence={"x": float("nan")}),
        None,
    ),
    "an object as evidence": lambda c: (c.verdict(0.0, evidence={"x": object()}), None),
    "too large an integer": lambda c: (c.verdict(0.0, evidence={"x": 2**60}), None),
    "half a character": lambda c: (c.verdict(0.0, reason="\ud800"), None),
    "a number as level": lambda c: (attrs.evolve(c.verdict(0.0), level=7), None),
    "leaving": lambda _: exit_now(),
}


def exit_now():
    raise SystemExit(1)


@pytest.mark.parametrize("answer", ANSWERS)
def test_garbage_is_no_answer(answer):
    """Law 3: what is no verdict with a JSON memory counts as if it had raised."""
    says = Says("says", metric="toxic", alert=1.0, summary=answer)
    watchdog = Watchdog(Some.of(says, TOXIC), interval_s=60.0)

    report = watchdog.judge(observation(shares={"toxic": (0, 100)}))

    assert report.verdict("says").missing is Missing.ERROR
    assert report.verdict("says").code == "raised"
    assert report.verdict("toxic").level is Level.OK
    assert watchdog.to_json()["criteria"]["says"]["memory"] is None
    assert len(report.digest) == 64
    assert len(legion.canonical.dumps(watchdog.to_json())) > 0


def test_a_criterion_whose_events_raise_is_an_error_too():
    """Law 3: whatever of it is overridden and raises, the others run."""

    class Odd(Criterion):
        def events(self, window):
            msg = "no idea"
            raise LookupError(msg)

    watchdog = Watchdog(Some.of(Odd("odd", alert=1.0), TOXIC), interval_s=60.0)
    report = watchdog.judge(observation(shares={"toxic": (0, 100)}))

    assert report.verdict("odd").code == "raised"
    assert report.verdict("toxic").level is Level.OK
