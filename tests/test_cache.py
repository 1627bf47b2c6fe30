"""The semantic cache: the nearest answer, from its own scope, or none."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest

from hypothesis import given, settings
from hypothesis import strategies as st

from legion import SemanticCache
from legion.exceptions import EmbeddingError


DIM = 16


def vector(text):
    """Return a fixed vector for *text*; texts with the same first letter are near."""
    rng = np.random.default_rng(list(text[:1].encode()))
    far = np.random.default_rng(list(text.encode()))
    return rng.normal(size=DIM) + 0.4 * far.normal(size=DIM)


def embed(texts):
    return np.array([vector(text) for text in texts], dtype=np.float32)


def unit(text):
    found = embed([text])[0]
    return found / np.linalg.norm(found)


texts = st.text("abc", min_size=1, max_size=4)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["put", "get"]), st.sampled_from("xy"), texts)),
    st.integers(1, 6),
)
def test_it_answers_as_an_exact_scan_would(steps, capacity):
    """At any moment: the nearest entry of the scope, if its cosine reaches 0.85."""
    cache = SemanticCache(embed, threshold=0.85, capacity=capacity)
    kept = []  # (scope, text), least recently used first
    for verb, scope, text in steps:
        view = cache.scope(scope)
        if verb == "put":
            view.put(text, (scope, text))
            kept = [entry for entry in kept if entry != (scope, text)]
            kept = [*kept, (scope, text)][-capacity:]
            continue
        hit = view.get(text)
        cosines = {
            t: 1.0 if t == text else float(unit(t) @ unit(text))
            for s, t in kept
            if s == scope
        }
        best = max(cosines.values(), default=-1.0)
        if best < 0.85 - 1e-5:
            assert hit is None
        elif best > 0.85 + 1e-5:
            assert hit.value[0] == scope
            assert cosines[hit.value[1]] > best - 1e-5
        if hit is not None:
            kept.remove(hit.value)
            kept.append(hit.value)
        assert len(cache) == len(kept) <= capacity


def test_an_exact_hit_does_not_embed():
    """The same question, white space aside, is found without the embedder."""
    calls = []

    def counting(texts):
        calls.append(texts)
        return embed(texts)

    cache = SemanticCache(counting)
    cache.put("a question", 1)

    assert cache.get(" a  question ").exact
    assert len(calls) == 1


@pytest.mark.parametrize(
    "bad",
    [
        lambda texts: np.zeros((len(texts), DIM)),
        lambda texts: np.full((len(texts), DIM), np.nan),
        lambda texts: np.ones(DIM),
        lambda texts: np.ones((len(texts) + 1, DIM)),
    ],
)
def test_what_is_no_embedding_is_refused(bad):
    """A zero, endless or misshapen vector is an error, and nothing is stored."""
    cache = SemanticCache(bad)

    with pytest.raises(EmbeddingError, match="embedder: got"):
        cache.put("question", "answer")
    assert len(cache) == 0


def test_threads_that_ask_the_same_wait_for_one_answer():
    """One computes, the others wait, all get its answer."""
    cache = SemanticCache(embed)
    inside, go, calls, answers = threading.Event(), threading.Event(), [], []

    def compute(question):
        calls.append(question)
        inside.set()
        go.wait(10)
        return 42

    def ask():
        answers.append(cache.get_or_compute("q", compute))

    threads = [threading.Thread(target=ask) for _ in range(6)]
    threads[0].start()
    inside.wait(10)
    for thread in threads[1:]:
        thread.start()
    go.set()
    for thread in threads:
        thread.join()

    assert answers == [42] * 6
    assert len(calls) == 1


def test_cancelling_one_who_waits_leaves_the_others():
    """A cancelled waiter does not take the computation with it."""

    async def story():
        cache = SemanticCache(embed)
        go = asyncio.Event()

        async def compute(question):
            await go.wait()
            return "answer"

        waits = [
            asyncio.ensure_future(cache.aget_or_compute("q", compute)) for _ in range(3)
        ]
        await asyncio.sleep(0.05)
        waits[0].cancel()
        go.set()
        return await asyncio.gather(*waits, return_exceptions=True)

    first, *others = asyncio.run(story())

    assert isinstance(first, asyncio.CancelledError)
    assert others == ["answer", "answer"]


def test_eight_threads_never_see_a_wrong_value():
    """Mixed gets and puts: every value belongs to its scope, the size stays bounded."""
    cache = SemanticCache(embed, threshold=0.999, capacity=50)
    wrong = []

    def work(number):
        rng = np.random.default_rng(number)
        for _ in range(400):
            scope, text = "xyz"[rng.integers(3)], f"q{rng.integers(120)}"
            if rng.random() < 0.5:
                cache.scope(scope).put(text, (scope, text))
            else:
                hit = cache.scope(scope).get(text)
                if hit is not None and hit.value[0] != scope:
                    wrong.append(hit)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []
    assert len(cache) == 50
