"""The traffic that a plan meets."""

from __future__ import annotations

import math

from collections.abc import Mapping
from statistics import NormalDist
from types import MappingProxyType

import attrs

from ..exceptions import LegionError
from ..metrics import Kind, Metric
from ..stages.plan import Stage
from ..stats import Side
from .question import Method, Question


OCCASIONAL = frozenset(
    {
        "auto_improvement_success",
        "patch_rollback_rate",
        "self_healing_success",
        "self_improvement_failure_rate",
    }
)
"""Shares of things that happen now and then, and not with every unit."""

BAD_RATE = 0.01
"""Share of bad units where nothing else is said."""

_NORMAL = NormalDist()
_MOST = 1e9


class WorkloadError(LegionError):
    """Traffic that cannot be, or a fault or a scenario that does not fit the plan."""


def _rates(value: Mapping[str, float]) -> Mapping[str, float]:
    return MappingProxyType(dict(value))


@attrs.frozen(kw_only=True)
class Workload:
    """
    How much comes, and how much of it goes wrong while nothing is wrong.

    Attributes:
        traffic_per_s: Units of both arms a second, above 0.
        rates: Share of bad units by metric, inside 0..1; of a metric whose higher
            values are better that is what is missing to 1.
        repeats: Share of the requests that repeat an earlier one exactly, or None
            where nobody knows.
        spread: Standard deviation of the logarithm of a latency: lognormal times.
        occasional_per_hour: Proposals, patches or healings an hour.
        edges: Share of bad units by metric where nobody told it, or how slow control
            is, and all that is asked is whether it is beyond a limit: at that limit.
    """

    traffic_per_s: float
    rates: Mapping[str, float] = attrs.field(factory=dict, converter=_rates)
    repeats: float | None = None
    spread: float = 0.5
    occasional_per_hour: float = 12.0
    edges: Mapping[str, float] = attrs.field(factory=dict, converter=_rates)

    def __attrs_post_init__(self) -> None:
        for name, value in (
            ("traffic_per_s", self.traffic_per_s),
            ("spread", self.spread),
            ("occasional_per_hour", self.occasional_per_hour),
        ):
            if not 0 < value <= _MOST:
                msg = f"{name}: got {value}; write a number above 0, at most {_MOST:g}"
                raise WorkloadError(msg)
        for name, rate in self.rates.items():
            if not 0 < rate < 1:
                msg = (
                    f"{name}: got a bad rate of {rate}; write a share above 0, below 1"
                )
                raise WorkloadError(msg)
        if self.repeats is not None and not 0 <= self.repeats <= 1:
            msg = f"repeats: got {self.repeats}; write a share 0..1"
            raise WorkloadError(msg)

    @classmethod
    def of(
        cls,
        traffic_per_s: float,
        *,
        bad_rate: float | Mapping[str, float] | None = None,
        repeats: float | None = None,
    ) -> Workload:
        """Return the traffic; one *bad_rate* alone is that of ``error_rate``."""
        if isinstance(bad_rate, int | float):
            bad_rate = {"error_rate": bad_rate}
        return cls(traffic_per_s=traffic_per_s, rates=bad_rate or {}, repeats=repeats)

    def also(self, rates: Mapping[str, float]) -> Workload:
        """Return the same, with the rates of metrics of which nothing is told yet."""
        return attrs.evolve(self, rates={**rates, **self.rates})

    def bad_rate(self, metric: Metric) -> float | None:
        """Return control's share of bad units, or None where nobody knows it."""
        if metric.name in self.rates:
            return self.rates[metric.name]
        if metric.kind is Kind.TIME:
            return 1 - metric.quantile if 0 < metric.quantile < 1 else None
        return None if metric.higher_is_better else BAD_RATE

    def draws(self, question: Question) -> bool:
        """Return whether it is known what to draw for a question."""
        if question.method is Method.ROW:
            return False
        if question.side is Side.HARM and question.metric.name in self.edges:
            return True
        absolute = question.time and question.absolute
        return not absolute and self.bad_rate(question.metric) is not None

    def rate(self, metric: Metric) -> float:
        """Return what is drawn, of a metric of which there is something to draw."""
        found = self.edges.get(metric.name, self.bad_rate(metric))
        assert found is not None
        return found

    def times(self, effect: float, metric: Metric, *, slower: float = 0.0) -> float:
        """
        Return how many times as many units are bad where the candidate is worse.

        Args:
            effect: 5 is five times as many bad units, or five times as slow.
            metric: Of what.
            slower: d, the share that the candidate may be slower.
        """
        if metric.kind is not Kind.TIME:
            return effect
        beyond = 1 - metric.quantile
        z = _NORMAL.inv_cdf(metric.quantile)
        z += (math.log1p(slower) - math.log(effect)) / self.spread
        return (1 - _NORMAL.cdf(z)) / beyond

    def seen_per_s(self, metric: Metric, stage: Stage) -> float:
        """Return how many of the candidate's opportunities a second there are."""
        if metric.name in OCCASIONAL:
            return self.occasional_per_hour / 3600
        if metric.source == "watchdog":
            return 1 / stage.check_interval_s
        return self.traffic_per_s * (stage.traffic or stage.mirror)
