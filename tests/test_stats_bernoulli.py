"""One arm against an absolute limit, and what ``or_below`` makes of it."""

from __future__ import annotations

import itertools
import json
import math

import attrs
import numpy as np
import pytest

from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from legion import canonical
from legion.stats import (
    BernoulliProcess,
    LabelProcess,
    Side,
    log_both,
    log_e_of_counts,
    log_either,
)


SEED = 11

counts = st.integers(0, 10_000)
limits = st.floats(0.0005, 0.9995)
starts = st.sampled_from([BernoulliProcess.harm, BernoulliProcess.proof])


@settings(deadline=None)
@given(limits, counts, counts)
def test_more_bad_is_more_harm_and_less_proof(limit, bad, good):
    """E is 1 at the start; a bad event moves each side its way, a good one the other."""
    for start, sign in ((BernoulliProcess.harm, 1), (BernoulliProcess.proof, -1)):
        here = start(limit).update(bad, bad + good)

        assert start(limit).log_e == 0
        assert sign * (here.update(1, 1).log_e - here.log_e) > -1e-9
        assert sign * (here.update(0, 1).log_e - here.log_e) < 1e-9


@settings(deadline=None)
@given(starts, limits, counts, counts)
def test_it_survives_json_and_merging(start, limit, bad, good):
    """Back from JSON it is equal; two halves make the whole."""
    whole = start(limit).update(bad, bad + good)
    halves = start(limit).update(bad, bad).merge(start(limit).update(0, good))

    assert (
        BernoulliProcess.from_json(json.loads(canonical.dumps(whole.to_json())))
        == whole
    )
    assert halves == whole


@pytest.mark.parametrize("start", [BernoulliProcess.harm, BernoulliProcess.proof])
def test_the_mean_is_at_most_one_everywhere_in_the_null(start):
    """Over all 2**9 outcomes: 1 at the limit, at most 1 beyond, also when rates move."""
    limit = 0.3
    inside = [0.05, 0.3, 0.2] if start(limit).side is Side.HARM else [0.3, 0.9, 0.5]
    for rates in ([limit] * 9, inside * 3):
        mean = 0.0
        for outcomes in itertools.product((0, 1), repeat=9):
            chance = math.prod(
                p if x else 1 - p for x, p in zip(outcomes, rates, strict=True)
            )
            mean += chance * math.exp(start(limit).update(sum(outcomes), 9).log_e)

        assert mean <= 1 + 1e-12
    assert mean < 0.95


def test_it_is_the_label_process_with_a_fixed_share():
    """Both are one kernel: the arm's share of bad events is the limit."""
    label = LabelProcess.harm(1.0).update(7, 50, rho=0.05)
    absolute = BernoulliProcess.harm(0.05).update(7, 57)

    assert label.log_e == pytest.approx(absolute.log_e, abs=1e-12)


@pytest.mark.parametrize("side", list(Side))
def test_false_alarms_stay_below_alpha_at_every_event(side):
    """
    A rate exactly at .5 %, 100,000 events, a look at each: at most 1 % ever cross.

    2,000 runs: a true 2.5 % is caught in 98 of 100 seeds. Harm can only cross at a bad
    event, proof only just before one.
    """
    rng = np.random.default_rng(SEED)
    gaps = rng.geometric(0.005, size=(2_000, 500)) - 1
    bad = np.arange(1, 501) - (side is Side.PROOF)
    log_e = log_e_of_counts(bad, np.cumsum(gaps, axis=1), limit=0.005, side=side)
    false = int((log_e.max(axis=1) >= math.log(100)).sum())

    assert binomtest(false, 2_000, 0.01, alternative="greater").pvalue >= 0.001


def test_a_rate_that_is_nearly_zero_is_proven_below_its_floor():
    """
    "Below .5 %" at 30 candidates a minute, alpha .05 at half weight.

    The median is 34, 51 and 104 minutes at a true 0, .1 and .2 %; 300 runs.
    """
    rng = np.random.default_rng(SEED)
    n = 30 * np.arange(1, 601)
    for rate, minutes in ((0.0, 36), (0.001, 56), (0.002, 115)):
        bad = np.cumsum(rng.binomial(30, rate, size=(300, 600)), axis=1)
        log_e = log_e_of_counts(bad, n - bad, limit=0.005, side=Side.PROOF)
        crossed = log_e >= math.log(2 / 0.05)

        assert (
            np.median(np.where(crossed.any(1), crossed.argmax(1) + 1, 9e9)) <= minutes
        )


def test_or_below_spares_three_errors_against_none():
    """Three bad of the candidate and none of control: E is 189 alone, under 100 with."""
    relative = LabelProcess.harm(1.0).update(3, 0, rho=0.05)
    absolute = BernoulliProcess.harm(0.005).update(3, 600)

    assert math.exp(relative.log_e) == pytest.approx(189, abs=1)
    assert log_both(relative.log_e, absolute.log_e) < math.log(10)


@settings(deadline=None)
@given(st.floats(-700, 700), st.floats(-700, 700))
def test_either_is_the_mean_and_both_the_least(a, b):
    """On the log scale, without overflow."""
    assert log_either(a, b) == pytest.approx(
        np.logaddexp(a, b) - math.log(2), abs=1e-12
    )
    assert log_both(a, b) == min(a, b)


@pytest.mark.parametrize(("bad", "n"), [(-1, 3), (4, 3), (math.nan, 3), (0, math.inf)])
def test_bad_input_is_an_error(bad, n):
    """Counts that are no counts are refused, and limits that are no probability."""
    with pytest.raises(ValueError, match="0 <= bad <= n"):
        BernoulliProcess.proof(0.01).update(bad, n)
    for limit in (0, 1, -0.1, math.nan):
        with pytest.raises(ValueError, match="limit: got"):
            BernoulliProcess.harm(limit)
        with pytest.raises(ValueError, match="limit: got"):
            BernoulliProcess.proof(limit)
    with pytest.raises(ValueError, match="cannot be merged"):
        BernoulliProcess.harm(0.1).merge(BernoulliProcess.proof(0.1))


@pytest.mark.parametrize("streams", [1, 4, 16])
def test_the_mean_over_streams_keeps_the_level(streams):
    """
    The same units in each stream, at the limit, nine tenths of what differs theirs.

    One in a hundred may reach 100. Taken for others they do in far more: the test can
    fail.
    """
    runs, units, limit, fired, bare = 400, 1_000, 0.02, 0, 0
    for run in range(runs):
        rng = np.random.default_rng([17, run])
        own = rng.beta(0.1 * limit, 0.1 * (1 - limit), units)
        bad = rng.random((streams, units)) < own
        process = BernoulliProcess.harm(limit)
        reached = alone = False
        for r, stream in enumerate(bad, 1):
            for look in stream.reshape(-1, 100):
                process = process.update(int(look.sum()), look.size, streams=r)
                e = process.log_e
                reached |= e >= math.log(100)
                alone |= attrs.evolve(process, streams=1).log_e >= math.log(100)
        fired, bare = fired + reached, bare + alone

    assert binomtest(fired, runs, 0.01, alternative="greater").pvalue > 0.01
    if streams > 1:
        assert binomtest(bare, runs, 0.01, alternative="greater").pvalue < 0.001


def test_streams_are_remembered_and_never_fewer():
    """What was counted twice stays so."""
    once = BernoulliProcess.harm(0.1).update(9, 30)
    twice = once.update(0, 0, streams=2).update(0, 0)
    assert twice.logs == pytest.approx([log / 2 for log in once.logs])
    assert BernoulliProcess.from_json(twice.to_json()) == twice
