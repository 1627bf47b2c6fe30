"""
What all benchmarks share: candidates take turns, and a table says what they took.

In each round every candidate runs once, in turn, so that a slow moment of the machine
hits all of them; a ratio is taken within a round. The first round is thrown away.
"""

from __future__ import annotations

import platform
import statistics
import time

from collections.abc import Callable, Iterable, Mapping, Sequence


Times = Mapping[str, Sequence[float]]
"""What one operation took, by candidate, round after round."""


def cpu_ns(run: Callable[..., object], *args: object) -> int:
    """Return the CPU time of this thread for one call of *run*."""
    began_ns = time.thread_time_ns()
    run(*args)
    return time.thread_time_ns() - began_ns


def take_turns(rounds: int, one_round: Callable[[], Mapping[str, float]]) -> Times:
    """Run *rounds* rounds after one that is thrown away."""
    one_round()
    found = [one_round() for _ in range(rounds)]
    return {name: [times[name] for times in found] for name in found[0]}


def show(title: str, times: Times, *, unit: str) -> None:
    """Print what an operation took: minimum and median of the rounds."""
    rounds = len(next(iter(times.values())))
    print(f"{title}\nPython {platform.python_version()}, {rounds} rounds in turn\n")
    print(f"{unit:<44}{'min':>10}{'median':>10}")
    for name, took in times.items():
        print(f"{name:<44}{_figure(min(took))}{_figure(statistics.median(took))}")


def show_ratios(times: Times, pairs: Iterable[tuple[str, str]]) -> None:
    """Print how many times the second candidate's the first one's time is."""
    print(f"\n{'ratio within a round':<44}{'min':>10}{'median':>10}{'max':>10}")
    for over, under in pairs:
        ratios = [a / b for a, b in zip(times[over], times[under], strict=True)]
        figures = (min(ratios), statistics.median(ratios), max(ratios))
        print(f"{f'{over} / {under}':<44}{''.join(map(_figure, figures))}")


def _figure(value: float) -> str:
    return f"{value:>10.0f}" if value >= 1_000 else f"{value:>10.3g}"
