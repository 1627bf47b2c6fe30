"""A whole rollout in about a second, inside a test: made-up data, real decisions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Self

import attrs

from ..host import Host
from ..metrics import Metric, find
from ..model import Decision, Move
from ..plugins import Plugins
from ..stages import Plan, Stage, Status
from ..store import Database
from ..wheel import Turn
from .clock import ManualClock
from .feed import Feed, Figure
from .figures import Fault, fault_of, healthy, metrics_of


_LOOKS = 12
"""Looks in a stage's dwell."""


@attrs.frozen(kw_only=True)
class Rehearsed:
    """
    What became of a rehearsed rollout. Its figures are made up, its decisions are not.

    Attributes:
        decision: ``complete``, ``roll_back`` or ``hold``.
        reason: Why it ended so.
        stage: The stage it ended in, or went back from.
        turns: Every turn: observation, report, decision, ruling, outcome.
        plan_s: Plan time from the first turn to the last, in seconds.
    """

    decision: str
    reason: str
    stage: str
    turns: tuple[Turn, ...]
    plan_s: float

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """Every decision, in order."""
        return tuple(turn.decision for turn in self.turns)

    @property
    def story(self) -> str:
        """One line for each time the ladder said something new."""
        lines, last = [], ""
        for decision in self.decisions:
            said = f"{decision.stage or '-'}: {decision.move.value} ({decision.code})"
            if said != last:
                lines.append(f"{said}: {decision.reason}")
            last = said
        return "\n".join(lines)


class Rollout:
    """
    Rolls a plan out over made-up, healthy traffic with the faults you feed it.

    Everything but the traffic is real: engine, watchdog, gate, journal, your plugins.
    It is deterministic, and it touches neither the disk nor a clock.

    Args:
        plan: The plan.
        plugins: Yours; the built-in ones by default.
    """

    def __init__(self, plan: Plan, plugins: Plugins | None = None) -> None:
        self._plan = attrs.evolve(plan, stages=tuple(_quick(s) for s in plan.stages))
        self._plugins = plugins if plugins is not None else Plugins()
        self._faults: dict[str, Fault] = {}
        self._missing: set[str] = set()
        self._from: str | None = None

    def feed(
        self,
        *,
        missing: str | Iterable[str] = (),
        since: str | None = None,
        **faults: str | float,
    ) -> Self:
        """
        Add faults to the candidate's traffic.

        Args:
            missing: A metric, or several, that nobody supplies.
            since: Stage in which the faults begin; the first by default.
            **faults: By metric: ``"3x"``, ``"+50%"``, or the value it shall have.
                ``errors`` is short for ``error_rate``.

        Raises:
            MetricError: No such metric.
            ValueError: A fault is neither of these, or nothing reads the metric.
        """
        names = [missing] if isinstance(missing, str) else list(missing)
        self._missing |= {self._read(name).name for name in names}
        for name, fault in faults.items():
            metric = self._read(name)
            self._faults[metric.name] = fault_of(metric, fault)
        if since is not None:
            self._plan.stage(since)
            self._from = since
        return self

    def _read(self, name: str) -> Metric:
        metric = find({"errors": "error_rate"}.get(name, name), self._plan.metrics)
        read = metrics_of(self._plan, self._plugins.criteria)
        if metric.name not in {one.name for one in read}:
            msg = (
                f"feed: got {name}, which no rule of {self._plan.name} and no criterion"
                " reads; write one that is read"
            )
            raise ValueError(msg)
        return metric

    def run(self) -> Rehearsed:
        """Turn the wheel until the rollout is over, or has held three dwells long."""
        clock = ManualClock()
        feed = Feed(clock, self._figures, self._plan.share)
        turns: list[Turn] = []
        with Host.wired(
            self._plan,
            database=Database(":memory:"),
            registry=None,
            telemetry=feed,
            clock=clock,
            plugins=self._plugins,
            probe=False,
        ) as host:
            held = 0
            while not host.engine.state.status.over:
                stage = host.engine.state.stage
                feed.stage = self._plan.stage(stage) if stage else None
                turn = host.tick()
                turns.append(turn)
                held = held + 1 if turn.outcome is None else 0
                if held > 3 * _LOOKS:
                    break
                clock.advance(host.interval_s)
            return _told(host, turns, clock.plan())

    def _figures(self, stage: Stage) -> Iterator[Figure]:
        """Yield what a stage's traffic shows, of everything that is supplied."""
        begun = self._from is None or (
            self._plan.index(stage.name) >= self._plan.index(self._from)
        )
        criteria = self._plugins.criteria
        for metric in metrics_of(self._plan, criteria):
            if metric.name in self._missing or metric.source in {"watchdog", "engine"}:
                continue
            well = healthy(metric, self._plan, criteria.get(metric.name), stage)
            fault = self._faults.get(metric.name)
            value = fault(well) if fault is not None and begun else well
            yield Figure(metric=metric, candidate=value, control=well)


def _quick(stage: Stage) -> Stage:
    """Look a dozen times in the stage's time, instead of every few minutes."""
    longest_s = max(stage.dwell_s or 0.0, stage.unbroken_for_s or 0.0, 12.0)
    return attrs.evolve(stage, check_interval_s=longest_s / _LOOKS)


def _told(host: Host, turns: list[Turn], plan_s: float) -> Rehearsed:
    state = host.engine.state
    last = turns[-1].decision
    decision = {
        Status.COMPLETE: "complete",
        Status.ROLLED_BACK: Move.ROLL_BACK.value,
    }.get(state.status, Move.HOLD.value)
    return Rehearsed(
        decision=decision,
        reason=state.reason if state.status.over else last.reason,
        stage=last.stage,
        turns=tuple(turns),
        plan_s=plan_s,
    )
