"""Estimates of means with error bars, and the moments they come from."""

from __future__ import annotations

import json
import math
import statistics

from pathlib import Path

import numpy as np
import pytest

from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from legion import canonical
from legion.stats import (
    Moments,
    change_interval,
    difference_interval,
    mean_interval,
)
from legion.stats.asymptotic import halfwidth


VECTORS = Path(__file__).parents[1] / "../shared/vectors/stages/gbstats_sequential.json"

numbers = st.lists(st.floats(-1e6, 1e6), max_size=30)


def arm(kind: str, sums: dict[str, float]) -> Moments:
    if kind == "mean":
        return Moments.of_sums(
            int(sums["n"]), total=sums["sum"], squares=sums["sum_squares"]
        )
    n, share = int(sums["n"]), sums["sum"] / sums["n"]
    # GrowthBook takes p (1 - p) for the variance of a share, without n / (n - 1).
    return Moments(n=n, mean=share, squares=share * (1 - share) * (n - 1))


@pytest.mark.skipif(
    not VECTORS.exists(),
    reason="the gbstats vectors are not at ../shared/vectors/stages",
)
def test_growthbook_s_sequential_tests_come_out():
    """Both published intervals of the relative change, to all printed digits."""
    cases = json.loads(VECTORS.read_text())["sequential"]
    assert len(cases) == 2
    for case in cases:
        control, candidate = (arm(case["kind"], case[name]) for name in ("a", "b"))
        found = change_interval(
            candidate, control, alpha=case["alpha"], n_opt=case["tuning"]
        )

        assert found is not None
        assert round(found.estimate, 5) == case["expected"]
        assert [round(found.low, 5), round(found.high, 5)] == case["ci"]


@settings(deadline=None)
@given(numbers, numbers)
def test_moments_merge_and_survive_json(a, b):
    """Mean and variance are the standard library's, however the values are split."""
    both = Moments.of(a).merge(Moments.of(b))

    assert Moments.from_json(json.loads(canonical.dumps(both.to_json()))) == both
    assert both.n == len(a + b)
    if a + b:
        assert both.mean == pytest.approx(statistics.fmean(a + b), rel=1e-9, abs=1e-6)
    if len(a + b) > 1:
        expected = statistics.variance(a + b)
        assert both.variance == pytest.approx(expected, rel=1e-9, abs=1e-6)


def test_moments_do_not_cancel():
    """Variance 1 about a mean of a billion; sums of squares would lose it."""
    values = [1e9 + x for x in (-1.0, 0.0, 1.0)]

    assert Moments.of(values).variance == pytest.approx(1)


def test_a_mean_is_covered_at_all_times():
    """
    Costs with a skew, looked at after every one from the 200th: at most 5 % leave.

    1,000 runs of 3,000 values; a true 8.5 % is caught in 9 of 10 seeds.
    """
    rng = np.random.default_rng(31)
    n = np.arange(200, 3_001)
    half = np.array([halfwidth(1.0, int(m), alpha=0.05, n_opt=1_000) for m in n])
    left = 0
    for _ in range(1_000):
        x = rng.exponential(1.0, 3_000)
        total, squares = np.cumsum(x)[199:], np.cumsum(x * x)[199:]
        deviation = np.sqrt((squares - total**2 / n) / (n - 1))
        left += bool((np.abs(total / n - 1) > half * deviation).any())

    assert binomtest(left, 1_000, 0.05, alternative="greater").pvalue >= 0.001


def test_a_difference_is_the_mean_s_interval_with_both_variances():
    """Equal arms of variance 4: the difference has four times the variance of a value."""
    rng = np.random.default_rng(1)
    a, b = (Moments.of(rng.normal(5, 2, 1_000).tolist()) for _ in range(2))
    found = difference_interval(a, b, alpha=0.05, n_opt=2_000)
    own = mean_interval(a, alpha=0.05, n_opt=2_000)

    assert found is not None
    assert own is not None
    assert found.estimate == pytest.approx(a.mean - b.mean)
    expected = halfwidth(2 * (a.variance + b.variance), 2_000, alpha=0.05, n_opt=2_000)
    assert (found.high - found.low) / 2 == pytest.approx(expected)
    assert own.low < 5 < own.high


def test_without_values_there_is_no_interval():
    """Fewer than two values, or a change of nothing, is None."""
    one, many = Moments.of([1.0]), Moments.of([1.0, 2.0])

    assert mean_interval(one) is None
    assert difference_interval(one, many) is None
    assert change_interval(many, one) is None
    assert change_interval(many, Moments.of([0.0, 0.0])) is None


def test_bad_input_is_an_error():
    """What was not measured must be left out, and impossible sums are refused."""
    for value in (math.nan, math.inf):
        with pytest.raises(ValueError, match="leave out"):
            Moments.of([1.0, value])
    for n, total, squares in ((0, 0.0, 0.0), (2, 10.0, 1.0), (2, math.nan, 1.0)):
        with pytest.raises(ValueError, match="moments:"):
            Moments.of_sums(n, total=total, squares=squares)
    for alpha in (0, 1, math.nan):
        with pytest.raises(ValueError, match="confidence sequence: got"):
            mean_interval(Moments.of([1.0, 2.0]), alpha=alpha)
