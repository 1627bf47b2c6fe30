"""Made-up traffic: figures that are well by every rule of a plan, and faults."""

from __future__ import annotations

import math

from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

from ..criteria import Criterion
from ..exceptions import MetricError
from ..metrics import Kind, Metric, find
from ..model import Level
from ..stages import Plan, Rule, Stage


Fault: TypeAlias = Callable[[float], float]
"""A healthy figure into the one the candidate has."""


def fault_of(metric: Metric, given: str | float) -> Fault:
    """
    Read a fault.

    Raises:
        ValueError: It is neither a factor, a change nor a possible figure.
    """
    write = f'feed: got {metric.name}={given!r}; write "3x", "+50%" or '
    if isinstance(given, int | float) and not isinstance(given, bool):
        fixed = float(given)
        if not _possible(metric, fixed):
            what = "a share of 0 to 1" if metric.kind is Kind.SHARE else "0 or more"
            raise ValueError(write + what)
        return lambda _: fixed
    factor = _factor(str(given).strip())
    if factor is None or not 0 <= factor < math.inf:
        raise ValueError(write + "a number")
    most = 1.0 if metric.unit == "share" else math.inf
    return lambda value: min(value * factor, most)


def _factor(text: str) -> float | None:
    try:
        if text.endswith("x"):
            return float(text[:-1])
        if text.endswith("%") and text[:1] in {"+", "-"}:
            return 1 + float(text[:-1]) / 100
    except ValueError:
        return None
    return None


def _possible(metric: Metric, value: float) -> bool:
    most = 1.0 if metric.kind is Kind.SHARE else math.inf
    return math.isfinite(value) and 0 <= value <= most


def metrics_of(plan: Plan, criteria: Mapping[str, Criterion]) -> list[Metric]:
    """Return the metrics that the plan or a criterion speaks of."""
    names = dict.fromkeys(
        [
            *criteria,
            *(trigger.rule.metric for trigger in plan.triggers),
            *(rule.metric for stage in plan.stages for rule in stage.validate),
        ]
    )
    found = {}
    for name in names:
        try:
            metric = find(name, plan.metrics)
        except MetricError:  # A criterion of yours that reads what your plugins supply.
            continue
        found[metric.name] = metric
    return list(found.values())


def healthy(
    metric: Metric, plan: Plan, criterion: Criterion | None, stage: Stage
) -> float:
    """Return a value that is well by every rule of the plan and by the criterion."""
    value = {
        Kind.SHARE: 0.95 if metric.higher_is_better else 0.01,
        Kind.TIME: 0.05,
        Kind.GAUGE: _level(metric),
        Kind.COUNT: 0.0,
    }[metric.kind]
    if criterion is not None and not criterion.compares:
        for level, limit in criterion.limits:
            if level is Level.WARNING or value != 0:
                value = (
                    max(value, min(1.0, limit * 1.05))
                    if criterion.lower_is_worse
                    else min(value, limit * 0.5)
                )
    for rule in _rules(plan, metric.name):
        value = _within(rule, value, metric, stage)
    return value


def _level(metric: Metric) -> float:
    if metric.unit != "share":
        return 0.0
    return 0.9 if metric.higher_is_better else 0.3


def _rules(plan: Plan, metric: str) -> Iterator[Rule]:
    for stage in plan.stages:
        for rule in stage.validate:
            if rule.metric == metric:
                yield rule


def _within(rule: Rule, value: float, metric: Metric, stage: Stage) -> float:
    upper = rule.below if rule.below is not None else rule.at_most
    if upper is not None:
        value = min(value, upper * 0.6)
    if rule.at_least is not None and rule.per is not None:
        period_s = {"day": 86_400.0, "hour": 3_600.0}[rule.per]
        return max(value, rule.at_least * 1.5 * stage.check_interval_s / period_s)
    if rule.at_least is not None:
        more = rule.at_least + (1 - rule.at_least) / 2
        counted = metric.kind in {Kind.COUNT, Kind.TIME}
        value = max(value, rule.at_least * 1.5 if counted else min(1.0, more))
    return rule.equals if rule.equals is not None else value
