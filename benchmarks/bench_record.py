"""
What recording costs the caller, beside prometheus_client in the same run.

    python benchmarks/bench_record.py [ROUNDS]

CPU time of this thread, the empty loop taken off, garbage collections that fall into it
included. A candidate runs in bursts, and what a burst recorded is folded outside of the
timed section; folding is timed by itself, the close that counts the units included. How
many events wait matters, because their memory is not in the processor's caches and
Python's garbage collector looks at them, so longer backlogs have rows of their own. The
first backlog of a process is the dearest: the system hands its memory out page by page.
It is measured in fresh processes.
"""

from __future__ import annotations

import functools
import logging
import random
import subprocess
import sys

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram
from rounds import cpu_ns, show, show_ratios, take_turns

from legion.model import Arm
from legion.telemetry import (
    BEGAN,
    NAMES,
    SUCCEEDED,
    TRIAL,
    Event,
    SystemClock,
    Telemetry,
)


TIMED = 100_000
"""How many events of a candidate are timed in a round, at least."""

BURST = 2_000
"""Events between two folds: 10,000 a second, as a started host folds every 0.2 s."""

BACKLOGS = (50_000, 250_000)
"""Events between two folds where nobody has folded for long; the last almost fills."""

FIRST = 7
"""How many fresh processes are asked for their first backlog."""

ARM = Arm.CANDIDATE
NAME = NAMES[ARM]
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
    record, at_s = telemetry.record, clock.machine()
    for unit in range(n):
        record(("latency", NAME, unit, EXPOSURE, at_s, 0.25))


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


def caller_ns(loop: Loop, n: int, bursts: int | None = None) -> float:
    """Return ns an event on the caller, in bursts of *n*."""
    bursts, took_ns = bursts or max(1, TIMED // n), 0
    for _ in range(bursts):
        took_ns += cpu_ns(loop, n) - cpu_ns(empty, n)
        telemetry.close()
    return took_ns / bursts / n


def folding_ns(events: Callable[[int, float], Iterator[Event]]) -> float:
    """Return ns an event to fold a backlog of *events*, and to count its units."""
    fill = list(events(BACKLOGS[0], clock.machine()))
    for event in fill:
        telemetry.record(event)
    took_ns = cpu_ns(telemetry.drain)
    took_ns += cpu_ns(functools.partial(telemetry.close, exposure=EXPOSURE))
    return took_ns / len(fill)


def latencies(n: int, at_s: float) -> Iterator[Event]:
    """Yield times of units that nobody follows."""
    for unit in range(n):
        yield ("latency", NAME, unit, EXPOSURE, at_s, SECONDS[unit % len(SECONDS)])


def flags(n: int, at_s: float) -> Iterator[Event]:
    """Yield flags of 5,000 units, each of them ten times; one in a hundred is bad."""
    for unit in range(n):
        yield ("error_rate", NAME, unit % 5_000, EXPOSURE, at_s, unit % 100 == 0)


def trials(n: int, at_s: float) -> Iterator[Event]:
    """Yield whole trials of new units: the beginning, the time, the outcome."""
    for _ in range(n // 3):
        unit, value = RNG.getrandbits(64), RNG.choice(SECONDS)
        yield (TRIAL, NAME, unit, EXPOSURE, at_s, BEGAN)
        yield ("latency", NAME, unit, EXPOSURE, at_s, value)
        yield (TRIAL, NAME, unit, EXPOSURE, at_s, SUCCEEDED)


def first_ns() -> dict[str, float]:
    """Return ns an event for the first backlog of a fresh process."""
    done = subprocess.run(
        [sys.executable, __file__, "first"], capture_output=True, text=True, check=True
    )
    ours, theirs = map(float, done.stdout.split())
    return {
        f"legion_record, first {BACKLOGS[0]}": ours,
        prometheus_observe.__name__: theirs,
    }


def candidates() -> dict[str, Callable[[], float]]:
    """Return what is measured on the caller, by name."""
    loops = (
        legion_record,
        legion_latency,
        prometheus_observe,
        prometheus_labels_observe,
        prometheus_labels_inc,
    )
    found: dict[str, Callable[[], float]] = {
        loop.__name__: functools.partial(caller_ns, loop, BURST) for loop in loops
    }
    for n in BACKLOGS:
        found[f"legion_record, {n} wait"] = functools.partial(
            caller_ns, legion_record, n
        )
    return found


def main(rounds: int) -> None:
    """Measure and print."""
    peer = prometheus_observe.__name__
    runs = candidates()
    times = take_turns(rounds, lambda: {name: run() for name, run in runs.items()})
    show(f"On the caller, in bursts of {BURST}", times, unit="ns of CPU time a call")
    show_ratios(times, [(peer, name) for name in times if name != peer])

    times = take_turns(FIRST, first_ns)
    print()
    show("On the caller, in a fresh process", times, unit="ns of CPU time a call")
    show_ratios(times, [(peer, next(iter(times)))])

    times = take_turns(
        rounds,
        lambda: {
            found.__name__: folding_ns(found) for found in (latencies, flags, trials)
        },
    )
    print()
    show("Later, on the folder", times, unit="ns of CPU time an event")


if __name__ == "__main__":
    # The longest backlog is more than is folded, and says so every time.
    logging.getLogger("legion").setLevel(logging.ERROR)
    if sys.argv[1:] == ["first"]:
        print(caller_ns(legion_record, BACKLOGS[0], bursts=1))
        print(caller_ns(prometheus_observe, BURST))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 15)
