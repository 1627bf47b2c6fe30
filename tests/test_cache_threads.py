"""
Eight threads on one cache: no wrong answer, never too many entries, no memory lost.

``LEGION_CACHE_OPERATIONS`` says how many operations; ``nox -s hammer`` does a million.
"""

from __future__ import annotations

import os
import random
import threading

import numpy as np
import psutil
import pytest

from legion import SemanticCache
from legion.cache import index


TOPICS, VARIANTS, CAPACITY, THREADS = 150, 3, 700, 8
OPERATIONS = int(os.environ.get("LEGION_CACHE_OPERATIONS", "40000"))


class Worker:
    """One thread's look-ups, puts and forgets; a value says what it answers."""

    def __init__(self, cache, seed):
        self.cache, self.rng = cache, random.Random(seed)
        self.views = {name: cache.scope(name) for name in "abc"}
        self.wrong, self.sizes = [], []

    def __call__(self, steps):
        try:
            for i in range(steps):
                self.step()
                if i % 100 == 0:
                    self.sizes.append(len(self.cache))
        except Exception as error:
            self.wrong.append(error)

    def step(self):
        scope, topic = self.rng.choice("abc"), self.rng.randrange(TOPICS)
        question = f"{topic}.{self.rng.randrange(VARIANTS)}"
        view, dice = self.views[scope], self.rng.random()
        if dice < 0.3:
            terms = {"ttl_s": 1, "tags": [f"{topic}"]} if dice < 0.1 else {}
            view.put(question, (scope, topic, question), **terms)
        elif dice < 0.9:
            hit = view.get(question)
            if hit is not None:
                self.check((scope, topic), hit.value, hit.question)
            if hit is not None and dice < 0.35:
                view.forget(hit)
        elif dice < 0.91:
            view.invalidate(f"{topic}")
        elif dice < 0.93:
            for hit in view.get_many([f"{topic}.{i}" for i in range(VARIANTS)]):
                if hit is not None:
                    self.check((scope, topic), hit.value, hit.question)
        else:
            value = view.get_or_compute(question, lambda q: (scope, topic, q))
            self.check((scope, topic), value, value[2])

    def check(self, asked, value, question):
        if value[:2] != asked or value[2] != question:
            self.wrong.append((asked, value, question))


def run(workers, steps):
    threads = [threading.Thread(target=worker, args=[steps]) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_no_thread_ever_gets_another_question_s_answer(monkeypatch):
    """Puts, look-ups, forgets and invalidations, by sketches too, with quotas."""
    monkeypatch.setattr(index, "FEW", 64)
    seed = 9
    print("seed", seed, "operations", OPERATIONS)
    noise = np.random.default_rng(seed)
    topics = noise.standard_normal((TOPICS, 64))
    table = {
        f"{topic}.{variant}": topics[topic] + 0.2 * noise.standard_normal(64)
        for topic in range(TOPICS)
        for variant in range(VARIANTS)
    }
    cache = SemanticCache(lambda texts: [table[t] for t in texts], capacity=CAPACITY)
    cache.limit(cache.scope("c"), capacity=100)
    workers = [Worker(cache, seed + n) for n in range(THREADS)]
    run(workers, OPERATIONS // THREADS // 4)
    before = psutil.Process().memory_info().rss
    run(workers, OPERATIONS // THREADS * 3 // 4)
    grown = psutil.Process().memory_info().rss - before

    assert not [wrong for worker in workers for wrong in worker.wrong]
    assert max(max(worker.sizes) for worker in workers) <= CAPACITY
    assert len(cache.scope("c")) <= 100
    assert grown < 8e6, "three times the operations of before, and no more memory"
    stats = cache.stats()
    assert stats.lookups > OPERATIONS // 2
    assert (
        min(stats.exact_hits, stats.semantic_hits, stats.evictions) > OPERATIONS // 100
    )
    assert stats.expired or OPERATIONS < 100_000
    assert_whole(cache, table)


def assert_whole(cache, table):
    """Every entry lies where its slot says, with its own vector and its own count."""
    stats, views = cache.stats(), [cache.scope(name) for name in "abc"]
    assert sum(len(view) for view in views) == len(cache) == stats.entries
    assert sum(view.stats().lookups for view in views) == stats.lookups
    shelf = cache._shelf
    assert len(shelf.stock.expiries._heap) < 2 * CAPACITY + 100
    assert set(shelf.stock.entries) == set(shelf.stock.room.order._entries)
    for view in views:
        partition = view._partition
        tagged = {i for entries in partition._by_tag.values() for i in entries}
        assert tagged <= {entry.id for entry in partition.exact.values()}
        assert len(partition._vectors) == len(view)
        for key, entry in partition.exact.items():
            (slot,), block = entry.slots, partition._vectors._block
            assert block.owners[slot] is entry
            assert entry.key == key
            stored = block.vectors[slot]
            assert block.generations[slot] % 2 == 0
            assert stored @ table[key] / np.linalg.norm(table[key]) > 1 - 1e-5


@pytest.mark.parametrize(
    ("meanwhile", "answer"),
    [
        (lambda cache, clock: cache.put("b", "another"), None),
        (lambda cache, clock: cache.put("a", "new"), "new"),
        (lambda cache, clock: cache.clear(), None),
        (lambda cache, clock: cache.invalidate("t"), None),
        (lambda cache, clock: setattr(clock, "now", 9), None),
    ],
    ids=["evicted", "replaced", "cleared", "invalidated", "expired"],
)
def test_what_changes_during_a_search_never_gives_a_wrong_answer(
    monkeypatch, meanwhile, answer
):
    """While "a?" is compared with "a", the only slot changes; then it has its say."""
    table = {"a": [1, 0.0, 0], "a?": [1, 0.1, 0], "b": [0, 0, 1]}

    class Clock:
        now = 0

        def machine(self):
            return self.now

    clock = Clock()
    cache = SemanticCache(
        lambda texts: [table[t] for t in texts], capacity=1, clock=clock
    )
    cache.put("a", "old", ttl_s=5, tags={"t"})
    compare, done = index.products, []

    def compared(*given):
        if not done:
            done.append(meanwhile(cache, clock))
        return compare(*given)

    monkeypatch.setattr(index, "products", compared)
    hit = cache.get("a?")

    assert done
    assert (hit and hit.value) == answer
    stats = cache.stats()
    assert stats.lookups == 1
    assert stats.hits == (answer is not None)
