"""The days of a rollout."""

from __future__ import annotations

import math

from collections.abc import Iterator, Mapping
from datetime import date, timedelta

import attrs

from ..stages.plan import Plan, Stage
from .said import spell_share


_DAY_S = 86_400.0


@attrs.frozen(kw_only=True)
class Milestone:
    """
    A day on which something of the rollout begins or is over.

    Attributes:
        day: Counted from 0.
        date: ISO date, or "" where no start was given.
        stage: The stage.
        says: What happens.
    """

    day: int
    date: str = ""
    stage: str
    says: str


def calendar(
    plan: Plan,
    *,
    start: date | None = None,
    needs_s: Mapping[str, float] | None = None,
    between_days: int = 1,
) -> tuple[Milestone, ...]:
    """
    Return the days of a rollout in which all goes well.

    Args:
        plan: The plan.
        start: Day 0.
        needs_s: By stage, how long its proofs take, where that is longer than its dwell.
        between_days: Days to look at a stage before the next one starts; the engine
            itself waits for nobody.
    """
    return tuple(
        attrs.evolve(each, date=_date(start, each.day))
        for each in _milestones(plan, needs_s or {}, between_days)
    )


def _date(start: date | None, day: int) -> str:
    """Return the ISO date, or "" where there is none, or none that a calendar has."""
    try:
        return "" if start is None else (start + timedelta(days=day)).isoformat()
    except OverflowError:
        return ""


def _milestones(
    plan: Plan, needs_s: Mapping[str, float], between_days: int
) -> Iterator[Milestone]:
    day = 0
    for stage in plan.stages:
        last = stage is plan.stages[-1]
        yield Milestone(
            day=day, stage=stage.name, says=f"{stage.name} starts{_who(stage)}"
        )
        stays_s = max(length_s(stage), needs_s.get(stage.name, 0.0))
        if last and not stays_s:
            return
        day += math.ceil(stays_s / _DAY_S)
        over = "stable" if last else "validated"
        yield Milestone(day=day, stage=stage.name, says=f"{stage.name} {over}")
        day += between_days


def _who(stage: Stage) -> str:
    if stage.shadow:
        return f", mirroring {spell_share(stage.mirror)}"
    return f" with {spell_share(stage.traffic)} of the units"


def length_s(stage: Stage) -> float:
    """Return how long *stage* takes at least, in seconds; 0 where it never ends."""
    return max(stage.dwell_s or 0.0, stage.unbroken_for_s or 0.0)
