"""
How long a cache takes to open its file again, and what the file weighs.

    python benchmarks/bench_cache_reopen.py [ENTRIES] [DIM]

100,000 entries of 384 dimensions in 100 scopes, with an answer of their own each. Four
ways to open them, each in a process of its own, so that nothing is left over: after a
close; after a kill -9 in the middle of puts, with the longest log there may be; by
another process that maps the snapshot; and 100 look-ups after a close, which read
answers. CPU is the processor time of opening, which is what it takes on a machine that
has nothing else to do. The file is in the system's cache, as after a restart of the process.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

from pathlib import Path

import numpy as np

from legion import SemanticCache


ENTRIES = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
DIM = int(sys.argv[2]) if len(sys.argv) > 2 else 384
SCOPES, RUNS = 100, 5


def embed(texts: list[str]) -> np.ndarray:
    """Return vectors at random, the same for the same number of texts."""
    random = np.random.default_rng(len(texts))
    return random.standard_normal((len(texts), DIM), np.float32)


def question(i: int) -> str:
    """Return a question of about the length of those that people ask."""
    return f"Where is the parcel number {i} that I ordered from shop {i % 977}?"


def answer(i: int) -> dict[str, object]:
    """Return an answer of its own."""
    return {"status": "on its way", "parcel": i, "days": i % 9, "note": "x" * (i % 50)}


def fill(path: str) -> None:
    """Fill the file and close it."""
    with SemanticCache[object](embed, path=path, capacity=2 * ENTRIES) as cache:
        each = ENTRIES // SCOPES
        for number in range(SCOPES):
            numbers = range(number * each, (number + 1) * each)
            cache.scope(f"tenant-{number}").put_many(
                (question(i), answer(i)) for i in numbers
            )
        cache.save()


def lengthen(path: str) -> None:
    """Put until the next snapshot is due, and die of it."""
    cache = SemanticCache[object](embed, path=path, capacity=2 * ENTRIES)
    size = Path(path).stat().st_size
    view, i = cache.scope("tenant-0"), ENTRIES
    while Path(path).stat().st_size < 1.24 * size:
        view.put_many((question(i + j), answer(i + j)) for j in range(100))
        i += 100
    os.kill(os.getpid(), 9)


def reopen(path: str, *, readonly: bool, lookups: int) -> None:
    """Open it, and print how long that took and what is there."""
    SemanticCache[object](embed, path=f"{path}.none").close()  # imports
    before = rss()
    began, worked = time.perf_counter(), time.process_time()
    cache = SemanticCache[object](
        embed, path=path, capacity=2 * ENTRIES, readonly=readonly
    )
    opened, cpu = time.perf_counter() - began, time.process_time() - worked
    for i in range(0, lookups * SCOPES, SCOPES):
        hit = cache.scope(f"tenant-{i * SCOPES // ENTRIES}").get(question(i))
        assert hit is not None
        assert hit.value == answer(i)
    took = time.perf_counter() - began
    stats = cache.stats()
    print(json.dumps([opened, took, len(cache), stats.disk_bytes, rss() - before, cpu]))
    os._exit(0)  # leave the file as it is


def rss() -> int:
    """Return what the process has to itself: mapped pages of a file do not count."""
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * 4096 - (
        int(Path("/proc/self/statm").read_text("ascii").split()[2]) * 4096
    )


def run(*how: str) -> subprocess.CompletedProcess[str]:
    """Run one of the above in a process of its own."""
    return subprocess.run(
        [sys.executable, __file__, str(ENTRIES), str(DIM), *how],
        capture_output=True,
        text=True,
        check=False,
    )


def measure(name: str, path: str, *how: str) -> None:
    """Print the median of several runs."""
    runs = [json.loads(run("reopen", path, *how).stdout) for _ in range(RUNS)]
    opened = sorted(each[0] for each in runs)
    took = statistics.median(each[1] for each in runs)
    cpu = statistics.median(each[5] for each in runs)
    _, _, entries, size, private, _ = runs[0]
    print(
        f"{name:26} {opened[0]:7.3f} {statistics.median(opened):7.3f} {opened[-1]:7.3f}"
        f" {cpu:7.3f} {took:9.3f} {entries:9,} {size / entries:8.0f} {private / entries:9.0f}"
    )


def main() -> None:
    """Measure all four."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "answers.cache")
        fill(path)
        print(f"{ENTRIES:,} entries, dimension {DIM}, {RUNS} runs, seconds\n")
        print(
            f"{'':26} {'least':>7} {'median':>7} {'most':>7} {'CPU':>7}"
            f" {'+100 gets':>9} {'entries':>9} {'B/entry':>8} {'private B':>9}"
        )
        measure("closed", path, "write")
        measure("mapped, readonly", path, "read")
        killed = run("lengthen", path)
        assert killed.returncode == -9, killed.stderr
        measure("killed, the longest log", path, "write")


if __name__ == "__main__":
    if "reopen" in sys.argv:
        reopen(sys.argv[4], readonly=sys.argv[5] == "read", lookups=100)
    elif "lengthen" in sys.argv:
        lengthen(sys.argv[4])
    else:
        main()
