"""Users who come back: held against their own past, exactly, in any process."""

from __future__ import annotations

import contextlib
import itertools
import json
import math

import attrs
import numpy as np
import pytest

from scipy.stats import binomtest

import legion

from legion.host import Host
from legion.metrics import find
from legion.model import Arm, Count, Missing, Observation, Report, Visits, Window
from legion.stages import Rule, StageEngine, visited
from legion.stages.evidence import (
    ComparedEvidence,
    Drawn,
    ExactEvidence,
    Known,
    LimitEvidence,
    Seen,
    Stay,
    Visitors,
    log_e_of_look,
    looked_at_s,
    visitors,
)
from legion.stages.evidence import (
    exact as exact_test,
)
from legion.stats import contaminated, thinned
from legion.store import Database
from legion.telemetry import Telemetry
from legion.testing import ManualClock


ERRORS = find("error_rate")
BEFORE, HERE, NEXT = Stay(1, 0.0), Stay(2, 0.05), Stay(3, 0.25)
DAY = 86_400.0
PEOPLE = 600
PLAN = {
    "plan": "rig",
    "candidate": "2.0.0",
    "baseline": "1.0.0",
    "unit": "user",
    "check_interval": "1h",
    "rollback": {"to": "v1", "within": "1m"},
    "triggers": {
        "within 1m": [{"metric": "error_rate", "versus": "baseline", "worse_by": "50%"}]
    },
    "stages": [
        {"name": "shadow", "traffic": "0%", "mirror": "20%", "dwell": "12h"},
        {"name": "canary", "traffic": "25%", "dwell": "24h"},
        {"name": "everyone", "traffic": "100%", "dwell": "1h"},
    ],
}


def window(visits, **more):
    """A window of {unit: (bad, n)}; its units count as well."""
    bad = frozenset(unit for unit, (y, _) in visits.items() if y)
    return Window(
        visits={"error_rate": Visits(visits)} if visits else {},
        units={"error_rate": len(visits)},
        bad_units={"error_rate": bad},
        counts={"error_rate": Count(len(bad), len(visits))},
        **more,
    )


def looked(candidate=(), control=(), *, at_s=0.0):
    return Observation(
        at_s=at_s, candidate=window(dict(candidate)), control=window(dict(control))
    )


def known():
    return Known(sticky=True, visits=frozenset({"error_rate"}))


def compared(*, margin=0.0, trigger=True, share=0.05, visits_s=DAY, **test):
    test = test or ({"worse_by": 0.5} if trigger else {"margin": margin})
    return ComparedEvidence(
        Rule(metric="error_rate", unit="share", versus="baseline", **test),
        metric=ERRORS,
        trigger=trigger,
        margin=margin,
        share=share,
        alpha=0.01,
        stale_s=1e9,
        visits_s=visits_s,
    )


# Who is remembered, and as what.


def test_what_was_before_a_stage_is_a_unit_s_past():
    """In shadow and as control of a smaller stage; its own stage begins at nothing."""
    them = Visitors()
    them.see(looked(control={1: (1, 5)}), BEFORE)
    them.see(looked(control={1: (0, 2)}), HERE)
    them.see(looked(candidate={1: (2, 3)}), NEXT)
    found = them.drawn("error_rate", NEXT)

    assert (found.bad[0], found.n[0]) == (2, 3)
    assert (found.bad_before[0], found.n_before[0]) == (1, 7)
    assert found.rho[0] == pytest.approx((0.25 - 0.05) / (1 - 0.05))


def test_who_has_had_the_candidate_is_no_draw_of_a_later_stage():
    """Its arm is known, and so is that of control's in a stage with a smaller share."""
    them = Visitors()
    them.see(looked(candidate={1: (0, 1)}, control={2: (0, 1)}), HERE)
    them.see(looked(candidate={1: (0, 1)}, control={2: (0, 1)}), NEXT)
    assert list(them.drawn("error_rate", NEXT).units) == [2]

    again = Stay(4, 0.05)
    them.see(looked(candidate={1: (0, 1)}, control={2: (0, 1)}), again)
    assert them.drawn("error_rate", again) is None


def test_a_mirrored_run_is_no_visit():
    """Neither where nobody has the candidate nor on a unit that control answers."""
    them = known()
    them.see(looked(candidate={1: (1, 1)}, control={1: (0, 1)}), BEFORE)
    assert them.visitors.metrics["error_rate"][1].n == 1
    seen = them.see(looked(candidate={1: (1, 1), 2: (1, 1)}, control={1: (0, 1)}), HERE)
    found = them.visitors.drawn("error_rate", HERE)

    assert dict(zip(found.units, found.candidate, strict=True)) == {1: False, 2: True}
    assert found.bad.tolist() == [0, 1]
    assert seen.first[Arm.CANDIDATE]["error_rate by visit"] == 1


def test_a_unit_heard_of_in_both_arms_is_control_s():
    """Whichever came first: what the candidate is said to have shown it is dropped."""
    them = Visitors()
    them.see(looked(candidate={1: (3, 3)}), HERE)
    them.see(looked(control={1: (0, 2)}), HERE)
    them.see(looked(candidate={1: (4, 4)}), HERE)
    found = them.drawn("error_rate", HERE)

    assert not found.candidate[0]
    assert (found.bad[0], found.n[0]) == (0, 2)


def test_a_later_bad_visit_is_seen_in_either_arm_once():
    """The unit has counted as good long ago; its first bad visit still tells."""
    them, harm, proof = known(), compared(), compared(trigger=False, margin=0.25)
    good = looked({1: (0, 1)}, {2: (0, 1)}, at_s=1.0)
    bad = looked({1: (1, 1)}, {2: (1, 1)}, at_s=2.0)
    bad = attrs.evolve(
        bad,
        candidate=attrs.evolve(bad.candidate, units={}, bad_units={}),
        control=attrs.evolve(bad.control, units={}, bad_units={}),
    )
    for one in (good, bad, bad):
        seen = them.see(one, HERE)
        harm.update(seen)
        proof.update(seen)

    assert harm.finding().evidence["bad_units"] == 1
    assert harm.finding().evidence["control_bad_units"] == 1
    assert harm.finding().evidence["units"] == 1
    assert proof.finding().evidence["bad_units"] == 0


def test_more_units_than_fit_are_said_and_the_others_stay(monkeypatch):
    """The first that come are followed; the finding says how much is left out."""
    monkeypatch.setattr(visitors, "MOST", 2)
    them, harm = known(), compared(visits_s=1.0)
    first = looked({9: (1, 1)}, {8: (0, 1)}, at_s=1.0)
    many = looked({9: (1, 1), 7: (1, 3)}, dict.fromkeys(range(5), (0, 2)), at_s=2.0)
    for observation in (first, many, many):
        harm.update(them.see(observation, HERE))

    assert set(them.visitors.metrics["error_rate"]) == {8, 9}
    assert harm.finding().evidence["visits_left_out"] == 2 * (3 + 5 * 2)
    assert "26 visits of later units left out" in harm.finding().reason


@pytest.mark.parametrize("share", [0.05, 0.5])
def test_the_last_places_of_one_look_go_to_neither_arm_first(monkeypatch, share):
    """
    A harmless candidate's units get their share of the places, and no evidence comes of it.

    The units' own hashes are in the order of the arms, as the split draws them.
    """
    monkeypatch.setattr(visitors, "MOST", 2_000)
    rng = np.random.default_rng(1)
    everyone, at = range(8_000), Stay(2, share)
    bad = rng.random(8_000) < 0.02
    mine = round(share * 8_000)
    fared = {unit << 50: (int(bad[unit]), 1) for unit in everyone}
    units = list(fared)
    observation = looked(
        {unit: fared[unit] for unit in units[:mine]},
        {unit: fared[unit] for unit in units[mine:]},
    )
    them = Visitors()
    left_out = them.see(observation, at).left_out
    drawn = them.drawn("error_rate", at)
    few = binomtest(int(drawn.candidate.sum()), 2_000, share)

    assert len(drawn.units) == 2_000
    assert left_out == {"error_rate": 6_000}
    assert few.pvalue > 0.001
    assert log_e_of_look(drawn, stream="error_rate", margin=0.0) < math.log(10)


@pytest.mark.parametrize("what", ["dropped", "left_out"])
@pytest.mark.parametrize("arm", ["candidate", "control"])
def test_of_a_look_that_is_not_whole_nothing_is_known(what, arm):
    """Neither visits nor first bad units; what is bad later is bad for the first time."""
    them, harm = known(), compared(visits_s=1.0)
    whole = looked({1: (1, 1)}, {2: (1, 1)}, at_s=1.0)
    broken = attrs.evolve(
        whole, **{arm: attrs.evolve(whole.window(Arm(arm)), **{what: 1})}
    )
    before = harm.to_json()
    seen = them.see(broken, HERE)
    harm.update(seen)

    assert not them.visitors.metrics
    assert not them.units
    said = {"at_s": 0.0, "counted": False, "young": False}
    assert {**harm.to_json(), **said} == before
    harm.update(them.see(whole, HERE))
    assert harm.finding().evidence["bad_units"] == 1


def test_a_host_without_visits_is_judged_as_before():
    """First bad events alone; the exact test says nothing and halves what they say."""
    them, harm, alone = known(), compared(), compared(visits_s=None)
    seen = them.see(
        Observation(
            at_s=1.0,
            candidate=Window(
                units={"error_rate": 500},
                bad_units={"error_rate": frozenset(range(50))},
            ),
            control=Window(
                units={"error_rate": 9_500},
                bad_units={"error_rate": frozenset(range(100, 195))},
            ),
        ),
        HERE,
    )
    for one in (harm, alone):
        one.update(seen)

    assert harm.log_bad == pytest.approx(alone.log_bad - math.log(2))


# The exact test.


def test_the_same_bad_events_are_kept_whenever_one_asks():
    """By unit and name; one more event leaves the others as they were."""
    units = np.arange(2_000, dtype=np.uint64) << np.uint64(40)
    bad = np.full(2_000, 10)
    kept = thinned(bad, units, keep=0.8, salt="error_rate")
    more = thinned(bad + 1, units, keep=0.8, salt="error_rate")

    assert kept.sum() == pytest.approx(16_000, abs=5 * math.sqrt(20_000 * 0.16))
    assert set((more - kept).tolist()) == {0, 1}
    assert np.array_equal(kept, thinned(bad, units, keep=0.8, salt="error_rate"))
    assert not np.array_equal(kept, thinned(bad, units, keep=0.8, salt="toxic"))
    assert np.array_equal(bad, thinned(bad, units, keep=1.0, salt=""))
    with pytest.raises(ValueError, match="write keep above 0"):
        thinned(bad, units, keep=0.0, salt="")


def test_the_same_good_events_turn_bad_whenever_one_asks():
    """As many as chance says, of units with many good events as of those with one."""
    good = np.array([400_000, 0, 3, 100_000] + [1] * 200_000)
    turned = contaminated(good, share=0.02, salt="error_rate")
    again = contaminated(good, share=0.02, salt="error_rate")

    assert turned[1] == 0
    assert np.all(turned <= good)
    for part in (slice(0, 1), slice(3, 4), slice(4, None)):
        many, n = int(turned[part].sum()), int(good[part].sum())
        assert binomtest(many, n, 0.02).pvalue > 0.001
    assert np.array_equal(turned, again)
    assert not np.array_equal(turned, contaminated(good, share=0.02, salt="toxic"))
    assert not contaminated(good, share=0.0, salt="").any()
    assert contaminated(good, share=1e-15, salt="").sum() <= 1
    assert not contaminated([], share=0.5, salt="").any()
    for wrong in (1.0, -0.1):
        with pytest.raises(ValueError, match="write one from 0"):
            contaminated(good, share=wrong, salt="")


def crowd(rng, people, ratio, *, adds=0.0, past=True, visits=100, steps=10):
    """Yield (stay, observation) of a crowd with a heavy tail, and with few bad ones."""
    activity = rng.pareto(1.2, people) + 0.05
    activity *= visits * people / activity.sum()
    rates = rng.beta(0.05, 0.05 * 99, people)
    mine = rng.random(people) < HERE.share
    worse = np.where(mine, np.minimum(rates * ratio + adds, 1), rates)
    units = rng.integers(0, 2**63, people)

    def came(amount, rates, who):
        n = rng.poisson(activity * amount)
        bad = rng.binomial(n, rates)
        told = zip(units[who], bad[who], n[who], strict=True)
        return {int(u): (int(y), int(k)) for u, y, k in told if k}

    if past:
        yield BEFORE, looked(control=came(1, rates, np.full(people, fill_value=True)))
    yield HERE, looked(at_s=1.0)
    times = [0.0, *(512 ** (-(steps - 1 - j) / (steps - 1)) for j in range(steps))]
    for begun, over in itertools.pairwise(times):
        here = came(over - begun, worse, mine)
        other = came(over - begun, rates, ~mine)
        yield HERE, looked(here, other, at_s=2.0 + over * DAY)


def tried(runs, seed, people, ratio, *, margin=0.0, make=None, **circumstances):
    """Return the evidence at the end of so many stages."""
    found = []
    for run in range(runs):
        them, one = known(), (make or compared)(margin=margin)
        for stay, observation in crowd(
            np.random.default_rng([seed, run]), people, ratio, **circumstances
        ):
            seen = them.see(observation, stay)
            if stay == HERE:
                one.update(seen)
        found.append(one)
    return found


def exact(*, margin):
    return ExactEvidence("error_rate", margin=margin, over_s=DAY)


@pytest.mark.parametrize("past", [True, False])
def test_at_the_margin_itself_it_errs_no_more_than_promised(past):
    """Every user twice as bad is at a margin of 100 %; one in ten may reach 10."""
    found = tried(200, 5, 60, 2.0, margin=1.0, make=exact, past=past, steps=6)
    fired = sum(one.log_e >= math.log(10) for one in found)

    assert binomtest(fired, 200, 0.1, alternative="greater").pvalue > 0.001
    assert np.mean([math.exp(min(one.log_e, 9)) for one in found]) < 1.5


def test_without_thinning_the_margin_would_be_harm():
    """So the test above can fail: the same users reach 10 in far more than one of ten."""
    found = tried(20, 5, 1_000, 2.0, make=exact, steps=6)
    at = tried(20, 5, 1_000, 2.0, margin=1.0, make=exact, steps=6)

    assert sum(one.log_e >= math.log(10) for one in found) >= 6
    assert sum(one.log_e >= math.log(10) for one in at) <= 3


def added_alone(monkeypatch, runs=200, people=300, visits=100, margin=1.0):
    """Return E of one look by the bets on added errors, where the margin is added."""
    monkeypatch.setattr(exact_test, "EFFECTS", ())
    found = []
    for run in range(runs):
        rng = np.random.default_rng([12, run])
        own = rng.beta(0.05, 0.05 * 99, people)
        mine, n = rng.random(people) < 0.25, rng.poisson(visits, (2, people))
        before = rng.binomial(n[0], own)
        usual = before.sum() / n[0].sum()
        worse = np.where(mine, np.minimum(own + margin * usual, 1), own)
        drawn = Drawn(
            units=rng.integers(0, 2**63, people).astype(np.uint64),
            candidate=mine,
            bad=rng.binomial(n[1], worse),
            n=n[1],
            bad_before=before,
            n_before=n[0],
            rho=np.full(people, 0.25),
        )
        log_e = log_e_of_look(drawn, stream="error_rate", margin=margin)
        found.append(math.exp(min(log_e, 9)))
    return np.array(found)


def test_what_is_added_within_the_margin_is_no_harm_to_bets_on_it(monkeypatch):
    """Once the usual rate more for all, at a margin of 100 %: one in ten may reach 10."""
    found = added_alone(monkeypatch)

    fired = int((found >= 10).sum())
    assert binomtest(fired, 200, 0.1, alternative="greater").pvalue > 0.001
    assert found.mean() < 1.5


def test_without_contamination_it_would_be_harm(monkeypatch):
    """So the test above can fail."""
    monkeypatch.setattr(
        exact_test, "contaminated", lambda good, **_: np.zeros_like(good)
    )

    assert np.mean(added_alone(monkeypatch, runs=20) >= 10) > 0.5


def test_every_look_is_taken_before_the_stage_may_be_left():
    """Though each check comes a little late, and the first one latest."""
    stage = plan().stage("canary")
    one = ExactEvidence("error_rate", margin=0.0, over_s=looked_at_s(stage))
    them = known()
    for check in range(1, 25):
        late_s = 300.0 if check == 1 else 1.0
        one.update(them.see(looked({1: (0, 1)}, at_s=3_600.0 * check + late_s), HERE))

    assert one.looks == "10 of 10"


def test_a_user_s_own_errors_times_five_are_seen_and_harmless_ones_are_not():
    """2,000 users: 96 % of rollouts; first bad visits alone see about one in ten."""
    worse = tried(16, 1, 2_000, 5.0)
    well = tried(10, 2, 2_000, 1.0)

    assert sum(bool(one.finding().met) for one in worse) >= 12
    assert not any(one.finding().met for one in well)
    assert sum(one.finding().evidence["first_bad"] >= 100 for one in worse) <= 6
    assert "held against their own past" in worse[0].finding().reason


def test_a_fault_that_comes_after_the_stage_s_time_is_seen():
    """A stage that lasts goes on looking: other code, a late proof, the last one of all."""
    seen = 0
    for run in range(4):
        them, one = known(), compared()
        for ratio, late_s in ((1.0, 0.0), (5.0, 1.1 * DAY)):
            # The same users, by the same seed.
            rng = np.random.default_rng([7, run])
            for stay, observation in crowd(rng, 2_000, ratio, past=not late_s):
                at_s = observation.at_s + late_s
                if stay == BEFORE:
                    them.see(observation, stay)
                else:
                    one.update(them.see(attrs.evolve(observation, at_s=at_s), stay))
            assert bool(one.finding().met) <= (ratio > 1)
        seen += bool(one.finding().met)
        assert one.finding().evidence["exact_looks"] == "10 of 10, and 1 later"
        assert one.finding().evidence["first_bad"] < 200
    assert seen >= 3


def test_later_looks_leave_the_mean_at_one():
    """All weights together are 1, however many looks a pause has swallowed."""
    them = known()
    them.see(looked(control=dict.fromkeys(range(40), (1, 20))), BEFORE)
    them.see(looked({1: (9, 9)}, {2: (1, 9)}, at_s=0.0), HERE)
    log_e = log_e_of_look(
        them.visitors.drawn("error_rate", HERE), stream="error_rate", margin=0.0
    )
    one = exact(margin=0.0)
    for at_s in (0.0, 0.3 * DAY, 2.5 * DAY, 2.6 * DAY, 40 * DAY, 1e9 * DAY):
        one.update(them.see(looked(at_s=at_s), HERE))

    assert one.log_e == pytest.approx(log_e)
    again = exact(margin=0.0)
    again.restore(json.loads(json.dumps(one.to_json())))
    assert again.log_e == one.log_e


def test_a_user_s_own_errors_times_two_are_seen_in_nearly_half():
    """2,000 users: 44 %, and 2 % by first bad visits alone."""
    found = tried(30, 4, 2_000, 2.0)

    seen = sum(bool(one.finding().met) for one in found)
    assert binomtest(seen, 30, 0.44, alternative="less").pvalue > 0.01
    assert sum(one.finding().evidence["first_bad"] >= 100 for one in found) <= 4


def test_errors_that_are_added_for_everybody_are_seen():
    """One visit in a hundred more: 99 %."""
    found = tried(12, 3, 2_000, 1.0, adds=0.01)

    assert sum(bool(one.finding().met) for one in found) >= 10


def test_proof_is_not_taken_from_whoever_has_failed_once():
    """Given time all have, in either arm: twice as bad would pass for no worse."""
    for run in range(10):
        them, proof = known(), compared(trigger=False, margin=0.25)
        for stay, observation in crowd(np.random.default_rng([6, run]), 2_000, 2.0):
            seen = them.see(observation, stay)
            if stay == HERE:
                proof.update(seen)
        assert not proof.finding().met


def test_the_process_goes_on_from_what_was_written():
    """Stopped and taken up again at each look, it says the same."""
    them, through, again = known(), compared(margin=0.25), compared(margin=0.25)
    for stay, observation in crowd(np.random.default_rng(1), 300, 3.0):
        seen = them.see(observation, stay)
        if stay == HERE:
            through.update(seen)
            again.update(seen)
            written = json.loads(json.dumps(again.to_json()))
            again = compared(margin=0.25)
            again.restore(written)

    assert again.finding() == through.finding()


# From stage to stage.


def climbed(
    seed, ratios, *, people=2_000, visits=20, looks=12, shares=(0.05, 0.25, 0.5)
):
    """
    Return the evidence of harm of each stage, and which froze the ladder.

    A stage is entered only where the one before has not frozen it. Users are the same
    in all of them, and a tenth of them brings most of the visits and errors.
    """
    rng = np.random.default_rng([11, seed])
    activity = rng.pareto(1.5, people) + 0.05
    activity *= visits * people / activity.sum()
    own = rng.gamma(0.1, 1, people)
    own = np.minimum(own * 0.01 * activity.sum() / (own * activity).sum(), 0.9)
    place, units = rng.random(people), np.arange(people)
    them, logs = known(), []
    for entry, (share, ratio) in enumerate(zip(shares, ratios, strict=False), 1):
        at, mine = Stay(entry, share), place < share
        one, best = compared(margin=0.25, share=share), 0.0
        for look in range(looks):
            n = rng.poisson(activity / looks)
            bad = rng.binomial(n, np.where(mine, np.minimum(own * ratio, 1), own))
            here, other = (
                {int(u): (int(bad[u]), int(n[u])) for u in units[arm & (n > 0)]}
                for arm in (mine, ~mine)
            )
            at_s = look * DAY / (looks - 1)
            one.update(them.see(looked(here, other, at_s=at_s), at))
            best = max(best, one.log_bad)
        logs.append(best)
        if best >= math.log(10):
            break
    return logs


@pytest.mark.parametrize("ratios", [(0.0, 1.0), (0.3, 1.0)])
def test_doing_better_before_is_not_held_against_a_candidate(ratios):
    """Better at 25 % and then exactly as good as control at 50 %: it stays."""
    found = [climbed(run, ratios, visits=200, shares=(0.25, 0.5)) for run in range(6)]

    assert all(len(logs) == 2 for logs in found)
    assert not any(logs[1] >= math.log(10) for logs in found)


def test_who_was_bad_in_an_earlier_stage_counts_again():
    """So the test above can fail: left out, those are missing in control's arm."""
    them = known()
    bad = looked({1: (0, 1)}, {2: (1, 1)})
    assert them.see(bad, HERE).first[Arm.CONTROL]["error_rate by visit"] == 1
    assert them.see(bad, HERE).first[Arm.CONTROL]["error_rate by visit"] == 0
    assert them.see(bad, NEXT).first[Arm.CONTROL]["error_rate by visit"] == 1
    other_code = attrs.evolve(NEXT, epoch=9)
    found = them.see(bad, other_code)
    assert found.first[Arm.CONTROL]["error_rate by visit"] == 0
    assert found.anew[Arm.CONTROL]["error_rate by visit"] == 1


def test_a_harmless_candidate_climbs_as_often_as_promised():
    """5, 25 and 50 %, entered where nothing froze: the sum reaches 20 in 5 % at most."""
    fired = 0
    for run in range(40):
        logs = climbed(run, (1.0, 1.0, 1.0), people=400)
        parts = [math.exp(log) for log in logs] + [1.0] * (3 - len(logs))
        fired += np.mean(parts) >= 20

    assert binomtest(fired, 40, 0.05, alternative="greater").pvalue > 0.01


# What is not tested as if it were independent.


def test_events_of_users_are_not_taken_for_independent():
    """A limit that is counted by event holds, and says what to write instead."""
    seen = Seen(
        observation=Observation(
            at_s=60.0, candidate=Window(counts={"error_rate": Count(90, 100)})
        ),
        first={},
        at=HERE,
    )
    for trigger in (True, False):
        test = {"above": 0.1} if trigger else {"below": 0.95}
        one = LimitEvidence(
            Rule(metric="error_rate", unit="share", **test),
            metric=ERRORS,
            trigger=trigger,
            alpha=0.01,
            stale_s=900.0,
            clustered=True,
        )
        one.update(seen)

        assert one.log_bad == one.log_good == 0.0
        assert one.finding().missing is Missing.INCONCLUSIVE
        assert "trial.event(...)" in one.finding().reason


@pytest.mark.parametrize("trigger", [True, False])
def test_users_that_are_counted_again_and_again_are_no_more_evidence(
    monkeypatch, trigger
):
    """Telemetry that forgets 400 users tells them forty times, and once is meant."""
    monkeypatch.setattr("legion.telemetry.units.KEPT", 100)
    # By luck alone: of a limit of 5 % these are beyond it, or within.
    share = 0.08 if trigger else 0.02
    clock = ManualClock()
    telemetry = Telemetry(clock)
    test = {"above": 1.0} if trigger else {"below": 1.0}
    one = LimitEvidence(
        Rule(metric="latency_p95", unit="s", **test),
        metric=find("latency_p95"),
        trigger=trigger,
        alpha=0.01,
        stale_s=900.0,
        clustered=True,
    )
    (watch,) = one.watches
    telemetry.watch(watch.name, "latency", candidate=1.0, control=1.0)
    known, streams, first = Known(), set(), 0.0
    for _ in range(40):
        for user in range(400):
            telemetry.begin(Arm.CANDIDATE, user, exposure="e")
            slow = 2.0 if user % 50 < 50 * share else 0.5
            telemetry.latency(Arm.CANDIDATE, user, slow, exposure="e")
            telemetry.end(Arm.CANDIDATE, user, failed=False, exposure="e")
        clock.advance(60)
        observation = telemetry.close(exposure="e")
        streams |= {*observation.streams}
        one.update(known.see(observation, HERE, streams=len(streams) or 1))
        first = first or (one.log_bad if trigger else one.log_good)

    found = one.finding().evidence
    assert found["units"] > 10_000
    assert found["bad_units"] / found["units"] == pytest.approx(share, rel=0.1)
    assert len(streams) > 30
    assert one.log_bad + one.log_good <= 2 * first


def test_the_shares_that_rules_name_are_counted_by_visit():
    """Nothing for tasks; for users those of triggers and stages, and no times."""
    rules = PLAN["triggers"]["within 1m"]
    triggers = [
        *rules,
        {"metric": "toxic", "versus": "baseline", "worse_by": "50%"},
        {"metric": "latency_p95", "versus": "baseline", "worse_by": "50%"},
        {"metric": "health_check_pass", "below": "50%"},
    ]
    stages = [
        {**stage, "validate": [{"metric": "rude", "below": "5%"}]}
        for stage in PLAN["stages"]
    ]
    plan = {
        **PLAN,
        "metrics": {"toxic": "share", "rude": "share"},
        "triggers": {"within 1m": triggers},
        "stages": stages,
    }

    assert visited(legion.Plan.from_dict(plan)) == {"error_rate", "toxic", "rude"}
    assert visited(legion.Plan.from_dict({**plan, "unit": "task"})) == frozenset()


# In the engine.


def plan(**changes):
    return legion.Plan.from_dict({**PLAN, **changes})


def engine(path, clock):
    return StageEngine(plan(), state=path, clock=clock)


def kept(engine):
    """What an engine knows of its units."""
    them = engine._lessons.learner.known
    metrics = {
        metric: {unit: attrs.asdict(one) for unit, one in units.items()}
        for metric, units in them.visitors.metrics.items()
    }
    return metrics, them.units


def learned(engine, observation):
    engine.poll()
    report = Report(plan="rig", stage=engine.state.stage, at_s=observation.at_s)
    engine.learn(observation, report)
    engine.commit(engine.decide(report))


def enter(engine, stage):
    """Let the engine be in *stage*, as after a move."""
    engine.poll()
    exposure = engine._ladder.exposure(stage)
    state = engine.state.entered(stage, exposure.digest, "", control=True, spent={})
    engine._pointer.save(state, durable=True, exposure=exposure)


def steps(n, seed=1):
    rng = np.random.default_rng(seed)
    for step in range(n):
        units = rng.choice(60, 25, replace=False)
        them = {int(u): (int(u % 7 == 0), 1 + int(u % 3)) for u in units}
        yield looked(
            {u: c for u, c in them.items() if u < 15},
            {u: c for u, c in them.items() if u >= 15},
            at_s=60.0 * (step + 1),
        )


def test_a_restart_and_another_process_change_nothing(tmp_path):
    """One engine; one that is opened anew each turn; two that take turns: the same."""
    clock = ManualClock(1e9)
    one = engine(tmp_path / "one.db", clock)
    pair = [engine(tmp_path / "two.db", clock) for _ in range(2)]
    for turn, observation in enumerate(steps(12)):
        anew = engine(tmp_path / "anew.db", clock)
        if turn in {0, 4, 8}:
            for each in (one, anew, pair[turn % 2]):
                enter(each, ("shadow", "canary", "canary")[turn // 4])
        learned(one, observation)
        learned(anew, observation)
        learned(pair[turn % 2], observation)
        expected = kept(one)
        assert kept(anew) == expected
        anew.close()
        assert kept(pair[turn % 2]) == expected
        assert pair[turn % 2].state.evidence == one.state.evidence
    assert expected[0]["error_rate"]
    with engine(tmp_path / "one.db", clock) as again:
        assert kept(again) == kept(one)
    for each in (one, *pair):
        each.close()


def test_what_was_overtaken_is_learned_once_on_top(tmp_path):
    """Two processes look at the same time; the slower one adds its own to the other's."""
    clock = ManualClock(1e9)
    first, second = (engine(tmp_path / "two.db", clock) for _ in range(2))
    enter(first, "canary")
    second.poll()
    one, other = steps(2)
    report = Report(plan="rig", stage="canary", at_s=one.at_s)
    for each, observation in ((first, one), (second, other)):
        each.learn(observation, report)
    for each in (first, second):
        each.commit(each.decide(report))
    with engine(tmp_path / "alone.db", clock) as alone:
        enter(alone, "canary")
        learned(alone, one)
        learned(alone, other)
        expected = kept(alone)

    def counted(found):
        return {u: (o["bad"], o["n"]) for u, o in found[0]["error_rate"].items()}

    assert counted(kept(second)) == counted(expected)
    assert kept(second)[1] == expected[1]
    first.close()
    second.close()


def rolled_out(ratio):
    """Return how a real host's rollout ends where users fail *ratio* times as often."""
    clock, rng = ManualClock(1e9), np.random.default_rng(1)
    telemetry = Telemetry(clock, visits=visited(plan()))
    activity = rng.pareto(1.5, PEOPLE) + 0.2
    rates = rng.beta(0.1, 0.1 * 24, PEOPLE)
    with Host.wired(
        plan(),
        database=Database(":memory:"),
        registry=None,
        telemetry=telemetry,
        clock=clock,
        probe=False,
    ) as host:
        for _ in range(60):
            turn = host.tick()
            if host.engine.state.status.over:
                break
            clock.advance(host.interval_s)
            for user in rng.choice(PEOPLE, 600, p=activity / activity.sum()):
                asked(host.engine, user, rates[user], rates[user] * ratio, rng)
        return host.engine.state, turn.decision


def asked(engine, user, control, candidate, rng):
    def answer(rate):
        if rng.random() < rate:
            raise OSError

    with contextlib.suppress(OSError):
        engine.run_sync(
            f"user-{user}",
            control=lambda: answer(control),
            candidate=lambda: answer(candidate),
            mirror=lambda: answer(control),
        )


def test_a_host_takes_back_what_multiplies_users_own_errors():
    """Five times as often, by users held against their own past; once is promoted."""
    state, decision = rolled_out(5.0)
    well, _ = rolled_out(1.0)

    assert state.status == "rolled_back"
    assert decision.code == "trigger:error_rate"
    assert "held against their own past" in decision.reason
    assert well.status == "complete"


def test_a_file_of_an_earlier_version_can_be_looked_at(tmp_path):
    """It has no visitors, and looking writes nothing."""
    clock = ManualClock(1e9)
    engine(tmp_path / "old.db", clock).close()
    with (
        Database(tmp_path / "old.db") as database,
        database.transaction(durable=True) as connection,
    ):
        connection.execute("DROP TABLE visitor")
    with Database(tmp_path / "old.db", readonly=True) as database:
        assert StageEngine(plan(), state=database, clock=clock).state.stage == ""
