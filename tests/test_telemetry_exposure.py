"""Windows hold one exposure; units outlive a process; limits hold from the next event."""

from __future__ import annotations

import json
import math

import pytest

from hypothesis import given, settings
from hypothesis import strategies as st

from legion.model import Arm, Count, Observation, Pairs
from legion.telemetry import Telemetry
from legion.testing import ManualClock


CONTROL, CANDIDATE = Arm.CONTROL, Arm.CANDIDATE
HOUR = 3600.0


@pytest.fixture
def clock():
    return ManualClock(start_s=1e6)


@pytest.fixture
def telemetry(clock):
    return Telemetry(clock)


def serve(telemetry, unit, *, arm=CANDIDATE, exposure="now", failed=False):
    telemetry.begin(arm, unit, exposure=exposure)
    telemetry.latency(arm, unit, 0.25, exposure=exposure)
    telemetry.end(arm, unit, failed=failed, exposure=exposure)


def test_a_window_holds_only_its_exposure(telemetry):
    """What began under the one before is left out, and counted as stale, by arm."""
    serve(telemetry, 1, exposure="before")
    telemetry.close(exposure="before")
    for unit in range(3):
        serve(telemetry, unit, exposure="now")
    serve(telemetry, 9, exposure="before", failed=True)
    seen = telemetry.close(exposure="now")

    assert seen.candidate.counts == {"error_rate": Count(0, 3)}
    assert seen.candidate.events("latency") == 3
    assert seen.candidate.units == {"error_rate": 3}
    assert not seen.candidate.bad_units
    assert (seen.candidate.stale, seen.control.stale) == (3, 0)
    assert telemetry.close(exposure="now").candidate.stale == 0


def test_what_belongs_to_the_next_exposure_waits_for_it(telemetry):
    """Somebody moved the pointer while a window was closed: nothing is lost."""
    serve(telemetry, 1, exposure="before")
    serve(telemetry, 2, exposure="now", failed=True)
    first, then = telemetry.close(exposure="before"), telemetry.close(exposure="now")

    assert first.candidate.counts == {"error_rate": Count(0, 1)}
    assert first.candidate.stale == 0
    assert then.candidate.counts == {"error_rate": Count(1, 1)}
    assert then.candidate.bad_units == {"error_rate": {2}}
    assert then.candidate.stale == 0


def test_going_back_makes_what_was_ahead_stale(telemetry):
    """The old exposure is current again; the new one's events belong to nobody."""
    for exposure in ("before", "now", "before"):
        serve(telemetry, 1, exposure=exposure)
        telemetry.close(exposure=exposure)
    serve(telemetry, 2, exposure="now")
    serve(telemetry, 3, exposure="before")
    seen = telemetry.close(exposure="before")

    assert seen.candidate.counts == {"error_rate": Count(0, 1)}
    assert seen.candidate.stale == 3


def test_without_an_exposure_it_belongs_to_the_current_one(telemetry):
    """Outcomes that the host reports without a digest join their unit's others."""
    serve(telemetry, 1)
    telemetry.event("error_rate", CANDIDATE, 1, True)
    telemetry.event("solved", CANDIDATE, 1, True)
    telemetry.add("crashes", CANDIDATE, 2)
    telemetry.latency(CANDIDATE, 1, 0.5)
    seen = telemetry.close(exposure="now")

    assert seen.candidate.counts == {
        "error_rate": Count(1, 2),
        "solved": Count(1, 1),
        "crashes": Count(2),
    }
    assert seen.candidate.events("latency") == 2
    assert seen.candidate.units == {"error_rate": 1, "solved": 1}
    assert seen.candidate.stale == 0


def test_flags_and_integers_of_one_name_are_an_error_however_they_came(telemetry):
    """One with a digest, one without: still not both."""
    telemetry.event("crashes", CANDIDATE, 1, True, exposure="now")
    telemetry.add("crashes", CANDIDATE, 5)
    window = telemetry.close(exposure="now").candidate

    assert window.counts == {"crashes": Count(1, 1)}
    assert "not both" in window.errors["crashes"]


def test_exposures_beyond_measure_do_not_pile_up(telemetry):
    """Whoever records a new digest each time fills no memory."""
    for number in range(1000):
        serve(telemetry, number, exposure=f"{number}")
    telemetry.drain()

    assert len(telemetry._fold) <= 17
    seen = telemetry.close(exposure="999")
    assert seen.candidate.counts == {"error_rate": Count(0, 1)}
    assert seen.candidate.stale == 999 * 3


recordings = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", ""]),
        st.sampled_from(Arm),
        st.integers(0, 3),
        st.booleans(),
        st.booleans(),
    ),
    max_size=60,
)


@given(recordings)
@settings(max_examples=200, deadline=None)
def test_every_event_is_in_one_window_or_stale(recorded):
    """Over any order of two exposures, none is in two windows and none vanishes."""
    telemetry = Telemetry(ManualClock())
    observations, exposure = [], "a"
    for digest, arm, unit, flag, close in recorded:
        telemetry.event("toxic", arm, unit, flag, exposure=digest)
        if close:
            observations.append(telemetry.close(exposure=exposure))
            exposure = digest or exposure
    # What was ahead when the last window closed lapses at the next two.
    observations += [telemetry.close(exposure=digest) for digest in ("a", "b", "c")]

    for arm in Arm:
        windows = [seen.window(arm) for seen in observations]
        counted = sum(window.events("toxic") + window.stale for window in windows)
        assert counted == sum(event[1] is arm for event in recorded)


def test_a_value_above_the_limit_makes_its_unit_bad(telemetry):
    """Each arm has its own limit, and one recorded value is the opportunity."""
    telemetry.watch("latency_p95", "latency", candidate=0.2, control=0.3)
    for arm in Arm:
        serve(telemetry, 1, arm=arm)
    seen = telemetry.close(exposure="now")

    assert seen.candidate.units["latency_p95"] == seen.control.units["latency_p95"] == 1
    assert seen.candidate.bad_units["latency_p95"] == {1}
    assert "latency_p95" not in seen.control.bad_units
    assert seen.pairs["latency_p95"] == Pairs(n=1, candidate=1)


def test_a_limit_holds_from_the_next_event_on(telemetry):
    """What was recorded before is judged by what held then, though it still waits."""
    telemetry.latency(CANDIDATE, 1, 0.25, exposure="now")
    telemetry.watch("slow", "latency", candidate=0.2, control=0.2)
    telemetry.latency(CANDIDATE, 2, 0.25, exposure="now")
    telemetry.watch("slow", "latency", candidate=0.3, control=0.3)
    telemetry.latency(CANDIDATE, 3, 0.25, exposure="now")
    telemetry.unwatch("slow")
    telemetry.latency(CANDIDATE, 4, 0.25, exposure="now")
    first = telemetry.close(exposure="now").candidate
    telemetry.latency(CANDIDATE, 5, 0.25, exposure="now")

    assert first.units["slow"] == 2
    assert first.bad_units["slow"] == {2}
    assert not telemetry.close(exposure="now").candidate.units


def test_a_limit_outlives_the_window_and_the_exposure(telemetry):
    """Until it is replaced or taken away."""
    telemetry.watch("slow", "latency", candidate=0.2, control=0.2)
    for exposure in ("before", "before", "now"):
        serve(telemetry, len(exposure), exposure=exposure)
        seen = telemetry.close(exposure=exposure)

    assert seen.candidate.bad_units["slow"] == {3}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_none_is_no_opportunity(telemetry, value):
    """It is an error of its stream, and says nothing of its unit."""
    telemetry.watch("slow", "latency", candidate=0.2, control=0.2)
    telemetry.latency(CANDIDATE, 1, value)
    window = telemetry.close().candidate

    assert "slow" not in window.units
    assert "latency" in window.errors


def test_the_age_of_a_quantile_is_that_of_its_name(clock):
    """Matures are given by metric, under any of its names."""
    matures = {"latency_p95": HOUR, "mobile_success_rate": HOUR}
    telemetry = Telemetry(clock, matures=matures)
    telemetry.watch("latency_p95", "latency", candidate=0.2, control=0.2)
    serve(telemetry, 1)
    telemetry.event("mobile_success", CANDIDATE, 1, False, exposure="now")
    first = telemetry.close(exposure="now").candidate
    clock.advance(HOUR)
    second = telemetry.close(exposure="now").candidate

    assert first.units == {"error_rate": 1, "mobile_success": 0}
    assert second.units == {"latency_p95": 1, "mobile_success": 1}
    assert second.bad_units == {"latency_p95": {1}, "mobile_success": {1}}


def test_an_event_from_the_future_or_no_time_is_of_now(clock):
    """It can neither hide its unit for ever nor hold up the others."""
    telemetry = Telemetry(clock, default_s=HOUR)
    for unit, at_s in enumerate([math.nan, math.inf, 1e12, 0.0]):
        telemetry.record(("error_rate", "candidate", unit, "", at_s, True))
    telemetry.drain()
    clock.advance(HOUR)

    window = telemetry.close().candidate
    assert window.bad_units == {"error_rate": {0, 1, 2, 3}}


def test_units_of_a_killed_process_come_of_age_as_bad(clock):
    """Unfinished ones are bad at their age by the date; the others are what they were."""
    first = Telemetry(clock, default_s=HOUR)
    first.begin(CANDIDATE, 1, exposure="now")
    serve(first, 2, failed=True)
    serve(first, 3)
    first.event("toxic", CONTROL, 4, True, exposure="now")
    saved = json.loads(json.dumps(first.to_json()))
    clock.advance(HOUR / 2)
    later = ManualClock(start_s=1e6 + HOUR / 2)  # another machine clock, the same date
    second = Telemetry(later, default_s=HOUR)
    second.restore(saved)

    assert not second.close(exposure="now").candidate.units
    later.advance(HOUR / 2)
    seen = second.close(exposure="now")
    assert seen.candidate.bad_units == {"error_rate": {1, 2}}
    assert seen.candidate.units == {"error_rate": 3}
    assert seen.control.bad_units == {"toxic": {4}}
    assert not second.close(exposure="now").candidate.units


def test_without_an_age_the_unfinished_are_bad_when_they_are_restored(clock):
    """There is nothing to wait for: their process is no more."""
    first, second = Telemetry(clock), Telemetry(clock)
    first.begin(CANDIDATE, 1, exposure="now")
    second.restore(first.to_json())

    assert second.close(exposure="now").candidate.bad_units == {"error_rate": {1}}


def test_a_unit_that_comes_back_in_time_counts_by_its_outcome(clock):
    """The new process carries the task on: it was not lost."""
    first, second = (Telemetry(clock, default_s=HOUR) for _ in range(2))
    first.begin(CANDIDATE, 1, exposure="now")
    second.restore(first.to_json())
    serve(second, 1)
    clock.advance(HOUR)

    seen = second.close(exposure="now").candidate
    assert seen.units == {"error_rate": 1}
    assert not seen.bad_units


def test_what_was_saved_under_another_exposure_is_left_behind(clock):
    """Windows never span two exposures, restored or not."""
    first, second = Telemetry(clock), Telemetry(clock)
    first.begin(CANDIDATE, 1, exposure="before")
    second.restore(first.to_json())

    assert not second.close(exposure="now").candidate.bad_units


def test_a_date_that_jumps_back_makes_nobody_older(clock):
    """At worst a unit waits for its whole age again."""
    first = Telemetry(clock, default_s=HOUR)
    first.begin(CANDIDATE, 1, exposure="now")
    early = ManualClock(start_s=10.0)
    second = Telemetry(early, default_s=HOUR)
    second.restore(first.to_json())
    early.advance(HOUR - 1)

    assert not second.close(exposure="now").candidate.units
    early.advance(1)
    assert second.close(exposure="now").candidate.units == {"error_rate": 1}


def test_what_is_saved_is_bounded_and_said(clock, monkeypatch):
    """As many are written down of all as of the bad, and the window says it."""
    monkeypatch.setattr("legion.telemetry.cohort.SAVED", 10)
    telemetry = Telemetry(clock)
    for unit in range(6):
        telemetry.begin(CANDIDATE, unit, exposure="now")
    assert len(telemetry.to_json()["now"]) == 6
    for unit in range(6, 20):
        telemetry.event("toxic", CANDIDATE, unit, unit % 4 < 2, exposure="now")

    saved = telemetry.to_json()["now"]
    assert [len(saved), sum("toxic" in one["bad"] for one in saved)] == [10, 3]
    window = telemetry.close(exposure="now").candidate
    assert "10 were not saved, good or bad" in window.errors["units"]
    assert "units" not in telemetry.close(exposure="now").candidate.errors


def test_an_observation_with_units_and_pairs_survives_json(telemetry):
    """Units, bad units, pairs and what was left out are read back."""
    for unit, failed in enumerate([True, False]):
        for arm in Arm:
            serve(telemetry, unit, arm=arm, failed=failed)
    telemetry.record(("trial", "candidate", 7, "now", 0.0, "unmirrored"))
    seen = telemetry.close(exposure="now")

    assert seen.pairs == {"error_rate": Pairs(n=2, both=1)}
    assert seen.candidate.unmirrored == 1
    assert "1 mirrored runs were dropped" in seen.candidate.errors["mirror"]
    assert Observation.from_json(json.loads(json.dumps(seen.to_json()))) == seen


def test_pairs_add_up_and_refuse_what_cannot_be():
    """Merging adds; more bad pairs than pairs is an error."""
    one, two = Pairs(n=3, both=1), Pairs(n=4, candidate=2, control=1)

    assert one.merge(two) == Pairs(n=7, both=1, candidate=2, control=1)
    with pytest.raises(ValueError, match="add up to at most n"):
        Pairs(n=1, both=1, control=1)


def test_windows_merge_their_units(telemetry):
    """Units of two windows are different units: numbers add, sets unite."""
    windows = []
    for unit in range(2):
        serve(telemetry, unit, failed=True)
        windows.append(telemetry.close(exposure="now").candidate)
    merged = windows[0].merge(windows[1])

    assert merged.units == {"error_rate": 2}
    assert merged.bad_units == {"error_rate": {0, 1}}
