"""The planner's formulas, held against simulation and the published tables."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hypothesis import given, settings
from hypothesis import strategies as st

from legion.stats import (
    Side,
    bad_events_to_decide,
    events_to_decide,
    label_share,
    log_e_of_counts,
    seconds_to_detect,
    seconds_to_prove,
    seconds_to_prove_below,
    traffic_to_detect,
)


SEED = 71
TRAFFIC = {"bad_rate": 0.01, "rho": 0.05}


def test_the_worked_example():
    """x5 at alpha 1 %: 44 bad events, 6.1 minutes at 10/s; +50 % in 15 min: 146/s."""
    events = bad_events_to_decide(5, null=1, side=Side.HARM, rho=0.05, alpha=0.01)
    seconds = seconds_to_detect(5, traffic_per_s=10, alpha=0.01, **TRAFFIC)
    traffic = traffic_to_detect(1.5, within_s=900, alpha=0.01, **TRAFFIC)

    assert events == pytest.approx(44, abs=0.5)
    assert seconds == pytest.approx(6.1 * 60, rel=0.01)
    assert traffic == pytest.approx(146, rel=0.01)


@pytest.mark.parametrize(
    ("null", "alpha", "minutes"),
    [
        (1.0, 0.01, {10: 4, 5: 12, 2: 104}),
        (1.25, 0.01, {10: 5, 5: 15, 2: 199}),
        (1.0, 0.01 / 24, {10: 5, 5: 16, 2: 148}),
        (1.25, 0.01 / 24, {10: 6, 5: 20, 2: 299}),
    ],
)
def test_it_foretells_the_published_ninetieth_percentiles(null, alpha, minutes):
    """Within 10 %, or one look of a minute."""
    for ratio, published in minutes.items():
        found = seconds_to_detect(
            ratio, traffic_per_s=10, alpha=alpha, null=null, quantile=0.9, **TRAFFIC
        )
        assert found is not None
        assert found / 60 == pytest.approx(published, rel=0.1, abs=1)


@pytest.mark.parametrize("quantile", [0.5, 0.9])
def test_it_foretells_how_long_a_proof_takes(quantile):
    """Margins of 2 and 1.5 when nothing changed, simulated 300 times: within 25 %."""
    rng = np.random.default_rng(SEED)
    for margin, minutes in ((2.0, 240), (1.5, 720)):
        bad = np.cumsum(rng.poisson(0.3, (300, minutes)), axis=1)
        good = np.cumsum(rng.poisson(5.7, (300, minutes)), axis=1)
        limit = label_share(margin, rho=0.05)
        crossed = log_e_of_counts(bad, good, limit=limit, side=Side.PROOF) >= math.log(
            20
        )
        times = np.where(crossed.any(axis=1), crossed.argmax(axis=1) + 1, np.inf)
        found = seconds_to_prove(
            margin, traffic_per_s=10, alpha=0.05, quantile=quantile, **TRAFFIC
        )

        assert found is not None
        measured = float(np.quantile(times, quantile))
        assert 0.75 * measured <= found / 60 <= 1.4 * measured


def test_a_floor_is_proven_sooner_than_said():
    """Below .5 % at a true 0, .1, .2 %: medians of 34, 51, 104 minutes, said later."""
    for rate, minutes in ((0.0, 34), (0.001, 51), (0.002, 104)):
        found = seconds_to_prove_below(
            0.005, bad_rate=rate, traffic_per_s=10, rho=0.05, alpha=0.025, quantile=0.5
        )
        assert found is not None
        assert minutes <= found / 60 <= 1.5 * minutes


def test_what_cannot_be_decided_is_none():
    """Nobody can prove "no worse" exactly, nor see what the null allows."""
    kwargs = {"traffic_per_s": 10, "alpha": 0.01, **TRAFFIC}

    assert seconds_to_detect(1.25, null=1.25, **kwargs) is None
    assert seconds_to_detect(1.01, null=1.0, **kwargs) is None
    assert seconds_to_prove(1.0, **kwargs) is None
    assert traffic_to_detect(0.5, within_s=60, alpha=0.01, **TRAFFIC) is None
    assert (
        seconds_to_prove_below(
            0.005, bad_rate=0.005, traffic_per_s=10, rho=0.05, alpha=0.05
        )
        is None
    )


@settings(deadline=None)
@given(
    st.floats(1.5, 20),
    st.floats(0.001, 0.2),
    st.floats(0.01, 0.5),
    st.floats(1e-4, 0.1),
    st.sampled_from([None, 0.1, 0.5, 0.9]),
)
def test_more_traffic_is_faster_and_a_stricter_level_slower(
    ratio, bad_rate, rho, alpha, quantile
):
    """Time is inverse to traffic, and rises as alpha falls and the quantile rises."""

    def seconds(traffic: float = 10, level: float = alpha) -> float:
        found = seconds_to_detect(
            ratio,
            traffic_per_s=traffic,
            bad_rate=bad_rate,
            rho=rho,
            alpha=level,
            quantile=quantile,
        )
        assert found is not None
        return found

    assert seconds(20) == pytest.approx(seconds() / 2)
    assert seconds(level=alpha / 2) > seconds()
    deadline = traffic_to_detect(
        ratio,
        within_s=seconds(),
        bad_rate=bad_rate,
        rho=rho,
        alpha=alpha,
        quantile=quantile,
    )
    assert deadline == pytest.approx(10)


def test_bad_input_is_an_error():
    """Each argument is held against its range."""
    right = {"traffic_per_s": 10, "alpha": 0.01, **TRAFFIC}
    for change in (
        {"alpha": 0},
        {"alpha": math.nan},
        {"rho": 1},
        {"traffic_per_s": 0},
        {"bad_rate": 0},
        {"quantile": 1.0},
        {"null": -1},
    ):
        with pytest.raises(ValueError, match="planner: got"):
            seconds_to_detect(5, **{**right, **change})
    with pytest.raises(ValueError, match="planner: got"):
        traffic_to_detect(5, within_s=0, alpha=0.01, **TRAFFIC)
    with pytest.raises(ValueError, match="planner: got"):
        seconds_to_prove_below(0.1, bad_rate=0, traffic_per_s=0, rho=1, alpha=0.1)
    with pytest.raises(ValueError, match="planner: got"):
        events_to_decide(1.5, 0.1, side=Side.HARM, alpha=0.1)
