"""
Judging with 21 criteria, beside a plain pluggy call of 21 implementations.

The peer does less: each implementation only builds a verdict. What the watchdog adds is
the window, the memory, the fence around each criterion and the report, which names its
observation by digest; the digest is measured by itself, because it does not depend on
the criteria. CPU time of this thread.

    python benchmarks/bench_judge.py [ROUNDS]
"""

from __future__ import annotations

import random
import sys

from collections.abc import Callable

import attrs
import pluggy

from rounds import cpu_ns, show, show_ratios, take_turns

import legion

from legion.model import Level, Observation, Verdict, Window


CALLS = 40
INTERVAL_S = 60.0

hookspec = pluggy.HookspecMarker("peer")
hookimpl = pluggy.HookimplMarker("peer")


class Spec:
    """One hook."""

    @hookspec
    def judge(self, window: Window) -> Verdict:
        raise NotImplementedError


class Implementation:
    """Builds one verdict and does nothing else."""

    @hookimpl
    def judge(self, window: Window) -> Verdict:
        """Judge."""
        return Verdict(criterion="peer", level=Level.OK, code="ok", reason="ok")


def peer() -> Callable[[Observation], object]:
    """Return a plain hook call of 21 implementations."""
    manager = pluggy.PluginManager("peer")
    manager.add_hookspecs(Spec)
    for _ in range(21):
        manager.register(Implementation())
    return lambda observation: manager.hook.judge(window=observation.candidate)


def observations() -> list[Observation]:
    """Return traffic in which all 21 have a level at every turn."""
    dice = random.Random(1)
    return [
        Observation(at_s=at_s, candidate=window(dice, at_s), control=window(dice, at_s))
        for at_s in (INTERVAL_S * (turn + 1) for turn in range(CALLS))
    ]


def window(dice: random.Random, at_s: float) -> Window:
    """Return a minute of ten requests a second."""
    rates = dict.fromkeys(("cache_hit_rate", "agent_stability", "mobile_success"), 590)
    rates |= dict.fromkeys(("self_improvement_failure_rate", "patch_rollback_rate"), 0)
    counters = (
        "registry_integrity",
        "contradictions",
        "safety_gate_bypasses",
        "containment_violations",
        "unauthorized_actions",
    )
    gauges = {"memory_usage": 0.4, "cpu_usage": 0.5, "storage_efficiency": 0.9}
    gauges |= {"deadlock": 0, "infinite_loop": 0, "memory_leak": 0.0}
    return Window.of(
        shares={"error_rate": (4, 600)} | {name: (n, 600) for name, n in rates.items()},
        counts=dict.fromkeys(counters, 0),
        gauges={**gauges, "learning_loop_stall": 1.0},
        values={"latency": [dice.lognormvariate(-3, 0.5) for _ in range(600)]},
        opened_s=at_s - INTERVAL_S,
        closed_s=at_s,
    )


def microseconds(
    call: Callable[[Observation], object], seen: list[Observation]
) -> float:
    """Return the CPU time of one call, on observations that nobody has named yet."""
    fresh = [attrs.evolve(observation) for observation in seen]

    def all_of_them() -> None:
        for observation in fresh:
            call(observation)

    return cpu_ns(all_of_them) / len(seen) / 1e3


def digest(observation: Observation) -> str:
    """Name an observation."""
    return observation.digest


def main(rounds: int) -> None:
    """Measure and print."""
    seen, plain = observations(), peer()
    watchdog = legion.Watchdog(legion.Plugins(), interval_s=INTERVAL_S)
    report = watchdog.judge(seen[0])
    assert not report.missing(), report.missing()

    def one_round() -> dict[str, float]:
        judged, named = microseconds(watchdog.judge, seen), microseconds(digest, seen)
        return {
            "judge": judged,
            "digest": named,
            "judge without digest": judged - named,
            "pluggy": microseconds(plain, seen),
        }

    times = take_turns(rounds, one_round)
    show("An observation and 21 criteria", times, unit="us of CPU time a call")
    show_ratios(times, [(name, "pluggy") for name in times if name != "pluggy"])


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 15)
