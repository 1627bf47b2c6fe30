"""
Simulate harmless rollouts under every circumstance, and hold them to their promise.

``nox -s simulate`` runs it; ``nox -s simulate -- 300`` with fewer runs. A line fails where
a binomial test at .001 says that more than 1 % went back.
"""

from __future__ import annotations

import pathlib
import sys
import time

import attrs

from legion.planner import Bursts, Fault, Scenario, Simulation, Units, simulate
from legion.stages import Plan


PLANS = pathlib.Path(__file__).parent / "plans"
SCENARIOS = {
    "tasks, up to 4 bad events": Scenario(),
    "late by 30 min": Scenario(late_s=1_800),
    "bursts of 1 min": Scenario(bursts=Bursts()),
    "outages of 15 min": Scenario(bursts=Bursts(every_s=28_800, lasts_s=900)),
    "daily load": Scenario(daily=True),
    "2,000 sticky units": Scenario(units=Units.STICKY),
    "slices of tasks": Scenario(),
    "slices of sticky units": Scenario(units=Units.STICKY),
}
SLICES = ("tenant", "tool")
"""What the lines of slices tell units apart by: 20 values each."""

HELD_BACK = 0.05
"""Without a control an outage passes for a fault, so those lines hold some back."""

SLICED_RUNS = 300
"""Rollouts a line of slices, at the most: there are three a fault."""

FAULTS = ("errors=x10", "errors=x5", "errors=x2", "latency=+100%", "latency=+50%")


def main(runs: int) -> int:
    """Print a line a scenario, and one a fault; return how many broke the promise."""
    broken = 0
    print(f"{runs:,} runs a line, 10/s, 1 % errors, seed 1\n")
    for name in ("eight-metrics", "rollout-4.1"):
        plan = Plan.load(PLANS / f"{name}.yaml")
        print(f"{name}: harmless          went back   interval 95 %   frozen  s")
        for words, scenario in SCENARIOS.items():
            outages = words.startswith("outages")
            held = attrs.evolve(plan, holdback=HELD_BACK) if outages else plan
            if words.startswith("slices"):
                held = attrs.evolve(held, slices=SLICES)
            broken += _harmless(held, words + " *" * outages, scenario, runs)
        print(f"  * with a holdback of {HELD_BACK:.0%}")
        canary = next(stage.name for stage in plan.stages if 0 < stage.traffic < 1)
        alone = [stage.name for stage in plan.stages if stage.traffic == 1]
        for since in (canary, *alone):
            print(
                f"\n{name}: from {since} on  detected  median   p90 min  units harmed"
            )
            for fault in FAULTS:
                _fault(plan, Fault.read(fault, plan, since=since), fault, runs)
        apart = attrs.evolve(plan, slices=SLICES)
        print(f"\n{name}: in slices, from {canary} on")
        for fault in FAULTS:
            for slice_ in ("tenant=1", "tenant=3", "tenant=8"):
                hurt = Fault.read(fault, apart, since=canary, slice=slice_)
                _fault(apart, hurt, f"{fault} in {slice_}", min(runs, SLICED_RUNS))
        print(flush=True)
    return broken


def _harmless(plan: Plan, words: str, scenario: Scenario, runs: int) -> bool:
    start = time.perf_counter()
    found = simulate(
        plan, traffic_per_s=10, bad_rate=0.01, scenario=scenario, runs=runs
    )
    tests = found.rolled_back
    refuted = tests.refutes(found.promised)
    print(
        f"  {words:28} {tests.share:8.2%}   {tests.low:.2%}-{tests.high:.2%}"
        f"  {found.frozen.share:7.1%}"
        f" {time.perf_counter() - start:4.0f}{'  BROKEN' if refuted else ''}",
        flush=True,
    )
    return refuted


def _fault(plan: Plan, fault: Fault, words: str, runs: int) -> None:
    found: Simulation = simulate(
        plan, traffic_per_s=10, bad_rate=0.01, faults=[fault], runs=runs
    )
    seen, harmed = found.detected_s, found.harmed
    if seen is None or harmed is None:
        print(f"  {words:26} {found.rolled_back.share:8.1%}")
        return
    print(
        f"  {words:26} {found.rolled_back.share:8.1%} {seen.median / 60:8.0f}"
        f" {seen.p90 / 60:9.0f} {harmed.median:9.0f}"
    )


if __name__ == "__main__":
    sys.exit(1 if main(int(sys.argv[1]) if sys.argv[1:] else 2_000) else 0)
