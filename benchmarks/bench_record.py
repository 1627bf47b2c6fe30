"""
What recording costs the caller, beside prometheus_client in the same run.

    python benchmarks/bench_record.py

Every figure is CPU time of this thread. In each round every candidate runs once, in
turn, so that a slow moment of the machine hits all of them; the ratio is taken within a
round. A candidate runs in bursts, and what a burst recorded is folded outside of the
timed section; folding is timed by itself. How many events wait matters: their memory is
touched for the first time and Python's garbage collector looks at them, so a long
backlog has a row of its own.
"""

from __future__ import annotations

import gc
import random
import statistics
import time

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Histogram

from legion.model import Arm
from legion.telemetry import SystemClock, Telemetry


ROUNDS = 15
LEAST_NS = 20_000_000
"""What is timed in a round is at least this long."""

BURST = 2_000
"""Events between two folds: 10,000 a second, as a started host folds every 0.2 s."""

BACKLOG = 50_000
"""Events between two folds where nobody has folded for long."""

ARM = Arm.CANDIDATE.value
EXPOSURE = "5f" * 32
RNG = random.Random(1)
SECONDS = [RNG.lognormvariate(-2, 1) for _ in range(1_000)]

Loop = Callable[[int], None]

clock = SystemClock()
telemetry = Telemetry(clock)
registry = CollectorRegistry()
plain = Histogram("plain", "seconds", registry=registry)
labelled = Histogram("labelled", "seconds", ["arm"], registry=registry)
counter = Counter("errors", "requests", ["arm"], registry=registry)


def empty(n: int) -> None:
    """Run the loop that all the others run, and nothing in it."""
    for _ in range(n):
        pass


def legion_record(n: int) -> None:
    """Append a tuple built in place, by the method that was handed out."""
    record, at_s = telemetry.record, clock.plan()
    for unit in range(n):
        record(("latency", ARM, unit, EXPOSURE, at_s, 0.25))


def legion_latency(n: int) -> None:
    """Call the typed method, which reads the clock too."""
    for unit in range(n):
        telemetry.latency(ARM, unit, 0.25)


def prometheus_observe(n: int) -> None:
    """Observe in a histogram without labels, its method looked up once."""
    observe = plain.observe
    for _ in range(n):
        observe(0.25)


def prometheus_labels_observe(n: int) -> None:
    """Observe in the histogram of an arm."""
    for _ in range(n):
        labelled.labels("candidate").observe(0.25)


def prometheus_labels_inc(n: int) -> None:
    """Count an event of an arm."""
    for _ in range(n):
        counter.labels("candidate").inc()


PEER = "prometheus_observe"
LONG = f"legion_record, {BACKLOG} wait"
LOOPS: list[Loop] = [
    legion_record,
    legion_latency,
    prometheus_observe,
    prometheus_labels_observe,
    prometheus_labels_inc,
]


def timed_ns(run: Callable[..., object], *args: int) -> int:
    """Return the CPU time of a call of *run*."""
    began = time.thread_time_ns()
    run(*args)
    return time.thread_time_ns() - began


def bursts_ns(loop: Loop, n: int, bursts: int) -> int:
    """Return the CPU time of *bursts* times *n* turns, the empty loop taken off."""
    took_ns = 0
    for _ in range(bursts):
        took_ns += timed_ns(loop, n) - timed_ns(empty, n)
        telemetry.close()
    return took_ns


def bursts_of(loop: Loop) -> int:
    """Return how many bursts take long enough to be timed."""
    bursts = 1
    while bursts_ns(loop, BURST, bursts) < LEAST_NS:
        bursts *= 2
    return bursts


def folding_ns(*, flag: bool) -> float:
    """Return ns an event to fold a batch of flags or of latencies."""
    at_s = clock.plan()
    for unit in range(BACKLOG):
        telemetry.record(
            ("error_rate", ARM, unit % 5_000, EXPOSURE, at_s, unit % 100 == 0)
            if flag
            else ("latency", ARM, unit, EXPOSURE, at_s, SECONDS[unit % len(SECONDS)])
        )
    took_ns = timed_ns(telemetry.drain) / BACKLOG
    telemetry.close()
    return took_ns


def row(name: str, values: list[float], ratios: list[float] | None = None) -> None:
    """Print a line of the table: median and spread, and the ratio with its own."""
    line = f"{name:<28}{statistics.median(values):>8.0f}"
    line += f"{f'{min(values):.0f}..{max(values):.0f}':>14}"
    if ratios is not None:
        line += f"{statistics.median(ratios):>9.1f}x"
        line += f"{f'{min(ratios):.1f}..{max(ratios):.1f}':>14}"
    print(line)


def one_round(bursts: dict[Loop, int]) -> dict[str, float]:
    """Run every loop in turn; return ns a call, by name."""
    found = {
        loop.__name__: bursts_ns(loop, BURST, n) / n / BURST
        for loop, n in bursts.items()
    }
    found[LONG] = bursts_ns(legion_record, BACKLOG, 4) / 4 / BACKLOG
    return found


def main() -> None:
    """Print the table."""
    bursts = {loop: bursts_of(loop) for loop in LOOPS}
    rounds = [one_round(bursts) for _ in range(ROUNDS)]
    print(f"ns of CPU time a call, median and min..max of {ROUNDS} rounds,")
    print(f"in bursts of {BURST}; ratio: {PEER} over this one, within a round\n")
    print(
        f"{'on the caller':<28}{'ns':>8}{'min..max':>14}{'ratio':>10}{'min..max':>14}"
    )
    for name in rounds[0]:
        values = [found[name] for found in rounds]
        row(name, values, [found[PEER] / found[name] for found in rounds])
    print(f"\n{'later, on the folder':<28}{'ns':>8}{'min..max':>14}")
    row("legion_fold, latencies", [folding_ns(flag=False) for _ in range(ROUNDS)])
    row("legion_fold, flags", [folding_ns(flag=True) for _ in range(ROUNDS)])


if __name__ == "__main__":
    gc.collect()
    main()
