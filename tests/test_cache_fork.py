"""A process that forks while its threads use the cache."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")

PRELUDE = """
import os, signal, threading, warnings, zlib
import numpy as np
from legion import SemanticCache

warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads

def embed(texts):
    return [np.random.default_rng(zlib.crc32(t.encode())).standard_normal(64)
            for t in texts]

cache = SemanticCache(embed, capacity=200)

def in_a_child(check):
    child = os.fork()
    if not child:
        signal.alarm(20)
        code = 1
        try:
            code = 0 if check() else 2
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
"""

HAMMERED = """
stop = threading.Event()

def hammer(n):
    i = 0
    while not stop.is_set():
        i += 1
        question = f"{n} {i % 150}"
        cache.get_or_compute(question, lambda q: q)
        cache.put(question, question)
        cache.get_many([question, "other"])

threads = [threading.Thread(target=hammer, args=(n,)) for n in range(3)]
for thread in threads:
    thread.start()

def check():
    found = [cache.get_or_compute(f"{n} {i}", lambda q: q) == f"{n} {i}"
             for n in range(3) for i in range(150)]
    scope = cache.scope("new")
    scope.put("q", "a")
    return all(found) and scope.get("q").value == "a" and len(cache) <= 200

print([in_a_child(check) for _ in range(8)])
stop.set()
for thread in threads:
    thread.join()
print(cache.get_or_compute("after", lambda q: q))
"""

IN_FLIGHT = """
begun, go = threading.Event(), threading.Event()

def compute(question):
    begun.set()
    assert go.wait(20)
    return "the parent's"

thread = threading.Thread(target=cache.get_or_compute, args=("q", compute))
thread.start()
assert begun.wait(20)
print([in_a_child(lambda: cache.get_or_compute("q", lambda _: "mine") == "mine")])
go.set()
thread.join()
print(cache.get("q").value)
"""

SAVING = """
import tempfile
from legion.cache.file import CacheFile
from legion.exceptions import StateError

path = tempfile.mkdtemp() + "/answers.cache"
cache = SemanticCache(embed, path=path)
cache.put("q", "a")
begun, go, real = threading.Event(), threading.Event(), CacheFile.beside
waited = []

def beside(path):
    begun.set()
    waited.append(go.wait(20))
    return real(path)

def check():
    try:
        cache.save()
    except StateError:
        found = cache.get("q").value
        cache.put("r", "b")
        cache.close()
        return found == "a"

CacheFile.beside = beside
thread = threading.Thread(target=cache.save)
thread.start()
assert begun.wait(20)
print([in_a_child(check)])
go.set()
thread.join()
print(waited, cache.get("q").value, cache.get("r"))
cache.close()
with SemanticCache(embed, path=path) as cache:
    print(len(cache))
"""


def run(story):
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + story],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout.splitlines()


@needs_fork
def test_a_child_finds_the_cache_whole_and_free():
    """Whatever the threads of its parent were in the middle of, eight times."""
    assert run(HAMMERED) == [str([0] * 8), "after"]


@needs_fork
def test_a_child_does_not_wait_for_threads_it_does_not_have():
    """What the parent is computing, a child computes for itself."""
    assert run(IN_FLIGHT) == ["[0]", "the parent's"]


PROMISED = """
import random

def embed(texts):
    return [[1.0, 0.001 * int(t.split()[-1]) % 0.3] for t in texts]

def promised(**more):
    cache = SemanticCache(
        embed, max_error=0.05, veto=False, random=random.Random(5), **more
    )
    cache.put("q 0", "right")
    for n in range(300):
        if cache.get(f"good {n}") is None:
            cache.put(f"good {n}", "right")
        cache.get("q 0")
    return cache
"""

SLACK = """
cache = promised(judge=lambda q, v: not q.startswith("bad"), judged=0.3)
before = cache.stats()
assert before.wrong_limit < 0.05 * before.lookups - 10  # there is room for wrong ones

def within_its_own():
    bad = 0
    for n in range(1, 60):
        bad += cache.get(f"bad {n}") is not None
        stats = cache.stats()
        if stats.lookups != n or not bad <= stats.wrong_limit <= 0.05 * n:
            return False
    return True

print([in_a_child(within_its_own) for _ in range(3)], cache.stats() == before)
"""

BEFORE_THE_FORK = """
cache = promised(judged=0.5)
hits = [hit for n in range(300) if (hit := cache.get(f"late {n}")) and hit.audit]
budget = cache._shelf.rule.budget
before = budget.dump()

def moves_nothing():
    for hit in hits:
        hit.right()
    first = cache._shelf.rule.budget.dump()
    hits[0].wrong()
    then = cache._shelf.rule.budget.dump()
    return (first["served"], first["found"], first["charged"]) == (0, 0, 0) and (
        then == {**first, "told": 1}
    )

print(len(hits) > 1, in_a_child(moves_nothing), budget.dump() == before)
hits[0].right()
print(budget.dump()["found"] == before["found"] - 1)
"""


@needs_fork
def test_a_child_spends_on_requests_of_its_own():
    """The room its parent has for wrong answers is not there once for each child."""
    assert run(PROMISED + SLACK) == ["[0, 0, 0] True"]


@needs_fork
def test_a_child_is_given_nothing_back_for_what_its_parent_served():
    """A hit from before the fork clears nothing there, and a wrong one is told."""
    assert run(PROMISED + BEFORE_THE_FORK) == ["True 0 True", "True"]


@needs_fork
def test_a_fork_does_not_wait_for_a_snapshot():
    """It may take seconds; the child leaves it to its parent, and goes on in memory."""
    assert run(SAVING) == ["[0]", "[True] a None", "1"]
