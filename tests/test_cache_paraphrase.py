"""Paraphrases in flight: one computation for all whom its answer would serve."""

from __future__ import annotations

import asyncio
import threading

from concurrent.futures import ThreadPoolExecutor

import pytest

from legion import SemanticCache
from legion.cache import flight as flight_module


WAIT_S = 20


def embed(texts):
    """Return "where 3" 3 degrees away from "where 0"; other words are at right angles."""
    import numpy as np

    words = ["where", "who"]
    rows = np.zeros((len(texts), 4))
    for row, text in zip(rows, texts, strict=True):
        word, degrees = text.split()
        angle = np.deg2rad(float(degrees))
        at = 2 * words.index(word)
        row[at : at + 2] = np.cos(angle), np.sin(angle)
    return rows


@pytest.fixture
def cache():
    return SemanticCache(embed, threshold=0.85)  # 31 degrees


class Gate:
    """A computation that begins, and ends when it is told."""

    def __init__(self, answer="answer"):
        self.answer, self.calls = answer, []
        self.begun, self.go = threading.Event(), threading.Event()

    def __call__(self, question):
        self.calls.append(question)
        self.begun.set()
        assert self.go.wait(WAIT_S)
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


def leader(cache, question):
    """Return the flight of *question* once others can follow it."""
    flight = cache._flights._flights.get((cache.name, question))
    return flight if flight in cache._flights._aloft._scope_of else None


def waiting(cache, question):
    flight = cache._flights._flights.get((cache.name, question))
    return 0 if flight is None else flight.waiting


def until(holds):
    pause = threading.Event()
    for _ in range(2_000):
        if holds():
            return
        pause.wait(0.005)
    pytest.fail("the callers did not come together")


def until_followed(cache, question, n=2):
    """Spin until *n* callers wait for the flight of *question*, its first included."""
    until(lambda: leader(cache, question) and waiting(cache, question) >= n)


async def auntil_followed(cache, question, n=2):
    await asyncio.to_thread(until_followed, cache, question, n)


def test_threads_that_paraphrase_wait_for_the_first_answer(cache):
    """Five ask differently, one computes, and all are served what it found."""
    gate = Gate()
    with ThreadPoolExecutor(5) as pool:
        first = pool.submit(cache.get_or_compute, "where 0", gate)
        assert gate.begun.wait(WAIT_S)
        others = [
            pool.submit(cache.get_or_compute, f"where {n}", pytest.fail)
            for n in (1, 2, 3, 4)
        ]
        until_followed(cache, "where 0", 5)
        gate.go.set()
        answers = [each.result(WAIT_S) for each in (first, *others)]

    assert answers == ["answer"] * 5
    assert gate.calls == ["where 0"]
    stats = cache.stats()
    assert (stats.lookups, stats.misses, stats.semantic_hits) == (5, 1, 4)
    assert (stats.coalesced, stats.puts, len(cache)) == (4, 1, 1)


def test_a_question_whose_answer_would_not_be_served_does_not_wait(cache):
    """Below the threshold, and in another scope, nobody waits for anybody."""
    gate = Gate()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(cache.get_or_compute, "where 0", gate)
        assert gate.begun.wait(WAIT_S)
        assert cache.get_or_compute("where 40", lambda _: "far") == "far"
        other = cache.scope("b").get_or_compute("where 0", lambda _: "b")
        assert (other, leader(cache, "where 0").waiting) == ("b", 1)
        gate.go.set()
        first.result(WAIT_S)


def test_what_is_stored_already_is_served_at_once(cache):
    """An answer that does is not held up by one that is still coming."""
    cache.put("where 50", "stored")
    gate = Gate()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(cache.get_or_compute, "where 0", gate)
        assert gate.begun.wait(WAIT_S)
        assert cache.get_or_compute("where 25", pytest.fail) == "stored"
        gate.go.set()
        first.result(WAIT_S)
    assert cache.stats().coalesced == 0


def test_an_answer_that_is_not_stored_serves_no_paraphrase(cache):
    """A plugin kept it out, so whoever waited for it computes."""

    class NotThatOne:
        def admit(self, query, value):
            return value != "secret"

    cache = SemanticCache(embed, plugins=NotThatOne())
    gate = Gate("secret")
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(cache.get_or_compute, "where 0", gate)
        assert gate.begun.wait(WAIT_S)
        other = pool.submit(cache.get_or_compute, "where 1", lambda _: "public")
        until_followed(cache, "where 0")
        gate.go.set()
        assert (first.result(WAIT_S), other.result(WAIT_S)) == ("secret", "public")
    stats = cache.stats()
    assert (stats.lookups, stats.misses, stats.coalesced) == (2, 2, 1)


def test_a_paraphrase_does_not_get_another_question_s_exception(cache):
    """It computes, and who asks the same as it does waits for that."""
    gate = Gate(ConnectionError("down"))
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(cache.get_or_compute, "where 0", gate)
        assert gate.begun.wait(WAIT_S)
        others = [
            pool.submit(cache.get_or_compute, f"where {n}", lambda q: f"of {q}")
            for n in (1, 2)
        ]
        until_followed(cache, "where 0", 3)
        gate.go.set()
        with pytest.raises(ConnectionError, match="down"):
            first.result(WAIT_S)
        assert {each.result(WAIT_S) for each in others} <= {"of where 1", "of where 2"}

    stats = cache.stats()
    assert (stats.lookups, stats.coalesced) == (3, 2)
    assert not cache._flights._flights
    assert not cache._flights._aloft._scope_of
    assert not cache._flights._aloft._known


def test_nobody_waits_for_the_answer_to_the_opposite():
    """What the veto keeps apart is computed apart; of two the one that does is awaited."""
    cache = SemanticCache(lambda texts: [[1.0, 0.0]] * len(texts), veto=True)
    on, off = Gate("on"), Gate("off")
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(cache.get_or_compute, "How do I turn on dark mode?", on)
        assert on.begun.wait(WAIT_S)
        other = pool.submit(cache.get_or_compute, "How do I turn off dark mode?", off)
        assert off.begun.wait(WAIT_S)
        again = pool.submit(
            cache.get_or_compute, "How can I turn off dark mode?", pytest.fail
        )
        until(lambda: waiting(cache, "How do I turn off dark mode?") == 2)
        off.go.set()
        assert [other.result(WAIT_S), again.result(WAIT_S)] == ["off", "off"]
        assert not first.done()
        on.go.set()
        assert first.result(WAIT_S) == "on"


def test_a_promised_error_keeps_the_same_questions_apart():
    """By default, until vetoes of the kind are seen to be wrong."""
    rule = SemanticCache(embed, max_error=0.01)._shelf.rule
    questions = "Is ticket 4 open?", "Is ticket 5 open?"
    assert rule.vetoed(*questions)
    for _ in range(20):
        rule.vetoes.learn("numbers", right=True)
    assert not rule.vetoed(*questions)
    assert not SemanticCache(embed, max_error=0.01, veto=False)._shelf.rule.vetoed(
        *questions
    )


def test_who_is_interrupted_leaves_the_work_to_a_paraphrase(cache):
    """The interrupt of the one who computes is not the others'."""
    gate = Gate(KeyboardInterrupt())
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(cache.get_or_compute, "where 0", gate)
        assert gate.begun.wait(WAIT_S)
        other = pool.submit(cache.get_or_compute, "where 1", lambda _: "mine")
        until_followed(cache, "where 0")
        gate.go.set()
        assert other.result(WAIT_S) == "mine"
        with pytest.raises(KeyboardInterrupt):
            first.result(WAIT_S)


@pytest.mark.parametrize("cancelled", [0, 1, 2])
def test_cancelling_any_one_leaves_the_others(cache, cancelled):
    """The one who computes, the one who paraphrases and who waits for that one."""

    async def story():
        go = asyncio.Event()

        async def compute(question):
            await go.wait()
            return question

        tasks = [asyncio.create_task(cache.aget_or_compute("where 0", compute))]
        await auntil_followed(cache, "where 0", 1)
        tasks.append(asyncio.create_task(cache.aget_or_compute("where 1", pytest.fail)))
        await auntil_followed(cache, "where 0", 2)
        tasks.append(asyncio.create_task(cache.aget_or_compute("where 1", pytest.fail)))
        await asyncio.to_thread(until, lambda: waiting(cache, "where 1") == 2)
        tasks[cancelled].cancel()
        await asyncio.wait([tasks[cancelled]])
        go.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    found = asyncio.run(story())

    assert isinstance(found.pop(cancelled), asyncio.CancelledError)
    assert found == ["where 0"] * 2


def test_when_the_last_paraphrase_goes_the_computation_is_cancelled(cache):
    """First the one who asked, then the one who waits for its answer."""

    async def story():
        stopped = asyncio.Event()

        async def compute(question):
            try:
                await asyncio.Event().wait()
            finally:
                stopped.set()

        first = asyncio.create_task(cache.aget_or_compute("where 0", compute))
        await auntil_followed(cache, "where 0", 1)
        second = asyncio.create_task(cache.aget_or_compute("where 1", pytest.fail))
        await auntil_followed(cache, "where 0", 2)
        first.cancel()
        await asyncio.wait([first])
        assert not stopped.is_set()
        second.cancel()
        await asyncio.wait([second])
        await asyncio.wait_for(stopped.wait(), WAIT_S)

    asyncio.run(story())
    assert not cache._flights._flights


def test_a_task_of_one_loop_follows_that_of_another_and_a_thread_both(cache):
    """One computation for two loops and a thread."""
    go, begun = threading.Event(), threading.Event()

    async def compute(question):
        begun.set()
        await asyncio.to_thread(go.wait, WAIT_S)
        return "of the first loop"

    async def paraphrase():
        return await cache.aget_or_compute("where 1", pytest.fail)

    with ThreadPoolExecutor(3) as pool:
        asked = [pool.submit(asyncio.run, cache.aget_or_compute("where 0", compute))]
        assert begun.wait(WAIT_S)
        asked.append(pool.submit(asyncio.run, paraphrase()))
        asked.append(pool.submit(cache.get_or_compute, "where 2", pytest.fail))
        until_followed(cache, "where 0", 3)
        go.set()
        answers = [each.result(WAIT_S) for each in asked]

    assert answers == ["of the first loop"] * 3


def test_a_computation_may_ask_a_paraphrase_of_its_own_question(cache):
    """As one that rewrites the question does: it waits neither for itself nor raises."""

    def rewrite(question):
        return cache.get_or_compute("where 1", lambda q: f"rewritten {q}")

    async def arewrite(question):
        async def compute(q):
            return f"rewritten {q}"

        return await cache.aget_or_compute("who 1", compute)

    assert cache.get_or_compute("where 0", rewrite) == "rewritten where 1"
    asked = cache.aget_or_compute("who 0", arewrite)
    assert asyncio.run(asked) == "rewritten who 1"


def test_a_computation_may_ask_what_waits_for_its_answer(cache):
    """Its own paraphrase was asked meanwhile: no ring, as that one need not wait."""
    begun, go = threading.Event(), threading.Event()

    def rewrite(question):
        begun.set()
        assert go.wait(WAIT_S)
        return cache.get_or_compute("where 1", lambda q: f"rewritten {q}")

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(cache.get_or_compute, "where 0", rewrite)
        assert begun.wait(WAIT_S)
        other = pool.submit(cache.get_or_compute, "where 1", pytest.fail)
        until_followed(cache, "where 0")
        go.set()
        assert first.result(WAIT_S) == "rewritten where 1"
        assert other.result(WAIT_S) == "rewritten where 1"


def test_a_ring_that_no_context_shows_ends(cache, monkeypatch):
    """A computation whose own pool asks a paraphrase is waited for a while only."""
    monkeypatch.setattr(flight_module, "PATIENCE_S", 0.05)

    def in_a_pool(question):
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(cache.get_or_compute, "where 1", lambda q: f"of {q}")
            return asked.result(WAIT_S)

    assert cache.get_or_compute("where 0", in_a_pool) == "of where 1"
    assert cache.stats().coalesced == 1


def test_a_blocked_loop_follows_nobody(cache):
    """A plain call on a loop computes: the answer it would wait for may be the loop's."""

    async def story():
        go = asyncio.Event()

        async def compute(question):
            await go.wait()
            return "answer"

        task = asyncio.create_task(cache.aget_or_compute("where 0", compute))
        await auntil_followed(cache, "where 0", 1)
        assert cache.get_or_compute("where 1", lambda _: "plain") == "plain"
        go.set()
        return await task

    assert asyncio.run(story()) == "answer"
