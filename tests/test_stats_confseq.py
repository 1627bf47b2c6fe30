"""Uniform boundaries, against values computed by the authors' own library."""

from __future__ import annotations

import json
import math

from pathlib import Path

import numpy as np
import pytest

from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from legion.stats import bernoulli_interval, confseq, stitching


VECTORS = Path(__file__).parents[1] / "../shared/vectors/stages/confseq_golden.json"
GOLDEN = json.loads(VECTORS.read_text()) if VECTORS.exists() else {}

needs_vectors = pytest.mark.skipif(
    not GOLDEN, reason="the confseq vectors are not at ../shared/vectors/stages"
)
SCALARS = {
    "beta_binomial_log_mixture": confseq.beta_binomial_log_mixture,
    "beta_binomial_mixture_bound": confseq.beta_binomial_mixture_bound,
    "normal_mixture_bound": confseq.normal_mixture_bound,
    "gamma_poisson_mixture_bound": confseq.gamma_poisson_mixture_bound,
    "poly_stitching_bound": stitching.poly_stitching_bound,
    "empirical_process_lil_bound": stitching.empirical_process_lil_bound,
}


@needs_vectors
@pytest.mark.parametrize("name", SCALARS)
def test_the_published_bounds_come_out(name):
    """45 values of confseq 0.0.11, to 1e-9."""
    for case in GOLDEN[name]:
        given = {k: v for k, v in case.items() if k not in {"value", "bound"}}
        if "A" in given:
            given["amplitude"] = given.pop("A")
        expected = case.get("value", case.get("bound"))

        assert SCALARS[name](**given) == pytest.approx(expected, abs=1e-9, rel=1e-11)


@needs_vectors
def test_the_published_intervals_of_shares_come_out():
    """14 intervals of confseq 0.0.11, to 1e-9."""
    for case in GOLDEN["bernoulli_confidence_interval"]:
        found = bernoulli_interval(**{k: v for k, v in case.items() if k != "ci"})

        assert (found.low, found.high) == pytest.approx(case["ci"], abs=1e-9)
        assert found.estimate == case["successes"] / case["trials"]


@needs_vectors
def test_all_vectors_are_used():
    """With the eight p-values of test_stats_quantile they are all 67."""
    used = {*SCALARS, "bernoulli_confidence_interval", "quantile_ab_p_value"}

    assert sum(len(v) for k, v in GOLDEN.items() if k != "source") == 67
    assert set(GOLDEN) - {"source"} == used


MIXTURES = {
    "normal": lambda s, v: confseq.normal_log_mixture(s, v, v_opt=30),
    "normal, two-sided": lambda s, v: confseq.normal_log_mixture(
        s, v, v_opt=30, one_sided=False
    ),
    "gamma-exponential": lambda s, v: confseq.gamma_exponential_log_mixture(
        s, v, v_opt=30, c=0.5
    ),
    "gamma-Poisson": lambda s, v: confseq.gamma_poisson_log_mixture(
        s, v, v_opt=30, c=1
    ),
    "beta-binomial": lambda s, v: confseq.beta_binomial_log_mixture(
        s, v, v_opt=30, g=0.3, h=0.7
    ),
}
BOUNDS = {
    "normal": lambda v, a: confseq.normal_mixture_bound(v, alpha=a, v_opt=30),
    "normal, two-sided": lambda v, a: confseq.normal_mixture_bound(
        v, alpha=a, v_opt=30, one_sided=False
    ),
    "gamma-exponential": lambda v, a: confseq.gamma_exponential_mixture_bound(
        v, alpha=a, v_opt=30, c=0.5
    ),
    "gamma-Poisson": lambda v, a: confseq.gamma_poisson_mixture_bound(
        v, alpha=a, v_opt=30, c=1
    ),
    "beta-binomial": lambda v, a: confseq.beta_binomial_mixture_bound(
        v, alpha=a, v_opt=30, g=0.3, h=0.7
    ),
}


@pytest.mark.parametrize("name", MIXTURES)
@settings(deadline=None)
@given(v=st.floats(5, 500), alpha=st.floats(0.001, 0.2))
def test_a_bound_is_where_its_mixture_reaches_one_over_alpha(name, v, alpha):
    """Bound and mixture are inverse to each other; at the start a mixture is 1."""
    bound = BOUNDS[name](v, alpha)

    assert MIXTURES[name](0, 1e-12) == pytest.approx(0, abs=1e-6)
    if name == "beta-binomial" and bound == v / 0.3:
        return
    assert MIXTURES[name](bound, v) == pytest.approx(-math.log(alpha), abs=1e-7)


def test_the_mean_of_a_poisson_mixture_is_one():
    """Summed over all counts of a Poisson variable: a martingale, exactly."""
    for mean in (0.5, 3, 40):
        total = sum(
            math.exp(
                confseq.gamma_poisson_log_mixture(k - mean, mean, v_opt=20, c=1)
                - mean
                + k * math.log(mean)
                - math.lgamma(k + 1)
            )
            for k in range(400)
        )
        assert total == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("one_sided", [True, False])
def test_the_mean_of_a_binomial_mixture_is_one(one_sided):
    """Summed over all counts of a binomial variable: a martingale, exactly."""
    for n, p in ((5, 0.3), (80, 0.05)):
        total = sum(
            math.comb(n, k)
            * p**k
            * (1 - p) ** (n - k)
            * math.exp(
                confseq.beta_binomial_log_mixture(
                    k - n * p,
                    n * p * (1 - p),
                    v_opt=10,
                    g=p,
                    h=1 - p,
                    one_sided=one_sided,
                )
            )
            for k in range(n + 1)
        )
        assert total == pytest.approx(1, abs=1e-9)


def test_an_interval_covers_at_all_times_at_once():
    """
    A true 5 %, 2,000 trials, a look at each: at most 5 % of the runs ever leave it.

    1,000 runs; the interval is left when the mixture at the truth reaches 1 / alpha. A
    true 8.5 % is caught in 9 of 10 seeds.
    """
    rng = np.random.default_rng(29)
    n = np.arange(1, 2_001)
    table = {}
    left = 0
    for _ in range(1_000):
        path = np.cumsum(rng.random(2_000) < 0.05)
        # The mixture is convex in the count, so at each time two counts are the edge.
        if not table:
            table["low"], table["high"] = edges(0.05, n)
        left += bool(((path < table["low"]) | (path > table["high"])).any())

    assert binomtest(left, 1_000, 0.05, alternative="greater").pvalue >= 0.001


def edges(p: float, n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return, for each n, the least and the largest count that is inside."""

    def log_m(k: int, m: int) -> float:
        return confseq.beta_binomial_log_mixture(
            k - m * p,
            m * p * (1 - p),
            v_opt=2_000 * p * (1 - p),
            g=p,
            h=1 - p,
            one_sided=False,
        )

    low, high, a, b = [], [], 0, 0
    for m in n.tolist():
        b = max(b, math.ceil(m * p))
        while b < m and log_m(b + 1, m) < math.log(20):
            b += 1
        while a < m * p and log_m(a, m) >= math.log(20):
            a += 1
        low.append(a)
        high.append(b)
    return np.array(low), np.array(high)


def test_stitching_covers_quantiles_and_times():
    """The double bound is finite, wider than at one quantile, and ever less per value."""
    one = stitching.poly_stitching_bound(0.25 * 1_000, alpha=0.05, v_min=25)
    many = [
        stitching.double_stitching_bound(p, 1_000, alpha=0.05, t_opt=100)
        for p in (0.01, 0.5, 0.95, 0.99)
    ]

    assert all(math.isfinite(each) for each in many)
    assert many[1] > one
    assert stitching.double_stitching_bound(0.5, 10**6, alpha=0.05, t_opt=100) < 10**4


@pytest.mark.parametrize(
    "call",
    [
        lambda: confseq.tuning(0),
        lambda: confseq.tuning(10, alpha=0.6),
        lambda: confseq.normal_mixture_bound(0, alpha=0.05, v_opt=1),
        lambda: confseq.normal_mixture_bound(1, alpha=1, v_opt=1),
        lambda: confseq.gamma_poisson_log_mixture(-1e9, 1, v_opt=1, c=1),
        lambda: confseq.gamma_exponential_log_mixture(-1e9, 1, v_opt=1, c=1),
        lambda: confseq.beta_binomial_log_mixture(100, 1, v_opt=1, g=0.5, h=0.5),
        lambda: bernoulli_interval(1, 0, alpha=0.05, t_opt=10),
        lambda: bernoulli_interval(3, 2, alpha=0.05, t_opt=10),
        lambda: bernoulli_interval(math.nan, 2, alpha=0.05, t_opt=10),
        lambda: stitching.poly_stitching_bound(1, alpha=0, v_min=1),
        lambda: stitching.double_stitching_bound(0, 1, alpha=0.05, t_opt=1),
        lambda: stitching.empirical_process_lil_bound(
            1, alpha=0.05, t_min=1, amplitude=0.5
        ),
    ],
)
def test_an_argument_out_of_range_is_an_error(call):
    """And says what was given."""
    with pytest.raises(ValueError, match="got"):
        call()


def test_before_its_time_the_lil_bound_is_infinite():
    """Nothing is promised before t_min."""
    assert stitching.empirical_process_lil_bound(9, alpha=0.05, t_min=10) == math.inf
