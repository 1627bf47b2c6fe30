"""
What a look-up and a put cost, beside FAISS's flat index in the same run.

    python benchmarks/bench_cache.py
    python benchmarks/bench_cache.py --entries 1000000 --rounds 5    # 8 GB, minutes
    python benchmarks/bench_cache.py --gptcache    # where gptcache is installed

A full cache of 10,000 and one of 100,000 entries of 384 dimensions, by a threshold and,
where it says so, with `max_error`: there the judge, who takes no time, says no, lest the
question be stored; so nothing is a hit, but all is looked up and weighed as if it were.
Embedding is not timed: the embedder looks vectors up in a table. The times are wall time, because FAISS may
use threads: it is measured with one, as the cache uses it. A last line counts the hits
that the exact scan finds and the cache does not, over questions that are as near as the
threshold, nearer, and farther.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time

from collections.abc import Callable, Iterator, Mapping
from functools import partial

import faiss
import numpy as np

from rounds import show, show_ratios, take_turns

from legion import SemanticCache


DIM, ASKED, BATCH = 384, 1_000, 64
SEED, THRESHOLD = 1, 0.85


def units(random: np.random.Generator, n: int) -> np.ndarray:
    """Return *n* random unit vectors."""
    vectors = random.standard_normal((n, DIM), np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


class Full:
    """
    A cache full of random vectors, and what is done with it and its peers.

    Questions are "stored 7", "near 7", "far 7", "between 7" and "new 7"; each kind has a
    table of vectors. Those asked are in use all the time, so that the new ones, which
    are always put for the first time, evict others.
    """

    def __init__(self, entries: int) -> None:
        random = np.random.default_rng(SEED)
        self.entries = entries
        stored = units(random, entries)
        self.tables = {"stored": stored, "far": units(random, ASKED)}
        self.tables["new"] = units(random, 4 * ASKED)
        noise = random.standard_normal((2 * ASKED, DIM), np.float32) / DIM**0.5
        near = stored[:ASKED] + 0.4 * noise[:ASKED]
        spread = random.uniform(0.3, 0.9, (ASKED, 1)).astype(np.float32)
        between = stored[:ASKED] + spread * noise[ASKED:]
        for name, vectors in (("near", near), ("between", between)):
            length = np.linalg.norm(vectors, axis=1, keepdims=True)
            self.tables[name] = vectors / length
        self.cache = SemanticCache[int](self.embed, capacity=entries)
        for start in range(0, entries, 10_000):
            rows = range(start, min(start + 10_000, entries))
            self.cache.put_many((f"stored {i}", i) for i in rows)
        self.promised = SemanticCache[int](
            self.embed,
            capacity=entries,
            max_error=0.01,
            judge=lambda *_: False,
        )
        for start in range(0, entries, 10_000):
            rows = range(start, min(start + 10_000, entries))
            self.promised.put_many((f"stored {i}", i) for i in rows)
        self.flat = faiss.IndexFlatIP(DIM)
        self.flat.add(stored)
        self.numbered = faiss.IndexIDMap2(faiss.IndexFlatIP(DIM))
        self.numbered.add_with_ids(stored[:10_000], np.arange(min(entries, 10_000)))
        self.asked: Iterator[int] = itertools.cycle(range(ASKED))
        self.numbers: Iterator[int] = itertools.count(entries)
        self.get_exact(ASKED)
        # It learns most in the beginning.
        self.get_promised(2 * ASKED)

    def embed(self, texts: list[str]) -> np.ndarray:
        """Look the vectors up; as good as free for one text."""
        kind, row = texts[0].split()
        table = self.tables[kind]
        if len(texts) == 1:
            at = int(row) % len(table)
            return table[at : at + 1]
        return table[[int(text.split()[1]) % len(table) for text in texts]]

    def get_exact(self, n: int) -> None:
        """Ask what is stored."""
        for i in itertools.islice(self.asked, n):
            self.cache.get(f"stored {i}")

    def get_semantic(self, n: int) -> None:
        """Ask what is near to what is stored: every look-up is a hit."""
        for i in itertools.islice(self.asked, n):
            self.cache.get(f"near {i}")

    def get_miss(self, n: int) -> None:
        """Ask what is near to nothing."""
        for i in itertools.islice(self.asked, n):
            self.cache.get(f"far {i}")

    def get_promised(self, n: int) -> None:
        """Ask the cache with `max_error` what is near to what is stored."""
        for i in itertools.islice(self.asked, n):
            self.promised.get(f"near {i}")

    def get_promised_miss(self, n: int) -> None:
        """Ask the cache with `max_error` what is near to nothing."""
        for i in itertools.islice(self.asked, n):
            self.promised.get(f"far {i}")

    def get_batch(self, n: int) -> None:
        """Ask 64 questions at once, which are near to what is stored."""
        for _ in range(n // BATCH):
            rows = itertools.islice(self.asked, BATCH)
            self.cache.get_many([f"near {i}" for i in rows])

    def flat_search(self, n: int) -> None:
        """Search the flat index for one neighbour."""
        near = self.tables["near"]
        for i in itertools.islice(self.asked, n):
            self.flat.search(near[i : i + 1], 1)

    def flat_batch(self, n: int) -> None:
        """Search the flat index for one neighbour of each of 64."""
        near = self.tables["near"]
        for _ in range(n // BATCH):
            rows = list(itertools.islice(self.asked, BATCH))
            self.flat.search(near[rows], 1)

    def put_evicting(self, n: int) -> None:
        """Put a new question into a full cache."""
        for i in itertools.islice(self.numbers, n):
            self.cache.put(f"new {i}", 0)

    def put_many(self, n: int) -> None:
        """Put new questions into a full cache, all at once."""
        rows = itertools.islice(self.numbers, n)
        self.cache.put_many([(f"new {i}", 0) for i in rows])

    def put_and_get(self, n: int) -> None:
        """Put a new question and ask one, in turn, so that neither finds the other warm."""
        for i, row in itertools.islice(zip(self.numbers, self.asked, strict=True), n):
            self.cache.put(f"new {i}", 0)
            self.cache.get(f"near {row}")

    def remove_and_add(self, n: int) -> None:
        """Replace the oldest vector of a flat index of 10,000 with numbers."""
        new = self.tables["new"]
        for i in itertools.islice(self.numbers, n):
            oldest = faiss.vector_to_array(self.numbered.id_map)[:1]
            # Its type stubs know of C++ alone.
            self.numbered.remove_ids(oldest)  # type: ignore[arg-type]
            row = i % len(new)
            self.numbered.add_with_ids(new[row : row + 1], np.array([i]))

    def candidates(self) -> Mapping[Callable[[int], None], int]:
        """Return what is measured, and how many operations a round has."""
        slow = max(BATCH, min(320, 3_200_000 // self.entries))
        return {
            self.get_exact: 320,
            self.get_semantic: slow,
            self.get_miss: slow,
            self.get_promised: slow,
            self.get_promised_miss: slow,
            self.get_batch: max(slow // BATCH * BATCH, BATCH),
            self.flat_search: max(slow // 10, 5),
            self.flat_batch: BATCH,
            self.put_evicting: 320,
            self.put_many: 320,
            self.put_and_get: 64,
            self.remove_and_add: 10,
        }

    def missed(self) -> tuple[int, int]:
        """Count the hits of the exact scan, and those that the cache misses."""
        between = self.tables["between"]
        questions = [f"between {i}" for i in range(ASKED)]
        hits = self.cache.get_many(questions)
        best, rows = self.flat.search(between, 1)
        due = [
            i for i in range(ASKED) if rows[i, 0] < ASKED and best[i, 0] >= THRESHOLD
        ]
        return len(due), sum(hits[i] is None for i in due)


RATIOS = [
    ("flat_search", "get_exact"),
    ("flat_search", "get_semantic"),
    ("flat_search", "get_miss"),
    ("flat_search", "get_promised"),
    ("flat_search", "get_promised_miss"),
    ("flat_batch", "get_batch"),
    ("remove_and_add", "put_evicting"),
    ("remove_and_add", "put_many"),
]


class GPTCachePeer:
    """GPTCache with SQLite and FAISS, as its documentation sets it up."""

    def __init__(self, full: Full) -> None:
        # It is installed only where it is measured.
        from gptcache import Cache, Config  # type: ignore[import-not-found]
        from gptcache.adapter.api import get  # type: ignore[import-not-found]
        from gptcache.manager import (  # type: ignore[import-not-found]
            CacheBase,
            VectorBase,
            get_data_manager,
        )
        from gptcache.processor.pre import (  # type: ignore[import-not-found]
            get_prompt,
        )
        from gptcache.similarity_evaluation.distance import (  # type: ignore[import-not-found]
            SearchDistanceEvaluation,
        )

        self.full, self.ask, self.cache = full, get, Cache()
        folder = tempfile.mkdtemp()
        data = get_data_manager(
            CacheBase("sqlite", sql_url=f"sqlite:///{folder}/peer.db"),
            VectorBase("faiss", dimension=DIM, index_path=f"{folder}/peer.index"),
            max_size=10 * full.entries,
        )
        self.cache.init(
            pre_embedding_func=get_prompt,
            embedding_func=lambda text, **_: full.embed([text])[0],
            data_manager=data,
            similarity_evaluation=SearchDistanceEvaluation(),
            config=Config(similarity_threshold=0.8),
        )
        questions = [f"stored {i}" for i in range(full.entries)]
        self.cache.import_data(questions=questions, answers=questions)

    def gptcache_get(self, n: int) -> None:
        """Ask GPTCache what is near to what is stored."""
        for i in itertools.islice(self.full.asked, n):
            assert self.ask(f"near {i}", cache_obj=self.cache) is not None


def microseconds(run: Callable[[int], None], n: int) -> float:
    """Return the wall time of one operation, in one thread."""
    began = time.perf_counter_ns()
    run(n)
    return (time.perf_counter_ns() - began) / n / 1_000


def one_round(candidates: Mapping[Callable[[int], None], int]) -> dict[str, float]:
    """Measure each of the *candidates* once, by name."""
    return {run.__name__: microseconds(run, n) for run, n in candidates.items()}


def main() -> None:
    """Measure and print two tables for each number of entries."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[1])
    parser.add_argument("--entries", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--gptcache", action="store_true", help="measure it, too")
    given = parser.parse_args()
    faiss.omp_set_num_threads(1)
    for entries in given.entries:
        full = Full(entries)
        candidates, ratios = dict(full.candidates()), list(RATIOS)
        if given.gptcache:
            candidates[GPTCachePeer(full).gptcache_get] = 10
            ratios.append(("gptcache_get", "get_semantic"))
        times = take_turns(given.rounds, partial(one_round, candidates))
        title = f"{entries} entries, {DIM} dimensions, faiss {faiss.__version__}"
        show(f"{title}, seed {SEED}", times, unit="us of wall time an operation")
        show_ratios(times, ratios)
        stats = full.cache.stats()
        puts = (full.put_evicting, full.put_many, full.put_and_get)
        assert stats.evictions == (given.rounds + 1) * sum(
            candidates[run] for run in puts
        )
        assert stats.misses == (given.rounds + 1) * candidates[full.get_miss]
        due, missed = full.missed()
        print(f"\nof {due} hits of the exact scan at {THRESHOLD}, {missed} missed\n")


if __name__ == "__main__":
    main()
