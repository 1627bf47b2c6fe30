"""Rows of vectors: what moves when, and how few are overlooked."""

from __future__ import annotations

import math
import subprocess
import sys

from pathlib import Path

import numpy as np
import pytest

from hypothesis import given, settings
from hypothesis import strategies as st

from legion.cache import index
from legion.cache.index import BITS, FEW, Sketcher, VectorRows


def units(seed, n, dim):
    vectors = np.random.default_rng(seed).standard_normal((n, dim))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype("f4")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 99), max_size=120), st.sampled_from([4, FEW]))
def test_rows_stay_dense_whatever_comes_and_goes(steps, few):
    """A row that goes is overwritten by the last; the rest is where it was."""
    before, index.FEW = index.FEW, few
    try:
        rows, expected = VectorRows(Sketcher.of(64, 0.85)), []
        vectors = units(3, 120, 64)
        for i, step in enumerate(steps):
            if step < 40 and expected:
                row = step % len(expected)
                rows.remove(row)
                last = expected.pop()
                if row < len(expected):
                    expected[row] = last
            else:
                assert rows.append(vectors[i]) == len(expected)
                expected.append(i)
        assert len(rows) == len(expected)
        assert len(rows._vectors) <= max(4, 4 * len(expected) + 4)
        for row, i in enumerate(expected):
            found = rows.top(vectors[i], 1)
            assert found == [(row, pytest.approx(1.0, abs=1e-6))]
    finally:
        index.FEW = before


def test_no_rows_have_no_nearest():
    """An empty set of rows answers None, never row -1."""
    rows = VectorRows(Sketcher.of(64, 0.85))
    vector = units(0, 1, 64)[0]

    assert rows.top(vector, 1) == []
    rows.append(vector)
    rows.remove(0)
    assert rows.top(vector, 1) == []


def test_the_nearest_are_found_where_none_is_near():
    """Beyond the radius, a look-up still finds vectors, by their sketches."""
    rows = VectorRows(Sketcher.of(384, 0.99))
    for vector in units(1, FEW + 1, 384):
        rows.append(vector)
    found = rows.top(-rows._vectors[0], 16)

    assert rows._sketches is not None
    assert len({row for row, _ in found}) == 16
    assert [cosine for _, cosine in found] == sorted(
        (c for _, c in found), reverse=True
    )
    assert found[0][1] < 0.85


@pytest.mark.parametrize("dim", [64, 384, 4096])
@pytest.mark.parametrize("kind", ["dense", "two words"])
def test_sketches_of_similar_vectors_differ_within_the_radius(dim, kind):
    """
    At the threshold itself none of 2,000 pairs is beyond the radius.

    The radius overlooks one in ten million. Were it the mean plus two standard
    deviations, as a slip in the formula may make it, some 45 of 2,000 would be beyond.
    """
    seed, threshold = 11, 0.85
    print("seed", seed)
    random = np.random.default_rng(seed)
    sketcher = Sketcher.of(dim, threshold)
    differ = []
    for _ in range(2_000):
        one = random.standard_normal(dim)
        other = random.standard_normal(dim)
        if kind == "two words":
            one, other = np.zeros((2, dim))
            one[random.choice(dim, 2, replace=False)] = 1
            other[random.choice(dim, 1)] = 1
        one /= np.linalg.norm(one)
        other -= (other @ one) * one
        other /= np.linalg.norm(other)
        near = threshold * one + math.sqrt(1 - threshold**2) * other
        bits = sketcher.sketch(one.astype("f4")) ^ sketcher.sketch(near.astype("f4"))
        differ.append(int(np.unpackbits(bits).sum()))

    p = math.acos(threshold) / math.pi
    spread = math.sqrt(BITS * p * (1 - p))
    assert max(differ) <= sketcher.radius
    assert abs(np.mean(differ) - BITS * p) < spread
    assert np.std(differ) < 1.15 * spread, "no worse than independent hyperplanes"


def test_the_radius_is_the_quantile_of_the_binomial():
    """Beyond it lies less than the share that may be overlooked; at it, more."""
    for threshold in (0.5, 0.7, 0.85, 0.95, 0.999, 1.0):
        radius = index._radius(threshold)
        p = math.acos(threshold) / math.pi
        beyond = sum(
            math.comb(BITS, k) * p**k * (1 - p) ** (BITS - k)
            for k in range(radius + 1, BITS + 1)
        )
        at = math.comb(BITS, radius) * p**radius * (1 - p) ** (BITS - radius)
        assert beyond <= index.MISSED < beyond + at or (threshold, radius) == (1.0, 0)


def test_a_loose_threshold_reads_every_vector():
    """Where half of all would be within the radius, sketches are not kept."""
    rows = VectorRows(Sketcher.of(64, 0.3))
    for vector in units(1, 2 * FEW, 64):
        rows.append(vector)

    assert rows._sketches is None


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="no /proc to count in")
def test_a_look_up_starts_no_thread_and_leaves_the_setting_alone():
    """Neither faiss's team of threads nor BLAS's; the host's own number stays."""
    code = """
import os
import faiss
import numpy as np
from legion.cache.index import FEW, Sketcher, VectorRows

faiss.omp_set_num_threads(3)
rows = VectorRows(Sketcher.of(384, 0.85))
vectors = np.random.default_rng(1).standard_normal((4 * FEW, 384)).astype("f4")
vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
before = len(os.listdir("/proc/self/task"))
for vector in vectors:
    rows.append(vector)
for vector in vectors[:50]:
    assert rows.top(vector, 1)[0][1] > 0.99
print(len(os.listdir("/proc/self/task")) - before, faiss.omp_get_max_threads())
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert done.stdout.split() == ["0", "3"]
