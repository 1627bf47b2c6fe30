"""What an embedder may return, and what is made of it."""

from __future__ import annotations

import numpy as np
import pytest

from hypothesis import example, given, settings
from hypothesis import strategies as st

from legion.cache.embedding import UnitVectors
from legion.exceptions import EmbeddingError


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([64, 65, 384, 4096]),
    st.integers(1, 4),
    st.sampled_from([np.float16, np.float32, np.float64, np.int32]),
    st.sampled_from([1e-12, 1.0, 1e4, 1e12, 1e30]),
)
@example(0, 64, 1, np.float32, 1e30)
@example(0, 64, 2, np.float32, 1e30)
def test_vectors_of_any_length_become_unit_vectors(seed, dim, n, dtype, scale):
    """Direction is kept, length is 1, float32, whatever came."""
    random = np.random.default_rng(seed).integers(-50, 50, (n, dim))
    random[:, 0] = 1
    wanted = random / np.linalg.norm(random, axis=1, keepdims=True)
    given = random * scale if dtype in {np.float32, np.float64} else random
    given = given.astype(dtype)
    unit = UnitVectors(lambda texts: given)(["q"] * n)

    assert unit.dtype == np.float32
    assert unit.flags.c_contiguous
    np.testing.assert_allclose(unit, wanted, atol=2e-3 if dtype is np.float16 else 1e-6)
    norms = np.linalg.norm(unit.astype(np.float64), axis=1)
    np.testing.assert_allclose(norms, 1, atol=4e-6)  # summed in float32


def test_what_the_embedder_keeps_is_not_changed_and_not_kept():
    """The vectors are a copy both ways, though they are unit vectors already."""
    mine = np.zeros((1, 64), np.float32)
    mine[0, 3] = 1
    unit = UnitVectors(lambda texts: mine)(["q"])
    mine[:] = 7

    assert unit[0, 3] == 1


def test_lists_are_arrays_too():
    """An embedder needs no numpy."""
    unit = UnitVectors(lambda texts: [[3.0] + [0.0] * 63 for _ in texts])(["a", "b"])

    assert unit[:, 0].tolist() == [1, 1]


zero = [0.0] * 64
one = [1.0] * 64


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ([zero], "a vector of length 0 for 'q'; return a finite vector other"),
        ([[float("nan"), *one[1:]]], "NaN or infinity"),
        ([[float("-inf"), *one[1:]]], "NaN or infinity"),
        (np.full((1, 64), np.inf, np.float32), "NaN or infinity"),
        (
            [one, one],
            r"shape \(2, 64\) for 1 text; return one row for each, \(1, dim\)",
        ),
        (one, r"shape \(64,\) for 1 text"),
        ([], r"shape \(0,\)"),
        (None, "shape"),
        ([[1.0, 2.0], [1.0]], "list, which is not an array of numbers"),
        ([["a"] * 64], "list, which is not an array of numbers"),
        ("text", "str, which is not an array of numbers"),
        ([["1"] * 64], "list, which is not an array of numbers"),
        ([[1j] * 64], "list, which is not an array of numbers"),
        ([[10**400] * 64], "list, which is not an array of numbers"),
        (np.array([["1"] * 64], object), "which is not an array of numbers"),
        (np.ones((1, 64), "datetime64[D]"), "which is not an array of numbers"),
        (np.ones((1, 64), "timedelta64[s]"), "which is not an array of numbers"),
        (np.ma.masked_array([one], mask=[[True] * 64]), "not an array of numbers"),
        ([[1.0]], "dimension 1; return between 2 and 4096"),
        ([[1.0] * 4097], "dimension 4097; return between 2 and 4096"),
    ],
)
def test_anything_else_is_refused_by_name(answer, message):
    """The message says what came and what to return; nothing else is raised."""
    with pytest.raises(EmbeddingError, match=f"embedder: got .*{message}"):
        UnitVectors(lambda texts: answer)(["q"])


def test_the_text_at_fault_is_named():
    """In a batch, it is the text whose vector cannot be used."""
    embed = UnitVectors(lambda texts: [one if text else zero for text in texts])

    with pytest.raises(EmbeddingError, match="length 0 for ''"):
        embed(["a", "", "b"])


def test_the_dimension_is_settled_by_the_first_answer():
    """Another embedder's vectors are not comparable, and refused."""
    embed = UnitVectors(lambda texts: np.ones((1, len(texts[0]))))
    assert embed.dim is None
    embed(["q" * 100])

    assert embed.dim == 100
    with pytest.raises(EmbeddingError, match="dimension 64; return 100 as before"):
        embed(["q" * 64])


def test_an_answer_that_is_refused_settles_nothing():
    """A dimension out of range, or of a vector that is refused, is not remembered."""
    embed = UnitVectors(lambda texts: np.ones((1, len(texts[0]))))
    for question in ("q", "q" * 5000):
        with pytest.raises(EmbeddingError):
            embed([question])

    assert embed(["q" * 64]).shape == (1, 64)
