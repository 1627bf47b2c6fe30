"""One computation for all who ask the same, whatever happens to it."""

from __future__ import annotations

import asyncio
import gc
import threading
import zlib

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from legion import SemanticCache


WAIT_S = 20


def embed(texts):
    return [
        np.random.default_rng(zlib.crc32(text.encode())).standard_normal(64)
        for text in texts
    ]


@pytest.fixture
def cache():
    return SemanticCache(embed)


def flight_of(cache, question="q"):
    return cache._flights._flights.get((cache.name, question))


class Gate:
    """A computation that begins, and ends when it is told."""

    def __init__(self, answer="answer"):
        self.answer, self.calls = answer, 0
        self.begun, self.go = threading.Event(), threading.Event()

    def __call__(self, question):
        self.calls += 1
        self.begun.set()
        assert self.go.wait(WAIT_S)
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


def until_waiting(cache, n):
    """Spin until *n* callers share the flight."""
    done = threading.Event()
    for _ in range(2_000):
        flight = flight_of(cache)
        if flight is not None and flight.waiting >= n:
            return
        done.wait(0.005)
    pytest.fail(f"{n} callers did not come together")


async def auntil_waiting(cache, n):
    for _ in range(20_000):
        flight = flight_of(cache)
        if flight is not None and flight.waiting >= n:
            return
        await asyncio.sleep(0)
    pytest.fail(f"{n} callers did not come together")


def test_a_miss_is_computed_once_and_stored(cache):
    """The second caller finds it; so does one who asks nearly the same."""
    asked = []

    def compute(question):
        asked.append(question)
        return 7

    assert [cache.get_or_compute(q, compute) for q in (" q ", "q")] == [7, 7]
    assert asked == [" q "], "compute sees the question as it was put"
    stats = cache.stats()
    assert (stats.lookups, stats.misses, stats.exact_hits, stats.puts) == (2, 1, 1, 1)


def test_threads_that_ask_the_same_wait_for_one_computation(cache):
    """Eight ask, one computes, all get it; the embedder is called once."""
    calls = []
    cache._embed.embed = lambda texts: (calls.append(texts), embed(texts))[1]
    gate = Gate()
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(cache.get_or_compute, "q", gate) for _ in range(8)]
        until_waiting(cache, 8)
        gate.go.set()
        answers = [each.result(WAIT_S) for each in asked]

    assert answers == ["answer"] * 8
    assert (gate.calls, calls) == (1, [["q"]])
    stats = cache.stats()
    assert (stats.lookups, stats.misses, stats.coalesced, stats.puts) == (8, 8, 7, 1)


def test_an_exception_goes_to_all_who_wait_and_is_not_kept(cache):
    """The next caller computes anew."""
    gate = Gate(KeyError("nobody knows"))
    with ThreadPoolExecutor(3) as pool:
        asked = [pool.submit(cache.get_or_compute, "q", gate) for _ in range(3)]
        until_waiting(cache, 3)
        gate.go.set()
        for each in asked:
            with pytest.raises(KeyError, match="nobody knows"):
                each.result(WAIT_S)

    assert (gate.calls, len(cache), flight_of(cache)) == (1, 0, None)
    assert cache.stats().misses == 3
    assert cache.get_or_compute("q", lambda _: 1) == 1


def test_who_is_interrupted_leaves_the_work_to_the_next(cache):
    """An interrupt of the one who computes is not the others' interrupt."""
    first, second = Gate(KeyboardInterrupt()), Gate("done by another")
    second.go.set()
    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(cache.get_or_compute, "q", first)
        assert first.begun.wait(WAIT_S)
        other = pool.submit(cache.get_or_compute, "q", second)
        until_waiting(cache, 2)
        first.go.set()
        assert other.result(WAIT_S) == "done by another"
        with pytest.raises(KeyboardInterrupt):
            one.result(WAIT_S)


def test_scopes_and_questions_do_not_wait_for_each_other(cache):
    """Only the same question in the same scope is one flight."""
    gate = Gate()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(cache.scope("a").get_or_compute, "q", gate)
        assert gate.begun.wait(WAIT_S)
        assert cache.scope("b").get_or_compute("q", lambda _: "b") == "b"
        assert cache.get_or_compute("q", lambda _: "root") == "root"
        assert cache.scope("a").get_or_compute("other", lambda _: "o") == "o"
        gate.go.set()
        assert waiting.result(WAIT_S) == "answer"


def test_nothing_is_computed_under_the_lock(cache):
    """While one computes, everybody else can put and get."""
    gate = Gate()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(cache.get_or_compute, "q", gate)
        assert gate.begun.wait(WAIT_S)
        cache.put("q", "earlier")
        assert cache.get("q").value == "earlier"
        gate.go.set()
        waiting.result(WAIT_S)


def test_nothing_is_embedded_under_the_lock(cache):
    """A slow embedder holds up nobody whose question is stored."""
    cache.put("stored", 1)
    gate = Gate()
    fast = cache._embed.embed
    cache._embed.embed = lambda texts: (gate(texts), fast(texts))[1]
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(cache.put, "new", 2)
        assert gate.begun.wait(WAIT_S)
        assert cache.get("stored").value == 1
        gate.go.set()
        assert slow.result(WAIT_S)


def test_a_computation_that_asks_for_itself_is_an_error_not_a_deadlock(cache):
    """In a thread, and in a task."""

    def compute(question):
        return cache.get_or_compute(question, compute)

    async def acompute(question):
        return await cache.aget_or_compute(question, acompute)

    with pytest.raises(RuntimeError, match="asks the cache for that same answer"):
        cache.get_or_compute("q", compute)
    with pytest.raises(RuntimeError, match="asks the cache for that same answer"):
        asyncio.run(cache.aget_or_compute("q", acompute))
    assert cache.get_or_compute("q", lambda q: cache.get_or_compute("r", str)) == "r"


def test_tasks_that_ask_the_same_wait_for_one_computation(cache):
    """Fifty ask, one computes; the loop is not blocked by the embedder."""
    loop_thread = threading.get_ident()
    embedded_in = []
    cache._embed.embed = lambda texts: (
        embedded_in.append(threading.get_ident()),
        embed(texts),
    )[1]
    calls = []

    async def compute(question):
        calls.append(question)
        await auntil_waiting(cache, 50)
        return "answer"

    async def ask():
        return await asyncio.gather(
            *(cache.aget_or_compute("q", compute) for _ in range(50))
        )

    assert asyncio.run(ask()) == ["answer"] * 50
    assert calls == ["q"]
    assert loop_thread not in embedded_in
    assert cache.stats().coalesced == 49
    assert asyncio.run(cache.aget_or_compute("q", pytest.fail)) == "answer"


@pytest.mark.parametrize("cancelled", [0, 1])
def test_cancelling_one_who_waits_leaves_the_others(cache, cancelled):
    """Not even cancelling the one who asked first."""

    async def story():
        go = asyncio.Event()
        calls = []

        async def compute(question):
            calls.append(question)
            await go.wait()
            return "answer"

        tasks = [
            asyncio.create_task(cache.aget_or_compute("q", compute)) for _ in range(3)
        ]
        await auntil_waiting(cache, 3)
        tasks[cancelled].cancel()
        await asyncio.wait([tasks[cancelled]])
        go.set()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        return calls, answers

    calls, answers = asyncio.run(story())

    assert calls == ["q"]
    assert isinstance(answers.pop(cancelled), asyncio.CancelledError)
    assert answers == ["answer", "answer"]
    assert cache.get("q").value == "answer"


def test_when_nobody_waits_any_more_the_computation_is_cancelled(cache):
    """Its work is not wanted; whoever asks next begins anew."""

    async def story():
        stopped = asyncio.Event()
        begun = asyncio.Event()

        async def compute(question):
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                stopped.set()

        task = asyncio.create_task(cache.aget_or_compute("q", compute))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert flight_of(cache) is None
        await asyncio.wait_for(stopped.wait(), WAIT_S)

        async def again(question):
            return "anew"

        return await cache.aget_or_compute("q", again)

    assert asyncio.run(story()) == "anew"


def test_an_async_exception_goes_to_all_and_nobody_complains_later(cache, caplog):
    """No "exception was never retrieved" from the garbage collector."""

    async def story():
        go = asyncio.Event()

        async def compute(question):
            await go.wait()
            raise KeyError("nobody knows")

        tasks = [
            asyncio.create_task(cache.aget_or_compute("q", compute)) for _ in range(3)
        ]
        await auntil_waiting(cache, 3)
        tasks[1].cancel()
        await asyncio.wait([tasks[1]])
        go.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    found = asyncio.run(story())
    gc.collect()

    assert [type(each) for each in found] == [
        KeyError,
        asyncio.CancelledError,
        KeyError,
    ]
    assert not caplog.records
    assert flight_of(cache) is None


def test_a_computation_that_cancels_itself_is_cancelled_for_the_first_only(cache):
    """The others try in their turn; nobody loops for ever."""

    async def story():
        calls = []

        async def compute(question):
            calls.append(question)
            if len(calls) == 1:
                await auntil_waiting(cache, 2)
                raise asyncio.CancelledError
            return "second"

        tasks = [
            asyncio.create_task(cache.aget_or_compute("q", compute)) for _ in range(2)
        ]
        return await asyncio.gather(*tasks, return_exceptions=True)

    first, second = asyncio.run(story())

    assert isinstance(first, asyncio.CancelledError)
    assert second == "second"


def test_a_thread_waits_for_a_task_and_a_task_for_a_thread(cache):
    """One flight for all, whichever way they ask."""
    gate = Gate()

    async def story():
        begun = asyncio.Event()
        go = asyncio.Event()

        async def compute(question):
            begun.set()
            await go.wait()
            return "of the task"

        task = asyncio.create_task(cache.aget_or_compute("q", compute))
        await begun.wait()
        thread = asyncio.create_task(
            asyncio.to_thread(cache.get_or_compute, "q", pytest.fail)
        )
        await asyncio.to_thread(until_waiting, cache, 2)
        go.set()
        first = await asyncio.gather(task, thread)
        cache.clear()

        thread = asyncio.create_task(asyncio.to_thread(cache.get_or_compute, "q", gate))
        await asyncio.to_thread(gate.begun.wait, WAIT_S)
        task = asyncio.create_task(cache.aget_or_compute("q", compute))
        await asyncio.to_thread(until_waiting, cache, 2)
        gate.go.set()
        return first + await asyncio.gather(task, thread)

    assert asyncio.run(story()) == ["of the task"] * 2 + ["answer"] * 2


def test_blocking_the_loop_that_computes_is_an_error_not_a_deadlock(cache):
    """The message says what to write instead."""

    async def story():
        go = asyncio.Event()
        begun = asyncio.Event()

        async def compute(question):
            begun.set()
            await go.wait()
            return "answer"

        task = asyncio.create_task(cache.aget_or_compute("q", compute))
        await begun.wait()
        with pytest.raises(RuntimeError, match="write await aget_or_compute"):
            cache.get_or_compute("q", pytest.fail)
        go.set()
        return await task

    assert asyncio.run(story()) == "answer"


def test_a_loop_that_ends_leaves_the_work_to_those_who_wait_elsewhere(cache):
    """A thread that waited for a task of a loop now closed computes itself."""
    begun = threading.Event()

    async def compute(question):
        begun.set()
        await asyncio.to_thread(until_waiting, cache, 2)
        asyncio.get_running_loop().stop()
        await asyncio.Event().wait()

    def run_and_drop():
        with pytest.raises(RuntimeError, match="stopped before"):
            asyncio.run(cache.aget_or_compute("q", compute))

    with ThreadPoolExecutor(2) as pool:
        dropped = pool.submit(run_and_drop)
        assert begun.wait(WAIT_S)
        other = pool.submit(cache.get_or_compute, "q", lambda _: "mine")
        dropped.result(WAIT_S)
        assert other.result(WAIT_S) == "mine"
