"""
What a look-up and a put cost, beside FAISS's flat index in the same run.

    python benchmarks/bench_cache.py

10,000 entries of 384 dimensions, a full cache. Embedding is not timed: the embedder
looks vectors up in a table. The times are wall time, because FAISS may use threads: it is
measured with one, as the cache uses it; with its default of one a CPU the same search is
on a line of its own.
"""

from __future__ import annotations

import argparse
import itertools
import time

from collections.abc import Callable, Iterator

import faiss
import numpy as np

from rounds import show, show_ratios, take_turns

from legion import SemanticCache


DIM, ENTRIES = 384, 10_000
LOOKUPS, PUTS = 300, 20
"""Operations that a candidate does in a round."""
SEED = 1

random = np.random.default_rng(SEED)
stored = random.standard_normal((ENTRIES, DIM), np.float32)
stored /= np.linalg.norm(stored, axis=1, keepdims=True)
noise = random.standard_normal((ENTRIES, DIM), np.float32) / DIM**0.5
near = stored + 0.4 * noise
near /= np.linalg.norm(near, axis=1, keepdims=True)
far = random.standard_normal((ENTRIES, DIM), np.float32)
far /= np.linalg.norm(far, axis=1, keepdims=True)

table = {f"stored {i}": stored[i : i + 1] for i in range(ENTRIES)}
table |= {f"near {i}": near[i : i + 1] for i in range(ENTRIES)}
table |= {f"far {i}": far[i : i + 1] for i in range(ENTRIES)}


def embed(texts: list[str]) -> np.ndarray:
    """Look the vectors up; as good as free for one text."""
    if len(texts) == 1:
        return table[texts[0]]
    return np.concatenate([table[text] for text in texts])


def filled() -> SemanticCache[int]:
    """Make a cache that is full to its capacity."""
    cache = SemanticCache[int](embed, capacity=ENTRIES)
    cache.put_many((f"stored {i}", i) for i in range(ENTRIES))
    return cache


cache, evicting = filled(), filled()
flat = faiss.IndexFlatIP(DIM)
flat.add(stored)
renumbered = faiss.IndexIDMap2(faiss.IndexFlatIP(DIM))
renumbered.add_with_ids(stored, np.arange(ENTRIES))

asked: Iterator[int] = itertools.cycle(range(ENTRIES))
# Twice the capacity of questions in turn: every one was evicted when its turn comes.
turn = [f"{kind} {i}" for kind in ("far", "stored") for i in range(ENTRIES)]
put_next: Iterator[str] = itertools.cycle(turn)
number: Iterator[int] = itertools.count(ENTRIES)


def get_exact(n: int) -> None:
    """Ask what is stored."""
    for i in itertools.islice(asked, n):
        cache.get(f"stored {i}")


def get_semantic(n: int) -> None:
    """Ask what is near to what is stored: every look-up is a hit."""
    for i in itertools.islice(asked, n):
        cache.get(f"near {i}")


def get_miss(n: int) -> None:
    """Ask what is near to nothing."""
    for i in itertools.islice(asked, n):
        cache.get(f"far {i}")


def flat_search(n: int) -> None:
    """Search the flat index for one neighbour, in one thread."""
    faiss.omp_set_num_threads(1)
    flat_search_threads(n)
    faiss.omp_set_num_threads(THREADS)


def flat_search_threads(n: int) -> None:
    """Search the flat index for one neighbour, with as many threads as there are."""
    for i in itertools.islice(asked, n):
        flat.search(near[i : i + 1], 1)


def put_evicting(n: int) -> None:
    """Put a new question into a full cache."""
    for question in itertools.islice(put_next, n):
        evicting.put(question, 0)


def remove_and_add(n: int) -> None:
    """Replace the oldest vector of a flat index with numbers."""
    for i in itertools.islice(number, n):
        renumbered.remove_ids(np.array([i - ENTRIES]))
        row = i % ENTRIES
        renumbered.add_with_ids(far[row : row + 1], np.array([i]))


THREADS = faiss.omp_get_max_threads()
CANDIDATES: dict[Callable[[int], None], int] = {
    get_exact: LOOKUPS,
    get_semantic: LOOKUPS,
    get_miss: LOOKUPS,
    flat_search: LOOKUPS,
    flat_search_threads: LOOKUPS,
    put_evicting: LOOKUPS,
    remove_and_add: PUTS,
}
RATIOS = [
    (flat_search, get_exact),
    (flat_search, get_semantic),
    (flat_search, get_miss),
    (flat_search_threads, get_semantic),
    (remove_and_add, put_evicting),
]


def microseconds(run: Callable[[int], None], n: int) -> float:
    """Return the wall time of one operation."""
    began = time.perf_counter_ns()
    run(n)
    return (time.perf_counter_ns() - began) / n / 1_000


def main() -> None:
    """Measure and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[1])
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    times = take_turns(
        rounds,
        lambda: {run.__name__: microseconds(run, n) for run, n in CANDIDATES.items()},
    )
    title = f"{ENTRIES} entries, {DIM} dimensions, faiss {faiss.__version__}"
    show(f"{title}, seed {SEED}", times, unit="us of wall time an operation")
    show_ratios(times, [(slow.__name__, quick.__name__) for slow, quick in RATIOS])

    stats = cache.stats()
    expected = (rounds + 1) * LOOKUPS
    assert stats.exact_hits == stats.semantic_hits == stats.misses == expected
    assert evicting.stats().evictions == expected


if __name__ == "__main__":
    main()
