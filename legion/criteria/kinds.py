"""The four kinds that criteria are made from."""

from __future__ import annotations

import functools

from typing import Literal, TypeAlias

import attrs

from ..exceptions import CriterionError
from ..metrics import Kind, Metric
from ..model import Missing, Verdict, Window
from .contract import Criterion, Memory, spoken


Of: TypeAlias = Literal["share", "count", "gauge", "mean", "p50", "p95", "p99"]
"""Which figure of a metric is meant."""

_READ = {
    "share": (Kind.SHARE, 0.0),
    "count": (Kind.COUNT, 0.0),
    "gauge": (Kind.GAUGE, 0.0),
    "p50": (Kind.TIME, 0.50),
    "p95": (Kind.TIME, 0.95),
    "p99": (Kind.TIME, 0.99),
}
_UNITS = {"share": "share", "count": "count"}


@functools.cache
def _figure(stream: str, of: Of) -> Metric:
    """Return the metric that reads this figure, as the table's entries do."""
    kind, quantile = _READ[of]
    return Metric(name=stream, kind=kind, unit="", stream=stream, quantile=quantile)


@attrs.frozen(eq=False)
class Measured(Criterion):
    """
    A criterion on one figure of one metric; write one of the kinds made from it.

    Attributes:
        of: Which figure it is.
    """

    of: Of = attrs.field(default="share", kw_only=True)
    unit: str = attrs.field(kw_only=True)

    @unit.default
    def _unit_of(self) -> str:
        return _UNITS.get(self.of, "")

    @of.validator
    def _known(self, _: object, of: str) -> None:
        if of not in {*_READ, "mean"}:
            msg = f"got of={of!r}; write share, count, gauge, mean, p50, p95 or p99"
            raise CriterionError(str(self.name), msg)

    def read(self, window: Window) -> float | None:
        """Return the figure, or None where it was not measured."""
        if self.of == "mean":
            return window.mean(self.stream)
        return _figure(self.stream, self.of).read(window)

    def measure(self, window: Window) -> float | None:
        """Return what is held against the limits."""
        return self.read(window)


@attrs.frozen(eq=False)
class Ceiling(Measured):
    """
    A figure that must not get too high.

        Ceiling("toxicity", of="share", warning=.01, critical=.05, min_events=100)

    .. versionadded:: 0.1
    """


@attrs.frozen(eq=False)
class Floor(Measured):
    """
    A figure that must not get too low.

        Floor("answered", of="share", warning=.95, alert=.90, min_events=100)

    .. versionadded:: 0.1
    """

    lower_is_worse: bool = attrs.field(default=True, init=False)


@attrs.frozen(eq=False)
class Rise(Measured):
    """
    A figure that must not rise too far over the baseline's.

        Rise("tokens", of="mean", warning=.2, alert=.5, min_events=100)

    Limits are relative: 0.5 is half as much again. The baseline must hold `min_events`,
    too. Without a baseline there is no level, and none either where the baseline's
    figure is not above 0: no rise can be told from there.

    .. versionadded:: 0.1
    """

    of: Of = attrs.field(default="p95", kw_only=True)
    unit: str = attrs.field(default="rise", kw_only=True)
    compares: bool = attrs.field(default=True, init=False)

    def measure(self, window: Window) -> float | None:
        """Return the rise over the baseline."""
        return _rise(*self._both(window))

    def judge(self, window: Window, memory: Memory) -> tuple[Verdict, Memory]:
        """Judge the rise, and say from what to what."""
        value, base = self._both(window)
        rise = _rise(value, base)
        if value is None or base is None or rise is None or window.baseline is None:
            code, why = _why_not(value, base)
            return self.no_level(Missing.NO_DATA, why, code=code), memory
        unit = "s" if self.stream == "latency" else ""
        level = self.limits.level(rise, lower_is_worse=self.lower_is_worse)
        figures = f"({spoken(base, unit)} to {spoken(value, unit)})"
        verdict = self.verdict(
            rise,
            window=window,
            level=level,
            reason=f"{self.sentence(rise, level)} {figures}",
            evidence={
                "figure": self.of,
                "measured": value,
                "baseline": base,
                "baseline_events": self.events(window.baseline),
            },
        )
        return verdict, memory

    def _both(self, window: Window) -> tuple[float | None, float | None]:
        base = None if window.baseline is None else self.read(window.baseline)
        return self.read(window), base


def _rise(value: float | None, base: float | None) -> float | None:
    return None if value is None or base is None or base <= 0 else value / base - 1


def _why_not(value: float | None, base: float | None) -> tuple[str, str]:
    if value is None:
        return "no_data", "not measured"
    if base is None:
        return "no_baseline", "there is no baseline to compare with"
    return "no_baseline", "the baseline's figure is not above 0"


@attrs.frozen(eq=False)
class Never(Measured):
    """
    A count that must stay 0: the first one is critical.

        Never("refunds_twice")

    A counter that nobody supplies has no level: it is not known to be 0.

    .. versionadded:: 0.1
    """

    of: Of = attrs.field(default="count", init=False)
    unit: str = attrs.field(default="count", init=False)
    critical: float | None = attrs.field(default=1.0, kw_only=True)
