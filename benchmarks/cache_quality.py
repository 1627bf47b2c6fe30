"""
What a cache answers, and how often wrongly, on a stream of real questions.

    python benchmarks/cache_quality.py banking77/train.csv banking77/test.csv --seeds 20
    python benchmarks/cache_quality.py clinc.csv --embedder minilm --free-text --later

Of pairs, as many are drawn as have so many questions, the same in every order. Every seed is another order of the questions, and other coins; a miss is stored. It says
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

from legion.cache.embedders import minilm, wordllama
from legion.cache.quality import Bench, Replay
from legion.cache.questions import Labelled, Pair, clusters, read, sampled


EMBEDDERS = {"wordllama": wordllama, "minilm": minilm}
THRESHOLDS = [i / 50 for i in range(30, 50)]
IN_HINDSIGHT = 4
"""Orders on which fixed thresholds are tried, too."""


def loaded(paths: list[Path], *, requests: int) -> list[Labelled]:
    """Read all files as one set of questions."""
    questions: list[Labelled] = []
    for path in paths:
        rows = read(path)
        pairs = [row for row in rows if isinstance(row, Pair)]
        questions += (
            clusters(sampled(pairs, seed=0, questions=requests))
            if pairs
            else [r for r in rows if isinstance(r, Labelled)]
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
    parser.add_argument("--later", action="store_true", help="judge what was served")
    parser.add_argument("--embedder", choices=EMBEDDERS, default="wordllama")
    options = parser.parse_args()
    questions = loaded(options.files, requests=options.requests)
    embed = EMBEDDERS[options.embedder]()
    kind = "free text" if options.free_text else "structured answers"
    when = "once served" if options.later else "before it is served"
    print(
        f"{len(questions)} questions, {options.requests} requests, {kind}, "
        f"{options.embedder}, judged {when}"
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
    for max_error in options.max_error:
        best = [hindsight(bench, max_error) for bench in benches[:IN_HINDSIGHT]]
        print(
            f"the best threshold in hindsight within {max_error:.1%}:"
            f" {statistics.mean(best):.1%} hits",
            flush=True,
        )
    print(
        "judged  max_error  hit rate (seeds)         error   judged/request  over budget"
    )
    for judged in options.judged:
        for max_error in options.max_error:
            began = time.perf_counter()
            runs = [
                bench.promise(max_error, judged=judged, seed=seed, later=options.later)
                for seed, bench in enumerate(benches)
            ]
            show(judged, max_error, runs, time.perf_counter() - began)


def hindsight(bench: Bench, max_error: float) -> float:
    """Return the hit rate of the best threshold that is within an error at the end."""
    replays = map(bench.threshold, THRESHOLDS)
    return max((r.hit_rate for r in replays if r.error <= max_error), default=0.0)


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
