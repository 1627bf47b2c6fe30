"""
Simulated rollouts: the promise of false rollbacks, and what is seen when.

A promise of at most 1 % fails at a binomial p < .001: 300 runs, more than 10 that go
back. That finds a true 2 % in 7 % of the cases, 5 % in 90 % and 10 % in all; `nox -s
simulate` has 2,000 runs, which find a true 2 % in 92 % of the cases.
"""

from __future__ import annotations

import json
import math

import attrs
import numpy as np
import pytest

from planner_plans import canary, plan_of

import legion

from legion.planner import (
    Bursts,
    Fault,
    Scenario,
    Units,
    WorkloadError,
    forecast,
    simulate,
)
from legion.planner.question import Method
from legion.planner.questions import harm, proofs
from legion.planner.weigh import Tally, Weighing
from legion.stats import (
    BernoulliProcess,
    LabelProcess,
    Onset,
    PairedProcess,
    Side,
    log_both,
    log_either,
)


SEED = 20
# The null "no worse at all" is met exactly, in each of 8 metrics: the hardest there is.
EIGHT = {"metrics": 8, "stages": 1}
STICKY = Scenario(units=Units.STICKY)


def run(plan, *, faults=(), since="", **options):
    rates = {f"m{number}": 0.01 for number in range(8)}
    found = simulate(
        plan,
        faults=[Fault.read(each, plan, since=since) for each in faults],
        **{
            "traffic_per_s": 10,
            "bad_rate": rates,
            "seed": SEED,
            "runs": 300,
            **options,
        },
    )
    print(found.seed, found.rolled_back, dict(found.causes))
    return found


@pytest.mark.parametrize(
    "scenario",
    [
        Scenario(),
        Scenario(bursts=Bursts(lasts_s=600)),
        Scenario(daily=True),
        Scenario(units=Units.STICKY),
    ],
    ids=["retries", "bursts", "daily", "sticky"],
)
def test_eight_metrics_at_the_edge_of_the_null_keep_the_promise(scenario):
    """48 h at 10/s, a look each minute: at most 1 % are taken back for nothing."""
    runs = 75 if scenario.units is Units.STICKY else 300
    found = run(plan_of(**EIGHT, matures="1s"), scenario=scenario, runs=runs)

    assert found.kept
    assert found.rolled_back.high < 0.05


@pytest.mark.parametrize("late_s", [0.0, 7200.0])
def test_the_canary_of_the_rollout_keeps_the_promise(late_s):
    """With the row of failures, a critical level and limits, in shadow and canary."""
    found = run(canary(), scenario=Scenario(late_s=late_s), bad_rate=0.01)

    assert found.kept
    assert found.completed.share > 0.95
    assert not found.faults


def test_counting_every_retry_breaks_the_promise():
    """29 to 61 % in one test: so the test above can fail, and one is counted."""
    found = run(plan_of(), scenario=Scenario(count_retries=True), runs=100)

    assert found.rolled_back.share > 0.2
    assert not found.kept


def test_comparing_at_unequal_age_breaks_the_promise():
    """Control's failures two hours later: all go back, unless outcomes mature."""
    late = Scenario(late_s=7200.0)

    assert run(plan_of(), scenario=late, runs=50).rolled_back.share == 1.0
    assert run(plan_of(matures="10m"), scenario=late, runs=50).rolled_back.n == 0


def test_a_row_of_failures_is_no_reason_by_itself():
    """An outage of both arms is as many rows as one likes, and nobody goes back."""
    raw = {**canary().to_dict(), "holdback": "5%"}
    outages = Scenario(bursts=Bursts(every_s=28_800, lasts_s=1_800))
    found = run(type(canary()).from_dict(raw), scenario=outages, bad_rate=0.01, runs=50)

    assert found.kept
    assert found.rolled_back.n == 0


def test_without_a_control_an_outage_passes_for_a_fault():
    """It goes back for it, and the simulation says that the promise is not kept."""
    outages = Scenario(bursts=Bursts(every_s=28_800, lasts_s=1_800))
    found = run(canary(), scenario=outages, bad_rate=0.01, runs=50)

    assert not found.kept
    assert set(found.causes) == {"production: health_check failed 3 times in a row"}


def test_the_load_of_a_day_and_bursts_of_a_minute_are_no_change():
    """Control had them too, so its worst hour is what everybody may have."""
    for scenario in (Scenario(daily=True), Scenario(bursts=Bursts())):
        assert (
            run(canary(), scenario=scenario, bad_rate=0.01, runs=64).rolled_back.n <= 2
        )


@pytest.mark.parametrize(
    ("fault", "effect"), [("m0=x10", 10.0), ("m0=x5", 5.0), ("m0=x2", 2.0)]
)
def test_what_is_foretold_is_what_is_seen(fault, effect):
    """The p90 within 15 %, or a look; the median within 30 %: the formula is early."""
    plan = plan_of(**EIGHT)
    foretold = forecast(plan, traffic_per_s=10, bad_rate={"m0": 0.01})
    sight = next(s for s in foretold.stages[0].harm[0].sights if s.effect == effect)
    found = run(plan, faults=[fault])

    assert found.rolled_back.n == 300
    assert found.detected_s.median == pytest.approx(sight.median_s, rel=0.3, abs=60)
    assert found.detected_s.p90 == pytest.approx(sight.p90_s, rel=0.15, abs=60)


@pytest.mark.parametrize(
    ("fault", "rule", "effect"),
    [("errors=x5", 0, 5.0), ("latency=+50%", 1, 1.5), ("latency_p95=+100%", 1, 2.0)],
)
def test_the_canary_sees_what_is_foretold(fault, rule, effect):
    """Errors and latencies, with maturing; other rules may be faster, none slower."""
    plan = canary(triggers=dict(list(canary().to_dict()["triggers"].items())[:2]))
    foretold = forecast(plan, traffic_per_s=10).stages[1].harm[rule]
    sight = next(s for s in foretold.sights if s.effect == effect)
    found = run(plan, faults=[fault], since="canary_5", bad_rate=0.01, runs=200)

    assert found.rolled_back.n == 200
    assert 0.6 * sight.p90_s <= found.detected_s.p90 <= 1.15 * sight.p90_s + 60
    assert 0 < found.harmed.median < 150
    assert found.stages[0].rolled_back == 0


def test_shadow_sees_it_before_any_user_is_harmed():
    """The same fault from the first stage on goes no further."""
    found = run(canary(), faults=["errors=x5"], bad_rate=0.01, runs=50)

    assert found.stages[0].rolled_back == 50
    assert found.harmed.p90 == 0


def test_p95_half_as_slow_again_is_seen_in_a_quarter_of_an_hour():
    """Of tasks, with the whole budget of two paths, from maturity on."""
    rules = [{"metric": "latency_p95", "versus": "baseline", "worse_by": "50%"}]
    plan = plan_of(triggers={"within 15m": rules}, criteria={"latency_p95": "off"})
    found = run(plan, faults=["latency=+50%"], bad_rate=0.01)

    assert found.rolled_back.n == 300
    assert found.detected_s.p90 <= 15 * 60


def test_the_e_values_are_those_of_the_engine():
    """Each question of a plan, weighed for many runs at once and one by one."""
    rng = np.random.default_rng(SEED)
    plan = canary()
    asked = [*harm(plan), *(q for s in plan.stages for q in proofs(plan, s))]
    methods = set()
    for question in asked:
        if question.method in {Method.ROW, Method.DETECTOR}:
            continue
        # Two blocks of looks: healthy first, then not.
        new = rng.integers(0, 9, (4, 3, 6))
        new[0, :, 3:] += 20
        candidate, control, both, good = np.cumsum(new, axis=-1)
        paired = Method.PAIRED in {question.method, question.compared}
        weighing = Weighing(question, rho=0.05, looks=50)
        blocks = [
            weighing.log_e(
                Tally(
                    candidate=candidate[:, span],
                    control=control[:, span],
                    both=both[:, span] if paired else None,
                    good=good[:, span],
                )
            )
            for span in (slice(0, 4), slice(4, 6))
        ]
        logs = np.concatenate(blocks, axis=-1)
        for run_ in range(3):
            alone = _alone(question, new[:, run_].T.tolist())
            assert logs[run_] == pytest.approx(alone, abs=1e-9)
        methods.add((question.method, question.side))
    assert len(methods) == 6


def _alone(question, counts):
    """Ask the engine's own processes, look by look."""
    start = "harm" if question.side is Side.HARM else "proof"
    if question.method is Method.LIMIT:
        process = getattr(BernoulliProcess, start)(question.limit)
        shadow = question.compared is Method.PAIRED
        found = _looks(process, question, [_good(one, shadow=shadow) for one in counts])
        if question.compared is None:
            return found
        versus = attrs.evolve(question, method=question.compared, limit=None)
        return list(map(log_both, found, _alone(versus, counts)))
    if question.method is Method.PAIRED:
        process = getattr(PairedProcess, start)(question.ratio)
        return _looks(process, question, [_pairs(*one) for one in counts])
    process = getattr(LabelProcess, start)(question.ratio)
    labels = [((one[0], one[1]), {"rho": 0.05}) for one in counts]
    found = _looks(process, question, labels)
    if question.floor is None:
        return found
    floor = getattr(BernoulliProcess, start)(question.floor)
    other = _looks(floor, question, [_good(one, shadow=False) for one in counts])
    both = log_both if question.side is Side.HARM else log_either
    return list(map(both, found, other))


def _good(one, *, shadow):
    """In shadow, what is bad of the candidate is bad of both or of it alone."""
    candidate, _, both, good = one
    bad = candidate + (both if shadow else 0)
    return (bad, bad + good), {}


def _pairs(candidate, control, both, good):
    n = candidate + control + both + good
    return (n,), {"both": both, "candidate": candidate, "control": control}


def _looks(process, question, looks):
    harm = question.side is Side.HARM
    onset, found = Onset.of(process, looks=50 if harm else math.inf), []
    for given, named in looks:
        onset = onset.update(onset.first.update(*given, **named))
        found.append(onset.log_e)
    return found


@pytest.mark.parametrize("unit", ["task", "user"])
@pytest.mark.parametrize("daily", [False, True])
def test_limits_of_what_nobody_told_are_simulated_at_the_limit(unit, daily):
    """Every path can go back for nothing; how fast it sees a fault is not made up."""
    raw = plan_of(unit=unit, check_interval="10m", dwell="12h").to_dict()
    slow = {"metric": "latency_p95", "above": "500 ms"}
    few = {"metric": "cache_hit_rate", "below": "80%"}
    raw["triggers"] = {"within 15m": [slow, few]}
    everyone = {"name": "all", "traffic": "100%", "success": {"unbroken_for": "12h"}}
    raw["stages"] = [*raw["stages"], everyone]
    plan = legion.Plan.from_dict(raw)
    units = Units.TASKS if unit == "task" else Units.STICKY
    scenario = Scenario(units=units, daily=daily, people=500)
    found = run(plan, scenario=scenario, bad_rate=0.01, runs=40)
    faulty = run(plan, faults=["latency=x2"], bad_rate=0.01, runs=4)

    assert found.not_simulated == ()
    assert found.kept
    assert "s0: latency_p95 above 500 ms" in faulty.not_simulated
    assert faulty.rolled_back.n == 0


def test_users_own_errors_are_seen_against_their_past():
    """Times five after a shadow of two days: as the engine, nearly always."""
    shadow = {"name": "shadow", "traffic": "0%", "mirror": "3%", "dwell": "48h"}
    plan = plan_of(unit="user", dwell="48h", check_interval="10m")
    document = plan.to_dict()
    document["stages"] = [shadow, *document["stages"]]
    plan = legion.Plan.from_dict(document)
    options = {"traffic_per_s": 1.2, "runs": 32}

    assert run(plan, **{**options, "runs": 96}).rolled_back.n <= 3  # 1 % at most.
    since = plan.stages[1].name
    found = run(plan, faults=["m0=x5"], since=since, **options)
    assert found.rolled_back.share > 0.75


@pytest.mark.parametrize("scenario", [None, STICKY], ids=["tasks", "sticky"])
def test_the_same_seed_gives_the_same(scenario):
    """To the last digit; another seed gives something else; progress is told."""
    told = []
    options = {"faults": ["m0=x2"], "runs": 40, "scenario": scenario}
    first = run(plan_of(), progress=told.append, **options)

    assert first.to_json() == run(plan_of(), **options).to_json()
    assert first.went_back_s != run(plan_of(), seed=2, **options).went_back_s
    assert told[-1] == 40
    assert told == sorted(told)


def test_a_stage_that_cannot_prove_its_margin_is_held():
    """It stays for twice its dwell and is given up; it is not a rollback."""
    found = run(plan_of(margin="10%", dwell="2h"), runs=50)

    assert found.stages[0].held >= 45
    assert found.stages[0].held + found.completed.n == 50


def test_it_can_be_written_as_json():
    """And says that it is simulated."""
    document = json.loads(json.dumps(run(canary(), runs=10).to_json()))

    assert document["simulated"] is True
    assert document["not_simulated"] == ["canary_5: cache_hit_rate at least 80 %"]
    assert set(document["rolled_back"]) == {"n", "of", "share", "low", "high"}


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"runs": 0}, "simulate: got runs=0"),
        ({"seed": -1}, "simulate: got runs=300, seed=-1"),
        ({"traffic_per_s": -1}, "traffic_per_s: got -1"),
        ({"faults": ["m0"]}, "fault: got 'm0'"),
        ({"faults": ["m0=x0"]}, "fault: got 'm0=x0'"),
        ({"faults": ["m0=much"]}, "fault: got 'm0=much'"),
        (
            {"faults": ["m9=x2"]},
            "fault: got 'm9', which no rule compares; write one of m0",
        ),
        ({"faults": ["m0=x2"], "since": "s9"}, "since: got 's9'; write one of"),
    ],
)
def test_bad_input_is_one_clear_error(wrong, why):
    """Which argument, what was given, what to write."""
    with pytest.raises(WorkloadError, match="write") as raised:
        run(plan_of(), **wrong)
    assert str(raised.value).startswith(why)


@pytest.mark.parametrize(
    "wrong",
    [{"people": 0}, {"late_s": -1.0}, {"late_s": float("nan")}, {"patience": 0}],
)
def test_a_scenario_that_cannot_be_is_refused(wrong):
    """Nobody at all, outcomes before their time, no patience."""
    with pytest.raises(WorkloadError, match="scenario: got"):
        Scenario(**wrong)


def test_a_plan_with_too_many_looks_is_refused():
    """Ten years, a look each second: told at once, not when memory ends."""
    with pytest.raises(WorkloadError, match=r"s0: got .* looks; write a longer"):
        run(plan_of(dwell="3650d", check_interval="1s"))
