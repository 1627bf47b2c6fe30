"""A Mann-Whitney judge in the manner of Kayenta, as a criterion."""

from __future__ import annotations

import math

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

import attrs

from ...canonical import JSON
from ...criteria import Criterion
from ...exceptions import CriterionError
from ...model import Level, Missing, Verdict, Window
from .classify import (
    Classification,
    Classifier,
    Direction,
    Effect,
    Label,
    NaN,
    ratio_of,
)
from .sample import Sample


Of: TypeAlias = Literal["values", "share", "count", "gauge", "mean", "p50", "p95"]
"""What a sample is made of: one window's values, or one figure of many windows."""


@attrs.frozen(eq=False)
class KayentaJudge(Criterion):
    """
    Candidate against control by the Mann-Whitney test.

        KayentaJudge("errors", metric="error_rate", of="share", direction="increase")

    A sample is what Kayenta reads from a metrics store, a series of points: one figure
    of each of the last `points` windows, control's beside the candidate's. With
    ``of="values"`` it is all values of the one window: the buckets of its histogram,
    each value within 1 % of what was recorded, with the exact mean.

    High or low is an alert, or critical where `critical` is written and reached. What
    is empty has no level, whatever `nan` says.

    Attributes:
        of: What a sample is made of.
        direction: Which change counts.
        effect: What an effect is measured by.
        alert: Effect from which on it counts, in the direction that counts; of an
            increase where either does. None, with `critical`, for any.
        critical: The same for critical, or None where the metric is not.
        alert_low: With either direction, effect down to which a decrease counts.
        critical_low: The same for critical.
        tolerance: Share of the estimated shift that its interval must exceed.
        confidence: Of that interval.
        nan: Whether a point that one arm lacks is left out or taken for 0.
        points: Windows whose figures are remembered.
        min_points: Points that each sample holds at least.
        scale: What values are multiplied by first, such as 1000 for a rule that is used
            to milliseconds; see `legion.integrations.kayenta.shift_of`.

    .. versionadded:: 0.1
    """

    of: Of = attrs.field(default="values", kw_only=True)
    direction: Direction = attrs.field(default="either", kw_only=True)
    effect: Effect = attrs.field(default="mean_ratio", kw_only=True)
    alert: float | None = attrs.field(kw_only=True)
    alert_low: float = attrs.field(kw_only=True)
    critical_low: float = attrs.field(kw_only=True)
    tolerance: float = attrs.field(default=0.25, kw_only=True)
    confidence: float = attrs.field(default=0.98, kw_only=True)
    nan: NaN = attrs.field(default="remove", kw_only=True)
    points: int = attrs.field(default=60, kw_only=True)
    min_points: int = attrs.field(default=10, kw_only=True)
    scale: float = attrs.field(default=1.0, kw_only=True)
    min_events: int = attrs.field(default=50, kw_only=True)
    unit: str = attrs.field(default="effect", init=False)
    compares: bool = attrs.field(default=True, init=False)
    lower_is_worse: bool = attrs.field(init=False)

    @alert.default
    def _unless_critical(self) -> float | None:
        # Limits rise: where any change is critical, none is left to be an alert.
        return None if self.critical == self._no_effect() else self._no_effect()

    @alert_low.default
    @critical_low.default
    def _no_effect(self) -> float:
        return 0.5 if self.effect == "cles" else 1.0

    @lower_is_worse.default
    def _decreases(self) -> bool:
        return self.direction == "decrease"

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        fault = self._wrong()
        if fault is not None:
            raise CriterionError(self.name, fault)

    def _wrong(self) -> str | None:
        if self.warning is not None:
            return (
                f"got warning={self.warning}; it has none, write alert= for the effect"
                f" from which on a change counts, {self._no_effect()} for any"
            )
        for name, known in _KNOWN.items():
            given = getattr(self, name)
            if given not in known:
                return f"got {name}={given!r}; write {', '.join(known)}"
        if not 1 <= self.min_points <= self.points:
            return (
                f"got min_points={self.min_points} of points={self.points}; write at"
                " least one, and no more than are remembered"
            )
        if not 0 < self.confidence < 1 or self.tolerance < 0 or not self.scale > 0:
            return (
                f"got confidence={self.confidence}, tolerance={self.tolerance},"
                f" scale={self.scale}; write a confidence between 0 and 1, a tolerance"
                " of 0 or up and a scale above 0"
            )
        return None

    @property
    def classifier(self) -> Classifier:
        """The comparison, without what it is made of."""
        alert = self._no_effect() if self.alert is None else self.alert
        critical = None
        if self.critical is not None:
            low = self.critical if self.lower_is_worse else self.critical_low
            critical = low, self.critical
        return Classifier(
            direction=self.direction,
            tolerance=self.tolerance,
            confidence=self.confidence,
            effect=self.effect,
            allowed=(alert if self.lower_is_worse else self.alert_low, alert),
            critical=critical,
            nan=self.nan,
        )

    def judge(
        self, window: Window, memory: Mapping[str, JSON] | None
    ) -> tuple[Verdict, Mapping[str, JSON] | None]:
        """Compare the two arms, and remember this window's points."""
        if self.of == "values":
            return self._by_values(window), memory
        now = self._figure(window)
        base = None if window.baseline is None else self._figure(window.baseline)
        candidate = self._series(memory, "candidate", now)
        control = self._series(memory, "control", base)
        left: dict[str, JSON] = {"candidate": candidate, "control": control}
        if now is None:
            return self.no_level(Missing.NO_DATA, "not measured"), left
        samples = self._sample(candidate), self._sample(control)
        fewest = min(sample.size for sample in samples)
        if fewest < self.min_points:
            reason = f"{fewest} of {self.min_points} points"
            few = self.no_level(Missing.INCONCLUSIVE, reason, code="few_points")
            return few, left
        found = self.classifier.classify(*samples)
        return self._said(found, *samples, window), left

    def _by_values(self, window: Window) -> Verdict:
        mean = window.mean(self.stream)
        baseline = window.baseline
        base = None if baseline is None else baseline.mean(self.stream)
        if mean is None or base is None or baseline is None:
            code = "no_data" if mean is None else "no_baseline"
            return self.no_level(Missing.NO_DATA, "one arm has no values", code=code)
        candidate, control = self._buckets(window), self._buckets(baseline)
        ratio = ratio_of(mean, base)
        found = self.classifier.classify(candidate, control, ratio=ratio)
        return self._said(found, candidate, control, window)

    def _buckets(self, window: Window) -> Sample:
        buckets = window.histograms[self.stream].buckets()
        return Sample.tied((value * self.scale, n) for value, n in buckets)

    def _figure(self, window: Window) -> float | None:
        match self.of:
            case "share":
                return window.share(self.stream)
            case "count":
                return window.count(self.stream)
            case "gauge":
                return window.gauge(self.stream)
            case "mean":
                return window.mean(self.stream)
            case _:
                return window.quantile(self.stream, int(self.of[1:]) / 100)

    def _series(
        self, memory: Mapping[str, JSON] | None, arm: str, newest: float | None
    ) -> list[float | None]:
        before = () if memory is None else memory[arm]
        if not isinstance(before, Sequence) or isinstance(before, str):
            msg = f"criterion {self.name!r}: remembered {before!r} as points"
            raise TypeError(msg)
        series = [point if isinstance(point, int | float) else None for point in before]
        finite = newest is not None and math.isfinite(newest)
        return [*series, newest if finite else None][-self.points :]

    def _sample(self, series: Sequence[float | None]) -> Sample:
        fill = 0.0 if self.nan == "replace" else None
        known = (fill if point is None else point for point in series)
        return Sample.of(point * self.scale for point in known if point is not None)

    def _said(
        self, found: Classification, candidate: Sample, control: Sample, window: Window
    ) -> Verdict:
        bad = found.label is not Label.PASS
        harm = Level.CRITICAL if found.critical else Level.ALERT
        figures: dict[str, JSON] = {
            "classification": found.label.value,
            "candidate_values": candidate.size,
            "control_values": control.size,
            "events": self.events(window),
        }
        said = found.reason or "no change that counts"
        if found.shift is not None:
            shift = found.shift
            figures |= {"shift": shift.estimate, "low": shift.low, "high": shift.high}
            said += (
                f"; shifted by {shift.estimate:.4g},"
                f" {self.confidence:.0%} sure of {shift.low:.4g} to {shift.high:.4g}"
            )
        told = not math.isnan(found.effect)
        return Verdict(
            criterion=self.name,
            level=harm if bad else Level.OK,
            code=found.label.value,
            reason=f"{self.name}: {said}",
            value=found.effect if told else None,
            unit=self.unit,
            limits=self.limits.as_dict(),
            evidence=figures,
        )


_KNOWN = {
    "of": ("values", "share", "count", "gauge", "mean", "p50", "p95"),
    "direction": ("increase", "decrease", "either"),
    "effect": ("mean_ratio", "cles"),
    "nan": ("remove", "replace"),
}
