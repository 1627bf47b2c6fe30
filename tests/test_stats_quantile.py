"""Quantiles at all times at once."""

from __future__ import annotations

import json

from pathlib import Path

import numpy as np
import pytest

from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from legion.stats import (
    LogHistogram,
    QuantileMixture,
    quantile_interval,
    quantile_p_value,
)


VECTORS = Path(__file__).parents[1] / "../shared/vectors/stages/confseq_golden.json"
SEED = 23


@pytest.mark.skipif(
    not VECTORS.exists(),
    reason="the confseq vectors are not at ../shared/vectors/stages",
)
def test_the_published_p_values_come_out():
    """Eight comparisons of 400 with 400 values, down to 4.5e-72, to 1e-9 of each."""
    cases = json.loads(VECTORS.read_text())["quantile_ab_p_value"]
    assert len(cases) == 8
    for case in cases:
        given = {k: case[k] for k in ("q", "t_opt", "alpha_opt")}
        found = quantile_p_value(case["a"], case["b"], **given)

        assert found == pytest.approx(case["p"], rel=1e-9)
        assert quantile_p_value(case["b"], case["a"], **given) == pytest.approx(found)


def slow_p(a: list[float], b: list[float], mixture: QuantileMixture) -> float:
    """The definition, word by word: the least sum over every point and between."""
    least = np.inf
    for x in {*a, *b}:
        total = 0.0
        for arm in (a, b):
            n = len(arm)
            low, high = sum(v < x for v in arm) / n, sum(v <= x for v in arm) / n
            inside = [low, high, *np.linspace(low, high, 50)]
            total += min(mixture.log_e(share, n) for share in inside)
        least = min(least, total)
    return float(np.exp(-max(least, 0)))


few = st.lists(st.integers(1, 12).map(float), min_size=1, max_size=25)


@settings(max_examples=25, deadline=None)
@given(few, few, st.sampled_from([0.25, 0.5, 0.9]))
def test_it_is_the_definition_also_with_ties(a, b, q):
    """Held against a slow reading."""
    mixture = QuantileMixture(q=q, t_opt=20)
    found = quantile_p_value(a, b, q=q, t_opt=20)

    assert found == pytest.approx(slow_p(a, b, mixture), rel=2e-3)
    assert 0 < found <= 1


def test_a_histogram_errs_on_the_careful_side():
    """Within buckets of 2 % nothing is known, so the p-value is no smaller."""
    rng = np.random.default_rng(SEED)
    for fault in (1.0, 1.2, 1.5):
        a = rng.lognormal(0, 0.5, 400).tolist()
        b = (fault * rng.lognormal(0, 0.5, 400)).tolist()
        exact = quantile_p_value(a, b, q=0.5, t_opt=400)
        rough = quantile_p_value(
            LogHistogram.of(a), LogHistogram.of(b), q=0.5, t_opt=400
        )

        assert exact <= rough <= max(exact * 1e3, exact + 0.2)


def test_an_interval_holds_its_quantile_at_every_look():
    """
    The 90th percentile, 1,500 values, a look at each: at most 5 % ever leave.

    1,000 runs on ranks of uniform values; a true 8.5 % is caught in 9 of 10 seeds.
    """
    rng = np.random.default_rng(SEED)
    mixture = QuantileMixture(q=0.9, t_opt=500)
    n = np.unique(np.geomspace(20, 1_500, 120).astype(int))
    ranks = [mixture.ranks(int(m), alpha=0.05) for m in n]
    low = np.array([0 if a is None else a for a, _ in ranks])
    high = np.array([10**9 if b is None else b for _, b in ranks])
    below = np.cumsum(rng.random((1_000, 1_500)) < 0.9, axis=1)[:, n - 1]
    # Outside when the quantile is below the value of rank low, or above that of high.
    left = ((below < low) | (below >= high)).any(axis=1).sum()

    assert binomtest(int(left), 1_000, 0.05, alternative="greater").pvalue >= 0.001


def test_an_interval_narrows_and_a_few_values_bound_nothing():
    """Ten values say nothing of a p95; a thousand of them bound it on both sides."""
    values = [i / 1000 for i in range(1, 1001)]

    assert quantile_interval(values[:10], q=0.95, alpha=0.05, t_opt=500)[1] is None
    low, high = quantile_interval(values, q=0.95, alpha=0.05, t_opt=500)
    assert low is not None
    assert high is not None
    assert 0.9 < low < 0.95 < high < 0.98
    rough = quantile_interval(LogHistogram.of(values), q=0.95, alpha=0.05, t_opt=500)
    assert rough == pytest.approx((low, high), rel=0.011)


def test_bad_input_is_an_error():
    """No values, no quantile, no level."""
    with pytest.raises(ValueError, match="no values"):
        quantile_p_value([], [1.0], q=0.5, t_opt=10)
    with pytest.raises(ValueError, match="quantile: got 1"):
        quantile_interval([1.0], q=1, alpha=0.05, t_opt=10)
    with pytest.raises(ValueError, match="at alpha=0"):
        quantile_interval([1.0], q=0.5, alpha=0, t_opt=10)
