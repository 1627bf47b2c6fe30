"""
Which arm a unit gets, beside growthbook's rule of 5 % coverage in the same run.

    python benchmarks/bench_assign.py [ROUNDS]

All are asked about the same units, and all hash them with the name of the rollout.
growthbook keeps the unit among its attributes, so to ask about another one is to set
them and to ask; ``is_on`` is measured alone too, with a unit that stays, which is less
than what ``assign`` does. CPU time of this thread, the loop over the units included.
"""

from __future__ import annotations

import sys

from collections.abc import Callable

from canary import NAME, SHARE, opened
from growthbook import GrowthBook
from rounds import cpu_ns, show, show_ratios, take_turns

import legion


UNITS = [f"user-{i}" for i in range(2_000)]

rule = {"force": True, "coverage": SHARE, "hashAttribute": "id"}
book = GrowthBook(
    attributes={"id": UNITS[0]},
    features={NAME: {"defaultValue": False, "rules": [rule]}},
)


def set_and_ask() -> None:
    """Ask growthbook about every unit."""
    for unit in UNITS:
        book.set_attributes({"id": unit})
        book.is_on(NAME)


def ask() -> None:
    """Ask growthbook as often, always about the same unit."""
    for _ in UNITS:
        book.is_on(NAME)


def candidates(engine: legion.StageEngine) -> dict[str, Callable[[], object]]:
    """Return what is measured, by name."""

    def assign() -> None:
        for unit in UNITS:
            engine.assign(unit)

    return {
        "assign": assign,
        "assign_many": lambda: engine.assign_many(UNITS),
        "growthbook, set and is_on": set_and_ask,
        "growthbook, is_on alone": ask,
    }


def main(rounds: int) -> None:
    """Measure and print."""
    with opened() as host:
        runs = candidates(host.engine)
        times = take_turns(
            rounds,
            lambda: {name: cpu_ns(run) / len(UNITS) for name, run in runs.items()},
        )
    show(
        f"{' '.join(UNITS[:2])} ..., {len(UNITS)} of them, {SHARE:.0%} are in",
        times,
        unit="ns of CPU time a unit",
    )
    ours, peers = list(times)[:2], list(times)[2:]
    show_ratios(times, [(peer, our) for our in ours for peer in peers])


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 40)
