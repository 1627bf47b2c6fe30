"""The special functions, held against scipy."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest
import scipy.special as sp

from hypothesis import given, settings
from hypothesis import strategies as st

from legion.stats import special


sizes = st.floats(-3, 6).map(lambda e: 10**e)


@settings(deadline=None)
@given(sizes, sizes)
def test_log_beta_is_scipy_s(a, b):
    """To 1e-8 of its value: scipy's own figure cancels where one argument is large."""
    assert special.log_beta(a, b) == pytest.approx(sp.betaln(a, b), rel=1e-8, abs=1e-8)


def test_log_beta_does_not_cancel():
    """B(1, b) = 1 / b, also for a billion, where three log-gammas lose seven digits."""
    for b in (1e3, 1e6, 1e9, 1e12):
        assert special.log_beta(1.0, b) == pytest.approx(-math.log(b), rel=1e-14)


@settings(deadline=None)
@given(sizes, sizes, st.floats(0.001, 0.999))
def test_log_betainc_is_scipy_s(a, b, x):
    """To 1e-9, wherever scipy's value has not underflowed."""
    expected = sp.betainc(a, b, x)
    if expected > 1e-280:
        found = special.log_betainc(a, b, x)
        assert found == pytest.approx(math.log(expected), rel=1e-9, abs=1e-9)


@settings(deadline=None)
@given(sizes, st.floats(0.2, 5))
def test_log_gammainc_is_scipy_s(a, stretch):
    """Both tails; where scipy goes over to its expansion it is the one less exact."""
    x = a * stretch if a < 100 else a + (stretch - 2) * math.sqrt(a)
    for found, expected in (
        (special.log_gammainc_lower(a, x), sp.gammainc(a, x)),
        (special.log_gammainc_upper(a, x), sp.gammaincc(a, x)),
    ):
        if expected > 1e-280:
            assert found == pytest.approx(math.log(expected), rel=1e-6, abs=1e-7)


@settings(deadline=None)
@given(st.floats(-1000, 9))
def test_log_normal_cdf_is_scipy_s(z):
    """To 1e-12, however far left."""
    found = special.log_normal_cdf(z)
    assert found == pytest.approx(sp.log_ndtr(z), rel=1e-12, abs=1e-15)


@settings(deadline=None)
@given(st.floats(1.01, 40))
def test_zeta_is_scipy_s(s):
    """To 1e-13."""
    assert special.zeta(s) == pytest.approx(sp.zeta(s), rel=1e-13)


def test_root_and_minimum():
    """A root to the last bits, a minimum to half of them."""
    assert special.root(lambda x: x * x - 2, 0, 2) == pytest.approx(2**0.5, rel=1e-15)
    assert special.root(lambda x: 2 - x * x, 0, 2) == pytest.approx(2**0.5, rel=1e-15)
    assert special.minimum(lambda x: (x - 0.3) ** 2, 0, 1) == pytest.approx(
        0.3, abs=1e-7
    )


@pytest.mark.parametrize(
    "call",
    [
        lambda: special.log_beta(0, 1),
        lambda: special.log_beta(math.nan, 1),
        lambda: special.log_betainc(1, 1, 1.5),
        lambda: special.log_gammainc_upper(-1, 1),
        lambda: special.log_gammainc_lower(1, math.nan),
        lambda: special.zeta(1),
        lambda: special.root(lambda x: x + 5, 0, 1),
    ],
)
def test_an_argument_out_of_range_is_an_error(call):
    """And says what was given."""
    with pytest.raises(ValueError, match=r"got|no change"):
        call()


def test_the_formulas_load_neither_numpy_nor_scipy():
    """Every name of the room can be touched before either is imported."""
    code = (
        "import sys, legion.stats as s; [getattr(s, n) for n in s.__all__]; "
        "s.bernoulli_interval(1, 100, alpha=.05, t_opt=100); "
        "print(sorted({'numpy', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "[]"


def test_the_names_of_the_room_are_those_that_load():
    """``__all__``, and the table from which names load, agree."""
    from legion import stats

    assert {"LogHistogram", *stats._FILE_OF} == set(stats.__all__)
    with pytest.raises(AttributeError, match="no attribute 'LabelProces'"):
        stats.LabelProces  # noqa: B018 - touching it is the test
