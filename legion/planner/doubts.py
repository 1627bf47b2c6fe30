"""What a plan says that can be rolled out and is hardly meant."""

from __future__ import annotations

from collections.abc import Iterator

from ..metrics import Kind
from ..stages.plan import Plan, Rule


def doubts(plan: Plan) -> Iterator[str]:
    """Yield what asks for nothing, can never hold, or looks the wrong way."""
    if plan.candidate == plan.baseline:
        yield f"candidate and baseline are both {plan.candidate}: nothing is changed"
    if not plan.triggers:
        yield (
            "it has no triggers, so nothing but a critical level takes it back. Write"
            " triggers, such as {metric: error_rate, versus: baseline, worse_by: 50%}"
        )
    for trigger in plan.triggers:
        yield from _of_trigger(plan, trigger.rule)
    for stage in plan.stages:
        if not stage.validate and stage.traffic < 1:
            yield (
                f"{stage.name} has nothing to validate, and is left once its dwell is"
                " over though nobody came. Write validate: with what must be proven"
            )
        for rule in stage.validate:
            if rule.rehearsal is None:
                yield from _of_proof(plan, stage.name, rule)


def _of_trigger(plan: Plan, rule: Rule) -> Iterator[str]:
    never = _never(plan, rule)
    if never:
        yield f"trigger {rule}: it can never fire, as {never}"
    elif _has_a_way(plan, rule) and (_high if rule.higher_is_better else _low)(rule):
        good = "high" if rule.higher_is_better else "low"
        yield (
            f"trigger {rule}: {rule.metric} is well where it is {good}, and harm is"
            f" judged the other way. Write {'below' if good == 'high' else 'above'}"
        )


def _of_proof(plan: Plan, stage: str, rule: Rule) -> Iterator[str]:
    never = _never(plan, rule)
    if never:
        yield f"{stage}: {rule}: it can never hold, as {never}"
    elif _has_a_way(plan, rule) and (_low if rule.higher_is_better else _high)(rule):
        good = "high" if rule.higher_is_better else "low"
        yield (
            f"{stage}: {rule}: {rule.metric} is well where it is {good}, and that is"
            f" what is proven. Write {'at_least' if good == 'high' else 'at_most'}"
        )


def _never(plan: Plan, rule: Rule) -> str:
    """Say why no value can be as a rule has it, or ""."""
    low = rule.below is not None and rule.below <= 0
    low = low or (rule.at_most is not None and rule.at_most < 0)
    if low:
        return "nothing is below 0"
    high = rule.above is not None and rule.above >= 1
    high = high or (rule.at_least is not None and rule.at_least > 1)
    share = plan.metric(rule.metric).kind is Kind.SHARE
    return "no share is above 100 %" if share and high else ""


def _has_a_way(plan: Plan, rule: Rule) -> bool:
    """Tell a share or a time: of a count more may be as well as less."""
    return plan.metric(rule.metric).kind in {Kind.SHARE, Kind.TIME}


def _low(rule: Rule) -> bool:
    return rule.below is not None or rule.at_most is not None


def _high(rule: Rule) -> bool:
    return rule.above is not None or rule.at_least is not None
