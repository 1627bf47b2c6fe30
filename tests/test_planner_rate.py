"""How sure a simulated rate is."""

from __future__ import annotations

import pytest

from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from legion.planner import Rate, Spread


@given(st.integers(1, 3000), st.floats(0, 1))
def test_the_interval_is_that_of_clopper_and_pearson(of, share):
    """As scipy has it."""
    n = round(of * share)
    found = Rate.of_counts(n, of)
    exact = stats.binomtest(n, of).proportion_ci(method="exact")

    assert found.low == pytest.approx(exact.low, abs=1e-8)
    assert found.high == pytest.approx(exact.high, abs=1e-8)
    assert found.low <= found.share <= found.high


@given(st.integers(1, 3000), st.floats(0, 0.05))
def test_a_promise_is_refuted_by_a_binomial_test(of, share):
    """One-sided, at .001."""
    n = round(of * share)
    p = stats.binomtest(n, of, 0.01, alternative="greater").pvalue

    assert Rate.of_counts(n, of).refutes(0.01) is bool(p < 0.001)


@pytest.mark.parametrize(("n", "of"), [(-1, 3), (4, 3), (0, 0)])
def test_a_rate_of_nothing_is_refused(n, of):
    """It says what to write."""
    with pytest.raises(ValueError, match="rate: got"):
        Rate.of_counts(n, of)


def test_a_spread_is_of_values_that_were_seen():
    """No interpolation between runs; none of nothing."""
    assert Spread.of_values(range(1, 11)) == Spread(median=5.0, p90=9.0)
    assert Spread.of_values([]) is None
