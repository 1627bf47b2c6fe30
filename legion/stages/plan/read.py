"""A plan, read from its source; every fault in it at once."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from operator import methodcaller

import attrs

from ...exceptions import Fault, PlanError
from . import source, units
from .nouns import STEPS, RollbackSpec, Stage, Trigger
from .place import Place, read_or
from .plan import Plan, Unit
from .read_rule import shortest_deadline_s, triggers
from .read_stage import StageReader
from .vocabulary import NAME, Vocabulary, declared


_REQUIRED = {
    "plan": "the name of this rollout",
    "candidate": 'the version to roll out, such as "4.1.0"',
    "baseline": 'the version to go back to, such as "4.0.0"',
    "rollback": "how to go back, such as {to: v4.0.0-stable, within: 5m}",
    "stages": "a list of stages",
}
_KNOWN = (
    "plan",
    "candidate",
    "baseline",
    "retry_of",
    "unit",
    "false_rollback",
    "false_promotion",
    "holdback",
    "matures",
    "check_interval",
    "rollback",
    "triggers",
    "criteria",
    "metrics",
    "collect",
    "shared",
    "slices",
    "stages",
)
_ROLLBACK_S = 300.0
_EARLIER = "the name of an earlier plan, and a new one under `plan:`"
_DEFAULT = "default"
_AT_ONCE: tuple[float, Mapping[str, float]] = (0.0, {})


def plan_of_text(text: str, *, format: str, name: str) -> Plan:  # noqa: A002
    """Return the plan that *text* says."""
    try:
        node, twice = source.parse(text, format)
    except source.Refused as refused:
        raise PlanError(name, [refused.fault]) from refused
    return plan_of(node, name, twice)


def plan_of_mapping(value: Mapping[str, object], *, name: str) -> Plan:
    """Return the plan that *value* says."""
    try:
        node = source.of_mapping(value)
    except source.Refused as refused:
        raise PlanError(name, [refused.fault]) from refused
    return plan_of(node, name, [])


def plan_of(node: source.Node, name: str, faults: list[Fault]) -> Plan:
    """Return the plan, or raise one error with every fault there is."""
    place = Place(node, "", faults)
    plan = _plan(place)
    if plan is None or faults:
        in_order = sorted(faults, key=lambda fault: fault.line or 0)
        raise PlanError(name, in_order)
    return plan


def _plan(place: Place) -> Plan | None:
    if place.node.value in (None, {}):
        place.fault("at least plan, candidate, baseline, rollback and stages")
        return None
    entries = place.entries(_KNOWN, required=_REQUIRED, write="a mapping of keys")
    vocabulary = read_or(entries, "metrics", declared, Vocabulary())
    none: tuple[Trigger, ...] = ()
    found = read_or(entries, "triggers", lambda at: triggers(at, vocabulary), none)
    rollback = _rollback(entries)
    interval_s = read_or(entries, "check_interval", _time, 300.0)
    stages = StageReader(
        vocabulary, rehearsal_s=rollback.within_s, check_interval_s=interval_s
    )
    ages = read_or(entries, "matures", lambda at: _matures(at, vocabulary), _AT_ONCE)
    no_stages: tuple[Stage, ...] = ()
    ladder = read_or(entries, "stages", stages.stages, no_stages)
    no_names: tuple[str, ...] = ()
    shared = read_or(entries, "shared", vocabulary.metrics, no_names)
    if "shared" in entries:
        _refuse_compared(entries["shared"], shared, found, ladder)
    words = {
        key: read_or(entries, key, methodcaller("text", wanted), "")
        for key, wanted in list(_REQUIRED.items())[:3]
    }
    retry_of = read_or(entries, "retry_of", methodcaller("text", _EARLIER), "")
    if retry_of and retry_of == words["plan"]:
        entries["retry_of"].fault(_EARLIER)
    return Plan(
        name=words["plan"],
        candidate=words["candidate"],
        baseline=words["baseline"],
        retry_of=retry_of,
        unit=Unit(read_or(entries, "unit", lambda at: at.choice(tuple(Unit)), "task")),
        false_rollback=read_or(entries, "false_rollback", _chance, 0.01),
        false_promotion=read_or(entries, "false_promotion", _chance, 0.05),
        holdback=read_or(entries, "holdback", _held_back, 0.0),
        matures_s=ages[0],
        ages_s=ages[1],
        check_interval_s=interval_s,
        rollback=rollback,
        triggers=found,
        criteria=read_or(entries, "criteria", vocabulary.criteria, {}),
        metrics=vocabulary.own,
        collect=read_or(entries, "collect", vocabulary.metrics, ()),
        shared=shared,
        slices=read_or(entries, "slices", lambda at: _slices(at, found), ()),
        stages=ladder,
    )


def _time(place: Place) -> float | None:
    return place.read(units.duration)


def _matures(
    place: Place, vocabulary: Vocabulary
) -> tuple[float, Mapping[str, float]] | None:
    """Read one age, or ages by metric and the ``default`` of all others."""
    if not isinstance(place.node.value, Mapping):
        age_s = _any_time(place)
        return None if age_s is None else (age_s, {})
    default_s = 0.0
    ages_s: dict[str, float] = {}
    for name, entry in place.entries(write="a time, or times by metric").items():
        age_s = _any_time(entry)
        if name == _DEFAULT:
            default_s = age_s or 0.0
            continue
        key = attrs.evolve(entry, node=attrs.evolve(entry.node, value=name))
        metric = vocabulary.metric(key)
        if metric is None or age_s is None:
            continue
        if metric.name in ages_s:
            entry.fault("each metric once", given=f"{metric.name} again")
        ages_s[metric.name] = age_s
    return default_s, ages_s


def _any_time(place: Place) -> float | None:
    return place.read(lambda value: units.duration(value, zero=True))


def _chance(place: Place) -> float | None:
    chance = place.read(units.share)
    if chance is not None and not 0 < chance < 1:
        place.fault("a percentage above 0% and below 100%")
    return chance


def _held_back(place: Place) -> float | None:
    share = place.read(units.share)
    if share is not None and share > 0.5:
        place.fault("a share of at most 50%")
    return share


def _refuse_compared(
    place: Place,
    shared: Collection[str],
    rules: Iterable[Trigger],
    stages: Iterable[Stage],
) -> None:
    """Name what is compared although both arms share it: they are no arms of it."""
    asked = [trigger.rule for trigger in rules]
    asked += [rule for stage in stages for rule in stage.validate]
    compared = {rule.metric for rule in asked if rule.versus} & set(shared)
    for metric in sorted(compared):
        place.fault(
            f"a limit of its own for {metric}, or give each arm what it now shares",
            given=f"{metric}, which a rule compares with the baseline",
        )


def _slices(place: Place, rules: Collection[Trigger]) -> tuple[str, ...] | None:
    found: list[str] = []
    for item in place.items("a list of names, such as [tenant]"):
        name = item.text("a name, such as tenant")
        if name is not None and not NAME.fullmatch(name):
            item.fault("a name of letters, digits and _")
        elif name in found:
            item.fault("each name once", given=f"{name} again")
        elif name is not None:
            found.append(name)
    if found and not any(trigger.rule.versus for trigger in rules):
        place.fault(
            "a trigger with `versus: baseline`, too: it is what each slice is judged by"
        )
    return tuple(found)


def _rollback(entries: Mapping[str, Place]) -> RollbackSpec:
    shortest_s = read_or(entries, "triggers", shortest_deadline_s, units.LONGEST_S)
    if "rollback" not in entries:
        return RollbackSpec(to="")
    parts = entries["rollback"].entries(
        ("to", "within", "steps"),
        required={"to": "the snapshot to go back to, such as v4.0.0-stable"},
        write=_REQUIRED["rollback"],
    )
    within_s = read_or(parts, "within", _time, min(_ROLLBACK_S, shortest_s))
    if within_s > shortest_s:
        most = units.write_duration(shortest_s)
        parts["within"].fault(f"at most {most}, the shortest deadline of a trigger")
    return RollbackSpec(
        to=read_or(parts, "to", lambda at: at.text("the name of a snapshot"), ""),
        within_s=within_s,
        steps=read_or(parts, "steps", _steps, STEPS),
    )


def _steps(place: Place) -> tuple[str, ...] | None:
    before = len(place.faults)
    found = [item.choice(STEPS) for item in place.items("a list of steps")]
    if len(place.faults) > before:
        return None
    ordered = tuple(step for step in STEPS if step in found)
    if tuple(found) != ordered or STEPS[0] not in ordered:
        given = f"[{', '.join(str(step) for step in found)}]"
        steps = ordered if STEPS[0] in ordered else (STEPS[0], *ordered)
        place.fault(f"[{', '.join(steps)}]", given=given)
    return ordered
