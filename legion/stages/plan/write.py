"""A plan as people write it, from which an equal plan can be read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...canonical import JSON
from ...metrics import METRICS, Kind, Metric
from .nouns import Feature, Limits, RollbackSpec, Rule, Stage, Trigger, thawed
from .units import write, write_duration, write_share


if TYPE_CHECKING:
    from .plan import Plan


def as_mapping(plan: Plan) -> dict[str, JSON]:
    """Return *plan* with the keys, and in the order, of a file."""
    known = {metric.name: metric for metric in (*METRICS.values(), *plan.metrics)}
    found: dict[str, JSON] = {
        "plan": plan.name,
        "candidate": plan.candidate,
        "baseline": plan.baseline,
        **({"retry_of": plan.retry_of} if plan.retry_of else {}),
        "unit": str(plan.unit),
        "false_rollback": write_share(plan.false_rollback),
        "false_promotion": write_share(plan.false_promotion),
        **({"holdback": write_share(plan.holdback)} if plan.holdback else {}),
        "matures": _matures(plan),
        "check_interval": write_duration(plan.check_interval_s),
        "rollback": _rollback(plan.rollback),
    }
    if plan.metrics:
        found["metrics"] = {metric.name: _metric(metric) for metric in plan.metrics}
    if plan.criteria:
        found["criteria"] = {
            name: _limits(limits, known[name]) for name, limits in plan.criteria.items()
        }
    if plan.triggers:
        found["triggers"] = _triggers(plan.triggers)
    if plan.collect:
        found["collect"] = list(plan.collect)
    if plan.shared:
        found["shared"] = list(plan.shared)
    if plan.slices:
        found["slices"] = list(plan.slices)
    found["stages"] = [_stage(stage) for stage in plan.stages]
    return found


def _matures(plan: Plan) -> JSON:
    default = write_duration(plan.matures_s)
    ages = {name: write_duration(age_s) for name, age_s in plan.ages_s.items()}
    return {"default": default, **ages} if ages else default


def _rollback(rollback: RollbackSpec) -> dict[str, JSON]:
    return {
        "to": rollback.to,
        "within": write_duration(rollback.within_s),
        "steps": list(rollback.steps),
    }


def _metric(metric: Metric) -> dict[str, JSON]:
    found: dict[str, JSON] = {
        "kind": str(metric.kind),
        "unit": metric.unit,
        "higher_is_better": metric.higher_is_better,
    }
    if metric.stream != metric.name:
        found["stream"] = metric.stream
    if metric.kind is Kind.TIME:
        found["quantile"] = write_share(metric.quantile)
    if metric.features:
        found["features"] = list(metric.features)
    if metric.summary:
        found["summary"] = metric.summary
    return found


def _limits(limits: Limits | None, metric: Metric) -> JSON:
    if limits is None:
        return False
    rise = metric.kind is Kind.TIME and metric.name in METRICS
    unit = "share" if rise else metric.unit
    return {
        level: False if limit is None else write(limit, unit)
        for level, limit in limits.items()
    }


def _triggers(triggers: tuple[Trigger, ...]) -> dict[str, JSON]:
    found: dict[str, list[JSON]] = {}
    for trigger in triggers:
        deadline = f"within {write_duration(trigger.within_s)}"
        key = deadline if trigger.within_s else "immediate"
        found.setdefault(key, []).append(_rule(trigger.rule))
    return dict(found)


def _rule(rule: Rule) -> dict[str, JSON]:
    if rule.rehearsal is not None:
        within = write_duration(rule.within_s or 0.0)
        return {"rehearsal": rule.rehearsal, "within": within}
    found: dict[str, JSON] = {"metric": rule.metric}
    if rule.versus:
        found["versus"] = rule.versus
    for name, limit, unit in (
        ("equals", rule.equals, rule.unit),
        ("below", rule.below, rule.unit),
        ("at_most", rule.at_most, rule.unit),
        ("above", rule.above, rule.unit),
        ("at_least", rule.at_least, rule.unit),
        ("margin", rule.margin, "share"),
        ("worse_by", rule.worse_by, "share"),
        ("or_below", rule.or_below, rule.unit),
        ("longer_than", rule.longer_than, rule.unit),
    ):
        if limit is not None:
            found[name] = write(limit, unit)
    if rule.failures_in_a_row is not None:
        found["failures_in_a_row"] = rule.failures_in_a_row
    for name, flag in (("detected", rule.detected), ("stable", rule.stable)):
        if flag:
            found[name] = True
    if rule.per is not None:
        found["per"] = rule.per
    return found


def _stage(stage: Stage) -> dict[str, JSON]:
    found: dict[str, JSON] = {
        "name": stage.name,
        "traffic": write_share(stage.traffic),
        "mirror": write_share(stage.mirror),
    }
    if stage.dwell_s is not None:
        found["dwell"] = write_duration(stage.dwell_s)
    features = {**stage.features, **stage.host}
    if features:
        found["features"] = {name: _feature(one) for name, one in features.items()}
    if stage.harm_budget is not None:
        found["harm_budget"] = stage.harm_budget
    if stage.validate:
        found["validate"] = [_rule(rule) for rule in stage.validate]
    if stage.unbroken_for_s is not None:
        found["success"] = {"unbroken_for": write_duration(stage.unbroken_for_s)}
    return found


def _feature(feature: Feature) -> dict[str, JSON]:
    settings = {name: thawed(value) for name, value in feature.settings.items()}
    return {"enabled": feature.enabled, **settings}
