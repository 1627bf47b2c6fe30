"""Eight threads on one cache: no wrong answer, never too many entries."""

from __future__ import annotations

import random
import threading

import numpy as np

from legion import SemanticCache
from legion.cache import index


TOPICS, VARIANTS, CAPACITY = 150, 3, 700


class Worker:
    """One thread's look-ups, puts and forgets; a value says what it answers."""

    def __init__(self, cache, seed):
        self.cache, self.rng = cache, random.Random(seed)
        self.views = {name: cache.scope(name) for name in "abc"}
        self.wrong, self.sizes = [], []

    def __call__(self):
        try:
            for _ in range(125):
                for _ in range(100):
                    self.step()
                self.sizes.append(len(self.cache))
        except Exception as error:
            self.wrong.append(error)

    def step(self):
        scope, topic = self.rng.choice("abc"), self.rng.randrange(TOPICS)
        question = f"{topic}.{self.rng.randrange(VARIANTS)}"
        view, dice = self.views[scope], self.rng.random()
        if dice < 0.3:
            view.put(question, (scope, topic, question))
        elif dice < 0.9:
            hit = view.get(question)
            if hit is not None:
                self.check((scope, topic), hit.value, hit.question)
            if hit is not None and dice < 0.35:
                view.forget(hit)
        else:
            value = view.get_or_compute(question, lambda q: (scope, topic, q))
            self.check((scope, topic), value, value[2])

    def check(self, asked, value, question):
        if value[:2] != asked or value[2] != question:
            self.wrong.append((asked, value, question))


def test_no_thread_ever_gets_another_question_s_answer(monkeypatch):
    """100,000 puts, look-ups and forgets on eight threads, by sketches too."""
    monkeypatch.setattr(index, "FEW", 64)
    seed = 9
    print("seed", seed)
    noise = np.random.default_rng(seed)
    topics = noise.standard_normal((TOPICS, 64))
    table = {
        f"{topic}.{variant}": topics[topic] + 0.2 * noise.standard_normal(64)
        for topic in range(TOPICS)
        for variant in range(VARIANTS)
    }
    cache = SemanticCache(lambda texts: [table[t] for t in texts], capacity=CAPACITY)
    workers = [Worker(cache, seed + n) for n in range(8)]
    threads = [threading.Thread(target=worker) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert not [wrong for worker in workers for wrong in worker.wrong]
    assert max(max(worker.sizes) for worker in workers) <= CAPACITY
    stats = cache.stats()
    assert stats.lookups > 60_000
    assert min(stats.exact_hits, stats.semantic_hits, stats.evictions) > 1_000
    assert_whole(cache, table)


def assert_whole(cache, table):
    """Every entry lies where its slot says, with its own vector and its own count."""
    stats, views = cache.stats(), [cache.scope(name) for name in "abc"]
    assert sum(len(view) for view in views) == len(cache) == stats.entries
    assert sum(view.stats().lookups for view in views) == stats.lookups
    for view in views:
        partition = view._partition
        for key, entry in partition.exact.items():
            (slot,), block = entry.slots, partition._vectors._block
            assert block.owners[slot] is entry
            assert entry.key == key
            stored = block.vectors[slot]
            assert stored @ table[key] / np.linalg.norm(table[key]) > 1 - 1e-5
