"""What a plan is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TypeAlias

import attrs

from ...canonical import JSON
from .units import spoken


Limits: TypeAlias = Mapping[str, float | None]
"""Other limits of a criterion, by level name; None takes one away."""

STEPS = ("route_to_baseline", "restore_registry", "deactivate_features", "validate")
"""The steps of a rollback, in the order in which they make sense."""

WATCHDOG = "watchdog_v4_1"
HOST = (WATCHDOG, "safety_gates_v4_1")
"""Features that set the judge: they hold for the host, never for a candidate."""


def frozen(value: JSON) -> JSON:
    """Return *value* with mappings that cannot be written to, and tuples for lists."""
    if isinstance(value, Mapping):
        return MappingProxyType({key: frozen(item) for key, item in value.items()})
    if isinstance(value, Sequence) and not isinstance(value, str):
        return tuple(frozen(item) for item in value)
    return value


def thawed(value: JSON) -> JSON:
    """Return *value* as plain dictionaries and lists."""
    if isinstance(value, Mapping):
        return {key: thawed(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [thawed(item) for item in value]
    return value


def _settings(value: Mapping[str, JSON]) -> Mapping[str, JSON]:
    return MappingProxyType({key: frozen(item) for key, item in value.items()})


def _same(value: Mapping[str, Feature]) -> Mapping[str, Feature]:
    return MappingProxyType(dict(value))


@attrs.frozen(kw_only=True)
class Feature:
    """
    A feature as one arm has it.

    Attributes:
        enabled: Whether it is on.
        settings: Its parameters.
    """

    enabled: bool
    settings: Mapping[str, JSON] = attrs.field(factory=dict, converter=_settings)


@attrs.frozen(kw_only=True)
class Rule:
    """
    One thing that must hold (in ``validate``) or must not happen (in ``triggers``).

    It has one test; the others are None. Numbers are in the metric's canonical unit:
    shares 0..1, seconds, MB an hour, hours, counts. ``str(rule)`` is a sentence.

    Attributes:
        metric: Canonical name, or "" for a rehearsal.
        given: The name as the plan has it.
        unit: Unit of the metric.
        higher_is_better: Which way the metric is worse.
        equals: The value is this.
        below: The value is smaller.
        at_most: The value is this or smaller.
        above: The value is larger.
        at_least: The value is this or larger.
        versus: "baseline" where the two arms are compared, else "".
        margin: Share of the baseline by which the candidate may be worse; in a
            trigger what is no harm yet, by default the promotion's.
        worse_by: Share of the baseline by which it is worse when a trigger fires.
        or_below: A value below this is well whatever the baseline has.
        failures_in_a_row: So many unhealthy checks, one after the other.
        longer_than: It lasts longer, in seconds.
        detected: It was seen at all.
        stable: The value must not wander either.
        per: "day" or "hour" where a count is a rate, else None.
        rehearsal: "rollback" where that is to be rehearsed, else None.
        within_s: How long the rehearsal may take, in seconds of machine time.
    """

    metric: str = ""
    given: str = attrs.field(eq=False)
    unit: str = ""
    higher_is_better: bool = False
    equals: float | None = None
    below: float | None = None
    at_most: float | None = None
    above: float | None = None
    at_least: float | None = None
    versus: str = ""
    margin: float | None = None
    worse_by: float | None = None
    or_below: float | None = None
    failures_in_a_row: int | None = None
    longer_than: float | None = None
    detected: bool = False
    stable: bool = False
    per: str | None = None
    rehearsal: str | None = None
    within_s: float | None = None

    @given.default
    def _canonical(self) -> str:
        return self.metric

    def __str__(self) -> str:
        if self.rehearsal is not None:
            within = spoken(self.within_s or 0.0, "s")
            return f"{self.rehearsal} rehearsed within {within}"
        said = f"{self.metric} {self._test()}"
        if self.per is not None:
            said += f" per {self.per}"
        if self.or_below is not None:
            link = "and not" if self.worse_by is not None else "or"
            said += f", {link} below {spoken(self.or_below, self.unit)}"
        return f"{said}, and stable" if self.stable else said

    def _against_baseline(self) -> str:
        side = "below" if self.higher_is_better else "above"
        if self.worse_by is None:
            return f"at most {spoken(self.margin or 0.0, 'share')} {side} baseline"
        said = f"more than {spoken(self.worse_by, 'share')} {side} baseline"
        if self.margin is None:
            return said
        return f"{said}, with a margin of {spoken(self.margin, 'share')}"

    def _test(self) -> str:
        for name, limit in (
            ("equals", self.equals),
            ("below", self.below),
            ("at most", self.at_most),
            ("above", self.above),
            ("at least", self.at_least),
        ):
            if limit is not None:
                return f"{name} {spoken(limit, self.unit)}"
        if self.versus:
            return self._against_baseline()
        if self.failures_in_a_row is not None:
            return f"failed {self.failures_in_a_row} times in a row"
        if self.longer_than is not None:
            return f"longer than {spoken(self.longer_than, 's')}"
        return "detected"


@attrs.frozen(kw_only=True)
class Trigger:
    """
    What takes the rollout back.

    Attributes:
        rule: When it fires.
        within_s: How long it may take from the verdict to the verified rollback, in
            seconds of machine time; 0 is at once.
    """

    rule: Rule
    within_s: float = 0.0


@attrs.frozen(kw_only=True)
class RollbackSpec:
    """
    How the rollout goes back.

    Attributes:
        to: Name of the snapshot that is restored.
        within_s: How long that may take, in seconds of machine time.
        steps: What is done, in order.
    """

    to: str
    within_s: float = 300.0
    steps: tuple[str, ...] = STEPS


@attrs.frozen(kw_only=True)
class Stage:
    """
    One rung of the ladder.

    Attributes:
        name: Its name, once in a plan.
        traffic: Share of the units that get the candidate, 0..1.
        mirror: Share of the other units whose requests the candidate sees too, 0..1.
        dwell_s: Plan time to stay at least; None where only the last stage has none.
        features: The candidate's features.
        host: Features that set the judge; they are no part of the candidate.
        check_interval_s: Plan time between two looks.
        validate: What must hold before the next stage.
        harm_budget: Excess of bad units over what control's rate lets expect, from
            which on the ladder stops even without proof; None for no such limit.
        unbroken_for_s: Plan time without an unhealthy check, or None.
    """

    name: str
    traffic: float
    mirror: float = 0.0
    dwell_s: float | None = None
    features: Mapping[str, Feature] = attrs.field(factory=dict, converter=_same)
    host: Mapping[str, Feature] = attrs.field(factory=dict, converter=_same)
    check_interval_s: float = 300.0
    validate: tuple[Rule, ...] = ()
    harm_budget: int | None = None
    unbroken_for_s: float | None = None

    @property
    def shadow(self) -> bool:
        """Whether the candidate sees requests and no user sees the candidate."""
        return self.traffic == 0 and self.mirror > 0

    @property
    def rolls_back_on_critical(self) -> bool:
        """Whether a critical verdict takes the stage back; it does unless said so."""
        judge = self.host.get(WATCHDOG)
        return judge is None or bool(judge.settings.get("rollback_on_critical", True))

    @property
    def enabled(self) -> frozenset[str]:
        """Names of the features that are on, the judge's own among them."""
        both = {**self.features, **self.host}
        return frozenset(name for name, feature in both.items() if feature.enabled)
