"""
What a cache answers, and how often wrongly, on a stream of real questions.

    python benchmarks/cache_quality.py banking77/train.csv banking77/test.csv --seeds 20

Every seed is another order of the questions, and other coins; a miss is stored. It says
how many seeds were over the promised error after any request, which is what `max_error`
promises, and the hit rates. What the accept rule looks at was chosen on one order of
banking77, so the hit rates there are partly in sample; the promise has no parameter that
could have been fitted.
"""

from __future__ import annotations

import argparse
import statistics
import time

from pathlib import Path

from legion.cache.embedders import wordllama
from legion.cache.quality import Bench, Replay
from legion.cache.questions import Labelled, Pair, clusters, read


def loaded(paths: list[Path]) -> list[Labelled]:
    """Read all files as one set of questions."""
    questions: list[Labelled] = []
    for path in paths:
        rows = read(path)
        pairs = [row for row in rows if isinstance(row, Pair)]
        questions += (
            clusters(pairs) if pairs else [r for r in rows if isinstance(r, Labelled)]
        )
    return questions


def main() -> None:
    """Measure and print a line for each promise."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[1])
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--requests", type=int, default=8_000)
    parser.add_argument("--judged", type=float, nargs="+", default=[0.1, 0.3, 1.0])
    parser.add_argument("--max-error", type=float, nargs="+", default=[0.01, 0.02])
    parser.add_argument("--free-text", action="store_true")
    options = parser.parse_args()
    questions, embed = loaded(options.files), wordllama()
    kind = "free text" if options.free_text else "structured answers"
    print(f"{len(questions)} questions, {options.requests} requests, {kind}, wordllama")
    print(
        "judged  max_error  hit rate (seeds)         error   judged/request  over budget"
    )
    benches = [
        Bench.shuffled(
            questions,
            embed,
            seed=seed,
            requests=options.requests,
            free_text=options.free_text,
        )
        for seed in range(options.seeds)
    ]
    for judged in options.judged:
        for max_error in options.max_error:
            began = time.perf_counter()
            runs = [
                bench.promise(max_error, judged=judged, seed=seed)
                for seed, bench in enumerate(benches)
            ]
            show(judged, max_error, runs, time.perf_counter() - began)


def show(judged: float, max_error: float, runs: list[Replay], seconds: float) -> None:
    """Print one promise over all seeds."""
    rates = [run.hit_rate for run in runs]
    over = sum(run.excess > 0 for run in runs)
    print(
        f"{judged:6.0%} {max_error:9.1%}   {statistics.mean(rates):6.1%}"
        f" ({min(rates):.1%} to {max(rates):.1%})"
        f"  {statistics.mean(run.error for run in runs):7.2%}"
        f"  {statistics.mean(run.judged / run.requests for run in runs):13.1%}"
        f"  {over} of {len(runs)}   [{seconds:.0f} s]",
        flush=True,
    )


if __name__ == "__main__":
    main()
