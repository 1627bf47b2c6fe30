"""What a cache measures of its look-ups, and what their answers save."""

from __future__ import annotations

import asyncio
import logging
import threading

import pytest

from legion import SemanticCache
from legion.cache import Cost, Meter
from legion.cache.meter import Recorder
from legion.stats import LogHistogram
from legion.testing import ManualClock


LETTERS = "abcdefghijklmnopqrstuvwxyz"


def tokens(answer):
    return Cost(tokens=len(answer.split()), money=0.5)


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def cache(clock):
    def embed(texts):
        clock.advance(0.25)
        return [[1 + text.lower().count(c) for c in LETTERS] for text in texts]

    return SemanticCache(
        embed, threshold=0.95, clock=clock, meter=Meter(cost_of=tokens)
    )


def counts(meter):
    return {name: each.count for name, each in meter.latency_s().items()}


def test_every_look_up_is_measured_by_its_outcome(cache):
    """Embedding included: an exact hit does without."""
    cache.get("Where is my parcel right now?")
    cache.put("Where is my parcel right now?", "over there")
    cache.get("Where is my parcel right now?")
    cache.get("Where is my parcel now?")
    cache.get("zzz zzz zzz")

    latency = cache.meter.latency_s()
    assert counts(cache.meter) == {"exact_hit": 1, "semantic_hit": 1, "miss": 2}
    assert latency["exact_hit"].total == 0
    assert latency["semantic_hit"].total == pytest.approx(0.25)
    assert latency["miss"].total == pytest.approx(0.25), "an empty scope embeds nothing"


def test_the_similarity_of_semantic_hits_is_kept(cache):
    """Exact ones are as near as can be, and are no part of it."""
    cache.put("Where is my parcel right now?", "there")
    cache.get("Where is my parcel right now?")
    hit = cache.get("Where is my parcel now?")

    assert cache.meter.similarity().count == 1
    assert cache.meter.similarity().total == pytest.approx(hit.similarity)


def test_hits_save_what_their_answers_cost(cache):
    """Each time, however they are asked for, in the scope and in the whole."""
    faq, other = cache.scope("faq"), cache.scope("other")
    faq.put("where", "over there")
    other.put("who", "me")

    async def never(question):
        raise AssertionError

    faq.get("where")
    faq.get_many(["where", "zzz"])
    faq.get_or_compute("where", pytest.fail)
    asyncio.run(faq.aget_or_compute("where", never))
    faq.get_or_compute("whhere", pytest.fail)
    other.get("who")

    assert faq.stats().saved_tokens == 10
    assert faq.stats().saved_money == 2.5
    assert (cache.stats().saved_tokens, cache.stats().saved_money) == (11, 3)


def test_a_computed_answer_saves_nothing_yet(cache):
    """Its making is what it cost; its time is not the cache's."""
    cache.get_or_compute("where", lambda _: "over there")

    assert cache.stats().saved_tokens == 0
    assert counts(cache.meter) == {"exact_hit": 0, "semantic_hit": 0, "miss": 0}


def test_a_price_that_cannot_be_told_is_not_made_up(caplog):
    """The hit is served, and the log says why nothing was saved."""

    def price(answer):
        raise KeyError("usage")

    cache = SemanticCache(
        lambda texts: [[1, 2]] * len(texts), meter=Meter(cost_of=price)
    )
    cache.put("q", "a")
    with caplog.at_level(logging.WARNING, "legion"):
        assert cache.get("q").value == "a"
    assert cache.stats().saved_tokens == 0
    assert "cost_of raised" in caplog.text


def test_a_cache_without_a_meter_measures_nothing():
    """And says so."""
    cache = SemanticCache(lambda texts: [[1, 2]] * len(texts))
    cache.put("q", "a")
    cache.get("q")

    assert cache.meter is None
    assert cache.stats().saved_tokens == 0


def test_no_value_is_lost_between_threads():
    """Eight record, one reads: what comes out is what went in."""
    recorder = Recorder()
    stop = threading.Event()

    def record(n):
        for i in range(5_000):
            recorder.record(n * 5_000 + i + 1.0)

    def read():
        while not stop.is_set():
            recorder.histogram()

    threads = [threading.Thread(target=record, args=(n,)) for n in range(8)]
    reader = threading.Thread(target=read)
    for thread in (*threads, reader):
        thread.start()
    for thread in threads:
        thread.join()
    stop.set()
    reader.join()

    whole = LogHistogram.of(range(1, 40_001))
    assert recorder.histogram().positive == whole.positive
    assert recorder.histogram().total == whole.total
