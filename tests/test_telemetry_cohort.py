"""Units: each counts once, in either arm at the same age, by what it had until then."""

from __future__ import annotations

import math

from collections import Counter

import pytest

from hypothesis import given, settings
from hypothesis import strategies as st

from legion.model import Arm, Pairs
from legion.telemetry import Cohort


CONTROL, CANDIDATE = Arm.CONTROL, Arm.CANDIDATE
HOUR = 3600.0


def finish(cohort, arm, unit, at_s=0.0, *, took_s=0.0, failed=False):
    cohort.arm(arm).began(unit, at_s)
    cohort.arm(arm).ended(unit, at_s + took_s, failed=failed)


def counted(cohort, now_s, metric="error_rate", arm=CANDIDATE):
    """Return (units, sorted bad units) of one close."""
    aged = cohort.close(now_s)
    return aged.units[arm].get(metric, 0), sorted(aged.bad_units[arm].get(metric, ()))


def test_without_an_age_a_unit_counts_at_the_first_close_after_its_trial():
    """Neither before it ends nor twice."""
    cohort = Cohort()
    cohort.arm(CANDIDATE).began(1, 0.0)

    assert counted(cohort, 5.0) == (0, [])
    cohort.arm(CANDIDATE).ended(1, 6.0, failed=True)
    assert counted(cohort, 10.0) == (1, [1])
    assert counted(cohort, 15.0) == (0, [])


def test_what_comes_after_a_unit_has_counted_changes_nothing():
    """A retry that fails later is neither a second unit nor a second bad event."""
    cohort = Cohort()
    finish(cohort, CANDIDATE, 1)
    assert counted(cohort, 1.0) == (1, [])
    finish(cohort, CANDIDATE, 1, 2.0, failed=True)
    assert counted(cohort, 3.0) == (0, [])


def test_retries_are_one_unit_and_a_failure_stays():
    """Two failures and a success of one task are one bad unit."""
    cohort = Cohort()
    for failed in (True, True, False):
        finish(cohort, CANDIDATE, 1, failed=failed)

    assert counted(cohort, 1.0) == (1, [1])


def test_a_unit_counts_when_it_is_of_age_and_unfinished_then_is_bad():
    """At an hour one is done, one is not; both count then and not before."""
    cohort = Cohort(default_s=HOUR)
    finish(cohort, CANDIDATE, 1, 0.0)
    cohort.arm(CANDIDATE).began(2, 10.0)

    assert counted(cohort, HOUR - 1) == (0, [])
    assert counted(cohort, HOUR) == (1, [])
    assert counted(cohort, HOUR + 10) == (1, [2])
    cohort.arm(CANDIDATE).ended(2, HOUR + 20, failed=False)
    assert counted(cohort, 3 * HOUR) == (0, [])


def test_what_ended_too_late_was_unfinished_however_late_one_looks():
    """The close comes after the end, and the end after the age: that is bad."""
    cohort = Cohort(default_s=HOUR)
    finish(cohort, CANDIDATE, 1, took_s=HOUR - 1)
    finish(cohort, CANDIDATE, 2, took_s=HOUR)

    assert counted(cohort, 2 * HOUR) == (2, [2])


def test_each_metric_has_its_own_age():
    """Errors count at once, what a user says of it after an hour."""
    cohort = Cohort(matures={"solved": HOUR})
    finish(cohort, CANDIDATE, 1)
    cohort.arm(CANDIDATE).note(1, "solved", 100.0, True)
    first, later = cohort.close(200.0), cohort.close(HOUR)

    assert first.units[CANDIDATE] == {"error_rate": 1}
    assert later.units[CANDIDATE] == {"solved": 1}
    assert later.bad_units[CANDIDATE] == {"solved": {1}}


def test_control_that_reports_late_is_compared_at_equal_age():
    """Both arms fail alike, control says so two hours later: no look sees a difference."""
    cohort = Cohort(matures={"solved": 3 * HOUR})
    minutes, late_s = 6 * 60, 2 * HOUR
    reports = []
    for minute in range(minutes):
        began_s = 60.0 * minute
        for arm in Arm:
            unit = 2 * minute + (arm is CONTROL)
            finish(cohort, arm, unit, began_s)
            bad, heard_s = minute % 10 == 0, began_s + late_s * (arm is CONTROL)
            reports.append((heard_s, arm, unit, bad))
    reports.sort(key=lambda report: report[0])
    seen = 0
    for minute in range(minutes + 4 * 60):
        now_s = 60.0 * minute
        while reports and reports[0][0] <= now_s:
            heard_s, arm, unit, bad = reports.pop(0)
            cohort.arm(arm).note(unit, "solved", heard_s, bad)
        aged = cohort.close(now_s)
        n, bad = [
            [of[arm].get("solved", none) for arm in Arm]
            for of, none in ((aged.units, 0), (aged.bad_units, ()))
        ]
        assert n[0] == n[1]
        assert len(bad[0]) == len(bad[1])
        seen += len(bad[0])

    assert seen == minutes / 10


def test_an_interruption_is_no_outcome_and_the_unit_counts_if_it_comes_back():
    """Away for a day it is nobody; back again its age begins anew."""
    cohort = Cohort(default_s=HOUR)
    units = cohort.arm(CANDIDATE)
    units.began(1, 0.0)
    units.ended(1, 10.0, failed=None)
    assert counted(cohort, 20 * HOUR) == (0, [])

    finish(cohort, CANDIDATE, 1, 24 * HOUR, failed=True)
    assert counted(cohort, 24 * HOUR + 1) == (0, [])
    assert counted(cohort, 25 * HOUR) == (1, [1])


def test_what_was_said_before_an_interruption_still_counts():
    """A toxic answer was one, though the graph stopped to ask a person."""
    cohort = Cohort()
    units = cohort.arm(CANDIDATE)
    units.began(1, 0.0)
    units.note(1, "toxic", 1.0, True)
    units.ended(1, 2.0, failed=None)
    aged = cohort.close(3.0)

    assert aged.units[CANDIDATE] == {"toxic": 1}
    finish(cohort, CANDIDATE, 1, 4.0)
    assert cohort.close(5.0).units[CANDIDATE] == {"error_rate": 1}


def test_pairs_are_units_of_age_in_both_arms():
    """The later half brings the pair; how both fared is told metric by metric."""
    cohort = Cohort(default_s=HOUR)
    for unit, (candidate, control) in enumerate(
        [(True, True), (True, False), (False, True), (False, False), (False, False)]
    ):
        finish(cohort, CONTROL, unit, 0.0, failed=control)
        finish(cohort, CANDIDATE, unit, 60.0, failed=candidate)
    finish(cohort, CONTROL, 99)
    first, later = cohort.close(HOUR), cohort.close(HOUR + 60)

    assert not first.pairs
    assert later.pairs == {"error_rate": Pairs(n=5, both=1, candidate=1, control=1)}
    assert not cohort.close(9 * HOUR).pairs
    assert later.units[CANDIDATE] == {"error_rate": 5}
    assert first.units[CONTROL] == {"error_rate": 6}


def test_pairs_that_come_of_age_together_are_counted_once():
    """Both halves at one close are one pair."""
    cohort = Cohort()
    for arm in Arm:
        finish(cohort, arm, 1, failed=True)

    assert cohort.close(1.0).pairs == {"error_rate": Pairs(n=1, both=1)}


@pytest.mark.parametrize("age_s", [-1.0, math.nan, math.inf])
def test_a_wrong_age_is_refused(age_s):
    """The message names the metric."""
    with pytest.raises(ValueError, match="solved; write seconds"):
        Cohort(matures={"solved": age_s})


def test_what_is_followed_is_bounded(monkeypatch):
    """What does not fit is left out, and said once."""
    monkeypatch.setattr("legion.telemetry.units.MOST", 10)
    cohort = Cohort(default_s=HOUR)
    for unit in range(15):
        cohort.arm(CANDIDATE).began(unit, 0.0)

    assert len(cohort.arm(CANDIDATE).young) == 10
    assert "5 were not followed" in cohort.faults(CANDIDATE)[0]
    assert not cohort.faults(CANDIDATE)
    assert not cohort.faults(CONTROL)


def test_once_it_is_full_nobody_new_is_followed_in_either_arm(monkeypatch):
    """A twentieth of the units and of those followed: what is left out is left in both."""
    monkeypatch.setattr("legion.telemetry.units.MOST", 400)
    cohort = Cohort(default_s=HOUR)
    for unit in range(2_000):
        arm = CANDIDATE if unit % 20 == 0 else CONTROL
        finish(cohort, arm, unit, HOUR * unit / 2_000, failed=True)
    left_out = {arm: cohort.left_out(arm) for arm in Arm}
    aged = cohort.close(3 * HOUR)

    assert aged.units[CANDIDATE] == {"error_rate": 20}
    assert aged.units[CONTROL] == {"error_rate": 380}
    assert left_out[CANDIDATE] * 19 == left_out[CONTROL] > 0


def test_a_place_that_is_free_again_is_anybody_s(monkeypatch):
    """Who came of age makes room for the next one, whichever arm either has."""
    monkeypatch.setattr("legion.telemetry.units.MOST", 2)
    cohort = Cohort(default_s=HOUR)
    finish(cohort, CONTROL, 1)
    finish(cohort, CONTROL, 2)
    finish(cohort, CANDIDATE, 3)
    cohort.close(HOUR)
    finish(cohort, CANDIDATE, 4, HOUR)
    finish(cohort, CANDIDATE, 5, HOUR)
    finish(cohort, CONTROL, 6, HOUR)

    assert list(cohort.arm(CANDIDATE).young) == [4, 5]
    assert not cohort.arm(CONTROL).young
    assert [cohort.left_out(arm) for arm in (CANDIDATE, CONTROL)] == [1, 1]


def test_who_began_in_vain_is_not_followed_for_a_later_remark(monkeypatch):
    """An arm that records more of each unit has no more tries to be followed."""
    monkeypatch.setattr("legion.telemetry.units.MOST", 2)
    cohort = Cohort(default_s=HOUR)
    for unit in range(4):
        cohort.arm(CANDIDATE).began(unit, 0.0)
    cohort.close(HOUR)
    cohort.arm(CANDIDATE).note(3, "toxic", HOUR, True)
    cohort.arm(CANDIDATE).ended(3, HOUR, failed=True)

    assert not cohort.arm(CANDIDATE).young


def test_units_without_trials_are_followed_again_when_there_is_room(monkeypatch):
    """Where there are remarks alone, the next one after it was full is as good."""
    monkeypatch.setattr("legion.telemetry.units.MOST", 2)
    cohort = Cohort(default_s=HOUR)
    for unit in range(4):
        cohort.arm(CANDIDATE).note(unit, "toxic", 0.0, True)
    cohort.close(HOUR)
    cohort.arm(CANDIDATE).note(7, "toxic", HOUR, True)

    assert list(cohort.arm(CANDIDATE).young) == [7]


def test_what_is_remembered_is_bounded(monkeypatch):
    """The newest that have counted are known for long, bad ones no longer than good."""
    monkeypatch.setattr("legion.telemetry.units.KEPT", 100)
    cohort = Cohort()
    finish(cohort, CANDIDATE, 0, failed=True)
    for unit in range(1, 1001):
        finish(cohort, CANDIDATE, unit)
        cohort.close(float(unit))
    units = cohort.arm(CANDIDATE)

    assert not units.young
    assert 50 <= sum(units.told(unit) != (0, 0) for unit in range(1, 1001)) <= 100
    assert units.told(0) == (0, 0)


@pytest.mark.parametrize("arm", Arm)
@pytest.mark.parametrize("failed", [False, True])
def test_a_unit_that_was_forgotten_counts_in_another_generation(
    monkeypatch, arm, failed
):
    """In one generation each counts once, however often it comes."""
    monkeypatch.setattr("legion.telemetry.units.KEPT", 20)
    cohort, counted = Cohort(), Counter()
    for at_s in range(6):
        for unit in range(60):
            finish(cohort, arm, unit % 30, failed=failed)
            told = cohort.close(float(at_s))
            if told.units[arm]:
                counted[unit % 30, told.generation] += 1

    assert max(counted.values()) == 1
    assert len(counted) > 60
    assert told.generation > 3


# A naive model: every unit's whole story, read again at each close.


class Story:
    """One unit of one arm, kept as a list of what happened."""

    def __init__(self) -> None:
        self.events: list[tuple[str, float, object]] = []
        self.told: dict[str, bool] = {}


class Naive:
    """Says by the rules, and slowly, which units count."""

    def __init__(self, ages: dict[str, float], default_s: float) -> None:
        self.ages, self.default_s = ages, default_s
        self.stories: dict[tuple[Arm, int], Story] = {}

    def age(self, metric: str) -> float:
        return self.ages.get(metric, self.default_s)

    def add(self, arm: Arm, unit: int, what: str, at_s: float, value: object) -> None:
        story = self.stories.setdefault((arm, unit), Story())
        story.events.append((what, at_s, value))

    def close(self, now_s: float):
        found = {arm: {} for arm in Arm}
        new = set()
        for (arm, unit), story in self.stories.items():
            for metric, bad in self.ripe(story, now_s).items():
                found[arm].setdefault(metric, {})[unit] = bad
                story.told[metric] = bad
                story.events.append(("told", now_s, metric))
                new.add((unit, metric))
        pairs: dict[str, list[tuple[bool, bool]]] = {}
        for unit, metric in new:
            halves = [
                self.stories[arm, unit].told.get(metric)
                if (arm, unit) in self.stories
                else None
                for arm in (CANDIDATE, CONTROL)
            ]
            if None not in halves:
                pairs.setdefault(metric, []).append(tuple(halves))
        return found, pairs

    def ripe(self, story: Story, now_s: float) -> dict[str, bool]:
        """Return what counts now: metric, and whether it was bad."""
        exposed_s, open_, had = self.read(story)
        if exposed_s is None:
            return {}
        error_s = self.age("error_rate")
        if 0 < error_s <= now_s - exposed_s and open_:
            had.setdefault("error_rate", True)
        longest_s = max(self.default_s, *self.ages.values(), error_s)
        given_up = error_s > 0 and now_s - exposed_s >= longest_s
        return {
            metric: bad
            for metric, bad in had.items()
            if metric not in story.told
            and now_s - exposed_s >= self.age(metric)
            and (self.age(metric) or not open_ or given_up)
        }

    def read(  # noqa: C901 - the rules, all in one place
        self, story: Story
    ) -> tuple[float | None, int, dict[str, bool]]:
        """Return when it was exposed, how many trials are open, and what it had."""
        exposed_s, open_, had, told = None, 0, {}, set()
        error_s = self.age("error_rate")
        for what, at_s, value in story.events:
            if what == "told":
                told.add(value)
                continue
            if what == "began":
                heard = "error_rate" in had or "error_rate" in told
                if exposed_s is None or (not open_ and not heard):
                    exposed_s = at_s
                open_ += 1
                continue
            if what == "ended":
                if open_ and 0 < error_s <= at_s - exposed_s:
                    had.setdefault("error_rate", True)
                open_ = max(0, open_ - 1)
            if value is None:
                if not open_ and not had and not told:
                    exposed_s = None
                continue
            metric = "error_rate" if what == "ended" else what
            if exposed_s is None:
                exposed_s = at_s
            if not 0 < self.age(metric) <= at_s - exposed_s:
                had[metric] = had.get(metric, False) or value
        return exposed_s, open_, had


steps = st.lists(
    st.tuples(
        st.sampled_from(["began", "ended", "solved", "toxic", "close"]),
        st.sampled_from(Arm),
        st.integers(0, 2),
        st.sampled_from([None, True, False]),
        st.integers(0, 5),
    ),
    max_size=40,
)
ages = st.dictionaries(
    st.sampled_from(["error_rate", "solved", "toxic"]), st.sampled_from([0, 4, 9])
)


@given(steps, ages, st.sampled_from([0, 4, 7]))
@settings(max_examples=600, deadline=None)
def test_a_cohort_counts_as_the_rules_say(taken, by_metric, default_s):
    """Over any story of any units, each close is that of a model that reads it all."""
    cohort = Cohort(matures=by_metric, default_s=default_s)
    naive = Naive(by_metric, default_s)
    now_s = 0.0
    for what, arm, unit, value, passed_s in [*taken, ("close", CONTROL, 0, None, 20)]:
        now_s += passed_s
        units = cohort.arm(arm)
        if what == "close":
            assert seen(cohort.close(now_s)) == expected(*naive.close(now_s))
            continue
        if what == "began":
            units.began(unit, now_s)
        elif what == "ended":
            units.ended(unit, now_s, failed=value)
        else:
            units.note(unit, what, now_s, bool(value))
        remark = what in {"solved", "toxic"}
        naive.add(arm, unit, what, now_s, bool(value) if remark else value)


def seen(aged):
    return (
        {arm: dict(aged.units[arm]) for arm in Arm},
        {arm: {m: set(bad) for m, bad in aged.bad_units[arm].items()} for arm in Arm},
        dict(aged.pairs),
    )


def expected(found, pairs):
    return (
        {arm: {m: len(of) for m, of in found[arm].items()} for arm in Arm},
        {
            arm: {
                m: {unit for unit, bad in of.items() if bad}
                for m, of in found[arm].items()
                if any(of.values())
            }
            for arm in Arm
        },
        {
            metric: Pairs(
                n=len(both),
                both=both.count((True, True)),
                candidate=both.count((True, False)),
                control=both.count((False, True)),
            )
            for metric, both in pairs.items()
        },
    )
