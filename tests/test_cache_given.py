"""What a cache cannot work with is refused at once, and nothing is stored."""

from __future__ import annotations

import asyncio
import functools
import inspect

import pytest

from legion import SemanticCache


def vectors(texts):
    return [[1.0, float(len(text))] for text in texts]


@pytest.fixture
def cache():
    return SemanticCache(vectors)


async def aask(question):
    return question.upper()


class Asker:
    async def __call__(self, question):
        return question.upper()


@pytest.mark.parametrize(
    "compute", [aask, functools.partial(aask), Asker(), Asker().__call__]
)
def test_an_async_function_is_refused_before_it_is_called(cache, compute):
    """Its coroutine would be stored as the answer, for everybody."""
    with pytest.raises(TypeError, match="await aget_or_compute"):
        cache.get_or_compute("q", compute)
    assert len(cache) == 0


def test_a_coroutine_that_a_plain_function_returns_is_refused(cache):
    """It is closed, so nobody complains of it later, and nothing is stored."""
    with pytest.raises(TypeError, match="await aget_or_compute"):
        cache.get_or_compute("q", lambda question: aask(question))  # noqa: PLW0108 - it hides it
    assert len(cache) == 0


@pytest.mark.parametrize("stored", [False, True])
def test_what_cannot_compute_is_refused_whether_it_has_to_or_not(cache, stored):
    """Such as the answer itself: not only by the first miss, in production."""
    if stored:
        cache.put("q", 1)
    with pytest.raises(
        TypeError, match="got 'answer'; write a function of the question"
    ):
        cache.get_or_compute("q", "answer")
    with pytest.raises(TypeError, match="aget_or_compute: got 5; write a function"):
        asyncio.run(cache.aget_or_compute("q", 5))
    with pytest.raises(TypeError, match="await aget_or_compute"):
        cache.get_or_compute("q", aask)


@pytest.mark.skipif(
    not hasattr(inspect, "markcoroutinefunction"), reason="before Python 3.12"
)
def test_a_function_that_is_marked_as_async_is(cache):
    """One that is not written so, but says so."""

    def marked(question):
        return aask(question)

    with pytest.raises(TypeError, match="await aget_or_compute"):
        cache.get_or_compute("q", inspect.markcoroutinefunction(marked))


def test_one_text_is_not_several_questions(cache):
    """Its letters are not what was asked."""
    with pytest.raises(TypeError, match="which is one question; write a list"):
        cache.get_many("abc")


def test_an_empty_cache_is_a_cache(cache):
    """``cache or another`` does not replace it, nor a view of it."""
    assert not len(cache)
    assert cache
    assert cache.scope("a")


def test_a_plain_function_that_returns_an_awaitable_is_async_enough(cache):
    """A lambda around an async function is common."""
    answer = asyncio.run(cache.aget_or_compute("q", lambda question: aask(question)))  # noqa: PLW0108

    assert answer == "Q"
    assert cache.get("q").value == "Q"


def test_a_plain_function_is_refused_where_the_loop_would_wait(cache):
    """What it returned is not stored, and the next one is asked anew."""
    with pytest.raises(TypeError, match="returned 'Q', which cannot be awaited"):
        asyncio.run(cache.aget_or_compute("q", str.upper))
    assert len(cache) == 0
    assert asyncio.run(cache.aget_or_compute("q", aask)) == "Q"


@pytest.mark.parametrize("embed", [None, "model", 3, aask])
def test_an_embedder_that_is_none_is_refused_at_once(embed):
    """And not at the first question."""
    with pytest.raises(TypeError, match=r"cache: got embed=.*; write a plain function"):
        SemanticCache(embed)


@pytest.mark.parametrize(
    "given", [("a",), ("a", "b", "c"), "ab", b"ab", 7, None, {"a": "b"}, {"a", "b"}]
)
def test_what_is_no_pair_is_refused_and_none_is_stored(cache, given):
    """Also a text of two letters, which Python would take apart."""
    with pytest.raises(TypeError, match="write pairs of"):
        cache.put_many([("fine", "1"), given])
    assert len(cache) == 0


def test_pairs_may_be_lists_or_come_from_a_mapping(cache):
    """As JSON and dictionaries have them."""
    assert cache.put_many([["a", "1"], ("bb", "2")]) == 2
    assert cache.put_many({"ccc": "3"}.items()) == 1
