"""What a plan could do better under its traffic."""

from __future__ import annotations

import math

from collections.abc import Iterator, Sequence

import attrs

from ..stages.plan import Plan, Stage
from ..stats.special import root
from .question import Method, Question
from .said import spell, spell_share
from .sight import Lens
from .told import Told
from .workload import Workload


_DAY_S = 86_400.0
_LONGEST_DAYS = 365
_SMALL = 0.01


def advise(
    plan: Plan,
    stage: Stage,
    questions: Sequence[Question],
    told: Sequence[Told],
    workload: Workload,
) -> Iterator[str]:
    """
    Yield what to write instead where a stage cannot do what the plan asks.

    Args:
        plan: The plan.
        stage: One of its stages.
        questions: What the stage must prove.
        told: What is foreseen of each.
        workload: The traffic.
    """
    late = [
        (question, each)
        for question, each in zip(questions, told, strict=True)
        if workload.bad_rate(question.metric) is not None and _late(each, stage)
    ]
    yield from _dwell(plan, stage, longer=any(each.proven_p90_s for _, each in late))
    for question, each in late:
        lens = Lens(
            question=question,
            stage=stage,
            workload=workload,
            matures_s=plan.matures(question.metric.name),
        )
        yield from _instead(lens, each)


def _late(told: Told, stage: Stage) -> bool:
    if told.possible is None or (not stage.traffic and not stage.mirror):
        return False
    return told.proven_p90_s is None or (
        stage.dwell_s is not None and told.proven_p90_s > stage.dwell_s
    )


def _dwell(plan: Plan, stage: Stage, *, longer: bool) -> Iterator[str]:
    if stage.dwell_s is None:
        return
    asked = plan.metrics_of(stage)
    slowest = max(asked, key=plan.matures, default="")
    if stage.dwell_s < 2 * plan.matures(slowest):
        least = spell(2 * plan.matures(slowest))
        whose = f"outcomes of {slowest}" if plan.ages_s else "outcomes"
        yield f"dwell: at least {least}, twice what {whose} take to mature"
    elif stage.traffic and stage.dwell_s % _DAY_S and not longer:
        days = math.ceil(stage.dwell_s / _DAY_S)
        yield f"dwell: {days * 24}h, whole days, if your load has a daily rhythm"


def _instead(lens: Lens, told: Told) -> Iterator[str]:
    question, stage = lens.question, lens.stage
    if told.proven_p90_s is not None:
        days = math.ceil(told.proven_p90_s / _DAY_S)
        longer = days <= _LONGEST_DAYS
        if longer:
            yield f"dwell: {days * 24}h, so that 9 of 10 prove {question.name}"
        share = _share(lens)
        if share is not None:
            lead = "or " if longer else ""
            yield f"{lead}traffic: {spell_share(share)}, for the same within its dwell"
    floor = _floor(lens)
    if floor is not None and question.floor is None and stage.dwell_s:
        yield f"or or_below: {spell_share(floor)}, since so few are bad"


def _share(lens: Lens) -> float | None:
    """Return the share that proves within the dwell, in whole per cent."""
    stage = lens.stage
    dwell_s = stage.dwell_s
    if lens.question.method is not Method.LABEL or dwell_s is None:
        return None

    def lacks(share: float) -> float:
        wider = attrs.evolve(lens, stage=attrs.evolve(stage, traffic=share))
        needs_s = wider.proven_s(quantile=0.9)
        return math.inf if needs_s is None else needs_s - dwell_s

    if lacks(0.5) > 0 or lacks(stage.traffic) <= 0:
        return None
    return math.ceil(root(lacks, stage.traffic, 0.5) * 100) / 100


def _floor(lens: Lens) -> float | None:
    """Return twice the rate as a floor, where the dwell proves it and it is small."""
    question = lens.question
    rate = lens.workload.bad_rate(question.metric)
    if question.method is not Method.LABEL or question.time or rate is None:
        return None
    floor = 2 * rate
    if floor > _SMALL:
        return None
    with_floor = attrs.evolve(lens, question=attrs.evolve(question, floor=floor))
    needs_s = with_floor.proven_s(quantile=0.9)
    dwell_s = lens.stage.dwell_s or 0.0
    return None if needs_s is None or needs_s > dwell_s else floor
