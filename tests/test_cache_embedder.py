"""What a callable gains as an embedder, and that another one is refused."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest

from legion import SemanticCache
from legion.cache.embedders import Embedder
from legion.cache.embedding import Identity, UnitVectors


class Counting:
    """Embeds a text as its length and 1; keeps what it was asked."""

    def __init__(self):
        self.batches, self.threads = [], set()

    def __call__(self, texts):
        self.batches.append(list(texts))
        self.threads.add(threading.get_ident())
        return [[len(text), 1.0] for text in texts]


def test_texts_go_in_batches_it_can_take():
    """Each text once, in order."""
    inner = Counting()
    vectors = Embedder(inner, name="n", max_batch=2)(["a", "bb", "ccc", "dddd", "e"])

    assert inner.batches == [["a", "bb"], ["ccc", "dddd"], ["e"]]
    assert vectors[:, 0].tolist() == [1, 2, 3, 4, 1]
    assert vectors.dtype == np.float32


def test_a_text_is_embedded_once_while_it_is_remembered():
    """Twice in one call too; the least recently used is forgotten."""
    inner = Counting()
    embed = Embedder(inner, name="n", remembers=2)
    first = embed(["a", "bb", "a"])
    again = embed(["a"])
    embed(["ccc"])
    embed(["a", "bb"])

    assert inner.batches == [["a", "bb"], ["ccc"], ["bb"]]
    assert first[:, 0].tolist() == [1, 2, 1]
    assert again[0].tolist() == first[0].tolist()


def test_threads_may_share_it():
    """Eight of them, and none gets another text's vector."""
    embed = Embedder(Counting(), name="n", remembers=5)
    wrong = []

    def work(seed):
        random = np.random.default_rng(seed)
        for _ in range(200):
            lengths = random.integers(1, 12, 3)
            found = embed(["x" * n for n in lengths])[:, 0]
            if found.tolist() != lengths.tolist():
                wrong.append(lengths)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert not wrong


@pytest.mark.parametrize("wrong", [{"max_batch": 0}, {"remembers": -1}])
def test_numbers_out_of_range_are_refused(wrong):
    """The error names the embedder."""
    with pytest.raises(ValueError, match="mine: got"):
        Embedder(Counting(), name="mine", **wrong)


@pytest.mark.parametrize("quick", [True, False])
def test_asyncio_waits_only_for_an_embedder_that_is_quick(quick):
    """Any other embeds in a thread, and the loop goes on."""
    inner = Counting()
    cache = SemanticCache(Embedder(inner, name="n", quick=quick))

    async def compute(question):
        return "answer"

    async def story():
        return await cache.aget_or_compute("q", compute)

    assert asyncio.run(story()) == "answer"
    assert (threading.get_ident() in inner.threads) is quick


def test_a_cache_says_which_embedder_made_its_vectors():
    """By name and dimension, once there is one."""
    cache = SemanticCache(Embedder(Counting(), name="mine-v1"))
    before = cache.embedder
    cache.put("q", 1)

    assert (before, cache.embedder) == (None, Identity("mine-v1", 2))
    assert cache.scope("a").embedder == cache.embedder
    assert str(cache.embedder) == "mine-v1 (2 dimensions)"


def test_an_embedder_without_a_name_is_called_by_its_code():
    """A function, and an object."""
    for embed, name in ((np.asarray, "asarray"), (Counting(), "Counting")):
        vectors = UnitVectors(embed)
        vectors.dim = 2
        assert vectors.identity.name.endswith(name)
