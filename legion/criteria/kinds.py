"""The four kinds that criteria are made from."""

from __future__ import annotations

from typing import Literal, TypeAlias

import attrs

from ..exceptions import CriterionError
from ..model import Window
from .criterion import Criterion


Of: TypeAlias = Literal["share", "count", "gauge", "mean", "p50", "p95", "p99"]
"""Which figure of a metric is meant."""

_QUANTILES = {"p50": 0.50, "p95": 0.95, "p99": 0.99}
_UNITS = {"share": "share", "count": "count"}


def read(window: Window, stream: str, of: Of) -> float | None:
    """Return one figure of *stream*, or None where it was not measured."""
    match of:
        case "share":
            return window.share(stream)
        case "count":
            return window.count(stream)
        case "gauge":
            return window.gauge(stream)
        case "mean":
            return window.mean(stream)
        case _:
            return window.quantile(stream, _QUANTILES[of])


@attrs.frozen(eq=False)
class _Measured(Criterion):
    of: Of = attrs.field(default="share", kw_only=True)
    unit: str = attrs.field(kw_only=True)

    @unit.default
    def _unit_of(self) -> str:
        return _UNITS.get(self.of, "")

    @of.validator
    def _known(self, _: object, of: str) -> None:
        if of not in {*_UNITS, *_QUANTILES, "gauge", "mean"}:
            msg = f"got of={of!r}; write share, count, gauge, mean, p50, p95 or p99"
            raise CriterionError(self.name, msg)

    def events(self, window: Window) -> int:
        """Return the events of its own metric."""
        return window.events(self.stream)

    def measure(self, window: Window) -> float | None:
        """Return the figure that `of` names."""
        return read(window, self.stream, self.of)


@attrs.frozen(eq=False)
class Ceiling(_Measured):
    """A figure that must not get too high."""


@attrs.frozen(eq=False)
class Floor(_Measured):
    """A figure that must not get too low."""

    lower_is_worse: bool = attrs.field(default=True, init=False)


@attrs.frozen(eq=False)
class Rise(_Measured):
    """
    A figure that must not rise too far over the baseline's.

    Limits are relative: 0.5 is half as much again. Without a baseline there is no
    level, and none either where the baseline's figure is 0.
    """

    of: Of = attrs.field(default="p95", kw_only=True)
    unit: str = attrs.field(default="rise", kw_only=True)
    compares: bool = attrs.field(default=True, init=False)

    def measure(self, window: Window) -> float | None:
        """Return the rise over the baseline."""
        value = read(window, self.stream, self.of)
        if value is None or window.baseline is None:
            return None
        base = read(window.baseline, self.stream, self.of)
        return value / base - 1 if base else None


@attrs.frozen(eq=False)
class Never(Criterion):
    """
    A count that must stay 0: the first one is critical.

    A counter that nobody supplies has no level: it is not known to be 0.
    """

    critical: float | None = attrs.field(default=1.0, kw_only=True)
    unit: str = attrs.field(default="count", kw_only=True)
    min_events: int = attrs.field(default=0, kw_only=True)

    def events(self, window: Window) -> int:
        """Return the events of its own metric."""
        return window.events(self.stream)

    def measure(self, window: Window) -> float | None:
        """Return the count."""
        return window.count(self.stream)
