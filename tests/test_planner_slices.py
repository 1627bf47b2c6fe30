"""
Slices in simulated rollouts: who is judged, what is seen, what is promised.

A promise of at most 1 % fails at a binomial p < .001: 300 runs, more than 10 that go
back. That finds a true 5 % in 90 % of the cases and 10 % in all.
"""

from __future__ import annotations

import math

import attrs
import numpy as np
import pytest

from planner_plans import canary, plan_of

from legion.model import Window
from legion.planner import Fault, Scenario, Units, WorkloadError, forecast, simulate
from legion.planner.question import Method
from legion.planner.questions import harm
from legion.planner.slicing import Places, Slicing
from legion.planner.weigh import over_places
from legion.stages.slices import LEAST, MOST, admitted
from legion.stats import WeightedSum


SEED = 8
SLICED = plan_of(slices=["tenant", "tool"], check_interval="10m")


def run(plan, fault="", *, within="", since="", **options):
    faults = [Fault.read(fault, plan, slice=within, since=since)] if fault else []
    given = {
        "traffic_per_s": 10,
        "bad_rate": {f"m{n}": 0.01 for n in range(8)},
        "seed": SEED,
        "runs": 100,
        **options,
    }
    found = simulate(plan, faults=faults, **given)
    print(found.seed, found.rolled_back, dict(found.causes))
    return found


def test_harmless_slices_go_back_no_more_often_than_promised():
    """Forty slices of each of two metrics, at the edge of the null."""
    plan = plan_of(metrics=2, slices=["tenant", "tool"], check_interval="20m")
    found = run(plan, runs=300)

    assert found.kept
    assert found.rolled_back.high < 0.05


def test_what_hurts_one_tenant_is_seen_in_its_slice():
    """Five times the errors for a twelfth of the units; the whole is not twice as bad."""
    found = run(SLICED, "m0=x5", within="tenant=3")

    assert found.faults == ("m0 x5 in tenant=3",)
    assert found.rolled_back.n == 100
    assert found.causes["s0: m0 more than 50 % above baseline, in a slice"] > 90


def test_without_slices_the_same_is_seen_later():
    """It is averaged away: that is what slices are for, and what they are paid for."""
    shares = Slicing(names=("tenant",), values=20).shares
    diluted = 1 + 4 * shares[2]
    sliced = run(SLICED, "m0=x5", within="tenant=3")
    whole = run(plan_of(check_interval="10m"), f"m0=x{diluted:.4f}")

    assert sliced.detected_s.median < whole.detected_s.median / 3


def test_what_hurts_everybody_is_seen_in_the_whole():
    """The slices take their part of the budget, and cost little time."""
    found = run(SLICED, "m0=x5")
    plain = run(plan_of(check_interval="10m"), "m0=x5")

    assert found.causes["s0: m0 more than 50 % above baseline"] > 90
    assert found.detected_s.median <= plain.detected_s.median * 1.5


def test_slices_are_judged_in_shadow_and_by_time():
    """Pairs, and the edge beyond which an answer is slow, of one tool alone."""
    plan = canary(slices=["tool"])
    slow, wrong = "latency_p95", "error_rate"
    shadow = run(plan, "errors=x6", within="tool=5", runs=30)
    late = run(plan, "latency=+50%", within="tool=5", since="canary_5", runs=30)

    assert {cause.split(":")[0] for cause in shadow.causes} == {"shadow"}
    assert wrong in next(iter(shadow.causes))
    assert late.stages[0].rolled_back == 0
    assert slow in next(iter(late.causes))
    assert "in a slice" in next(iter(late.causes))


def test_sticky_slices_are_judged_by_each_users_first_visit():
    """A fifth of the users, ten times the errors; and not when all is well."""
    plan = plan_of(slices=["tenant"], unit="user", check_interval="1h")
    people = Scenario(units=Units.STICKY, people=20_000, values=6)
    options = {"scenario": people, "runs": 16}

    assert run(plan, **{**options, "runs": 8}).rolled_back.n <= 1
    found = run(plan, "m0=x10", within="tenant=2", **options)
    assert found.rolled_back.n >= 12
    assert found.causes["s0: m0 more than 50 % above baseline, in a slice"] >= 8


def test_foretold_is_a_tenth_of_the_units():
    """With one place of sixteen, and as the simulation has it of such a tenant."""
    told = forecast(SLICED, traffic_per_s=10, bad_rate={"m0": 0.01}).stages[0].harm[1]
    share = Slicing(names=("tenant",), values=11).shares[2]
    sight = next(sight for sight in told.sights if sight.effect == 5.0)
    eleven = Scenario(values=11)
    found = run(SLICED, "m0=x5", within="tenant=3", scenario=eleven, runs=300)

    assert told.name.endswith("in a slice of 10 % of the units")
    assert share == pytest.approx(0.11, abs=0.002)
    assert found.detected_s.p90 == pytest.approx(sight.p90_s, rel=0.2)


def test_the_budget_is_shared_out_as_in_the_engine():
    """Each comparison has a part, and its slices together another one."""
    plan = plan_of(metrics=2, slices=["tenant"])
    asked = harm(plan)

    assert [question.sliced for question in asked] == [False, True] * 2
    assert {question.alpha for question in asked} == {plan.false_rollback / 4}
    assert not [q for q in harm(canary(slices=["tool"])) if q.sliced and _alone(q)]


def _alone(question):
    return question.method in {Method.DETECTOR, Method.ROW, Method.LIMIT}


def test_the_slices_of_a_path_are_the_mean_over_all_places():
    """As the engine's weighted sum has it; a place that nobody has is 1."""
    rng = np.random.default_rng(SEED)
    logs, places = rng.normal(0, 3, (2, 20, 4)), rng.random((2, 20, 4)) < 0.5
    found = over_places(logs, places)
    full = over_places(logs[:, :MOST], np.ones((2, MOST, 4), dtype=bool))

    for run_, look in np.ndindex(2, 4):
        taken = dict(enumerate(logs[run_, places[run_, :, look], look]))
        total = WeightedSum.equal([str(number) for number in range(MOST)])
        log_e = total.log_e({str(number): log for number, log in taken.items()})
        assert found[run_, look] == pytest.approx(log_e, abs=1e-12)
        mean = np.exp(logs[run_, :MOST, look]).mean()
        assert full[run_, look] == pytest.approx(math.log(mean), abs=1e-12)


def test_places_are_given_as_the_engine_gives_them():
    """By control's units at each look, the largest first, sixteen at the most."""
    rng = np.random.default_rng(SEED)
    units = np.cumsum(rng.poisson(rng.pareto(1, (1, 30, 1)), (1, 30, 90)), axis=-1)
    names = [f"tenant={number:02}" for number in range(30)]
    known: tuple[str, ...] = (names[7],)
    before = np.zeros((1, 30), dtype=bool)
    before[0, 7] = True
    open_ = Places.given(before, units).open(0, 90)

    for look in range(90):
        sizes = {
            f"m{{{n}}}": int(u) for n, u in zip(names, units[0, :, look], strict=True)
        }
        known = admitted(known, Window(units=sizes), ("tenant",))
        assert {names[i] for i in np.flatnonzero(open_[0, :, look])} == set(known)
    assert len(known) == MOST
    assert (units[0, :, -1] >= LEAST).sum() > MOST


def test_places_last_for_the_rollout():
    """A slice that had one in a stage has it from the first look of the next."""
    units = np.array([[[LEAST, LEAST], [0, LEAST]]])
    first = Places.given(np.zeros((2, 2), dtype=bool), units)
    later = first.at(np.array([0, 1]))

    assert later.tolist() == [[True, False], [True, True]]
    nobody = np.zeros((1, 2, 3))
    assert (
        Places.given(later, nobody).open(0, 3).all(axis=-1).tolist() == later.tolist()
    )


def test_the_same_seed_gives_the_same_slices():
    """To the last digit, and a plan without slices draws what it always drew."""
    first, again = (run(SLICED, "m0=x3", within="tool=2", runs=20) for _ in range(2))
    plain = plan_of(check_interval="10m")
    few, many = (run(plain, scenario=Scenario(values=n), runs=20) for n in (2, 50))

    assert first.to_json() == again.to_json()
    assert attrs.evolve(few, scenario="") == attrs.evolve(many, scenario="")


@pytest.mark.parametrize(
    ("plan", "within", "why"),
    [
        (
            SLICED,
            "tenant=21",
            "fault: got the slice 'tenant=21'; write one of tenant=1",
        ),
        (SLICED, "region=1", "fault: got the slice 'region=1'; write one of tenant=1"),
        (plan_of(), "tenant=1", "fault: got the slice 'tenant=1'; write slices in"),
    ],
)
def test_a_slice_that_is_none_is_refused(plan, within, why):
    """Which was given, and which there are."""
    with pytest.raises(WorkloadError, match="write") as raised:
        run(plan, "m0=x5", within=within)
    assert str(raised.value).startswith(why)


def test_two_hurt_slices_are_refused():
    """One is simulated at a time."""
    faults = [Fault.read("m0=x5", SLICED, slice=f"tenant={n}") for n in (1, 2)]
    with pytest.raises(
        WorkloadError, match="faults: got the slices tenant=1, tenant=2"
    ):
        simulate(SLICED, traffic_per_s=10, faults=faults)


@pytest.mark.parametrize("values", [0, 101])
def test_a_number_of_values_that_cannot_be_is_refused(values):
    """None at all, or more than the budget could ever mean."""
    with pytest.raises(
        WorkloadError, match=f"scenario: got values={values}; write 1 to"
    ):
        Scenario(values=values)
