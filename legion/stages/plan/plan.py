"""The plan of a rollout: who gets what, what must hold, and what takes it back."""

from __future__ import annotations

import enum
import os

from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

import attrs

from ... import canonical
from ...canonical import JSON
from ...exceptions import Fault, PlanError
from ...metrics import METRICS, Metric, find
from .nouns import Limits, RollbackSpec, Stage, Trigger
from .write import as_mapping


_FORMATS = {".yaml": "yaml", ".yml": "yaml", ".toml": "toml"}


class Unit(enum.StrEnum):
    """What is given one arm or the other; all but a task keep theirs."""

    TASK = "task"
    SESSION = "session"
    USER = "user"


def _criteria(value: Mapping[str, Limits | None]) -> Mapping[str, Limits | None]:
    return MappingProxyType(
        {
            name: None if limits is None else MappingProxyType(dict(limits))
            for name, limits in value.items()
        }
    )


def _ages(value: Mapping[str, float]) -> Mapping[str, float]:
    return MappingProxyType(dict(value))


@attrs.frozen(kw_only=True)
class Plan:
    """
    How one change is rolled out, judged and taken back.

    Make it with `load`, `from_text` or `from_dict`: they find every fault. The
    constructor checks nothing.

    Attributes:
        name: Name of the rollout; units are drawn by it.
        candidate: Version that is rolled out.
        baseline: Version it is compared with.
        retry_of: Name of the rollout that this one tries again, or "".
        unit: What is randomised: ``task``, ``session`` or ``user``.
        false_rollback: Chance over the whole rollout of going back for nothing, 0..1.
        false_promotion: Chance of taking a rule for proven that does not hold, 0..1.
        holdback: Share of the units that keep the control in every stage, 0..1.
        matures_s: Age at which outcomes are compared, in seconds; unfinished is bad.
        ages_s: The same by metric, where one has an age of its own.
        check_interval_s: Plan time between two looks where a stage says nothing.
        rollback: How it goes back.
        triggers: What takes it back, shortest deadline first.
        criteria: Limits in place of some of a criterion's own, or None where it is off.
        metrics: Metrics that the plan declares.
        collect: Metrics to record beside those that are judged.
        shared: Metrics of what both arms share, such as a cache; they are not compared.
        slices: What units are told apart by, such as ``tenant``: each value of it is
            judged on its own, too.
        stages: The ladder, smallest share first.
        digest: SHA-256 of the plan in canonical form: the same for equal plans.
    """

    name: str
    candidate: str
    baseline: str
    retry_of: str = ""
    unit: Unit = Unit.TASK
    false_rollback: float = 0.01
    false_promotion: float = 0.05
    holdback: float = 0.0
    matures_s: float = 0.0
    ages_s: Mapping[str, float] = attrs.field(factory=dict, converter=_ages)
    check_interval_s: float = 300.0
    rollback: RollbackSpec
    triggers: tuple[Trigger, ...] = ()
    criteria: Mapping[str, Limits | None] = attrs.field(
        factory=dict, converter=_criteria
    )
    metrics: tuple[Metric, ...] = ()
    collect: tuple[str, ...] = ()
    shared: tuple[str, ...] = ()
    slices: tuple[str, ...] = ()
    stages: tuple[Stage, ...]
    digest: str = attrs.field(init=False, eq=False, repr=False)

    @digest.default
    def _digest(self) -> str:
        return canonical.digest({"noun": "Plan", **self.to_dict()})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Plan:
        """
        Read a plan from a .yaml, .yml or .toml file.

        Raises:
            PlanError: The file cannot be read, or the plan has faults; all of them.
        """
        from .source import Refused, read_file

        where = Path(path)
        name = str(path)
        if where.is_dir():
            given, write = f"{name}, a directory", "the path of the plan's file in it"
            raise PlanError(name, [Fault(key="plan", given=given, write=write)])
        format = _FORMATS.get(where.suffix.lower())  # noqa: A001 - the users' word
        if format is None:
            given = where.suffix or f"{where.name}, which has no suffix"
            write = "a file that ends in .yaml, .yml or .toml"
            raise PlanError(name, [Fault(key="plan", given=given, write=write)])
        try:
            text = read_file(where)
        except Refused as refused:
            raise PlanError(name, [refused.fault]) from refused
        return cls.from_text(text, format=format, source=name)

    @classmethod
    def from_text(
        cls,
        text: str,
        *,
        format: str = "yaml",  # noqa: A002 - what users call it
        source: str = "<text>",
    ) -> Plan:
        """
        Read a plan from YAML or TOML.

        Args:
            text: The plan.
            format: ``yaml`` or ``toml``.
            source: Where the text comes from, for the error.

        Raises:
            PlanError: The plan has faults; all of them.
        """
        from .read import plan_of_text

        return plan_of_text(text, format=format, name=source)

    @classmethod
    def from_dict(cls, value: Mapping[str, object]) -> Plan:
        """
        Read a plan from a mapping with the keys of the file.

        Raises:
            PlanError: The plan has faults; all of them.
        """
        from .read import plan_of_mapping

        return plan_of_mapping(value, name="<dict>")

    def to_dict(self) -> dict[str, JSON]:
        """Return the plan as people write it; `from_dict` reads back an equal one."""
        return as_mapping(self)

    def __reduce__(
        self,
    ) -> tuple[Callable[[Mapping[str, object]], Plan], tuple[Mapping[str, JSON]]]:
        return Plan.from_dict, (self.to_dict(),)

    def index(self, name: str) -> int:
        """
        Return which rung of the ladder a stage is, counted from 0.

        Raises:
            KeyError: There is no such stage; the message names those there are.
        """
        for index, stage in enumerate(self.stages):
            if stage.name == name:
                return index
        there = ", ".join(stage.name for stage in self.stages)
        msg = f"plan {self.name!r}: got the stage {name!r}; write one of {there}"
        raise KeyError(msg)

    def stage(self, name: str) -> Stage:
        """
        Return the stage of that name.

        Raises:
            KeyError: There is none; the message names those there are.
        """
        return self.stages[self.index(name)]

    def share(self, stage: Stage) -> float:
        """Return the share of the units that get the candidate in *stage*, 0..1."""
        return min(stage.traffic, 1 - self.holdback)

    def matures(self, metric: str) -> float:
        """Return the age at which outcomes of *metric* are compared, in seconds."""
        return self.ages_s.get(metric, self.matures_s)

    @property
    def longest_s(self) -> float:
        """The age at which every outcome has been compared, in seconds."""
        return max(self.matures_s, *self.ages_s.values(), 0.0)

    def margin(self, metric: str, stage: Stage) -> float:
        """
        Return by which share *metric* may be worse in *stage* without being harm.

        It is what a trigger on it says, else the promotion's margin there, else the
        largest margin by which another stage promotes it: what may go forward is not
        taken back.
        """
        said = [
            trigger.rule.margin
            for trigger in self.triggers
            if trigger.rule.metric == metric and trigger.rule.margin is not None
        ]
        for rules in (stage.validate, *(other.validate for other in self.stages)):
            if not said:
                said = [
                    rule.margin
                    for rule in rules
                    if rule.metric == metric and rule.margin is not None
                ]
        return max(said, default=0.0)

    def metric(self, name: str) -> Metric:
        """
        Return the metric that *name* means, of the plan's own or of the table.

        Raises:
            MetricError: There is none; the message names the nearest.
        """
        return find(name, self.metrics)

    def metrics_of(self, stage: Stage) -> tuple[str, ...]:
        """Return the metrics that the triggers and the stage's validate name."""
        return _once([*_proven(stage), *self._triggered()])

    def requires(self, stage: Stage, criteria: Collection[str]) -> tuple[str, ...]:
        """
        Return the metrics without whose evidence *stage* may not be left.

        They are what its validate names; what the triggers name, unless a feature
        brings it that is off here; and the criteria that its enabled features bring.

        Args:
            stage: A stage of this plan.
            criteria: Names of the criteria in force.
        """
        triggered = (name for name in self._triggered() if self._applies(name, stage))
        return _once([*_proven(stage), *triggered, *self._brought(stage, criteria)])

    def not_applicable(
        self, stage: Stage, criteria: Collection[str]
    ) -> tuple[str, ...]:
        """Return the criteria and triggers' metrics that *stage* does not require."""
        required = self.requires(stage, criteria)
        named = [*self._triggered(), *sorted(criteria)]
        return _once(name for name in named if name not in required)

    def _triggered(self) -> Iterable[str]:
        return (trigger.rule.metric for trigger in self.triggers)

    def _applies(self, name: str, stage: Stage) -> bool:
        features = self.metric(name).features
        return not features or not stage.enabled.isdisjoint(features)

    def _brought(self, stage: Stage, criteria: Collection[str]) -> Iterable[str]:
        known = {**METRICS, **{metric.name: metric for metric in self.metrics}}
        for name, metric in known.items():
            off = name in self.criteria and self.criteria[name] is None
            judged = name in criteria and not off
            if judged and not stage.enabled.isdisjoint(metric.features):
                yield name


def _proven(stage: Stage) -> Iterable[str]:
    return (rule.metric for rule in stage.validate if rule.rehearsal is None)


def _once(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))
