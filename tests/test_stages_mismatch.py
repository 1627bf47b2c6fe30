"""Sample-ratio mismatch: seen, said, and never a reason to go on or back by itself."""

from __future__ import annotations

import functools

import attrs
import numpy as np
import pytest

from stages_rig import plan, registry, rig, with_stage

import legion

from legion.model import Arm, Missing, Move, Observation, Window
from legion.planner.rate import Rate
from legion.stages.mismatch import exposed, mismatch
from legion.stages.plan import Plan
from legion.telemetry import Telemetry
from legion.testing import ManualClock


SEED = 47
COMPARED = {"metric": "error_rate", "versus": "baseline", "margin": "25%"}
PROVEN = {"metric": "error_rate", "below": "5%"}


@functools.cache
def plan_of(share, unit):
    stages = with_stage("canary", traffic=share)
    return Plan.from_dict({**plan(stages=stages).to_dict(), "unit": unit})


def of(candidate, control, *, before=None, share="5%", unit="task", **window):
    """Return the test after so many units of each arm."""
    the_plan = plan_of(share, unit)
    seen = Observation(
        candidate=Window(exposed=candidate, **window), control=Window(exposed=control)
    )
    return exposed(before, seen, plan=the_plan, stage=the_plan.stage("canary"))


def test_a_splitter_that_is_right_is_held_as_rarely_as_promised():
    """At a thousandth: of 3,000 stages looked at 60 times 3 in all, 11 would be many."""
    rng = np.random.default_rng(SEED)
    held = 0
    for _ in range(3_000):
        candidate = rng.binomial(500, 0.05, 60).cumsum()
        # Looked at when it is at its worst, which is more than any look can find.
        off = np.abs(candidate - 25 * np.arange(1, 61)) / np.sqrt(np.arange(1, 61))
        worst = int(off.argmax())
        total = 500 * (worst + 1)
        held += bool(mismatch(of(int(candidate[worst]), total - int(candidate[worst]))))

    print(SEED, held)
    assert not Rate.of_counts(held, 3_000).refutes(0.001)


@pytest.mark.parametrize(("candidate", "of_all"), [(250, 10_000), (700, 10_000)])
def test_units_that_are_lost_or_too_many_are_seen(candidate, of_all):
    """Candidate's that crash before they record, and a splitter that gives too many."""
    found = mismatch(of(candidate, of_all - candidate))

    assert f"{candidate:,} of {of_all:,} had the candidate" in found
    assert "Look for units that crash" in found
    assert not mismatch(of(round(of_all * 0.05), round(of_all * 0.95)))


def test_what_cannot_be_counted_is_left_out():
    """Lost events, units not followed, nobody who counts, and a share of all or none."""
    assert of(1_000, 0, dropped=1)["exposed"]["counts"] == [0, 0]
    assert of(1_000, 0, left_out=1)["exposed"]["counts"] == [0, 0]
    assert of(None, 0)["exposed"]["counts"] == [0, 0]
    assert of(1_000, 0, share="100%") is None
    assert mismatch(None) == ""


def test_users_are_counted_for_as_long_as_all_are_remembered():
    """Beyond that who comes back would be new, in the larger arm first."""
    many = of(7_000, 133_000, unit="user")
    assert of(0, 50_000, before=many, unit="user") == many
    assert of(0, 50_000, before=many)["exposed"]["counts"] == [7_000, 183_000]


def test_a_unit_is_exposed_once():
    """At the start of its first trial, or at the first event that names it."""
    clock = ManualClock(0.0)
    telemetry = Telemetry(clock)
    for unit in range(10):
        for _ in range(3):
            telemetry.begin(Arm.CANDIDATE, unit, exposure="now")
            telemetry.end(Arm.CANDIDATE, unit, failed=False, exposure="now")
    for unit in range(7):
        telemetry.event("error_rate", Arm.CONTROL, unit, False, exposure="now")
        telemetry.event("error_rate", Arm.CONTROL, unit, True, exposure="now")
    telemetry.event("error_rate", Arm.CONTROL, 99, True)
    seen = telemetry.close(exposure="now")
    assert (seen.candidate.exposed, seen.control.exposed) == (10, 8)

    telemetry.event("error_rate", Arm.CONTROL, 3, True, exposure="now")
    later = telemetry.close(exposure="now")
    assert (later.candidate.exposed, later.control.exposed) == (0, 0)
    merged = seen.control.merge(later.control)
    assert Window.from_json(merged.to_json()).exposed == 8
    assert Window().merge(Window()).exposed is None


def turn(one, *, candidate, control, bad=0):
    """Turn once with so many units exposed in each arm."""
    seen = one.seen(bad=bad)
    seen = attrs.evolve(
        seen,
        candidate=attrs.evolve(seen.candidate, exposed=candidate),
        control=attrs.evolve(seen.control, exposed=control),
    )
    report = one.watchdog.judge(seen, one.state.baseline)
    one.engine.learn(seen, report)
    decision = one.engine.decide(report)
    one.commit(decision)
    return decision


@pytest.fixture
def canary():
    stages = with_stage("canary", validate=[COMPARED, PROVEN])
    one = rig(rules=plan(stages=stages))
    one.climb("canary")
    return one


def test_a_mismatch_holds_and_says_what_to_look_for(canary):
    """Neither forward, however well all looks, nor back; comparisons are inconclusive."""
    decisions = [turn(canary, candidate=100, control=900) for _ in range(10)]
    last = decisions[-1]

    assert {decision.move for decision in decisions} == {Move.HOLD}
    assert last.code == "ratio_mismatch"
    assert "100 of 1,000 had the candidate, 0.1 where 0.25 was planned" in last.reason
    compared = canary.state.findings[
        "trigger: error_rate more than 50 % above baseline"
    ]
    assert (compared.met, compared.missing) == (None, Missing.INCONCLUSIVE)
    limit = canary.state.findings["validate: error_rate below 5 %"]
    assert limit.missing is None
    assert canary.engine.promote(legion.Report(plan="rig")).code == "ratio_mismatch"


def test_a_retreat_waits_for_no_split(canary):
    """What is proven to be worse goes back, mismatch or not."""
    turn(canary, candidate=1_000, control=0)
    decision = turn(canary, candidate=0, control=0, bad=900)

    assert decision.move is Move.ROLL_BACK


def test_each_stage_begins_its_own_test_and_a_restart_goes_on(canary):
    """What was seen of a stage is kept with it, and only with it."""
    assert canary.state.exposed is None
    turn(canary, candidate=250, control=750)
    body = canary.state.to_json()
    assert type(canary.state).from_json(body).exposed["exposed"]["counts"] == [250, 750]
    later = canary.state.entered("everyone", "", "", control=False, spent={})
    assert later.exposed is None


def test_users_are_not_counted_again_after_a_restart(tmp_path):
    """Another process cannot tell who was there before, so its counts say nothing."""
    file = tmp_path / "state.db"
    rules = Plan.from_dict({**plan().to_dict(), "unit": "user"})
    first = rig(rules=rules, state=str(file))
    first.climb("canary")
    turn(first, candidate=250, control=750)
    again = rig(rules=rules, state=str(file), clock=first.clock)
    assert again.state.exposed["exposed"]["counts"] == [250, 750]
    turn(again, candidate=250, control=750)

    assert again.state.exposed["exposed"]["counts"] == [250, 750]


def test_units_that_one_arm_alone_cuts_off_hold_the_stage(canary):
    """A candidate that hangs until it is cancelled leaves only those who look well."""
    for _ in range(6):
        seen = canary.seen()
        cut = attrs.evolve(seen.candidate, cancelled=20, exposed=250)
        fine = attrs.evolve(seen.control, exposed=750)
        observation = attrs.evolve(seen, candidate=cut, control=fine)
        report = canary.watchdog.judge(observation, canary.state.baseline)
        canary.engine.learn(observation, report)
        decision = canary.engine.decide(report)

    assert (decision.move, decision.code) == (Move.HOLD, "ratio_mismatch")
    assert "of 80 had the candidate" in decision.reason
    assert "Put timeouts inside" in decision.reason


def test_a_mismatch_that_was_found_stays(canary):
    """A split that is right afterwards does not mend what is among the evidence."""
    for _ in range(3):
        turn(canary, candidate=100, control=900)
    decisions = [turn(canary, candidate=2_500, control=7_500) for _ in range(40)]

    assert {decision.code for decision in decisions} == {"ratio_mismatch"}


def test_a_unit_that_is_cancelled_counts_once_in_its_arm():
    """A timeout around it, and each of its retries, cut the same unit off."""
    telemetry = Telemetry(ManualClock())
    for unit in (1, 1, 2):
        telemetry.record(("trial", "candidate", unit, "x", 0.0, "began"))
        telemetry.record(("trial", "candidate", unit, "x", 0.0, "cancelled"))
    seen = telemetry.close(exposure="x")

    assert (seen.candidate.cancelled, seen.control.cancelled) == (2, 0)
    assert telemetry.close(exposure="x").candidate.cancelled == 0
    assert Window.from_json(seen.candidate.to_json()) == seen.candidate


def test_users_are_tested_on_after_an_update(tmp_path):
    """The process that saw the code change has heard of every unit of it once."""
    code = registry(tmp_path / "registry")
    code.tag("next", "2.0.0")
    one = rig(code=code, rules=plan(candidate="next", unit="user")).climb("canary")
    one.turn()
    code.tag("next", code.put({"answer.txt": b"newer"}))
    one.turn()
    for _ in range(6):
        decision = turn(one, candidate=50, control=3_000)

    assert decision.code == "ratio_mismatch"
