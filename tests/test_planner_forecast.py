"""What a plan is told before it starts, held against what was simulated."""

from __future__ import annotations

import json
import math
import pathlib

from collections import Counter
from datetime import date

import pytest

from hypothesis import given, settings
from hypothesis import strategies as st
from planner_plans import canary, plan_of

import legion

from legion.planner import WorkloadError, calendar, forecast
from legion.planner.question import Method
from legion.planner.questions import exposed, harm
from legion.stages.evidence.limit import LEAST
from legion.stages.evidence.sampled import HEALTHY
from legion.stages.plan import Plan
from legion.stages.rungs import Rungs
from legion.stats import BernoulliProcess, Onset


MARGIN = {"versus": "baseline", "margin": "25%"}
PLANS = pathlib.Path(__file__).parents[1] / "benchmarks" / "plans"


def told_of(plan, **traffic):
    found = forecast(plan, **{"traffic_per_s": 10, "bad_rate": {"m0": 0.01}, **traffic})
    return found.stages[0]


@pytest.mark.parametrize(
    ("shape", "minutes"),
    [
        ({}, {10: 4, 5: 12, 2: 104}),
        ({"margin": "25%"}, {10: 5, 5: 15, 2: 199}),
        ({"metrics": 8, "stages": 3}, {10: 5, 5: 16, 2: 148}),
        ({"metrics": 8, "stages": 3, "margin": "25%"}, {10: 6, 5: 20, 2: 299}),
    ],
)
def test_it_foretells_the_published_ninetieth_percentiles(shape, minutes):
    """Of one test, and of 8 metrics and 3 stages: within 15 %, or a look of a minute."""
    stage = told_of(plan_of(**shape))
    seen = {sight.effect: sight.p90_s for sight in stage.harm[0].sights}

    for effect, published in minutes.items():
        assert seen[effect] / 60 == pytest.approx(published, rel=0.15, abs=1)


def test_the_budget_is_shared_by_every_path_that_can_roll_back():
    """By comparison, by limit, in a row and by windows; hard facts, counters are none."""
    plan = canary()
    questions = harm(plan)

    assert {q.name for q in questions if q.stage == "canary_5"} == {
        "error_rate more than 50 % above baseline",
        "latency_p95 more than 100 % above baseline",
        "health_check failed 3 times in a row",
        "self_improvement_failure_rate above 20 %",
        "error_rate critical from 10%",
        "memory_leak above 50 MB/h",
    }
    assert {q.name: q.method for q in questions if q.stage == "production"} == {
        "error_rate more than 50 % above baseline": Method.DETECTOR,
        "latency_p95 more than 100 % above baseline": Method.DETECTOR,
        "health_check failed 3 times in a row": Method.ROW,
        "error_rate critical from 10%": Method.DETECTOR,
        "memory_leak above 50 MB/h": Method.LIMIT,
    }
    assert math.fsum(q.alpha for q in questions) == pytest.approx(0.01)
    assert len({q.alpha for q in questions}) == 1


@pytest.mark.parametrize(
    "plan",
    [
        Plan.load(PLANS / "rollout-4.1.yaml"),
        Plan.load(PLANS / "eight-metrics.yaml"),
        canary(slices=["tenant", "tool"]),
        canary(holdback="2%"),
        canary(criteria={"error_rate": "off", "latency_p95": {"critical": "80%"}}),
        plan_of(metrics=3, stages=3, slices=["tenant"], unit="user"),
    ],
    ids=["4.1", "eight", "sliced", "held-back", "criteria", "sticky"],
)
def test_the_budget_is_shared_out_as_the_engine_does(plan):
    """Every path of the engine is foretold and simulated, with the weight it has there."""
    weights = Rungs(plan=plan, plugins=legion.Plugins()).weights()
    engine = Counter()
    for key, weight in weights.items():
        stage, _, path = key.partition(" | ")
        engine[stage, path.partition(" [slice ")[0], "[slice" in path] += weight
    foretold = harm(exposed(plan))

    assert len(foretold) == len(engine)
    assert Counter((q.stage, q.sliced) for q in foretold) == Counter(
        (stage, sliced) for stage, _, sliced in engine
    )
    for weight in engine.values():
        assert weight == pytest.approx(foretold[0].alpha / plan.false_rollback)


def test_a_stage_in_which_nothing_is_seen_is_told_and_can_prove_nothing():
    """Neither traffic nor mirror: what it asks for never comes, and the check says so."""
    rules = [{"metric": "error_rate", "below": "5%"}]
    blind = {"name": "s0", "traffic": "0%", "dwell": "1h"}
    for validate in (rules, [{**MARGIN, "metric": "m0"}]):
        raw = plan_of().to_dict()
        stages = [{**blind, "validate": validate}]
        found = forecast(Plan.from_dict({**raw, "stages": stages}), traffic_per_s=10)
        told = [*found.stages[0].harm, *found.stages[0].proofs]
        assert not found.possible
        assert {each.says for each in told} == {
            "the candidate sees nothing here: write traffic or mirror"
        }


@pytest.mark.parametrize(("above", "limit"), [("0%", LEAST), ("100%", 1 - LEAST)])
def test_a_limit_at_the_edge_is_judged_as_the_engine_judges_it(above, limit):
    """A trigger on any error at all, or on nothing but errors, is a path like others."""
    rule = {"metric": "error_rate", "above": above}
    raw = {**plan_of().to_dict(), "triggers": {"within 15m": [rule]}}
    question = harm(Plan.from_dict(raw))[0]

    assert question.limit == pytest.approx(limit)
    assert question.method is Method.LIMIT


def test_a_level_that_is_sampled_is_seen_after_some_windows():
    """As many as the engine's process needs where each of them is beyond the limit."""
    plan = canary()
    told = next(
        each
        for each in forecast(plan, traffic_per_s=10).stages[1].harm
        if each.name == "memory_leak above 50 MB/h"
    )
    process, windows = Onset.of(BernoulliProcess.harm(HEALTHY), looks=2_880), 0
    while process.log_e < -math.log(told.alpha):
        process, windows = process.update(process.first.update(1, 1)), windows + 1

    assert told.says == f"in {windows} min where it is beyond it in each window"


def test_the_null_is_the_margin_of_promotion():
    """Of the same metric in the stage, with its floor, else of another stage."""
    by_key = {question.key: question for question in harm(canary())}
    errors = "error_rate more than 50 % above baseline"

    assert by_key[f"shadow: {errors}"].ratio == 1.25
    assert by_key[f"canary_5: {errors}"].ratio == 1.25
    assert by_key[f"canary_5: {errors}"].floor == 0.005
    slow = by_key["canary_5: latency_p95 more than 100 % above baseline"]
    assert (slow.ratio, slow.floor) == (1.0, None)
    assert 0.05 <= slow.slower <= 0.07


def test_a_deadline_says_from_which_traffic_it_holds():
    """+50 % within 15 minutes needs about 150 requests/s at 1 % errors and 5 %."""
    told = told_of(plan_of()).harm[0]

    assert told.traffic_per_s == pytest.approx(150, rel=0.15)
    assert told.traffic_p90_per_s > told.traffic_per_s
    assert "+50 % within 15 min holds from 150/s" in told.says
    assert told_of(plan_of(), traffic_per_s=200).harm[0].says.endswith("15 min holds")


def test_outcomes_that_mature_late_are_seen_late():
    """By that much, at the next look; and a dwell shorter than twice that is told."""
    early, late = (told_of(plan_of(matures=m)) for m in ("1s", "30m"))
    first, second = early.harm[0].sights[-1], late.harm[0].sights[-1]

    assert 28 * 60 <= second.p90_s - first.p90_s <= 31 * 60
    short = told_of(plan_of(matures="30m", dwell="45m"))
    assert "dwell: at least 60 min, twice what outcomes take to mature" in (
        short.suggestions
    )


def test_a_margin_that_the_dwell_cannot_prove_comes_with_what_would():
    """The longer dwell and the larger share that are suggested do prove it."""
    plan = plan_of(margin="25%", dwell="6h")
    stage = told_of(plan)
    told = stage.proofs[0]

    assert told.possible is False
    # 7.9 hours were simulated; the formula is late rather than early.
    assert 0.75 * 7.9 <= told.proven_s / 3600 <= 1.4 * 7.9
    dwell, share = stage.suggestions
    hours, per_cent = dwell.split()[1], share.split("traffic: ")[1].split(" %")[0]
    longer = told_of(plan_of(margin="25%", dwell=hours.rstrip(","))).proofs[0]
    assert longer.proven_p90_s <= 24 * 3600
    raw = plan.to_dict()
    raw["stages"][0]["traffic"] = f"{per_cent}%"
    wider = told_of(Plan.from_dict(raw)).proofs[0]
    assert wider.possible
    assert wider.proven_p90_s <= 6 * 3600


def test_few_errors_are_told_of_or_below():
    """Where a relative margin takes too long and an absolute floor does not."""
    plan = plan_of(margin="25%")
    stage = told_of(plan, bad_rate={"m0": 0.001})

    assert stage.proofs[0].possible is False
    assert "or or_below: 0.2 %, since so few are bad" in stage.suggestions
    raw = plan.to_dict()
    raw["stages"][0]["validate"][0]["or_below"] = "0.2%"
    found = told_of(Plan.from_dict(raw), bad_rate={"m0": 0.001}).proofs[0]
    assert found.possible
    assert found.proven_p90_s <= 48 * 3600


def test_hit_rates_that_the_traffic_cannot_give_are_told():
    """80 % on 5 % of exact repeats is none; nobody knows without their share."""
    told = {}
    for repeats in (None, 0.05, 0.6):
        found = forecast(canary(), traffic_per_s=10, repeats=repeats)
        told[repeats] = found.stages[1].proofs[-1]
        assert found.possible is (repeats != 0.05)

    assert told[None].possible is None
    assert "needs exact repeats; tell their share with --repeats" in told[None].says
    assert told[0.05].possible is False
    assert "exact repeats" in told[0.05].says
    assert told[0.6].possible is True


def test_a_target_says_which_value_is_proven():
    """Just above the target, and nearer with more traffic."""
    raw = canary().to_dict()
    raw["stages"][1]["validate"] = [{"metric": "mobile_success", "at_least": "70%"}]
    values = []
    for traffic in (1, 10, 100):
        found = forecast(Plan.from_dict(raw), traffic_per_s=traffic)
        says = found.stages[1].proofs[0].says
        values.append(float(says.split("from ")[1].split(" %")[0]))
    assert values == sorted(values, reverse=True)
    assert all(70 < value < 80 for value in values)
    rare = forecast(Plan.from_dict(raw), traffic_per_s=1e-4)
    assert "there are fewer" in rare.stages[1].proofs[0].says


def test_the_calendar_is_that_of_the_original():
    """Day 0 shadow, 2 canary, ... with a day between stages, and dates."""
    days = calendar(canary(), start=date(2025, 12, 1))

    assert [(m.day, m.stage) for m in days] == [
        (0, "shadow"),
        (1, "shadow"),
        (2, "canary_5"),
        (4, "canary_5"),
        (5, "production"),
        (12, "production"),
    ]
    assert days[-1].date == "2025-12-13"
    assert days[-1].says == "production stable"
    assert [m.day for m in calendar(canary(), between_days=0)][-1] == 10


def test_a_proof_that_takes_longer_moves_the_calendar():
    """The days are those that the traffic needs, not those that were hoped for."""
    quick = forecast(canary(), traffic_per_s=10)
    slow = forecast(canary(), traffic_per_s=1)

    assert quick.calendar[-1].day == 12
    assert slow.calendar[-1].day > 12


def test_it_can_be_written_as_json():
    """All of it, and what a program asks first."""
    found = forecast(canary(), traffic_per_s=10, start=date(2025, 12, 1))
    document = json.loads(json.dumps(found.to_json()))

    assert document["possible"] is True
    assert document["stages"][1]["harm"][0]["sights"][0]["effect"] == 1.5


def test_users_who_come_back_are_told_of():
    """Their bad events run out; the formulas do not know them."""
    found = forecast(canary(unit="user"), traffic_per_s=10)

    assert any("--units sticky" in each for each in found.assumptions)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"traffic_per_s": 0}, "traffic_per_s: got 0"),
        ({"traffic_per_s": math.nan}, "traffic_per_s: got nan"),
        ({"bad_rate": 0.0}, "error_rate: got a bad rate of 0.0"),
        ({"bad_rate": 1}, "error_rate: got a bad rate of 1"),
        ({"bad_rate": {"m": math.inf}}, "m: got a bad rate of inf"),
        ({"repeats": 1.5}, "repeats: got 1.5"),
    ],
)
def test_bad_input_is_one_clear_error(wrong, why):
    """Which figure, what was given, what to write."""
    with pytest.raises(WorkloadError, match="write") as raised:
        forecast(canary(), **{"traffic_per_s": 10, **wrong})
    assert str(raised.value).startswith(why)


def test_odd_plans_are_foretold_all_the_same():
    """A stage that nobody is in, a quantile of 1, a trickle, a day beyond calendars."""
    raw = plan_of(margin="25%").to_dict()
    raw["metrics"] = {"m0": "share", "t": {"kind": "time", "quantile": "100%"}}
    slow = {"metric": "t", "versus": "baseline", "worse_by": "50%"}
    raw["triggers"] = {"within 15m": [slow, {"metric": "t", "above": "1s"}]}
    raw["stages"] = [
        {
            "name": "nobody",
            "traffic": "0%",
            "dwell": "1h",
            "validate": [{"metric": "m0", "below": "2%"}],
        },
        *raw["stages"],
    ]
    found = forecast(Plan.from_dict(raw), traffic_per_s=1e-9, start=date.max)

    assert found.stages[0].proofs[0].says.startswith("the candidate sees nothing")
    assert found.stages[1].harm[0].says == "nobody told its rate"
    assert found.stages[1].harm[0].possible is None
    assert found.stages[1].proofs[0].possible is False
    assert [each.date for each in found.calendar if each.day] == [""] * 3


@settings(deadline=None, max_examples=40)
@given(st.floats(1e-9, 1e9), st.floats(1e-9, 1 - 1e-9), st.floats(0, 1))
def test_any_traffic_is_foretold(traffic, rate, repeats):
    """Whatever comes and however bad it is: figures or none, never a traceback."""
    found = forecast(canary(), traffic_per_s=traffic, bad_rate=rate, repeats=repeats)
    text = json.dumps(found.to_json(), allow_nan=False)

    assert "nan" not in text
    for stage in found.stages:
        for told in stage.harm:
            for sight in told.sights:
                if sight.p90_s is not None:
                    assert sight.median_s <= sight.p90_s


def test_a_holdback_leaves_a_control_to_the_end():
    """With it production compares; without it, with what control did before."""
    raw = canary().to_dict()
    told = forecast(
        type(canary()).from_dict({**raw, "holdback": "10%"}), traffic_per_s=10.0
    )
    bare = forecast(canary(), traffic_per_s=10.0)

    assert told.parts == bare.parts
    assert told.stages[-1].harm[0].method is Method.LABEL
    assert bare.stages[-1].harm[0].method is Method.DETECTOR
    five = [
        next(s for s in f.stages[-1].harm[0].sights if s.effect == 5)
        for f in (told, bare)
    ]
    assert five[0].p90_s < five[1].p90_s
