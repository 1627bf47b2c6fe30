"""
Roll harmless candidates out with the engine itself, and hold it to `false_rollback`.

Unlike `simulate.py`, which weighs the same evidence for many rollouts at once, each of
these is a `StageEngine` that learns, decides, moves and writes to a state file in memory,
turn by turn. Only the figures are drawn: both arms go badly as often in each of four
metrics and for each of six tenants, so the candidate meets the null, "no worse at all",
exactly. What does not depend on chance is left out: no gate and no journal.

``nox -s harmless`` runs it for ten minutes of CPU time; ``nox -s harmless -- 60`` for 60
seconds. It fails where a binomial test at .001 says that more than 1 % went back; of 1,400
rollouts, which take ten minutes on one core, that catches a true 3 % nearly always.
"""

from __future__ import annotations

import collections
import itertools
import sys
import time

from collections.abc import Iterator

import numpy as np

import legion

from legion.criteria import Ceiling
from legion.model import Count, Move, Observation, Permission, Report, Ruling, Window
from legion.planner import Rate
from legion.stages import Plan, StageEngine, Status
from legion.testing import ManualClock


RATES = {"error_rate": 0.01, "a": 0.005, "b": 0.02, "c": 0.04}
TENANTS = {f"tenant={rank}": 1 / rank for rank in range(1, 7)}
INTERVAL_S, UNITS = 3_600.0, 3_000
MOST_TURNS = 200
PLAN = Plan.from_dict(
    {
        "plan": "harmless",
        "candidate": "2.0.0",
        "baseline": "1.0.0",
        "unit": "task",
        "check_interval": "1h",
        "rollback": {"to": "v1", "within": "1m"},
        "metrics": dict.fromkeys("abc", "share"),
        "slices": ["tenant"],
        "triggers": {
            "within 15m": [
                {"metric": name, "versus": "baseline", "worse_by": "50%"}
                for name in RATES
            ]
        },
        "stages": [
            {"name": "canary", "traffic": "5%", "dwell": "24h"},
            {"name": "quarter", "traffic": "25%", "dwell": "24h"},
            {"name": "half", "traffic": "50%", "dwell": "24h"},
            {"name": "everyone", "traffic": "100%", "dwell": "12h"},
        ],
    }
)


class Rollout:
    """
    One rollout of a candidate that is exactly as good as control.

    Args:
        seed: What is drawn of.
    """

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng([1, seed])
        self.clock = ManualClock()
        self.units = itertools.count()
        # One criterion that never minds: a stage needs a verdict to be healthy.
        ceiling = Ceiling("error_rate", of="share", warning=0.5, min_events=100)
        plugins = legion.Plugins(ceiling, builtins=False)
        self.watchdog = legion.Watchdog(plugins, interval_s=INTERVAL_S)
        self.engine = StageEngine(PLAN, plugins=plugins, clock=self.clock)

    def run(self) -> tuple[str, int]:
        """Return how it ended, and after how many turns."""
        with self.engine as engine:
            for turn in range(MOST_TURNS):
                if engine.state.status.over:
                    return engine.state.status.value, turn
                self.turn()
            return "held", MOST_TURNS

    def turn(self) -> None:
        """See, learn, decide and do, as a host does."""
        engine, state = self.engine, self.engine.state
        self.clock.advance(INTERVAL_S)
        at_s = self.clock.plan()
        report = Report(plan=PLAN.name, stage=state.stage, at_s=at_s)
        if state.stage:
            observation = self.seen(state.stage, at_s)
            report = self.watchdog.judge(observation)
            engine.learn(observation, report)
        decision = engine.decide(report)
        ruling = None
        if decision.move is Move.ADVANCE and decision.change is not None:
            ruling = Ruling(
                permission=Permission.ALLOW,
                code="ok",
                reason="harmless",
                subject=decision.change.digest,
            )
        engine.commit(decision, ruling)

    def seen(self, stage: str, at_s: float) -> Observation:
        """Return an hour of both arms."""
        candidate = int(self.rng.binomial(UNITS, PLAN.stage(stage).traffic))
        control = UNITS - candidate
        return Observation(
            plan=PLAN.name,
            stage=stage,
            at_s=at_s,
            candidate=self.window(candidate, at_s),
            control=self.window(control, at_s) if control else None,
            exposure=self.engine.exposure.digest,
        )

    def window(self, n: int, at_s: float) -> Window:
        """Return so many new units of an arm."""
        shares = np.array(list(TENANTS.values()))
        sizes = self.rng.multinomial(n, shares / shares.sum())
        units = {
            "": n,
            **{f"{{{t}}}": int(m) for t, m in zip(TENANTS, sizes, strict=True)},
        }
        bad: dict[str, frozenset[int]] = {}
        for name, rate in RATES.items():
            of_tenants = self.rng.binomial(sizes, rate)
            mine = [frozenset(itertools.islice(self.units, y)) for y in of_tenants]
            bad |= {f"{name}{{{t}}}": of for t, of in zip(TENANTS, mine, strict=True)}
            bad[name] = frozenset().union(*mine)
        return Window(
            counts={name: Count(len(bad[name]), n) for name in RATES},
            opened_s=at_s - INTERVAL_S,
            closed_s=at_s,
            units={f"{name}{of}": m for name in RATES for of, m in units.items()},
            bad_units=bad,
        )


def rollouts(seconds: float) -> Iterator[tuple[str, int]]:
    """Roll out until so much CPU time of this process is over."""
    began_s = time.process_time()
    for seed in itertools.count():
        if time.process_time() - began_s > seconds:
            return
        yield Rollout(seed).run()


def main(seconds: float) -> int:
    """Print what became of them; return 1 where the promise is broken."""
    began_s = time.process_time()
    found = list(rollouts(seconds))
    took_s = time.process_time() - began_s
    ended = collections.Counter(status for status, _ in found)
    turns = sum(turns for _, turns in found)
    back = Rate.of_counts(ended[Status.ROLLED_BACK.value], len(found))
    broken = back.refutes(PLAN.false_rollback)
    print(
        f"{len(found):,} rollouts of {turns:,} turns, {1e3 * took_s / turns:.1f} ms each"
    )
    print(", ".join(f"{n:,} {status}" for status, n in ended.most_common()))
    print(
        f"went back {back.share:.2%} ({back.low:.2%}-{back.high:.2%}), promised"
        f" {PLAN.false_rollback:.0%}{'  BROKEN' if broken else ''}"
    )
    return int(broken)


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]) if sys.argv[1:] else 600.0))
