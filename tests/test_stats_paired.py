"""Shadow pairs: what they promise, and what they see."""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pytest

from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from legion import canonical
from legion.stats import PairedProcess, Side


SEED = 5

counts = st.integers(0, 5_000)
ratios = st.floats(0.2, 5)
starts = st.sampled_from([PairedProcess.harm, PairedProcess.proof])
PAIRS = ("neither", "both", "candidate", "control")


def after(process: PairedProcess, outcome: str) -> PairedProcess:
    return process.update(1, **({} if outcome == "neither" else {outcome: 1}))


@settings(deadline=None)
@given(ratios, counts, counts, counts)
def test_a_pair_only_the_candidate_fails_is_harm(ratio, both, candidate, control):
    """E is 1 at the start; a lone failure moves each side its way; silence says nothing."""
    for start, sign in ((PairedProcess.harm, 1), (PairedProcess.proof, -1)):
        n = both + candidate + control
        here = start(ratio).update(n, both=both, candidate=candidate, control=control)

        assert start(ratio).log_e == 0
        assert sign * (after(here, "candidate").log_e - here.log_e) > -1e-9
        assert sign * (after(here, "control").log_e - here.log_e) < 1e-9
        assert after(here, "neither").log_e == here.log_e


@settings(deadline=None)
@given(starts, ratios, counts, counts, counts, counts)
def test_it_survives_json_and_merging(start, ratio, both, candidate, control, neither):
    """Back from JSON it is equal; halves make the whole; the value stays finite."""
    n = both + candidate + control + neither
    whole = start(ratio).update(n, both=both, candidate=candidate, control=control)
    left = start(ratio).update(both + candidate, both=both, candidate=candidate)
    right = start(ratio).update(control + neither, control=control)

    assert (
        PairedProcess.from_json(json.loads(canonical.dumps(whole.to_json()))) == whole
    )
    assert left.merge(right) == whole
    assert math.isfinite(whole.log_e)


@pytest.mark.parametrize("ratio", [0.5, 1.0, 1.25, 3.0])
@pytest.mark.parametrize("start", [PairedProcess.harm, PairedProcess.proof])
def test_the_mean_is_one_at_the_edge_of_the_null(start, ratio):
    """Over all 4**6 outcomes, however the two arms depend on each other."""
    control = 0.2
    candidate = ratio * control
    for overlap in (0.0, 0.5, 1.0):
        both = overlap * min(candidate, control)
        chances = {
            "both": both,
            "candidate": candidate - both,
            "control": control - both,
            "neither": 1 - candidate - control + both,
        }
        assert min(chances.values()) >= 0
        mean = 0.0
        for outcomes in itertools.combinations_with_replacement(PAIRS, 6):
            process, chance = start(ratio), math.factorial(6)
            for outcome in outcomes:
                process = after(process, outcome)
                chance *= chances[outcome]
            for outcome in PAIRS:
                chance /= math.factorial(outcomes.count(outcome))
            mean += chance * math.exp(process.log_e)

        assert mean == pytest.approx(1, abs=1e-12)


@settings(deadline=None)
@given(starts, ratios, counts, counts, st.floats(0, 1), st.floats(0, 1))
def test_one_step_never_gains_on_average_under_the_null(
    start, ratio, bad, good, share, where
):
    """For every pair of rates in the null, E is expected not to grow."""
    here = start(ratio).update(bad + good, candidate=bad, control=good)
    high = share * min(1.0, 1 / ratio)
    if here.side is Side.HARM:
        control, candidate = high, where * high * ratio
    else:
        control, candidate = where * high, high * ratio
    both = candidate * control
    mean = (
        both * math.exp(after(here, "both").log_e - here.log_e)
        + (candidate - both) * math.exp(after(here, "candidate").log_e - here.log_e)
        + (control - both) * math.exp(after(here, "control").log_e - here.log_e)
        + (1 - candidate - control + both)
    )

    assert mean <= 1 + 1e-9


def logs(side: Side, ratio: float, **pairs: np.ndarray) -> np.ndarray:
    """Return log E of many counts: the process is linear in them, alternative by one."""
    from legion.stats.grid import GRID
    from legion.stats.paired import _bets

    total = -np.inf
    for both, candidate, control in _bets(side, ratio, GRID):
        gain = pairs["both"] * both + pairs["candidate"] * candidate
        total = np.logaddexp(total, gain + pairs["control"] * control)
    return total - math.log(len(GRID))


@pytest.mark.parametrize("side", list(Side))
def test_false_alarms_stay_below_alpha_at_every_pair(side):
    """
    Arms equally bad, a third of the bad pairs shared, 1,500 telling pairs.

    2,000 runs at alpha 1 %: a true 2.5 % is caught in 98 of 100 seeds.
    """
    rng = np.random.default_rng(SEED)
    kinds = rng.integers(0, 3, size=(2_000, 1_500))
    pairs = {name: np.cumsum(kinds == k, axis=1) for k, name in enumerate(PAIRS[1:])}
    highest = logs(side, 1.0, **pairs).max(axis=1)
    false = int((highest >= math.log(100)).sum())
    one = start_of(side).update(9, both=4, candidate=3, control=2)

    assert binomtest(false, 2_000, 0.01, alternative="greater").pvalue >= 0.001
    assert logs(side, 1.0, both=4, candidate=3, control=2) == pytest.approx(one.log_e)


def start_of(side: Side) -> PairedProcess:
    return PairedProcess.harm(1.0) if side is Side.HARM else PairedProcess.proof(1.0)


def test_a_candidate_twice_as_bad_shows_in_a_few_hundred_bad_pairs():
    """1 % against 2 %, independent: 9 of 10 runs within 20,000 pairs at alpha 1 %."""
    rng = np.random.default_rng(SEED)
    seen = 0
    for _ in range(200):
        candidate, control = rng.binomial(20_000, [0.0198, 0.0098])
        process = PairedProcess.harm(1.0)
        process = process.update(20_000, candidate=int(candidate), control=int(control))
        seen += process.log_e >= math.log(100)

    assert seen >= 180


@pytest.mark.parametrize(
    ("n", "given"),
    [(1, {"both": 2}), (1, {"candidate": -1}), (-1, {}), (1, {"control": math.nan})],
)
def test_bad_input_is_an_error(n, given):
    """Counts that are no counts are refused, and ratios that are none."""
    with pytest.raises(ValueError, match="pairs: got"):
        PairedProcess.harm().update(n, **given)
    for ratio in (0, -1, math.nan, math.inf):
        with pytest.raises(ValueError, match="ratio: got"):
            PairedProcess.harm(ratio)
        with pytest.raises(ValueError, match="ratio: got"):
            PairedProcess.proof(ratio)
    with pytest.raises(ValueError, match="cannot be merged"):
        PairedProcess.harm().merge(PairedProcess.harm(2.0))
