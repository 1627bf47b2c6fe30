"""
What a whole trial costs a request, beside a bare call in the same run.

    python benchmarks/bench_trial.py [ROUNDS]

A trial assigns the unit, sets the context's arm, reads the clock three times and records
two events. The function does nothing, so the difference to the bare call is what legion
adds to a request. growthbook's question for a unit is measured beside it: it assigns and
records nothing. CPU time of this thread, the loop over the units included.
"""

from __future__ import annotations

import asyncio
import sys

from collections.abc import Callable

from canary import NAME, SHARE, opened
from growthbook import GrowthBook
from rounds import cpu_ns, show, show_ratios, take_turns

import legion


UNITS = [f"user-{i}" for i in range(1_000)]

rule = {"force": True, "coverage": SHARE, "hashAttribute": "id"}
book = GrowthBook(features={NAME: {"defaultValue": False, "rules": [rule]}})


def answer(unit: str) -> str:
    """Answer at once."""
    return unit


async def aanswer(unit: str) -> str:
    """Answer at once."""
    return unit


def bare() -> None:
    """Call the function and nothing else."""
    for unit in UNITS:
        answer(unit)


def growthbook() -> None:
    """Ask growthbook about every unit, and call the function."""
    for unit in UNITS:
        book.set_attributes({"id": unit})
        book.is_on(NAME)
        answer(unit)


def candidates(engine: legion.StageEngine) -> dict[str, Callable[[], object]]:
    """Return what is measured, by name."""

    def trial() -> None:
        for unit in UNITS:
            with engine.trial(unit):
                answer(unit)

    def run_sync() -> None:
        for unit in UNITS:
            engine.run_sync(unit, control=answer, candidate=answer, args=(unit,))

    async def run() -> None:
        for unit in UNITS:
            await engine.run(unit, control=aanswer, candidate=aanswer, args=(unit,))

    loop = asyncio.new_event_loop()
    return {
        "bare call": bare,
        "with trial": trial,
        "run_sync": run_sync,
        "await run": lambda: loop.run_until_complete(run()),
        "growthbook, set and is_on": growthbook,
    }


def main(rounds: int) -> None:
    """Measure and print."""
    with opened() as host:
        runs = candidates(host.engine)

        def one_round() -> dict[str, float]:
            took = {}
            for name, run in runs.items():
                took[name] = cpu_ns(run) / len(UNITS)
                host.engine.telemetry.drain()
            return took

        times = take_turns(rounds, one_round)
    show("A request that does nothing", times, unit="ns of CPU time a request")
    bare_call, *ours, peer = times
    show_ratios(times, [(our, bare_call) for our in ours])
    show_ratios(times, [(peer, our) for our in ours])


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 40)
