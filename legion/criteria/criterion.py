"""The contract of a criterion."""

from __future__ import annotations

import math

from collections.abc import Iterable, Mapping
from typing import TypeAlias

import attrs

from ..canonical import JSON
from ..exceptions import CriterionError, MetricError
from ..hookspecs import hookimpl
from ..metrics import find
from ..model import Level, Missing, Verdict, Window
from .limits import Limits


Memory: TypeAlias = Mapping[str, JSON] | None
"""What a criterion remembers between two windows; the watchdog keeps it."""


@attrs.frozen(eq=False)
class Criterion:
    """
    A named measure with limits.

    Override `measure` to read one figure from a window, or `judge` to keep a memory, to
    set your own levels and to give your own evidence. The object never changes, so that
    one serves many hosts.

    Attributes:
        name: A Python identifier, unique among the criteria.
        warning: Value at which it is a warning, or None.
        alert: Value at which it is an alert, or None.
        critical: Value at which it is critical, or None.
        unit: Unit of value and limits, such as ``share`` or ``s``.
        min_events: Events a window holds at least before it is judged.
        metric: What is counted against `min_events`; the criterion's name by default.
        lower_is_worse: Whether a low value is the bad one.
        compares: Whether it needs a baseline, which then holds `min_events`, too.
        group: Where it stands in lists.
        summary: One line for the documentation.
    """

    name: str
    warning: float | None = attrs.field(default=None, kw_only=True)
    alert: float | None = attrs.field(default=None, kw_only=True)
    critical: float | None = attrs.field(default=None, kw_only=True)
    unit: str = attrs.field(default="", kw_only=True)
    min_events: int = attrs.field(default=1, kw_only=True)
    metric: str = attrs.field(kw_only=True)
    lower_is_worse: bool = attrs.field(default=False, kw_only=True)
    compares: bool = attrs.field(default=False, kw_only=True)
    group: str = attrs.field(default="yours", kw_only=True)
    summary: str = attrs.field(default="", kw_only=True)

    @metric.default
    def _own_name(self) -> str:
        return self.name

    def __attrs_post_init__(self) -> None:
        if not self.name.isidentifier():
            raise CriterionError(self.name, "its name must be a Python identifier")
        if isinstance(self.min_events, bool) or self.min_events < 0:
            msg = f"got min_events={self.min_events!r}; write a whole number, 0 or more"
            raise CriterionError(self.name, msg)
        fault = self.limits.fault(lower_is_worse=self.lower_is_worse)
        if fault is not None:
            raise CriterionError(self.name, fault)

    @hookimpl
    def legion_register_criteria(self) -> Iterable[Criterion]:
        """A criterion is a plugin that supplies itself."""
        return (self,)

    @property
    def limits(self) -> Limits:
        """The limits."""
        return Limits(self.warning, self.alert, self.critical)

    @property
    def stream(self) -> str:
        """Where in a window its events are."""
        try:
            return find(self.metric).stream
        except MetricError:
            return self.metric

    def events(self, window: Window) -> int:
        """
        Return how much evidence *window* holds.

        Where nothing is recorded under `metric`, a criterion that is written by hand
        reads other metrics: the busiest of them counts.
        """
        if window.measures(self.stream):
            return window.events(self.stream)
        names = {*window.counts, *window.histograms, *window.gauges}
        return max((window.events(name) for name in names), default=0)

    def measure(self, window: Window) -> float | None:
        """
        Return the figure to hold against the limits, or None without data.

        Raises:
            NotImplementedError: The subclass overrides neither this nor `judge`.
        """
        msg = f"criterion {self.name!r}: override measure(window) or judge(...)"
        raise NotImplementedError(msg)

    def judge(self, window: Window, memory: Memory) -> tuple[Verdict, Memory]:
        """
        Judge one closed window.

        Args:
            window: What was measured, with its baseline.
            memory: What this criterion returned last, or None.

        Returns:
            The verdict, and what to remember: JSON values only.
        """
        value = self.measure(window)
        if value is None:
            return self.no_level(Missing.NO_DATA, "not measured"), memory
        return self.verdict(value, window=window), memory

    def verdict(
        self,
        value: float,
        *,
        window: Window | None = None,
        level: Level | None = None,
        reason: str = "",
        evidence: Mapping[str, JSON] | None = None,
    ) -> Verdict:
        """
        Return a verdict on *value*.

        Args:
            value: The figure, in `unit`.
            window: Where it was read, for the evidence.
            level: Its level; by the limits if it is not given.
            reason: One sentence; by the limits if it is not given.
            evidence: More figures.

        Raises:
            ValueError: *value* is not a finite number.
        """
        if not math.isfinite(value):
            msg = f"criterion {self.name!r}: measured {value}; return None without data"
            raise ValueError(msg)
        if level is None:
            level = self.limits.level(value, lower_is_worse=self.lower_is_worse)
        figures: dict[str, JSON] = {}
        if window is not None:
            figures = {"events": self.events(window), "window_s": window.seconds}
        return Verdict(
            criterion=self.name,
            level=level,
            code="within_limits"
            if level is Level.OK
            else f"reached_{level.name.lower()}",
            reason=reason or self._sentence(value, level),
            value=value,
            unit=self.unit,
            limits=self.limits.as_dict(),
            evidence={**figures, **(evidence or {})},
        )

    def _sentence(self, value: float, level: Level) -> str:
        said = f"{self.name} is {spoken(value, self.unit)}"
        if level is Level.OK:
            return f"{said}, within its limits"
        limit = self.limits.as_dict().get(level.name.lower())
        sign = "<=" if self.lower_is_worse else ">="
        against = "" if limit is None else f" {sign} {spoken(limit, self.unit)}"
        return f"{said}{against}, {level.name.lower()}"

    def no_level(
        self,
        missing: Missing,
        reason: str,
        *,
        code: str | None = None,
        evidence: Mapping[str, JSON] | None = None,
    ) -> Verdict:
        """Return a verdict without a level, and why there is none."""
        return Verdict(
            criterion=self.name,
            missing=missing,
            code=code or missing.value,
            reason=f"{self.name}: {reason}",
            unit=self.unit,
            limits=self.limits.as_dict(),
            evidence=evidence or {},
        )


def spoken(value: float, unit: str) -> str:
    """Write a value for a sentence."""
    match unit:
        case "share":
            return f"{value:.3g}" if 0 < abs(value) < 0.001 else f"{value:.1%}"
        case "rise":
            return f"{value:+.0%}"
        case "count":
            return f"{value:g}"
        case "s" if 0 < value < 1:
            return f"{value * 1000:.1f} ms"
        case _:
            return f"{value:.4g} {unit}".rstrip()
