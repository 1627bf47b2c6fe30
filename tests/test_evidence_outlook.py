"""When a proof that is not there yet could be there: said, and how often it is so."""

from __future__ import annotations

import math

import attrs
import numpy as np
import pytest

from stages_rig import plan, rig, with_stage

import legion

from legion.model import Missing, Move
from legion.stages.evidence.outlook import outlook_of_limit, outlook_of_margin
from legion.stages.evidence.units import Tally
from legion.stages.evidence.watch import Past, Watch, no_edge_yet
from legion.stats import (
    BernoulliProcess,
    LabelProcess,
    LogHistogram,
    PairedProcess,
    Side,
    label_share,
    log_e_of_counts,
    more_to_decide,
)


SEED = 31
LOOK_S = 60.0


def of_margin(
    process, *, floor=None, share=0.25, margin=0.25, observed_s=3_600.0, **it
):
    return outlook_of_margin(
        process,
        floor,
        Tally(**it),
        share=share,
        margin=margin,
        slow=False,
        alpha=0.05,
        observed_s=observed_s,
    )


def estimates(*, ratio, margin, share, runs=200):
    """Return what was said at a third of the way, as multiples of when it was proven."""
    rng = np.random.default_rng(SEED)
    found = []
    for _ in range(runs):
        candidate = rng.binomial(50, label_share(ratio, rho=share), 1_500).cumsum()
        total = 50 * np.arange(1, len(candidate) + 1)
        limit = label_share(1 + margin, rho=share)
        control = total - candidate
        logs = log_e_of_counts(candidate, control, limit=limit, side=Side.PROOF)
        end = int((logs >= math.log(20)).argmax()) + 1
        assert logs[end - 1] >= math.log(20)
        third = max(end // 3, 1)
        process = LabelProcess.proof(1 + margin).update(
            int(candidate[third - 1]), int(control[third - 1]), rho=share
        )
        said = of_margin(process, share=share, margin=margin, observed_s=third * LOOK_S)
        seconds = math.inf if said.seconds is None else said.seconds
        found.append((third * LOOK_S + seconds) / (end * LOOK_S))
    return np.array(found)


@pytest.mark.parametrize(
    ("ratio", "margin", "share", "least"),
    [(1.0, 0.25, 0.25, 0.7), (1.0, 0.10, 0.5, 0.7), (0.9, 0.25, 0.25, 0.55)],
)
def test_what_is_said_at_a_third_of_the_way_is_near(ratio, margin, share, least):
    """
    Within a factor of two in 7 of 10 where the candidate is as good as control.

    Proofs of equal candidates end so differently that who knows the truth is as often
    wrong. Nor is it late or early by more than half on average.
    """
    found = estimates(ratio=ratio, margin=margin, share=share)
    near = np.mean((found >= 0.5) & (found <= 2))

    print(SEED, near, np.median(found))
    assert near >= least
    assert 2 / 3 <= np.median(found) <= 1.8


def test_more_of_the_same_is_the_median_passage():
    """Of walks with one alternative and the drift that it has where it is the truth."""
    rng = np.random.default_rng(SEED)
    drift, nats = 0.02, 3.0
    steps = rng.normal(drift, math.sqrt(2 * drift), (2_000, 1_200)).cumsum(axis=1)
    ends = np.where((steps >= nats).any(axis=1), (steps >= nats).argmax(axis=1), 1_200)

    said = more_to_decide([0.0], [drift], alpha=math.exp(-nats))
    assert said == pytest.approx(np.median(ends), rel=0.1)
    assert more_to_decide([4.0, 1.0], [0.1, 0.1], alpha=0.05) == 0.0
    assert more_to_decide([0.0, 1.0], [0.0, -0.1], alpha=0.05) is None
    with pytest.raises(ValueError, match="2 logs, 1 gains"):
        more_to_decide([0.0, 1.0], [0.1], alpha=0.05)


def test_the_condition_is_said():
    """As good as control, unless it clearly is not; a time as it was so far."""
    alike = LabelProcess.proof(1.25).update(10, 30, rho=0.25)
    worse = LabelProcess.proof(1.25).update(60, 90, rho=0.25)
    better = LabelProcess.proof(1.25).update(8, 60, rho=0.25)

    said = of_margin(alike)
    assert said.says.startswith("could be proven in about")
    assert said.says.endswith("if it is as good as control")
    assert said.seconds > 0
    assert of_margin(better).says.endswith("if it goes on as so far")
    assert of_margin(worse).seconds is None
    assert of_margin(worse).says == (
        "not provable as it stands: observed +100%, margin 25%"
    )


def test_nothing_bad_yet_proves_nothing_unless_there_is_a_floor():
    """Where the floor alone could prove it, it is said when."""
    none = LabelProcess.proof(1.25)
    floor = BernoulliProcess.proof(0.005).update(0, 300)

    assert of_margin(none).says == (
        "not provable as it stands: no bad unit to compare yet; with or_below, as"
        " `or_below: 0.5%`, few bad units are proof"
    )
    assert of_margin(none, floor=floor).seconds > 0
    proven = floor.update(0, 10_000)
    assert of_margin(none, floor=proven).seconds == 0


def test_pairs_and_limits_have_an_outlook_too():
    """Pairs as good as control; a limit goes on as so far, or is not provable."""
    pairs = PairedProcess.proof(1.25).update(5_000, both=5, candidate=20, control=22)
    kept = BernoulliProcess.proof(0.02).update(10, 1_000)
    passed = BernoulliProcess.proof(0.02).update(30, 1_000)

    assert of_margin(pairs, share=0.0).seconds > 0
    assert outlook_of_limit(kept, alpha=0.05, observed_s=60.0).seconds > 0
    assert outlook_of_limit(passed, alpha=0.05, observed_s=60.0).says == (
        "not provable as it stands: 0.03 of them are bad, 0.02 is the limit"
    )


COMPARED = {"metric": "error_rate", "versus": "baseline", "margin": "25%"}


def test_a_hold_says_when_it_could_be_over():
    """In the finding for programs, in the reason for people."""
    one = rig(rules=plan(stages=with_stage("canary", validate=[COMPARED])))
    one.climb("canary")
    for _ in range(5):
        decision = one.turn(bad=10, control=(10, 1000))

    assert (decision.move, decision.code) == (Move.HOLD, "validation")
    assert "could be proven in about" in decision.reason
    finding = one.state.findings["validate: error_rate at most 25 % above baseline"]
    assert finding.evidence["decides_in_s"] > 60
    for _ in range(5):
        decision = one.turn(bad=20, control=(10, 1000))
    assert decision.move is not Move.ROLL_BACK
    finding = one.state.findings["validate: error_rate at most 25 % above baseline"]
    assert finding.evidence["decides_in_s"] is None
    assert "not provable as it stands: observed +" in finding.reason


def test_a_past_that_is_too_short_is_said():
    """Not that nothing was measured, which a host would look for in vain."""
    slow = {"metric": "latency_p95", "versus": "baseline", "margin": "10%"}
    one = rig(rules=plan(stages=with_stage("canary", validate=[slow])))
    one.climb("canary")
    seen = one.seen(bad=0, values={"latency": [0.1] * 40})
    control = attrs.evolve(
        seen.control, histograms={"latency": LogHistogram.of([0.1] * 40)}
    )
    seen = attrs.evolve(seen, control=control)
    one.engine.learn(seen, legion.Report(plan="rig", stage="canary"))
    finding = one.state.findings["validate: latency_p95 at most 10 % above baseline"]

    assert finding.missing is Missing.INCONCLUSIVE
    assert finding.reason == (
        "latency_p95: control's past is too short: 40 of 100 values"
    )
    watch = Watch(name="slow", metric=legion.metrics.METRICS["latency_p95"])
    past = {"latency": Past().plus(LogHistogram.of([0.1] * 100))}
    assert no_edge_yet([watch], {}) == ""
    assert no_edge_yet([watch], past) == (
        "no unit is of age yet since control's past said what is slow"
    )
