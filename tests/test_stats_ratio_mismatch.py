"""Sample-ratio mismatch: a splitter that is right is left alone, one that is not shows."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from legion import canonical
from legion.stats import RatioMismatch


SEED = 41

counts = st.integers(0, 10**9)


def test_the_mean_is_exactly_one_under_the_plan():
    """Summed over all counts of ten units in two arms, and of six in three."""
    two = sum(
        math.comb(10, k)
        * 0.05**k
        * 0.95 ** (10 - k)
        * math.exp(
            RatioMismatch.of(0.05, 0.95, concentration=20).update(k, 10 - k).log_e
        )
        for k in range(11)
    )
    three = sum(
        math.factorial(6)
        / (math.factorial(i) * math.factorial(j) * math.factorial(6 - i - j))
        * 0.2**i
        * 0.3**j
        * 0.5 ** (6 - i - j)
        * math.exp(RatioMismatch.of(0.2, 0.3, 0.5).update(i, j, 6 - i - j).log_e)
        for i in range(7)
        for j in range(7 - i)
    )

    assert two == pytest.approx(1, abs=1e-12)
    assert three == pytest.approx(1, abs=1e-12)


@settings(deadline=None)
@given(st.floats(0.01, 0.99), counts, counts)
def test_it_survives_json_and_merging(share, candidate, control):
    """E is 1 at the start, halves make the whole, and a thousand million stay finite."""
    start = RatioMismatch.of(share, 1 - share)
    whole = start.update(candidate, control)

    assert start.log_e == pytest.approx(0, abs=1e-9)
    assert start.update(candidate, 0).merge(start.update(0, control)) == whole
    assert (
        RatioMismatch.from_json(json.loads(canonical.dumps(whole.to_json()))) == whole
    )
    assert math.isfinite(whole.log_e)


def test_false_alarms_stay_below_alpha_at_every_unit():
    """
    A right 5 % split, 5,000 units, a look at each: at most 1 % ever reach 100.

    2,000 runs; a true 2.5 % is caught in 98 of 100 seeds. E only rises above its last
    value by moving away from the plan, so counts at which it is reached are tabulated.
    """
    rng = np.random.default_rng(SEED)
    start = RatioMismatch.of(0.05, 0.95)
    n = np.unique(np.geomspace(1, 5_000, 300).astype(int))
    candidates = np.cumsum(rng.random((2_000, 5_000)) < 0.05, axis=1)[:, n - 1]
    left = np.zeros(2_000, bool)
    for column, m in enumerate(n.tolist()):
        values = np.unique(candidates[:, column])
        far = [start.update(int(k), m - int(k)).log_e >= math.log(100) for k in values]
        left |= np.isin(candidates[:, column], values[far])

    assert (
        binomtest(int(left.sum()), 2_000, 0.01, alternative="greater").pvalue >= 0.001
    )


def test_a_wrong_share_shows():
    """6 % in place of 5 % is certain after 20,000 units, 10 % after 2,000."""
    rng = np.random.default_rng(SEED)
    for share, units in ((0.06, 20_000), (0.10, 2_000)):
        shown = 0
        for candidate in rng.binomial(units, share, size=100).tolist():
            test = RatioMismatch.of(0.05, 0.95).update(candidate, units - candidate)
            shown += test.log_e >= math.log(1000)

        assert shown >= 95


def test_bad_input_is_an_error():
    """Shares that are no shares, and counts that do not fit them."""
    for shares in ((1.0,), (0.5, 0.6), (0.0, 1.0), (-0.5, 1.5), (math.nan, 0.5)):
        with pytest.raises(ValueError, match="shares: got"):
            RatioMismatch.of(*shares)
    with pytest.raises(ValueError, match="concentration: got"):
        RatioMismatch.of(0.5, 0.5, concentration=0)
    for counts_ in ((1,), (1, 2, 3), (-1, 2), (math.nan, 1)):
        with pytest.raises(ValueError, match="ratio mismatch: got"):
            RatioMismatch.of(0.5, 0.5).update(*counts_)
    with pytest.raises(ValueError, match="cannot be merged"):
        RatioMismatch.of(0.5, 0.5).merge(RatioMismatch.of(0.4, 0.6))
