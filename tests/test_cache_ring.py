"""Computations that ask for each other's answers: an error, never a deadlock."""

from __future__ import annotations

import subprocess
import sys

import pytest


PRELUDE = """
import asyncio, threading, zlib
from concurrent.futures import ThreadPoolExecutor
import numpy as np
from legion import SemanticCache

def embed(texts):
    return [np.random.default_rng(zlib.crc32(t.encode())).standard_normal(64)
            for t in texts]

cache, other = SemanticCache(embed), SemanticCache(embed)

def said(error):
    return f"{type(error).__name__}: {error}"

def run(*jobs):
    with ThreadPoolExecutor(len(jobs)) as pool:
        for job in [pool.submit(*job) for job in jobs]:
            try:
                print(job.result())
            except RuntimeError as error:
                print(said(error))
"""

THREADS = """
places = [(cache, str(n)) for n in range(int({n}))]
if {caches} == 2:
    places = [(cache, "0"), (other, "0")]
begun = threading.Barrier(len(places))

def compute(n):
    begun.wait()
    where, question = places[(n + 1) % len(places)]
    return where.get_or_compute(question, lambda q: "alone")

run(*((where.get_or_compute, question, lambda _, n=n: compute(n))
      for n, (where, question) in enumerate(places)))
"""

NESTED = """
begun = threading.Barrier(2)

def one(_):
    def inner(_):
        begun.wait()
        return cache.get_or_compute("two", str)
    return cache.get_or_compute("inner", inner)

def two(_):
    begun.wait()
    return cache.get_or_compute("one", str)

run((cache.get_or_compute, "one", one), (cache.get_or_compute, "two", two))
"""

TASKS = """
async def main():
    begun = asyncio.Barrier(2)

    async def compute(n):
        await begun.wait()
        return await cache.aget_or_compute(str(1 - n), alone)

    async def alone(_):
        return "alone"

    for found in await asyncio.gather(
        *(cache.aget_or_compute(str(n), lambda _, n=n: compute(n)) for n in (0, 1)),
        return_exceptions=True,
    ):
        print(said(found))

asyncio.run(main())
"""

GATHERED = """
async def main():
    async def leaf(q):
        return q

    async def one(_):
        found = await asyncio.gather(cache.aget_or_compute("leaf", leaf),
                                     cache.aget_or_compute("two", two))
        return found

    async def two(_):
        return await cache.aget_or_compute("one", leaf)

    try:
        await cache.aget_or_compute("one", one)
    except RuntimeError as error:
        print(said(error))

asyncio.run(main())
"""

MIXED = """
async def main():
    begun = threading.Event()
    inside = asyncio.Event()

    async def task(_):
        inside.set()
        await asyncio.to_thread(begun.wait)
        return await cache.aget_or_compute("thread", task)

    def thread(_):
        begun.set()
        return cache.get_or_compute("task", str)

    first = asyncio.create_task(cache.aget_or_compute("task", task))
    await inside.wait()
    second = asyncio.create_task(
        asyncio.to_thread(cache.get_or_compute, "thread", thread))
    for found in await asyncio.gather(first, second, return_exceptions=True):
        print(said(found))

asyncio.run(main())
"""

BLOCKED = """
go, waits = threading.Event(), threading.Event()

def thread(_):
    waits.set()
    go.wait()
    return cache.get_or_compute("task", str)

async def main():
    inside = asyncio.Event()
    end = asyncio.Event()

    async def task(_):
        inside.set()
        await end.wait()
        return "of the task"

    pending = asyncio.create_task(cache.aget_or_compute("task", task))
    await inside.wait()
    with ThreadPoolExecutor(1) as pool:
        job = pool.submit(cache.get_or_compute, "thread", thread)
        waits.wait()
        if {late}:
            def watch():
                while cache._flights._flights[("", "thread")].waiting < 2:
                    pass
                go.set()

            threading.Thread(target=watch).start()
        else:
            go.set()
            while not cache._flights._flights[("", "task")].waiting > 1:
                await asyncio.sleep(0.001)
        try:
            print(cache.get_or_compute("thread", str))
        except RuntimeError as error:
            print(said(error))
        end.set()
        if not {late}:
            print(job.result() if await asyncio.sleep(0.1) or await pending else "")
        else:
            print(said(job.exception()))

asyncio.run(main())
"""


def script(body: str) -> list[str]:
    """Run *body* in a fresh interpreter, and fail if it hangs."""
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + body],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    "body",
    [
        THREADS.format(n=2, caches=1),
        THREADS.format(n=3, caches=1),
        THREADS.format(n=2, caches=2),
        NESTED,
        TASKS,
        GATHERED,
        MIXED,
    ],
    ids=["two threads", "three", "two caches", "nested", "tasks", "gather", "mixed"],
)
def test_a_ring_is_refused_to_the_one_that_closes_it(body):
    """
    The error goes to it, and by it to all who wait; none of them hangs.

    To see it hang, until the child is killed, take ``self._refuse_ring()`` out of `legion.cache.waiting`.
    """
    answers = script(body)

    assert answers
    for answer in answers:
        assert answer.startswith("RuntimeError: cache: computations ask for each other")
        assert "compute one of them without get_or_compute" in answer


def test_the_error_names_the_ring():
    """From the question that was asked last, round to it again."""
    for answer in script(NESTED):
        assert "'one'" in answer
        assert "'two'" in answer
        assert answer.count("->") == 3


@pytest.mark.parametrize("late", [False, True])
def test_a_blocked_loop_that_its_own_task_would_have_to_free_is_refused(late):
    """
    A loop waits for a thread that waits for a task of that loop.

    Whoever comes second is told: the loop's own caller, or, *late*, the thread.
    """
    first, second = script(BLOCKED.format(late=late))

    if late:
        assert first.startswith("RuntimeError: cache: computations ask")
        assert second == first
    else:
        assert first.startswith("RuntimeError: cache: get_or_compute would block")
        assert second == "of the task"


CHAIN = """
go = threading.Event()

def leaf(_):
    go.wait()
    return "leaf"

def asks(question):
    return lambda _: cache.get_or_compute(question, str)

pool = ThreadPoolExecutor(4)
jobs = [pool.submit(cache.get_or_compute, "leaf", leaf)]
while ("", "leaf") not in cache._flights._flights:
    pass
for name, question in [("a", "leaf"), ("b", "leaf"), ("c", "a")]:
    jobs.append(pool.submit(cache.get_or_compute, name, asks(question)))
    while ("", name) not in cache._flights._flights:
        pass
go.set()
print([job.result() for job in jobs])
cache.clear()
print(cache.get_or_compute("leaf", asks("c")))
"""


def test_what_waits_without_a_ring_gets_its_answer():
    """Two wait for one, and one for one of them; afterwards the other way round."""
    assert script(CHAIN) == ["['leaf', 'leaf', 'leaf', 'leaf']", "c"]


LEFT = """
async def main():
    async def slow(_):
        await asyncio.Event().wait()

    async def two(_):
        await first_is_over.wait()
        return await cache.aget_or_compute("one", slow)

    async def one(_):
        task = asyncio.create_task(cache.aget_or_compute("two", two))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        left.append(task)
        keep = asyncio.create_task(cache.aget_or_compute("two", two), context=outside)
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        first_is_over.set()
        await asyncio.sleep(0.05)
        left.append(keep)
        return "one"

    import contextvars
    outside = contextvars.copy_context()
    left, first_is_over = [], asyncio.Event()
    print(await cache.aget_or_compute("one", one))
    print(await left[1])

asyncio.run(main())
"""


def test_who_has_stopped_waiting_closes_no_ring():
    """One gave up waiting for two; that two then waits for one is no ring."""
    assert script(LEFT) == ["one", "one"]
