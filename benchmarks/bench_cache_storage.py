"""
What a cache's file saves against the same entries as lines of plain JSON.

    python benchmarks/bench_cache_storage.py

Both are counted without vectors, which JSON would only make look worse. Of plain JSON, an
entry is a line with scope, question, answer, dates, tags and cost, its keys as short as
can be read. Two sets of data: the training questions of banking77 with their category as
the answer, where they lie in ``../shared/data``; and what ten simulated rollouts of the
plan in ``benchmarks/plans`` said at every decision, a document each. Each once with all
entries in memory, and once with 19 of 20 on disk alone. With zstandard installed and, in a
process of its own, without.
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import tempfile

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from legion import Plan, SemanticCache
from legion.cache import codec
from legion.testing import Rollout


HERE = Path(__file__).parent
BANKING = HERE.parents[1] / "shared/data/banking77/train.csv"


def embed(texts: list[str]) -> np.ndarray:
    """Return vectors at random: they are not counted."""
    return np.random.default_rng(1).standard_normal((len(texts), 8))


def banking() -> list[tuple[str, object]]:
    """Return questions of a bank's customers and what they are about."""
    with BANKING.open(encoding="utf-8", newline="") as file:
        return [(row["text"], row["category"]) for row in csv.DictReader(file)]


def rollouts() -> list[tuple[str, object]]:
    """Return questions about rollouts and the documents that answer them."""
    plan = Plan.load(HERE / "plans/rollout-4.1.yaml")
    found: list[tuple[str, object]] = []
    for n in range(10):
        rollout = Rollout(plan).feed(errors=f"+{n * 10 + 1}%")
        for i, decision in enumerate(rollout.run().decisions):
            document = json.loads(json.dumps(attrs.asdict(decision), default=str))
            found.append((f"What did rollout {n} decide at turn {i}?", document))
    return found


def measure(name: str, pairs: list[tuple[str, object]]) -> None:
    """Print what the file of *pairs* saves, in memory and on disk alone."""
    measure_with(name, pairs, capacity=len(pairs))
    measure_with(f"{name}, 95 %", pairs, capacity=len(pairs) // 20)


def measure_with(name: str, pairs: list[tuple[str, object]], *, capacity: int) -> None:
    """Print what the file saves where *capacity* entries are in memory."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "answers.cache"
        with SemanticCache[object](
            embed, path=path, capacity=capacity, overflow_bytes=10**9
        ) as cache:
            stored = cache.scope("tenant-a", model="m1").put_many(pairs)
            cache.save()
            savings = cache.stats().storage_savings
            disk = cache._shelf.disk
            assert disk is not None
            facts: Mapping[str, Any] = disk.log.head.facts
    assert savings is not None
    bare = sum(
        len(json.dumps({"question": q, "answer": a}, ensure_ascii=False).encode()) + 1
        for q, a in pairs
    )
    print(
        f"{name:24} {codec.best().__name__.lower():5} {stored:8,} {facts['values']:8,}"
        f" {facts['json_bytes'] / stored:9.1f} {facts['kept_bytes'] / stored:9.1f}"
        f" {savings:8.1%} {1 - facts['kept_bytes'] / bare:8.1%}"
    )


def main() -> None:
    """Measure both sets."""
    if "without" in sys.argv:
        sys.modules["zstandard"] = None  # type: ignore[assignment]
    else:
        print(
            f"{'':24} {'':5} {'entries':>8} {'answers':>8} {'JSON B':>9} {'file B':>9}"
            f" {'saved':>8} {'of bare':>8}"
        )
    if BANKING.exists():
        measure("banking77", banking())
    else:
        print(f"banking77: {BANKING} is not there")
    measure("rollout snapshots", rollouts())
    sys.stdout.flush()
    if "without" not in sys.argv and codec.best() is codec.Zstd:
        subprocess.run([sys.executable, __file__, "without"], check=True)


if __name__ == "__main__":
    main()
