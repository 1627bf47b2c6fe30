"""Nobody waits for ever for what never comes."""

from __future__ import annotations

import asyncio
import gc
import threading

from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from legion import SemanticCache
from legion.cache import flight as flight_module


WAIT_S = 20


def embed(texts):
    return [[1.0, float(len(text))] for text in texts]


@pytest.fixture
def cache():
    return SemanticCache(embed, threshold=0.999)


def begun(function, *args):
    """Begin a call in a thread that a test may leave hanging."""
    outcome = Future()

    def run():
        try:
            outcome.set_result(function(*args))
        except BaseException as error:
            outcome.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return outcome


def until_waiting(cache, n):
    """Spin until *n* callers share the flight of "q"."""
    pause = threading.Event()
    for _ in range(2_000):
        flight = cache._flights._flights.get((cache.name, "q"))
        if flight is not None and flight.waiting >= n:
            return flight
        pause.wait(0.005)
    return pytest.fail(f"{n} callers did not come together")


async def given(question):
    return "given"


def test_threads_of_the_loop_that_all_wait_do_not_keep_it_from_embedding(cache):
    """They wait for a task, and it embeds in a thread of the cache's own."""

    def embed_late(texts):
        until_waiting(cache, 3)
        return embed(texts)

    async def story():
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(2))
        return await asyncio.gather(
            cache.aget_or_compute("q", given),
            *(
                asyncio.to_thread(cache.get_or_compute, "q", pytest.fail)
                for _ in range(2)
            ),
        )

    cache._embed.embed = embed_late
    assert begun(asyncio.run, story()).result(WAIT_S) == ["given"] * 3


def leave_pending(cache):
    """Ask "q" in a loop that stops before there is an answer, and return the loop."""
    loop = asyncio.new_event_loop()
    inside = asyncio.Event()

    async def never(question):
        inside.set()
        await asyncio.Event().wait()

    async def ask():
        asyncio.create_task(cache.aget_or_compute("q", never))  # noqa: RUF006
        await inside.wait()

    loop.run_until_complete(ask())
    return loop


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("question", ["q", "p"], ids=["the same", "a paraphrase"])
@pytest.mark.parametrize("late", [False, True])
def test_what_a_closed_loop_computed_is_computed_anew(
    cache, monkeypatch, question, asynchronous, late
):
    """Those who waited before it was closed do it, or who comes *late*."""
    monkeypatch.setattr(flight_module, "_LOOK_S", 0.01)
    loop = leave_pending(cache)
    if late:
        loop.close()
        loop = None
    if asynchronous:
        asked = begun(lambda: asyncio.run(cache.aget_or_compute(question, given)))
    else:
        asked = begun(cache.get_or_compute, question, lambda _: "given")
    if loop is not None:
        until_waiting(cache, 2)
        loop.close()
        loop = None

    assert asked.result(WAIT_S) == "given"
    gc.collect()
    assert not cache._flights._flights
    assert not cache._flights._aloft._known
    assert cache.get_or_compute("z" * 99, lambda _: "others go on") == "others go on"


@pytest.mark.parametrize("asynchronous", [False, True])
def test_whatever_exception_is_raised_wakes_those_who_wait(cache, asynchronous):
    """StopIteration, which no future of asyncio takes, is the cause of what they get."""

    def compute(question):
        until_waiting(cache, 2)
        raise StopIteration(7)

    first = begun(cache.get_or_compute, "q", compute)
    until_waiting(cache, 1)
    if asynchronous:
        other = begun(lambda: asyncio.run(cache.aget_or_compute("q", given)))
    else:
        other = begun(cache.get_or_compute, "q", pytest.fail)

    assert isinstance(first.exception(WAIT_S), StopIteration)
    with pytest.raises(RuntimeError, match="raised StopIteration") as raised:
        other.result(WAIT_S)
    assert raised.value.__cause__ is first.exception()


def test_a_ring_that_no_context_shows_ends(cache, monkeypatch, caplog):
    """A pool that asks the very question is waited for a while only, and it is said."""
    monkeypatch.setattr(flight_module, "OVERDUE_S", 0.0)

    def in_a_pool(question):
        asked = begun(cache.get_or_compute, question, lambda q: f"inner {q}")
        return asked.result(WAIT_S)

    assert begun(cache.get_or_compute, "q", in_a_pool).result(WAIT_S) == "inner q"
    assert "'q'" in caplog.text
    assert "one who waits computes it, too" in caplog.text


@pytest.mark.parametrize("asynchronous", [False, True])
def test_one_of_those_who_wait_computes_what_is_overdue(cache, asynchronous):
    """One only; all but the one that hangs have its answer, and the first its own."""
    go, computed = threading.Event(), []
    first = begun(cache.get_or_compute, "q", lambda _: (go.wait(WAIT_S), "late")[1])
    flight = until_waiting(cache, 1)
    flight.overdue_s = 0.0

    def beside(question):
        until_waiting(cache, 4)
        computed.append(question)
        return "beside"

    async def abeside(question):
        return await asyncio.to_thread(beside, question)

    async def several():
        return await asyncio.gather(
            *(cache.aget_or_compute("q", abeside) for _ in range(3))
        )

    if asynchronous:
        answers = begun(asyncio.run, several()).result(WAIT_S)
    else:
        asked = [begun(cache.get_or_compute, "q", beside) for _ in range(3)]
        answers = [each.result(WAIT_S) for each in asked]

    assert (answers, computed) == (["beside"] * 3, ["q"])
    assert not first.done()
    assert cache.get("q").value == "beside"
    go.set()
    assert first.result(WAIT_S) == "late"
    assert not cache._flights._flights
    assert not cache._flights._aloft._known


def test_who_computes_beside_and_is_cancelled_leaves_the_others(cache):
    """They have the answer of the one that was slow."""
    go = threading.Event()
    first = begun(cache.get_or_compute, "q", lambda _: (go.wait(WAIT_S), "late")[1])
    until_waiting(cache, 1).overdue_s = 0.0

    async def story():
        inside = asyncio.Event()

        async def never(question):
            inside.set()
            await asyncio.Event().wait()

        beside = asyncio.create_task(cache.aget_or_compute("q", never))
        await inside.wait()
        other = asyncio.create_task(cache.aget_or_compute("q", given))
        await asyncio.to_thread(until_waiting, cache, 3)
        beside.cancel()
        await asyncio.wait([beside])
        go.set()
        return beside.cancelled(), await other

    assert begun(asyncio.run, story()).result(WAIT_S) == (True, "late")
    assert first.result(WAIT_S) == "late"
