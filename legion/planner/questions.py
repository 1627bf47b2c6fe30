"""The questions of a plan, and how its budget is divided among them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import attrs

from ..criteria import Criterion
from ..metrics import HARD_FACTS, Kind, Metric
from ..plugins import Plugins
from ..stages.evidence import CRITICAL, TRIGGER, Paths, part
from ..stages.evidence.limit import LEAST, bad_share
from ..stages.evidence.paths import HORIZON_S
from ..stages.evidence.sampled import HEALTHY
from ..stages.plan import Plan, Rule, Stage, Trigger
from ..stages.rungs import Rungs
from ..stats import Side
from .question import Method, Question, rounded


_COMPARED = (Kind.SHARE, Kind.TIME)


def harm(plan: Plan) -> tuple[Question, ...]:
    """
    Return every path that can roll back by chance, each with its share of the budget.

    They are the engine's, with the criteria that come with legion: the triggers and the
    critical levels of each stage, by comparison, by limit, by failures in a row and by
    windows beyond a limit; all weigh the same. Where the plan tells units apart, each
    comparison is asked once more in the slices, which weigh as much together. Where
    everybody has the candidate, they are compared with what control did before. Hard
    facts and counters are none: chance has no part in them.
    """
    rungs = Rungs(plan=plan, plugins=Plugins())
    found = {
        question.key: question
        for stage in plan.stages
        for question in _of_stage(plan, stage, rungs.paths(stage))
    }
    alpha = plan.false_rollback / max(len(found), 1)
    return tuple(attrs.evolve(each, alpha=alpha) for each in found.values())


def proofs(plan: Plan, stage: Stage) -> tuple[Question, ...]:
    """Return what *stage* must prove by statistics before the next one."""
    alpha = plan.false_promotion
    found = []
    for rule in stage.validate:
        if rule.rehearsal is None:
            question = _proof(rule, plan.metric(rule.metric), stage)
            if question is not None:
                found.append(attrs.evolve(question, alpha=alpha))
    return tuple(found)


def healthy(questions: Iterable[Question]) -> dict[str, float]:
    """Return how often what is sampled is beyond its limit, at the most, by metric."""
    return {each.metric.name: HEALTHY for each in questions if each.windows}


def exposed(plan: Plan) -> Plan:
    """Return *plan* with the shares that users see: the holdback taken off."""
    stages = (attrs.evolve(s, traffic=plan.share(s)) for s in plan.stages)
    return attrs.evolve(plan, stages=tuple(stages), holdback=0.0)


def controlled(stage: Stage) -> bool:
    """Return whether there is something to compare the candidate with."""
    return 0 < stage.traffic < 1 or stage.shadow


def _of_stage(plan: Plan, stage: Stage, paths: Paths) -> Iterator[Question]:
    parts, alone = paths.parts(), stage.traffic == 1
    for trigger in plan.triggers:
        rule = trigger.rule
        if part(stage.name, f"{TRIGGER}{rule}") not in parts:
            continue
        question = _triggered(plan, trigger, stage, paths)
        if question is None:
            # A level that is sampled is so whether or not there is a control.
            yield _sampled(str(rule), rule.metric, stage, within_s=trigger.within_s)
            continue
        yield _alone(plan, question, stage) if alone else question
        if plan.slices and rule.versus and not alone:
            name = f"{question.name}, in a slice"
            yield attrs.evolve(question, name=name, sliced=True)
    for name, criterion in paths.criteria.items():
        if part(stage.name, f"{CRITICAL}{name}") in parts:
            question = _critical(plan, criterion, stage)
            yield _alone(plan, question, stage) if alone else question


def _triggered(
    plan: Plan, trigger: Trigger, stage: Stage, paths: Paths
) -> Question | None:
    metric = plan.metric(trigger.rule.metric)
    if metric.source == "watchdog" and metric.kind is Kind.COUNT:
        return _row(trigger, metric, stage, plan, paths)
    return _harm(plan, trigger, metric, stage)


def _sampled(
    name: str, level: str, stage: Stage, *, within_s: float | None = None
) -> Question:
    """Return the question whether a level is beyond its limit in too many windows."""
    metric = Metric(
        name=f"windows with {name}",
        kind=Kind.SHARE,
        unit="share",
        source="watchdog",
        stream=f"sampled: {level}",
    )
    return Question(
        stage=stage.name,
        name=name,
        metric=metric,
        side=Side.HARM,
        method=Method.LIMIT,
        limit=HEALTHY,
        within_s=within_s or None,
        windows=True,
    )


def _alone(plan: Plan, question: Question, stage: Stage) -> Question:
    """Return the question as it is asked where nobody has the control."""
    row = question.method is Method.ROW
    before = [
        each for each in plan.stages[: plan.index(stage.name)] if controlled(each)
    ]
    return attrs.evolve(
        question,
        method=Method.ROW if row else Method.DETECTOR,
        compared=None,
        horizon_s=stage.unbroken_for_s or stage.dwell_s or HORIZON_S,
        before=before[-1] if before else None,
        among=tuple(_alone(plan, each, stage) for each in question.among),
    )


def _method(stage: Stage) -> Method:
    return Method.PAIRED if stage.shadow else Method.LABEL


def _harm(
    plan: Plan, trigger: Trigger, metric: Metric, stage: Stage
) -> Question | None:
    rule = trigger.rule
    shared: dict[str, Any] = {
        "stage": stage.name,
        "name": str(rule),
        "metric": metric,
        "side": Side.HARM,
        "within_s": trigger.within_s or None,
    }
    if metric.kind not in _COMPARED:
        return None
    if rule.versus:
        margin, floor = _margin(plan, rule, stage)
        return Question(
            method=_method(stage),
            worse_by=rule.worse_by,
            **_null(margin, metric, Side.HARM),
            floor=floor if metric.kind is Kind.SHARE else None,
            **shared,
        )
    return Question(
        method=Method.LIMIT,
        limit=_limit(rule, metric),
        compared=_compared(metric, stage),
        ratio=1 + plan.margin(metric.name, stage),
        **shared,
    )


def _margin(plan: Plan, rule: Rule, stage: Stage) -> tuple[float, float | None]:
    """Return the margin and the floor that the stage promotes the metric by."""
    same = [
        each
        for each in stage.validate
        if each.metric == rule.metric and each.margin is not None
    ]
    margin = plan.margin(rule.metric, stage)
    floors = [each.or_below for each in (rule, *same) if each.or_below]
    return margin, floors[0] if floors else None


def _null(margin: float, metric: Metric, side: Side) -> dict[str, Any]:
    if metric.kind is Kind.TIME:
        return {"slower": rounded(margin, side=side)}
    return {"ratio": 1 + margin}


def _limit(rule: Rule, metric: Metric) -> float:
    """Return the limit of the share of bad units; none at all cannot be tested."""
    return min(max(bad_share(rule, metric), LEAST), 1 - LEAST)


def _row(
    trigger: Trigger,
    metric: Metric,
    stage: Stage,
    plan: Plan,
    paths: Paths,
) -> Question:
    """
    Return the question of failures in a row.

    The row only opens the door, and what carries it through is the average of the
    criteria's evidence against their alerts. Where there is a control the row itself is
    left out: without it the average can only be more, so what is told of false
    rollbacks is the worst.
    """
    among = (
        _beyond(plan, each, each.alert, stage)
        for name, each in paths.criteria.items()
        if name in paths.required
        and each.alert is not None
        and plan.metric(each.metric).name not in HARD_FACTS
    )
    return Question(
        stage=stage.name,
        name=str(trigger.rule),
        metric=metric,
        side=Side.HARM,
        method=Method.ROW,
        within_s=trigger.within_s or None,
        row=trigger.rule.failures_in_a_row or 0,
        among=tuple(each for each in among if each is not None),
    )


def _critical(plan: Plan, criterion: Criterion, stage: Stage) -> Question:
    """Return the question of a critical level; of its verdicts where that is all."""
    question = None
    if criterion.critical is not None:
        question = _beyond(plan, criterion, criterion.critical, stage)
    name = f"{criterion.name} critical"
    return question or _sampled(name, criterion.name, stage)


def _beyond(
    plan: Plan, criterion: Criterion, value: float, stage: Stage
) -> Question | None:
    """Return the question whether a criterion is beyond one of its levels."""
    metric = plan.metric(criterion.metric)
    if metric.kind not in _COMPARED:
        return None
    word = "critical" if value == criterion.critical else "alert"
    shared: dict[str, Any] = {
        "stage": stage.name,
        "name": f"{criterion.name} {word} from {value:.0%}",
        "metric": metric,
        "side": Side.HARM,
    }
    if criterion.compares:
        return Question(
            method=_method(stage), **_null(value, metric, Side.HARM), **shared
        )
    limit = 1 - value if criterion.lower_is_worse else value
    if metric.kind is Kind.TIME:
        return None
    return Question(
        method=Method.LIMIT,
        limit=min(max(limit, LEAST), 1 - LEAST),
        compared=_compared(metric, stage),
        ratio=1 + plan.margin(metric.name, stage),
        **shared,
    )


def _compared(metric: Metric, stage: Stage) -> Method | None:
    """Return how a limit is held against control too, where units have an arm."""
    return _method(stage) if metric.by_arm else None


def _proof(rule: Rule, metric: Metric, stage: Stage) -> Question | None:
    if metric.kind not in _COMPARED:
        return None
    shared: dict[str, Any] = {
        "stage": stage.name,
        "name": str(rule),
        "metric": metric,
        "side": Side.PROOF,
    }
    if rule.margin is not None:
        return Question(
            method=_method(stage),
            **_null(rule.margin, metric, Side.PROOF),
            floor=rule.or_below if metric.kind is Kind.SHARE else None,
            **shared,
        )
    if rule.equals is not None or metric.source in {"watchdog", "engine"}:
        return None  # A reading, and no test.
    return Question(method=Method.LIMIT, limit=_limit(rule, metric), **shared)
