"""After 100 per cent: a promised run length, and a change that is seen."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from legion import canonical
from legion.stats import Detector, learned_limit
from legion.stats.grid import GRID, Side, steps


SEED = 53


def slow_level(path: list[tuple[int, int]], limit: float) -> float:
    """The definition: likelihood ratios summed over every start, averaged over the grid."""
    total = 0.0
    for up, down in zip(*steps(limit, Side.HARM, GRID), strict=True):
        for start in range(len(path)):
            total += math.exp(sum(b * up + (n - b) * down for b, n in path[start:]))
    return total / len(GRID)


batches = st.lists(
    st.integers(0, 20).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))),
    max_size=12,
)


@settings(deadline=None)
@given(batches)
def test_it_is_the_sum_over_all_starts(path):
    """The recursion gives what the definition gives, and survives JSON on the way."""
    detector = Detector.above(0.1)
    assert detector.level == 0
    for bad, n in path:
        detector = detector.update(bad, n)
        detector = Detector.from_json(json.loads(canonical.dumps(detector.to_json())))

    assert detector.level == pytest.approx(slow_level(path, 0.1), rel=1e-9)
    assert detector.restart() == Detector.above(0.1)


@settings(deadline=None)
@given(batches, st.floats(0, 0.1))
def test_its_level_grows_no_faster_than_time_under_the_null(path, rate):
    """The next level is expected to be at most this one plus the time, exactly."""
    here = Detector.above(0.1)
    for bad, n in path:
        here = here.update(bad, n)
    for passed in (1.0, 60.0):
        mean = sum(
            math.comb(5, k)
            * rate**k
            * (1 - rate) ** (5 - k)
            * here.update(k, 5, passed=passed).level
            for k in range(6)
        )
        assert mean <= (here.level + passed) * (1 + 1e-9)


@settings(deadline=None)
@given(st.integers(0, 10**7), st.integers(0, 10**7))
def test_it_stays_finite(bad, good):
    """Ten million events at once: no overflow, and JSON can say it."""
    detector = Detector.above(0.01).update(bad, bad + good).update(0, 1)

    assert 0 <= detector.level <= 1e300
    canonical.dumps(detector.to_json())


def run_lengths(*, rate: float, limit: float, promise: float, runs: int) -> np.ndarray:
    """Return the steps, of 30 events each, until the level reaches the promise."""
    rng = np.random.default_rng(SEED)
    up, down = (np.array(each) for each in steps(limit, Side.HARM, GRID))
    level, length = np.zeros((runs, len(GRID))), np.full(runs, 0)
    running = np.arange(runs)
    for step in range(1, 20 * int(promise)):
        bad = rng.binomial(30, rate, size=len(running))[:, None]
        level = (level + 1) * np.exp(bad * up + (30 - bad) * down)
        fired = level.mean(axis=1) >= promise
        length[running[fired]] = step
        level, running = level[~fired], running[~fired]
        if not len(running):
            break
    length[running] = 20 * int(promise)
    return length


def test_false_alarms_are_as_rare_as_promised():
    """At the limit itself the mean time until an alarm is 1.7 times the promise."""
    lengths = run_lengths(rate=0.01, limit=0.01, promise=300, runs=400)
    error = lengths.std() / math.sqrt(len(lengths))

    assert lengths.mean() >= 300 - 3.1 * error
    assert lengths.mean() < 3 * 300


def test_a_change_is_seen_soon():
    """Three times as many errors are seen in a fiftieth of the promised run length."""
    lengths = run_lengths(rate=0.03, limit=0.01, promise=2_000, runs=200)

    assert np.quantile(lengths, 0.9) <= 40


def test_the_learned_limit_holds():
    """The bound is above the truth in 95 of 100 baselines, and not by much."""
    rng = np.random.default_rng(SEED)
    limits = [learned_limit(int(k), 10_000) for k in rng.binomial(10_000, 0.01, 200)]

    assert np.mean(np.array(limits) >= 0.01) >= 0.95
    assert np.median(limits) < 0.0145


def test_bad_input_is_an_error():
    """Counts and times that are none."""
    detector = Detector.above(0.01)
    for bad, n, passed in ((2, 1, 1), (-1, 1, 1), (0, 1, 0), (0, math.inf, 1)):
        with pytest.raises(ValueError, match="detector: got"):
            detector.update(bad, n, passed=passed)
    with pytest.raises(ValueError, match="detector: got"):
        detector.update(0, 1, passed=math.nan)
    with pytest.raises(ValueError, match="limit: got"):
        Detector.above(0)
    with pytest.raises(ValueError, match="interval: got"):
        learned_limit(0, 0)


def test_a_further_stream_takes_a_mean_of_what_was_before():
    """With r streams it is at most the mean over them, however late the others come."""
    path = [(3, 10), (0, 10), (5, 10), (2, 10)]
    late = Detector.above(0.1)
    for step, (bad, n) in enumerate(path):
        late = late.update(bad, n, passed=60.0, streams=1 if step < 2 else 2)
    early = Detector.above(0.1)
    for bad, n in path:
        early = early.update(bad, n, passed=60.0, streams=2)

    assert 0 < late.level <= early.level
    assert Detector.from_json(late.to_json()) == late
    assert late.restart().streams == 2


@pytest.mark.parametrize("streams", [1, 4, 16])
def test_streams_of_the_same_units_keep_the_run_length(streams):
    """
    At the limit, the same units in each stream: in a horizon one in twenty may fire.

    Taken for others far more do: the test can fail.
    """
    runs, units, limit, looks = 200, 1_000, 0.02, 10
    horizon, fired, bare = looks * streams, 0, 0
    for run in range(runs):
        rng = np.random.default_rng([SEED, run])
        own = rng.beta(0.1 * limit, 0.1 * (1 - limit), units)
        one, other = Detector.above(limit), Detector.above(limit)
        best = alone = 0.0
        for r in range(streams):
            bad = rng.random(units) < own
            for k, look in enumerate(bad.reshape(looks, -1)):
                counts = int(look.sum()), look.size
                one = one.update(*counts, streams=r + 1)
                other = other.update(*counts)
                left = horizon - (r * looks + k + 1)
                best = max(best, (one.level + left) / horizon)
                alone = max(alone, (other.level + left) / horizon)
        fired, bare = fired + (best >= 20), bare + (alone >= 20)

    assert binomtest(fired, runs, 0.05, alternative="greater").pvalue > 0.01
    if streams > 4:
        assert binomtest(bare, runs, 0.05, alternative="greater").pvalue < 0.001
