"""The contract of a criterion."""

from __future__ import annotations

import math

from collections.abc import Iterable, Mapping
from typing import Self, TypeAlias

import attrs

from ..canonical import JSON
from ..exceptions import CriterionError, MetricError
from ..hookspecs import hookimpl
from ..metrics import METRICS, find
from ..model import Level, Missing, Verdict, Window
from .limits import Limits
from .noted import NotedWindow


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
        features: Features that bring what it reads: a stage that enables none of them
            does not require it. By default what the metric's entry in the table says.
        group: Where it stands in lists.
        summary: One line for the documentation.

    Raises:
        CriterionError: It is malformed; the message says what to write instead.

    .. versionadded:: 0.1
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
    features: tuple[str, ...] = attrs.field(kw_only=True)
    group: str = attrs.field(default="yours", kw_only=True)
    summary: str = attrs.field(default="", kw_only=True)
    stream: str = attrs.field(init=False, repr=False)
    """Where in a window its events are."""

    @metric.default
    def _own_name(self) -> str:
        return self.name

    @features.default
    def _features_of_the_metric(self) -> tuple[str, ...]:
        known = METRICS.get(self.metric)
        return () if known is None else known.features

    @stream.default
    def _stream_of_the_metric(self) -> str:
        try:
            return find(str(self.metric)).stream
        except MetricError:  # One of the host's own, which reads its own stream.
            return self.metric

    def __attrs_post_init__(self) -> None:
        fault = self._fault()
        if fault is not None:
            raise CriterionError(str(self.name), fault)

    def _fault(self) -> str | None:
        if not isinstance(self.name, str) or not self.name.isidentifier():
            return f"got name={self.name!r}; write a Python identifier, like error_rate"
        if not isinstance(self.metric, str) or not self.metric:
            return f"got metric={self.metric!r}; write the name of a metric"
        whole = isinstance(self.min_events, int)
        if not whole or isinstance(self.min_events, bool) or self.min_events < 1:
            # Of no events nothing is known, and that is no level.
            return f"got min_events={self.min_events!r}; write a whole number, 1 or up"
        return self.limits.fault(lower_is_worse=self.lower_is_worse, unit=self.unit)

    @hookimpl
    def legion_register_criteria(self) -> Iterable[Criterion]:
        """A criterion is a plugin that supplies itself."""
        return [self]

    @property
    def limits(self) -> Limits:
        """The limits."""
        return Limits(self.warning, self.alert, self.critical)

    def limited(self, limits: Mapping[str, float | None]) -> Self:
        """
        Return the same criterion with other limits.

        Args:
            limits: By level name; a level that is not named keeps its limit, and None
                takes it away.

        Raises:
            CriterionError: The limits do not fit together, or a level is unknown.
        """
        now = {
            "warning": self.warning,
            "alert": self.alert,
            "critical": self.critical,
        }
        unknown = sorted(set(limits) - set(now))
        if unknown:
            msg = f"got the level {unknown[0]!r}; write warning, alert or critical"
            raise CriterionError(self.name, msg)
        now |= limits
        try:
            return attrs.evolve(
                self,
                warning=now["warning"],
                alert=now["alert"],
                critical=now["critical"],
            )
        except TypeError as error:
            msg = (
                f"its limits cannot be changed ({error}); let its __init__ take what"
                " legion.Criterion takes, or write none"
            )
            raise CriterionError(self.name, msg) from error

    def events(self, window: Window) -> int:
        """
        Return how much evidence *window* holds, to be held against `min_events`.

        It is the opportunities, values or samples of `metric`. Where the window has no
        such metric, it is those of whatever `measure` reads from it, the scarcest of
        them. A plain counter has no number of opportunities: that it is counted at all
        is enough. So is a value that is not read by the window's methods.
        """
        if window.measures(self.stream):
            found = _evidence(window, self.stream)
            return self.min_events if found is None else found
        noted = NotedWindow.over(window)
        try:
            value = self.measure(noted)
        except Exception:  # noqa: BLE001 - `judge` raises it where it is reported
            return self.min_events
        if value is None:
            return 0
        read = (_evidence(window, m) for m, _ in noted.read if window.measures(m))
        return min((n for n in read if n is not None), default=self.min_events)

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

        It must answer alike to what is alike, and leave both arguments as they are.

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
        word = level.name.lower()
        return Verdict(
            criterion=self.name,
            level=level,
            code="within_limits" if level is Level.OK else f"reached_{word}",
            reason=reason or self.sentence(value, level),
            value=float(value),
            unit=self.unit,
            limits=self.limits.as_dict(),
            evidence={**figures, **(evidence or {})},
        )

    def no_level(
        self,
        missing: Missing,
        reason: str,
        *,
        code: str | None = None,
        evidence: Mapping[str, JSON] | None = None,
    ) -> Verdict:
        """
        Return a verdict without a level.

        Args:
            missing: Why there is none.
            reason: The same in words; the criterion's name is put before it.
            code: Stable word for programs; that of *missing* by default.
            evidence: What it rests on.
        """
        return Verdict(
            criterion=self.name,
            missing=missing,
            code=code or missing.value,
            reason=f"{self.name}: {reason}",
            unit=self.unit,
            limits=self.limits.as_dict(),
            evidence=evidence or {},
        )

    def sentence(self, value: float, level: Level) -> str:
        """Return what a verdict says of *value* by itself."""
        said = f"{self.name} is {spoken(value, self.unit)}"
        if level is Level.OK:
            return f"{said}, within its limits"
        word = level.name.lower()
        limit = self.limits.as_dict().get(word)
        if limit is None:
            return f"{said}, {word}"
        direction = "down" if self.lower_is_worse else "up"
        return f"{said}, {word} from {spoken(limit, self.unit)} {direction}"


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


def _evidence(window: Window, stream: str) -> int | None:
    """Return the events of *stream*, or None for a counter without opportunities."""
    count = window.counts.get(stream)
    if count is not None and count.of is None:
        return None
    return window.events(stream)
