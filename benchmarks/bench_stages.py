"""
What a rollout costs: a look at its evidence, a decision, and going back.

    python benchmarks/bench_stages.py [ROUNDS]

Going back is timed on the wall, from the call to the outcome that says verified: users
off the candidate, the latch on disk (SQLite, FULL), the registry's snapshot of 50 files
restored and read back, state and journal written. Each round goes back once, from its own
state directory. The rest is CPU time of this thread.
"""

from __future__ import annotations

import pathlib
import statistics
import sys
import tempfile
import time

import attrs

from rounds import cpu_ns, show, take_turns

import legion

from legion.model import Observation
from legion.stats import LabelProcess, Onset
from legion.testing import ManualClock


PLAN = pathlib.Path(__file__).parent / "plans" / "rollout-4.1.yaml"
FILES = {f"agent/part_{i}.py": bytes([i]) * 20_000 for i in range(50)}
UNITS = 600
"""Units of a look: ten a second, a look a minute."""


def evidence(times: int = 1_000) -> float:
    """Return ns for one more look at one metric's evidence."""
    process = Onset.of(LabelProcess.harm(1.25), looks=2_880)

    def update() -> None:
        nonlocal process
        for _ in range(times):
            process = process.update(process.first.update(1, 9, rho=0.05))

    return cpu_ns(update) / times


def window(seen_s: float, *, first: int, bad: int, n: int) -> legion.Window:
    """Return a window of *n* units, of which *bad* failed; each took 20 to 60 ms."""
    made = legion.Window.of(
        shares={"error_rate": (bad, n)},
        values={"latency": [0.02 + 0.04 * (i % 50) / 50 for i in range(n)]},
        opened_s=seen_s - 60.0,
        closed_s=seen_s,
    )
    return attrs.evolve(
        made,
        units={"error_rate": n},
        bad_units={"error_rate": frozenset(range(first, first + bad))},
    )


def looks(directory: str, times: int = 50) -> dict[str, float]:
    """Return ns for a look of a whole plan, and for a decision, in its canary."""
    clock = ManualClock()
    plan = legion.Plan.load(PLAN)
    stages = tuple(s for s in plan.stages if s.name != "shadow")
    plan = attrs.evolve(plan, stages=stages)
    took = dict.fromkeys(("learn, 14 paths", "decide"), 0.0)
    with legion.Host.open(plan, state=directory, clock=clock) as host:
        host.tick()
        engine = host.engine
        for number in range(times):
            clock.advance(60.0)
            at_s, first = clock.plan(), number * UNITS
            seen = Observation(
                plan=plan.name,
                stage=engine.state.stage,
                at_s=at_s,
                candidate=window(at_s, first=first, bad=number % 2, n=UNITS // 20),
                control=window(at_s, first=first + 50, bad=6, n=UNITS * 19 // 20),
                exposure=engine.exposure.digest,
            )
            report = host.watchdog.judge(seen)
            took["learn, 14 paths"] += cpu_ns(engine.learn, seen, report)
            took["decide"] += cpu_ns(engine.decide, report)
    return {name: ns / times for name, ns in took.items()}


def going_back(directory: str) -> float:
    """Return ms on the wall from the call to the verified outcome."""
    plan = legion.Plan.load(PLAN)
    plan = attrs.evolve(
        plan, stages=tuple(s for s in plan.stages if s.name != "shadow")
    )
    registry = legion.Registry(f"{directory}/registry")
    registry.put(FILES, version=plan.baseline)
    changed = {**FILES, "agent/part_0.py": b"# new"}
    registry.put(changed, version=plan.candidate)
    registry.tag(plan.rollback.to, plan.baseline)
    registry.activate(plan.rollback.to)
    with legion.Host.open(plan, state=directory) as host:
        host.tick()
        assert host.engine.exposure.share > 0
        began_s = time.perf_counter()
        outcome = host.engine.rollback("a benchmark")
        took_s = time.perf_counter() - began_s
        assert outcome.verified, outcome.reason
    return 1e3 * took_s


def main(rounds: int) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as directory:
        number = iter(range(10**6))

        def one_round() -> dict[str, float]:
            return {
                "one metric's evidence, one more look": evidence(),
                **looks(f"{directory}/{next(number)}"),
            }

        times = take_turns(max(rounds // 10, 3), one_round)
        show("the plan of 4.1, in its canary", times, unit="ns of CPU time")
        back = sorted(going_back(f"{directory}/{next(number)}") for _ in range(rounds))
    p99 = back[min(len(back) - 1, round(0.99 * (len(back) - 1)))]
    print(
        f"\ngoing back, {rounds} times, ms on the wall: min {back[0]:.1f}, median"
        f" {statistics.median(back):.1f}, p99 {p99:.1f}, max {back[-1]:.1f}"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
