"""
What the tiers below memory take and cost, beside memory and beside no tier at all.

    python benchmarks/bench_cache_tiers.py [entries]

Vectors of 384 dimensions at random, answers of about 500 bytes. Each figure is the median
of many calls in one run: an exact hit in memory, one on disk alone (which sends another
entry down), one in the SQLite tier of a cache that has nothing in memory; a put at
capacity without a file, with a file, and with a file where what is evicted overflows. Then
the bytes of memory that each entry takes that is on disk alone, by ``tracemalloc``, and
what a snapshot saves where most entries are on disk alone.
"""

from __future__ import annotations

import gc
import random
import statistics
import sys
import tempfile
import time
import tracemalloc

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from legion import SemanticCache
from legion.cache.shared import SqliteTier


DIM = 384
WORDS = [f"word{n}" for n in range(400)]
rng = random.Random(1)


class Embedder:
    """Vectors at random: what they mean does not matter here."""

    name = "random-1"

    def __init__(self) -> None:
        self.rng = np.random.default_rng(1)

    def __call__(self, texts: list[str]) -> np.ndarray:
        return self.rng.standard_normal((len(texts), DIM), dtype=np.float32)


def answer() -> str:
    """Return about 500 bytes that have something in common with others."""
    return " ".join(rng.choices(WORDS, k=75))


def median_us(call: Callable[[str], object], questions: Iterable[str]) -> float:
    """Return how long *call* takes, in microseconds."""
    took = []
    for question in questions:
        begun = time.perf_counter_ns()
        call(question)
        took.append(time.perf_counter_ns() - begun)
    return statistics.median(took) / 1_000


def put_us(cache: SemanticCache[str], n: int) -> float:
    """Return how long a put at capacity takes."""
    answers = {f"new {i}": answer() for i in range(n)}
    return median_us(lambda q: cache.put(q, answers[q]), answers)


def main() -> None:
    """Measure, and print."""
    entries = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    capacity = entries // 20
    pairs = [(f"what is number {i}?", answer()) for i in range(entries)]
    some = [question for question, _ in rng.sample(pairs, 2_000)]
    with tempfile.TemporaryDirectory() as folder:
        put = {}
        settings: dict[str, dict[str, Any]] = {
            "memory alone": {},
            "file": {"path": Path(folder, "file.cache")},
            "overflow": {"path": Path(folder, "over.cache"), "overflow_bytes": 10**10},
        }
        for name, more in settings.items():
            with SemanticCache[str](Embedder(), capacity=capacity, **more) as cache:
                cache.put_many(pairs[:capacity])
                put[name] = put_us(cache, 2_000)
        print("put at capacity, us:", {k: round(v, 1) for k, v in put.items()})

        path = Path(folder, "answers.cache")
        cache = SemanticCache[str](
            Embedder(), path=path, capacity=capacity, overflow_bytes=10**10
        )
        cache.put_many(pairs)
        for name in ("log", "snapshot"):
            if name == "snapshot":
                cache.save()
            before = cache.stats().disk_hits
            took = median_us(cache.get, some)
            share = (cache.stats().disk_hits - before) / len(some)
            print(f"hit, {share:.0%} on disk alone, {name}: {took:.1f} us")
        print(f"hit in memory: {median_us(cache.get, [some[-1]] * 2_000):.2f} us")
        cache.save()
        stats = cache.stats()
        print(
            f"{stats.entries:,} entries in memory, {stats.overflow_entries:,} on disk"
            f" alone, saved {stats.storage_savings:.1%}"
        )
        cache.close()
        gc.collect()
        tracemalloc.start()
        with SemanticCache[str](
            Embedder(), path=path, capacity=capacity, overflow_bytes=10**10
        ) as cache:
            gc.collect()
            full = tracemalloc.get_traced_memory()[0]
            alone = cache.stats().overflow_entries
            disk = cache._shelf.disk
            assert disk is not None
            disk.overflow = None
            gc.collect()
            left = tracemalloc.get_traced_memory()[0]
            print(f"memory an entry on disk alone: {(full - left) / alone:.0f} B")
        tracemalloc.stop()

        with SqliteTier(Path(folder, "shared.db")) as tier:
            SemanticCache[str](Embedder(), shared=tier).put_many(pairs[:5_000])
            other = SemanticCache[str](Embedder(), shared=tier)
            asked = [question for question, _ in pairs[:2_000]]
            print(f"hit in the SQLite tier: {median_us(other.get, asked):.0f} us")
            print(f"put with it: {put_us(other, 500):.0f} us")


if __name__ == "__main__":
    main()
