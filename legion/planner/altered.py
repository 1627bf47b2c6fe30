"""Another plan, told by what it does otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from ..canonical import JSON
from ..exceptions import LegionError
from ..metrics import find
from ..stages import Plan


WITHOUT = "without"
"""Stands for a key of the plan: metrics that no rule of the other plan asks about."""

_SEEN = ("plan", "candidate", "baseline", "retry_of", "unit", "matures", "metrics")
"""What was observed depends on these; under others other things would have been."""


def altered(plan: Plan, changes: Mapping[str, JSON]) -> Plan:
    """
    Return *plan* with some of its keys changed.

    Args:
        plan: The plan.
        changes: By key, the value as people write it. A dot leads further in, and into
            the stage of a name: ``stages.canary.dwell``. ``without`` takes a metric, or
            several with commas, out of the triggers, the targets and the criteria.

    Raises:
        LegionError: A key is none, or what was observed depends on it.
        PlanError: The other plan has faults; all of them.
    """
    raw = cast("dict[str, Any]", plan.to_dict())
    for key, value in changes.items():
        if key == WITHOUT:
            for name in str(value).split(","):
                _leave_out(raw, find(name.strip(), plan.metrics).name, plan)
        else:
            _set(raw, key, value)
    other = Plan.from_dict(raw)
    _refuse_other_looks(plan, other)
    return other


def _set(raw: dict[str, Any], key: str, value: JSON) -> None:
    *path, last = key.split(".")
    if (path or [last])[0] in _SEEN:
        msg = f"{key}: what was observed depends on it; roll that plan out, or simulate"
        raise LegionError(msg)
    place: Any = raw
    for name in path:
        if isinstance(place, list):
            place = {str(each["name"]): each for each in place}
        elif name not in place:
            place[name] = {}
        if not isinstance(place.get(name), dict | list):
            msg = f"{key}: got {name!r}; write one of {', '.join(map(str, place))}"
            raise LegionError(msg)
        place = place[name]
    if not isinstance(place, dict):
        msg = f"{key}: got no key of a stage; write stages.NAME.KEY, as stages.canary.dwell"
        raise LegionError(msg)
    if last == "dwell" and place.get("success") == {"unbroken_for": place.get(last)}:
        del place["success"]  # It was no more than the dwell, and still is.
    place[last] = value


def _leave_out(raw: dict[str, Any], metric: str, plan: Plan) -> None:
    def asks(rule: Mapping[str, JSON]) -> bool:
        named = rule.get("metric")
        return named is not None and find(str(named), plan.metrics).name == metric

    triggers = raw.get("triggers", {})
    for deadline, rules in list(triggers.items()):
        triggers[deadline] = [rule for rule in rules if not asks(rule)]
        if not triggers[deadline]:
            del triggers[deadline]
    if not triggers:
        raw.pop("triggers", None)
    for stage in raw["stages"]:
        kept = [rule for rule in stage.get("validate", ()) if not asks(rule)]
        stage.pop("validate", None)
        if kept:
            stage["validate"] = kept
    raw.setdefault("criteria", {})[metric] = "off"


def _refuse_other_looks(plan: Plan, other: Plan) -> None:
    if unseen := [name for name in other.slices if name not in plan.slices]:
        there = ", ".join(plan.slices) or "none"
        msg = (
            f"slices: units were not told apart by {', '.join(unseen)} when they were"
            f" seen; write some of those that were: {there}"
        )
        raise LegionError(msg)
    looks = {stage.name: stage.check_interval_s for stage in plan.stages}
    for stage in other.stages:
        if looks.get(stage.name, stage.check_interval_s) != stage.check_interval_s:
            msg = (
                f"check_interval: {stage.name} was looked at every"
                f" {looks[stage.name]:g} s, and what would have been seen at other"
                " times is not recorded; leave it"
            )
            raise LegionError(msg)
