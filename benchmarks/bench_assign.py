"""
Which arm a unit gets, beside growthbook's rule of 5 % coverage in the same run.

    python benchmarks/bench_assign.py [ROUNDS]

``places`` is what a batch of names costs once; ``assign_many`` of places is what asking
about them costs each time after that. `Murmur3` is the order that hashes with mmh3.

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

from legion.integrations import Murmur3


UNITS = [f"user-{i}" for i in range(2_000)]
TIMES = 50
"""So many times the units are asked about at once, by their places."""

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


def each(engine: legion.StageEngine) -> Callable[[], None]:
    """Return what asks about every unit, one after the other."""

    def assign() -> None:
        for unit in UNITS:
            engine.assign(unit)

    return assign


def candidates(
    engine: legion.StageEngine, murmur: legion.StageEngine
) -> dict[str, Callable[[], object]]:
    """Return what is measured, by name."""
    places = engine.places(UNITS * TIMES)
    return {
        "assign": each(engine),
        "assign, Murmur3": each(murmur),
        "places": lambda: engine.places(UNITS),
        "places, Murmur3": lambda: murmur.places(UNITS),
        "assign_many of places": lambda: engine.assign_many(places),
        "growthbook, set and is_on": set_and_ask,
        "growthbook, is_on alone": ask,
    }


def main(rounds: int) -> None:
    """Measure and print."""
    with opened() as host, opened(splitter=Murmur3(NAME)) as other:
        runs = candidates(host.engine, other.engine)
        times = take_turns(
            rounds,
            lambda: {
                name: cpu_ns(run) / len(UNITS) / (TIMES if "of places" in name else 1)
                for name, run in runs.items()
            },
        )
    show(
        f"{' '.join(UNITS[:2])} ..., {len(UNITS)} of them, {SHARE:.0%} are in",
        times,
        unit="ns of CPU time a unit",
    )
    *ours, _, _ = times
    peers = list(times)[-2:]
    show_ratios(times, [(peer, our) for our in ours for peer in peers])


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 40)
