"""Slow answers, counted beyond an edge that moves with control."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from legion import canonical
from legion.stats import LabelProcess, LogHistogram, Side, Tail
from legion.stats.histogram import bucket_of
from legion.stats.tail import count_above


SEED = 17

latencies = st.lists(st.floats(1e-6, 1e6), min_size=100, max_size=150)


@settings(max_examples=40, deadline=None)
@given(latencies, st.floats(0.01, 0.99), st.floats(0, 2))
def test_rounding_makes_either_verdict_harder(values, q, slower):
    """The margin is at least d for harm and at most d for proof, within one bucket."""
    past = LogHistogram.of(values)
    harm = Tail.of(past, q=q, slower=slower, side=Side.HARM)
    proof = Tail.of(past, q=q, slower=slower, side=Side.PROOF)

    assert harm is not None
    assert proof is not None
    assert harm.control == proof.control
    assert proof.slower <= slower * (1 + 1e-9) + 1e-9
    assert harm.slower >= slower * (1 - 1e-9) - 1e-9
    assert harm.candidate - proof.candidate <= 1


@settings(max_examples=40, deadline=None)
@given(latencies, st.floats(0.01, 0.99))
def test_the_edge_is_control_s_quantile(values, q):
    """At most 1 - q of the past lie above it, and it is the lowest edge of which so."""
    past = LogHistogram.of(values)
    tail = Tail.of(past, q=q, slower=0, side=Side.HARM)

    assert tail is not None
    assert count_above(past, tail.control) <= (1 - q) * past.count + 1e-9
    assert count_above(past, tail.control - 1) > (1 - q) * past.count - 1e-9


@settings(max_examples=40, deadline=None)
@given(latencies, latencies)
def test_the_counts_are_exact(values, others):
    """What is counted are exactly the values beyond the edge, one arm and the other."""
    tail = Tail.of(LogHistogram.of(values), q=0.9, slower=0.1, side=Side.HARM)

    assert tail is not None
    bad = tail.bad(candidate=LogHistogram.of(others), control=LogHistogram.of(values))
    assert bad == (
        sum(bucket_of(v) > tail.candidate for v in others),
        sum(bucket_of(v) > tail.control for v in values),
    )
    clear = [v for v in values if abs(math.log(v / tail.limit)) > 1e-9]
    assert sum(v > tail.limit for v in clear) == sum(
        bucket_of(v) > tail.control for v in clear
    )


def test_it_survives_json_and_names_its_margin():
    """Edges are two whole numbers; 5 % is three buckets up or two down."""
    past = LogHistogram.of([0.2] * 100)
    harm = Tail.of(past, q=0.95, slower=0.05, side=Side.HARM)
    proof = Tail.of(past, q=0.95, slower=0.05, side=Side.PROOF)

    assert harm is not None
    assert proof is not None
    assert Tail.from_json(json.loads(canonical.dumps(harm.to_json()))) == harm
    assert harm.limit == pytest.approx(0.2, rel=0.02)
    assert harm.slower == pytest.approx(0.0618, abs=1e-4)
    assert proof.slower == pytest.approx(0.0408, abs=1e-4)


def test_without_enough_past_there_is_no_edge():
    """Too few latencies, or a quantile of 0, give None: nothing is counted yet."""
    for past in (
        LogHistogram.of([0.1] * 99),
        LogHistogram.of([0.0] * 98 + [1.0] * 2),
        LogHistogram.of([-1.0] * 200),
        LogHistogram(),
    ):
        assert Tail.of(past, q=0.95, slower=0.05, side=Side.HARM) is None
    assert (
        Tail.of(LogHistogram(), q=0.5, slower=0, side=Side.HARM, min_events=0) is None
    )
    for q, slower in (
        (0, 0.1),
        (1, 0.1),
        (math.nan, 0.1),
        (0.5, -0.1),
        (0.5, math.nan),
    ):
        with pytest.raises(ValueError, match="tail: got"):
            Tail.of(LogHistogram.of([1.0] * 100), q=q, slower=slower, side=Side.HARM)


def minute(rng: np.random.Generator, *, n: int, level: float) -> LogHistogram:
    """Return n lognormal latencies (sigma .5) as their histogram."""
    logs = math.log(level) + 0.5 * rng.standard_normal(n)
    buckets = np.ceil(logs / math.log(1.01 / 0.99)).astype(int)
    each, counts = np.unique(buckets, return_counts=True)
    return LogHistogram(positive=dict(zip(each.tolist(), counts.tolist(), strict=True)))


def minutes_until(rng: np.random.Generator, *, fault: float, horizon: int) -> float:
    """
    Return when p95 + 5 % is called worse at alpha 1 %; infinity within the horizon.

    10/s, 5 % candidate, a look a minute; the edge is control's p95 of the last ten
    minutes, while the level of both arms wanders by 20 % within the hour.
    """
    process, past = LabelProcess.harm(1.0), []
    for now in range(horizon):
        level = 0.2 * (1 + 0.2 * math.sin(now / 10))
        control = minute(rng, n=570, level=level)
        candidate = minute(rng, n=30, level=level * fault)
        if past:
            window = past[0]
            for each in past[1:]:
                window = window.merge(each)
            tail = Tail.of(window, q=0.95, slower=0.05, side=Side.HARM)
            assert tail is not None
            bad = tail.bad(candidate=candidate, control=control)
            process = process.update(*bad, rho=0.05)
            if process.log_e >= math.log(100):
                return now + 1
        past = [*past[-9:], control]
    return math.inf


def test_a_tail_half_as_slow_again_is_seen_in_a_quarter_of_an_hour():
    """+50 % on every answer: 9 of 10 within 15 minutes, warm-up included; 60 runs."""
    rng = np.random.default_rng(SEED)
    times = [minutes_until(rng, fault=1.5, horizon=20) for _ in range(60)]

    assert np.quantile(times, 0.9) <= 15


def test_a_candidate_as_slow_as_the_margin_allows_is_left_alone():
    """
    At the margin after rounding, over an hour with a wandering level: at most 1 %.

    100 runs catch a true 10 % in 94 of 100 seeds; the label test above is the sharp one.
    """
    rng = np.random.default_rng(SEED)
    edge = (1.01 / 0.99) ** 3
    false = sum(
        minutes_until(rng, fault=edge, horizon=60) < math.inf for _ in range(100)
    )

    assert binomtest(false, 100, 0.01, alternative="greater").pvalue >= 0.001
