"""Rules and triggers, read from their places."""

from __future__ import annotations

import re

from collections.abc import Mapping
from functools import partial
from typing import Any

import attrs

from ...metrics import Kind, Metric
from . import units
from .nouns import Rule, Trigger
from .place import Place, one_of
from .vocabulary import Vocabulary


_LIMITS = ("equals", "below", "at_most", "above", "at_least")
_PROVES = (*_LIMITS, "margin")
_FIRES = (*_LIMITS, "worse_by", "failures_in_a_row", "longer_than", "detected")
_TESTS = tuple(dict.fromkeys((*_PROVES, *_FIRES)))
_KNOWN = (
    "metric",
    "versus",
    *_TESTS,
    "or_below",
    "stable",
    "per",
    "rehearsal",
    "within",
)
_WITHIN = re.compile(r"within\s+(.+)", re.DOTALL)
_FREE_UNITS = ("count", "number")

Entries = Mapping[str, Place]


@attrs.frozen
class RuleReader:
    """
    Reads rules.

    Attributes:
        vocabulary: The metrics that rules may name.
        fires: Whether these are triggers, rather than what a stage must prove.
        rehearsal_s: How long a rehearsed rollback may take at most.
        exposed: Whether users are exposed where these rules hold.
    """

    vocabulary: Vocabulary
    fires: bool = attrs.field(kw_only=True)
    rehearsal_s: float = attrs.field(kw_only=True, default=units.LONGEST_S)
    exposed: bool = attrs.field(kw_only=True, default=True)

    def rules(self, place: Place) -> tuple[Rule, ...]:
        """Read a list of rules."""
        found = (self.rule(item) for item in place.items("a list of rules"))
        return tuple(rule for rule in found if rule is not None)

    def rule(self, place: Place) -> Rule | None:
        """Read one rule; None where it has a fault."""
        example = "a rule such as {metric: error_rate, below: 2%}"
        if not isinstance(place.node.value, Mapping) or not place.node.value:
            place.fault(example)
            return None
        before = len(place.faults)
        if "rehearsal" in place.node.value:
            rule = self._rehearsal(place)
        else:
            rule = self._measured(place)
        return rule if len(place.faults) == before else None

    def _rehearsal(self, place: Place) -> Rule | None:
        entries = place.entries(
            ("rehearsal", "within"), required={"within": "a time such as 5m"}
        )
        if self.fires or self.exposed:
            where = "the validate of a stage with traffic 0%"
            place.fault(f"it in {where}", given="a rehearsal where users are exposed")
        name = entries["rehearsal"].choice(("rollback",))
        within_s = (
            entries["within"].read(units.duration) if "within" in entries else None
        )
        if name is None or within_s is None:
            return None
        if within_s > self.rehearsal_s:
            most = units.write_duration(self.rehearsal_s)
            entries["within"].fault(f"at most {most}, as rollback.within says")
        return Rule(rehearsal=name, within_s=within_s)

    def _measured(self, place: Place) -> Rule | None:
        entries = place.entries(_KNOWN, required={"metric": "the name of a metric"})
        if "within" in entries:
            entries["within"].fault("it above the rule, as in `within 15m:`")
        test = self._test(place, entries)
        metric = (
            self.vocabulary.metric(entries["metric"]) if "metric" in entries else None
        )
        if test is None or metric is None:
            return None
        fields = {test: self._limit(test, entries, metric)}
        fields |= self._versus(place, test, entries, metric)
        fields |= self._around(test, entries, metric)
        return Rule(
            metric=metric.name,
            given=str(entries["metric"].node.value),
            unit=metric.unit,
            higher_is_better=metric.higher_is_better,
            **fields,
        )

    def _test(self, place: Place, entries: Entries) -> str | None:
        """Return the name of the one test that the rule has."""
        known = _FIRES if self.fires else _PROVES
        found = [name for name in _TESTS if name in entries]
        if self.fires and "worse_by" in found and "margin" in found:
            found.remove("margin")  # No test of its own: what is no harm yet.
        if len(found) > 1:
            place.fault("one test; make it two rules", given=" and ".join(found))
            return None
        if not found:
            wanted = one_of(known)
            if "versus" in entries:
                wanted = "worse_by: 50%" if self.fires else "margin: 10%"
            place.fault(f"one test: {wanted}", given="a rule without a test")
            return None
        if found[0] not in known:
            entries[found[0]].fault(
                self._instead(found[0]), given=f"the test {found[0]}"
            )
            return None
        return found[0]

    def _instead(self, test: str) -> str:
        other = {
            "margin": "worse_by in a trigger",
            "worse_by": "margin in validate",
            "detected": "equals: 0 in validate",
            "longer_than": "at_most in validate",
        }
        return other.get(test, "it in a trigger")

    def _limit(self, test: str, entries: Entries, metric: Metric) -> Any:
        place = entries[test]
        match test:
            case "margin":
                return place.read(units.relative)
            case "worse_by":
                worse_by = place.read(units.relative)
                if worse_by == 0:
                    place.fault("more than 0%")
                return worse_by
            case "failures_in_a_row":
                return _in_a_row(place, entries["metric"], metric)
            case "longer_than":
                return _longer_than(place, metric)
            case "detected":
                return _detected(place, metric)
            case _:
                return place.read(partial(units.quantity, unit=metric.unit))

    def _versus(
        self, place: Place, test: str, entries: Entries, metric: Metric
    ) -> dict[str, Any]:
        compares = test in {"margin", "worse_by"}
        if not compares:
            for name in ("versus", "or_below"):
                if name in entries:
                    with_ = "worse_by" if self.fires else "margin"
                    entries[name].fault(f"it only together with {with_}")
            return {}
        if "versus" not in entries:
            place.at("versus").fault("baseline", given="nothing")
        else:
            entries["versus"].choice(("baseline",))
        if metric.kind is Kind.COUNT:
            entries[test].fault("above or below; counts of arms do not compare")
        fields: dict[str, Any] = {"versus": "baseline"}
        if test == "worse_by" and "margin" in entries:
            fields["margin"] = entries["margin"].read(units.relative)
        if "or_below" in entries:
            if metric.higher_is_better:
                entries["or_below"].fault("nothing; lower is not better here")
            reader = partial(units.quantity, unit=metric.unit)
            fields["or_below"] = entries["or_below"].read(reader)
        return fields

    def _around(self, test: str, entries: Entries, metric: Metric) -> dict[str, Any]:
        fields: dict[str, Any] = {}
        if "per" in entries:
            fields["per"] = entries["per"].choice(("day", "hour"))
            if metric.kind is not Kind.COUNT or test not in _LIMITS:
                entries["per"].fault("it only with a limit of a count")
        if "stable" in entries:
            fields["stable"] = entries["stable"].flag()
            sampled = metric.kind is Kind.GAUGE and metric.unit == "share"
            if self.fires or not sampled or test not in {"below", "at_most"}:
                write = "it in validate, with below, for a sampled share"
                entries["stable"].fault(f"{write} such as memory_usage")
        return fields


def _in_a_row(place: Place, named: Place, metric: Metric) -> int | None:
    if metric.name != "health_check":
        named.fault("health_check, whose failures are counted in a row")
    value = place.node.value
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= 1000:
        return value
    place.fault("a whole number from 1 to 1000")
    return None


def _longer_than(place: Place, metric: Metric) -> float | None:
    if metric.unit not in {"s", "h"}:
        place.fault(f"above; {metric.name} is no time")
        return None
    return place.read(partial(units.quantity, unit=metric.unit))


def _detected(place: Place, metric: Metric) -> bool | None:
    if metric.kind not in {Kind.COUNT, Kind.GAUGE}:
        place.fault(f"above; {metric.name} is nothing that is there or not")
    elif place.flag() is False:
        place.fault("true, or no rule")
    return True


def triggers(place: Place, vocabulary: Vocabulary) -> tuple[Trigger, ...]:
    """Read the triggers, those with the shortest deadline first."""
    reader = RuleReader(vocabulary, fires=True)
    found: list[Trigger] = []
    write = "triggers under `immediate:` or `within 15m:`"
    for name, entry in place.entries(write=write).items():
        within_s = _deadline(name, entry)
        rules = reader.rules(entry)
        if within_s is not None:
            found += [Trigger(rule=rule, within_s=within_s) for rule in rules]
    return tuple(sorted(found, key=lambda trigger: trigger.within_s))


def shortest_deadline_s(place: Place) -> float:
    """Return the shortest deadline that is not immediate, whatever its rules are."""
    names = place.node.value if isinstance(place.node.value, Mapping) else {}
    unheard = attrs.evolve(place, faults=[])
    deadlines = (_deadline(name, unheard) for name in names)
    return min((s for s in deadlines if s), default=units.LONGEST_S)


def _deadline(name: str, place: Place) -> float | None:
    if name == "immediate":
        return 0.0
    match = _WITHIN.fullmatch(name) if len(name) <= units.LONGEST_TEXT else None
    given = f"the key {name[:40]!r}, which is no deadline"
    if match is None:
        place.fault("immediate or `within 15m`", given=given)
        return None
    try:
        return units.duration(match[1])
    except units.UnfitError as error:
        place.fault(f"within and {error}", given=given)
        return None
