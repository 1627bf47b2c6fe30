"""Visits: every one counts at equal age, by what it had until then."""

from __future__ import annotations

import json

import pytest

from hypothesis import given, settings
from hypothesis import strategies as st

from legion.model import Arm, Observation, Visits, Window
from legion.telemetry import Cohort, Telemetry
from legion.testing import ManualClock


CONTROL, CANDIDATE = Arm.CONTROL, Arm.CANDIDATE
HOUR = 3600.0

visits = st.dictionaries(
    st.integers(0, 2**64 - 1),
    st.tuples(st.integers(0, 9), st.integers(0, 9)).map(
        lambda two: (two[0], two[0] + two[1] + 1)
    ),
    max_size=12,
).map(Visits)


def cohort(**arguments):
    return Cohort(visits={"error_rate"}, **arguments)


def came(cohort, now_s, *, metric="error_rate", arm=CANDIDATE):
    """Return (bad, n) by unit of one close."""
    found = cohort.close(now_s).visits[arm].get(metric, Visits())
    return dict(found.units)


def visit(cohort, unit, at_s=0.0, *, took_s=0.0, failed=False, arm=CANDIDATE):
    cohort.arm(arm).began(unit, at_s)
    cohort.arm(arm).ended(unit, at_s + took_s, failed=failed)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(visits, visits), min_size=2, max_size=4))
def test_windows_add_visits_unit_by_unit(parts):
    """In whatever order they are merged, and after being written as JSON."""
    windows = [
        Window(visits={"a": one, "b": other}, closed_s=float(place))
        for place, (one, other) in enumerate(parts)
    ]
    once, again = windows[0], windows[-1]
    for window in windows[1:]:
        once = once.merge(window)
    for window in windows[-2::-1]:
        again = window.merge(again)
    expected: dict[int, list[int]] = {}
    for one, _ in parts:
        for unit, (bad, n) in one.units.items():
            total = expected.setdefault(unit, [0, 0])
            total[0] += bad
            total[1] += n

    assert once.visits == again.visits
    assert once.visits["a"].units == {u: tuple(t) for u, t in expected.items()}
    assert Window.from_json(json.loads(json.dumps(once.to_json()))) == once


def test_a_window_without_visits_reads_as_one_that_has_none():
    """What an earlier version wrote has no such key."""
    written = Window().to_json()
    del written["visits"]

    assert Window.from_json(written) == Window()


@pytest.mark.parametrize("counts", [(2, 1), (-1, 1), (0, 0)])
def test_what_cannot_have_happened_is_refused(counts):
    """More bad visits than visits, fewer than none, and a unit that never came."""
    with pytest.raises(ValueError, match="write 0 <= bad <= n"):
        Visits({7: counts})


def test_every_visit_counts_and_its_unit_once():
    """Three visits, two of them bad, are one bad unit and (2, 3)."""
    one = cohort()
    for failed in (True, False, True):
        visit(one, 1, failed=failed)
    aged = one.close(1.0)

    assert aged.units[CANDIDATE] == {"error_rate": 1}
    assert aged.visits[CANDIDATE]["error_rate"].units == {1: (2, 3)}
    visit(one, 1, 2.0, failed=True)
    assert came(one, 3.0) == {1: (1, 1)}
    assert came(one, 4.0) == {}


def test_a_visit_counts_at_its_own_age_and_unfinished_then_is_bad():
    """Each an hour after it began; what ends after that ends too late."""
    one = cohort(default_s=HOUR)
    visit(one, 1, 0.0)
    visit(one, 1, 100.0, took_s=HOUR)
    one.arm(CANDIDATE).began(1, 200.0)

    assert came(one, HOUR - 1) == {}
    assert came(one, HOUR) == {1: (0, 1)}
    assert came(one, HOUR + 100) == {1: (1, 1)}
    assert came(one, HOUR + 200) == {1: (1, 1)}
    one.arm(CANDIDATE).ended(1, HOUR + 300, failed=False)
    assert came(one, 3 * HOUR) == {}


def test_one_that_never_ends_spoils_no_later_visit():
    """Its end is not waited for beyond its age, so later ends are those of their own."""
    one = cohort(default_s=HOUR)
    one.arm(CANDIDATE).began(1, 0.0)
    assert came(one, HOUR) == {1: (1, 1)}
    for at_s in (2 * HOUR, 3 * HOUR):
        visit(one, 1, at_s, took_s=10.0)

    assert came(one, 5 * HOUR) == {1: (0, 2)}


def test_ends_belong_to_the_oldest_open_visit():
    """Two tabs: the first to end was the first to begin, and is the late one."""
    one = cohort(default_s=HOUR)
    units = one.arm(CANDIDATE)
    units.began(1, 0.0)
    units.began(1, HOUR / 2)
    units.ended(1, HOUR + 1, failed=False)
    units.ended(1, HOUR + 2, failed=False)

    assert came(one, 3 * HOUR) == {1: (1, 2)}


def test_an_interrupted_visit_is_none():
    """A graph that stops to ask a person has no outcome, at any age."""
    for age_s in (0.0, HOUR):
        one = cohort(default_s=age_s)
        one.arm(CANDIDATE).began(1, 0.0)
        one.arm(CANDIDATE).ended(1, 1.0, failed=None)
        assert came(one, 2 * HOUR) == {}


def test_remarks_count_with_the_visit_they_were_made_in():
    """At its age, each of them; what is said after that is left out in either arm."""
    one = Cohort(visits={"toxic"}, default_s=HOUR)
    for arm, said_s in ((CONTROL, 2 * HOUR), (CANDIDATE, 60.0)):
        visit(one, 1, 0.0, arm=arm)
        one.arm(arm).note(1, "toxic", 30.0, False)
        one.arm(arm).note(1, "toxic", said_s, True)
    aged = one.close(3 * HOUR)

    assert aged.visits[CONTROL]["toxic"].units == {1: (0, 1)}
    assert aged.visits[CANDIDATE]["toxic"].units == {1: (1, 2)}


def test_only_what_was_asked_for_is_counted():
    """Nothing of it where nobody asks, and nothing of other metrics."""
    bare, asked = Cohort(), cohort()
    for one in (bare, asked):
        visit(one, 1)
        one.arm(CANDIDATE).note(1, "toxic", 0.0, True)

    assert bare.close(1.0).visits[CANDIDATE] == {}
    assert set(asked.close(1.0).visits[CANDIDATE]) == {"error_rate"}


@pytest.mark.parametrize("age_s", [0.0, HOUR])
def test_visits_of_a_killed_process_count_as_bad(age_s):
    """What was open is bad at its age; what was bad and waited is not forgotten."""
    clock = ManualClock()
    first = Telemetry(clock, default_s=age_s, visits=["error_rate"])
    first.begin(CANDIDATE, 1, exposure="x")
    first.begin(CANDIDATE, 2, exposure="x")
    first.end(CANDIDATE, 2, failed=True, exposure="x")
    seen = first.close(exposure="x")
    saved = json.loads(json.dumps(first.to_json()))
    clock.advance(60.0)
    second = Telemetry(clock, default_s=age_s, visits=["error_rate"])
    second.restore(saved)
    clock.advance(age_s)
    both = seen.candidate.merge(second.close(exposure="x").candidate)

    assert both.visits["error_rate"].units == {1: (1, 1), 2: (1, 1)}


def test_an_observation_tells_visits_once():
    """Control's are in its own window, not in the candidate's baseline again."""
    telemetry = Telemetry(ManualClock(), visits=["error_rate"])
    for arm in Arm:
        telemetry.begin(arm, 5, exposure="x")
        telemetry.end(arm, 5, failed=arm is CONTROL, exposure="x")
    seen = telemetry.close(exposure="x")

    assert seen.control.visits["error_rate"].units == {5: (1, 1)}
    assert seen.candidate.visits["error_rate"].units == {5: (0, 1)}
    assert seen.candidate.baseline.visits == {}
    assert Observation.from_json(json.loads(json.dumps(seen.to_json()))) == seen


def test_visits_that_are_not_saved_are_said(monkeypatch):
    """What a restart would lose is named in the window."""
    monkeypatch.setattr("legion.telemetry.cohort.SAVED", 2)
    one = cohort(default_s=HOUR)
    for unit in range(5):
        one.arm(CANDIDATE).began(unit, float(unit))
    saved = one.to_json(10.0, 10.0)

    assert sum("visit" in entry for entry in saved) == 2
    assert "3 visits were not saved" in "; ".join(one.faults(CANDIDATE))


@pytest.mark.parametrize("age_s", [0.0, HOUR])
@pytest.mark.parametrize("ended", [True, False])
def test_visits_that_do_not_fit_are_left_out_of_both_arms(monkeypatch, age_s, ended):
    """Open, young or waiting to be taken: the arms share the places there are."""
    monkeypatch.setattr("legion.telemetry.visiting.MOST", 100)
    them = cohort(default_s=age_s)
    for unit in range(1_000):
        arm = CANDIDATE if unit % 20 == 0 else CONTROL
        them.arm(arm).began(unit, 0.0)
        if ended:
            them.arm(arm).ended(unit, 0.0, failed=False)
    left_out = {arm: them.left_out(arm) for arm in Arm}
    if not ended and not age_s:
        for unit in range(100):
            arm = CANDIDATE if unit % 20 == 0 else CONTROL
            them.arm(arm).ended(unit, 0.0, failed=False)
    aged = them.close(HOUR).visits

    assert {arm: len(aged[arm]["error_rate"].units) for arm in Arm} == {
        CANDIDATE: 5,
        CONTROL: 95,
    }
    assert left_out == {CANDIDATE: 45, CONTROL: 855}


def test_a_window_says_how_much_was_left_out(monkeypatch):
    """Units and visits, in the window's own words and as a number, once."""
    monkeypatch.setattr("legion.telemetry.units.MOST", 4)
    monkeypatch.setattr("legion.telemetry.visiting.MOST", 4)
    telemetry = Telemetry(ManualClock(), default_s=HOUR, visits={"error_rate"})
    for unit in range(6):
        telemetry.begin(CONTROL, unit, exposure="x")
    seen = telemetry.close(exposure="x")

    assert (seen.control.left_out, seen.candidate.left_out) == (4, 0)
    assert "2 were not followed" in seen.control.errors["units"]
    assert Window.from_json(seen.control.to_json()) == seen.control
    assert seen.control.merge(seen.control).left_out == 8
    assert telemetry.close(exposure="x").control.left_out == 0
