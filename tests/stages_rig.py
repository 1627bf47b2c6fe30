"""An engine with its clock, its owner and its registry, and looks made up by hand."""

from __future__ import annotations

import attrs

import legion

from legion.model import Decision, Move, Observation, Permission, Report, Ruling
from legion.stages import Plan, StageEngine
from legion.store import Database
from legion.testing import ManualClock


REHEARSED = {"rehearsal": "rollback", "within": "1m"}
CLEAN = {"metric": "error_rate", "below": "5%"}
RULES = {
    "plan": "rig",
    "candidate": "2.0.0",
    "baseline": "1.0.0",
    "unit": "task",
    "check_interval": "1m",
    "rollback": {"to": "v1", "within": "1m"},
    "triggers": {
        "within 1m": [{"metric": "error_rate", "versus": "baseline", "worse_by": "50%"}]
    },
    "stages": [
        {
            "name": "shadow",
            "traffic": "0%",
            "mirror": "100%",
            "dwell": "3m",
            "features": {"tone": {"enabled": True}},
            "validate": [CLEAN, REHEARSED],
        },
        {
            "name": "canary",
            "traffic": "25%",
            "dwell": "3m",
            "features": {"tone": {"enabled": True}, "cache": {"enabled": True}},
            "validate": [CLEAN],
        },
        {
            "name": "everyone",
            "traffic": "100%",
            "dwell": "3m",
            "features": {"tone": {"enabled": True}, "cache": {"enabled": True}},
            "validate": [CLEAN],
        },
    ],
}


def plan(**changes):
    """Return the plan of the rig, with keys of its own in place of some."""
    return Plan.from_dict({**RULES, **changes})


def with_stage(name, **changes):
    """Return the rules of the stages, with one of them changed."""
    return [
        {**stage, **(changes if stage["name"] == name else {})}
        for stage in RULES["stages"]
    ]


def allow(change):
    """Rule that *change* may be done."""
    return Ruling(
        permission=Permission.ALLOW, code="ok", reason="ok", subject=change.digest
    )


class Router:
    """An owner of the rollout's target that does as it is told."""

    def __init__(self):
        self.live = ""
        self.told = []

    @legion.hookimpl
    def legion_activate(self, target, digest):
        if not target.startswith("rollout:"):
            return None
        self.told.append(digest)
        self.live = digest
        return True

    @legion.hookimpl
    def legion_active(self, target):
        return self.live if target.startswith("rollout:") else None


def registry(folder):
    """Return a registry that holds the code of both arms; the baseline's is live."""
    made = legion.Registry(folder)
    made.put({"answer.txt": b"old"}, version="1.0.0")
    made.put({"answer.txt": b"new"}, version="2.0.0")
    made.tag("v1", "1.0.0")
    made.activate("v1")
    return made


@attrs.define
class Rig:
    """A rollout that is turned by hand."""

    engine: StageEngine
    clock: ManualClock
    journal: legion.Journal
    watchdog: legion.Watchdog
    seen_s: float = attrs.field(init=False)

    def __attrs_post_init__(self):
        self.seen_s = self.clock.plan()

    @property
    def state(self):
        return self.engine.state

    @property
    def stage(self):
        return self.engine.exposure.stage

    def seen(self, *, bad=0, of=1000, control=(0, 1000), seconds=60.0, **windows):
        """Return what is seen after *seconds*: failures of both arms, and more."""
        self.clock.advance(seconds)
        opened_s, self.seen_s = self.seen_s, self.clock.plan()
        span = {"opened_s": opened_s, "closed_s": self.seen_s}
        other = None
        if control is not None:
            other = legion.Window.of(shares={"error_rate": control}, **span)
        shares = {"error_rate": (bad, of)} if of else {}
        shares |= windows.pop("shares", {})
        window = legion.Window.of(shares=shares, baseline=other, **span, **windows)
        return Observation(
            plan=self.engine.plan.name,
            stage=self.state.stage,
            at_s=self.seen_s,
            candidate=window,
            control=other,
            exposure=self.engine.exposure.digest,
        )

    def look(self, **windows) -> Report:
        """See, judge and learn."""
        observation = self.seen(**windows)
        report = self.watchdog.judge(observation, self.state.baseline)
        self.engine.learn(observation, report)
        return report

    def decide(self, **windows) -> Decision:
        return self.engine.decide(self.look(**windows))

    def commit(self, decision: Decision):
        ruling = None
        if decision.move is Move.ADVANCE and decision.change is not None:
            ruling = allow(decision.change)
        return self.engine.commit(decision, ruling)

    def turn(self, **windows) -> Decision:
        """Turn once, as a host does."""
        self.engine.poll()
        report = self.look(**windows)
        decision = self.engine.choose(self.engine.decide(report), report)
        self.commit(decision)
        self.rehearse()
        return decision

    def rehearse(self):
        change = self.engine.rehearsal
        return None if change is None else self.engine.rehearse(change, allow(change))

    def climb(self, stage):
        """Turn until users are in *stage*."""
        for _ in range(20):
            if self.state.stage == stage:
                return self
            self.turn()
        raise AssertionError(self.state)


def ceiling(**limits):
    """Return the criterion of the rig."""
    limits = {"warning": 0.03, "alert": 0.06, "critical": 0.5, **limits}
    return legion.criteria.Ceiling("error_rate", of="share", min_events=100, **limits)


def rig(*plugins, rules=None, state=":memory:", clock=None, code=None):
    """Return a rig over a state file, with the owners and criteria given."""
    clock = clock or ManualClock(1e9)
    database = state if isinstance(state, Database) else Database(state)
    journal = legion.Journal(database, clock=clock)
    them = legion.Plugins(ceiling(), *plugins, builtins=False)
    engine = StageEngine(
        rules or plan(),
        plugins=them,
        state=database,
        journal=journal,
        registry=code,
        clock=clock,
    )
    return Rig(engine, clock, journal, legion.Watchdog(them, interval_s=60.0))
