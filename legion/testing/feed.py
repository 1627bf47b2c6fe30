"""Telemetry whose windows are made up from wanted figures."""

from __future__ import annotations

import functools
import math

from collections.abc import Callable, Iterable, Mapping

import attrs

from ..metrics import LATENCY, WITHOUT_TOOLS, Kind, Metric
from ..model import Arm, Count, Gauge, Observation, Pairs, Window
from ..stages import Stage
from ..stats import LogHistogram
from ..telemetry import Telemetry
from .clock import ManualClock


UNITS = 20_000
"""Requests between two looks, of both arms; each is a unit of its own."""

_SHAPE = [0.02 * math.exp(0.5 * z) for z in (-2 + 4 * i / 199 for i in range(200))]
"""A latency distribution with a tail, in seconds; the median is 20 ms."""


@attrs.frozen(kw_only=True)
class Figure:
    """
    What one metric shall show.

    Attributes:
        metric: The metric.
        candidate: The candidate's value.
        control: Control's value.
    """

    metric: Metric
    candidate: float
    control: float

    def of(self, arm: Arm) -> float:
        """Return the value of *arm*."""
        return self.candidate if arm is Arm.CANDIDATE else self.control


class Feed(Telemetry):
    """
    Makes windows up: as many units as the stage exposes, as bad as the figures say.

    Shares are exact over the looks: what rounding takes from one, the next one gets.

    Args:
        clock: The rollout's.
        figures: What a stage's traffic shall show.
        share: Which share of the units gets the candidate in a stage.
    """

    def __init__(
        self,
        clock: ManualClock,
        figures: Callable[[Stage], Iterable[Figure]],
        share: Callable[[Stage], float],
    ) -> None:
        super().__init__(clock)
        self._figures, self._share = figures, share
        self._began_s = 0.0
        self._look = 0
        self._edges: dict[str, tuple[str, dict[Arm, float]]] = {}
        self._carried: dict[tuple[Arm, str], float] = {}
        self.stage: Stage | None = None

    def watch(
        self, name: str, stream: str, *, candidate: float, control: float
    ) -> None:
        """Count units beyond these times as bad from now on."""
        limits = {Arm.CANDIDATE: candidate, Arm.CONTROL: control}
        self._edges[name] = (stream, limits)

    def close(self, **keywords: object) -> Observation:
        """Return made-up windows, with what plugins supply laid over them."""
        seen = super().close(**keywords)  # type: ignore[arg-type]
        opened_s, self._began_s = self._began_s, seen.at_s
        if self.stage is None:
            return seen
        self._look += 1
        figures = tuple(self._figures(self.stage))
        blank = Window(opened_s=opened_s, closed_s=seen.at_s)
        control = self._window(blank, Arm.CONTROL, figures)
        candidate = self._window(blank, Arm.CANDIDATE, figures)
        if self.stage.traffic == 0 and not self.stage.mirror:
            candidate = blank
        pairs = _paired(candidate, control) if self.stage.traffic == 0 else {}
        return attrs.evolve(
            seen,
            candidate=_laid(candidate, seen.candidate, control),
            control=control,
            pairs=pairs,
        )

    def _units(self, arm: Arm) -> int:
        stage = self.stage
        assert stage is not None
        share = self._share(stage)
        if arm is Arm.CONTROL:
            return UNITS - round(UNITS * share)
        return round(UNITS * (share or stage.mirror))

    def _window(self, blank: Window, arm: Arm, figures: tuple[Figure, ...]) -> Window:
        n = self._units(arm)
        counts: dict[str, Count] = {}
        gauges: dict[str, Gauge] = {}
        bad: dict[str, int] = {}
        for figure in figures:
            metric, value = figure.metric, figure.of(arm)
            if metric.kind is Kind.SHARE:
                harmful = 1 - value if metric.higher_is_better else value
                k = self._rounded(arm, metric.stream, harmful * n)
                counts[metric.stream] = Count(
                    n - k if metric.higher_is_better else k, n
                )
                bad[metric.stream] = k
            elif metric.kind is Kind.COUNT:
                counts[metric.stream] = Count(round(value))
            elif metric.kind is Kind.GAUGE:
                gauges[metric.stream] = Gauge.of(value)
        histograms = _histograms(figures, arm, n)
        for name, (stream, limits) in self._edges.items():
            if stream in histograms:
                beyond = histograms[stream].above(limits[arm]) / max(n, 1)
                bad[name] = self._rounded(arm, name, beyond * n)
        return attrs.evolve(
            blank,
            counts=counts,
            gauges=gauges,
            histograms=histograms if n else {},
            units=dict.fromkeys(bad, n),
            bad_units={name: self._drawn(arm, k) for name, k in bad.items()},
        )

    def _rounded(self, arm: Arm, name: str, exact: float) -> int:
        exact += self._carried.get((arm, name), 0.0)
        whole = math.floor(exact + 1e-9)
        self._carried[arm, name] = exact - whole
        return whole

    def _drawn(self, arm: Arm, k: int) -> frozenset[int]:
        """Return units of this look; mirrored ones are control's own."""
        mirrored = self.stage is not None and self.stage.traffic == 0
        side = 0 if mirrored or arm is Arm.CONTROL else 1
        first = (self._look * 2 + side) << 32
        return frozenset(range(first, first + k))


def _paired(candidate: Window, control: Window) -> dict[str, Pairs]:
    """Pair the mirrored units; the first ones fail in both arms."""
    pairs = {}
    for name, n in candidate.units.items():
        bad, of = len(candidate.bad_units[name]), len(control.bad_units.get(name, ()))
        both = min(bad, of)
        pairs[name] = Pairs(
            n=n, both=both, candidate=bad - both, control=min(of - both, n - bad)
        )
    return pairs


def _laid(made: Window, supplied: Window, control: Window) -> Window:
    counted = {*supplied.counts, *supplied.gauges}
    return attrs.evolve(
        made,
        counts={**made.counts, **supplied.counts},
        gauges={**made.gauges, **supplied.gauges},
        units={name: n for name, n in made.units.items() if name not in counted},
        errors=supplied.errors,
        baseline=control,
    )


def _histograms(
    figures: Iterable[Figure], arm: Arm, n: int
) -> Mapping[str, LogHistogram]:
    """Make one distribution a stream, which fits all quantiles that are asked of it."""
    scales: dict[str, tuple[float, float]] = {}
    for figure in figures:
        metric = figure.metric
        if metric.kind is Kind.TIME:
            scale, worse = scales.get(metric.stream, (math.inf, 0.0))
            fits = figure.control / _natural(metric.quantile)
            slower = figure.of(arm) / figure.control
            scales[metric.stream] = min(scale, fits), max(worse, slower)
    made = {
        stream: _times(scale * worse, n) for stream, (scale, worse) in scales.items()
    }
    if LATENCY in made:  # These units call no tools.
        made.setdefault(WITHOUT_TOOLS, made[LATENCY])
    return made


@functools.lru_cache(maxsize=64)
def _times(scale: float, n: int) -> LogHistogram:
    shape = LogHistogram.of(x * scale for x in _SHAPE)
    each = max(n // len(_SHAPE), 1)
    return LogHistogram(
        positive={bucket: count * each for bucket, count in shape.positive.items()},
        total=shape.total * each,
    )


@functools.cache
def _natural(quantile: float) -> float:
    return _times(1.0, len(_SHAPE)).quantile(quantile) or 1.0
