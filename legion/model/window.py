"""What was measured of one arm over one stretch of time."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from typing import Any, TypeVar, cast

import attrs

from ..canonical import JSON
from ..stats import LogHistogram
from .hashes import packed, unpacked
from .visits import Visits


@attrs.frozen
class Count:
    """
    A number of events, and among how many where that is known.

    Attributes:
        n: Events counted.
        of: Opportunities among which they were counted; None for a plain counter.
    """

    n: int
    of: int | None = None

    def merge(self, other: Count) -> Count:
        """Add both; a counter without a denominator stays without one."""
        both = self.of is not None and other.of is not None
        return Count(
            self.n + other.n, (self.of or 0) + (other.of or 0) if both else None
        )


@attrs.frozen(kw_only=True)
class Gauge:
    """
    A level that was sampled, such as memory in use.

    Attributes:
        last: The newest sample.
        low: The smallest sample.
        high: The largest sample.
        n: How many samples.
    """

    last: float
    low: float
    high: float
    n: int = 1

    @classmethod
    def of(cls, value: float) -> Gauge:
        """Make a gauge of one sample."""
        return cls(last=value, low=value, high=value)

    def merge(self, later: Gauge) -> Gauge:
        """Combine with samples that were taken later."""
        return Gauge(
            last=later.last,
            low=min(self.low, later.low),
            high=max(self.high, later.high),
            n=self.n + later.n,
        )

    def beside(self, other: Gauge, *, lower_is_worse: bool) -> Gauge:
        """Combine with samples of another place; the newest of the worse one holds."""
        worse = min if lower_is_worse else max
        last = worse(self.last, other.last)
        return attrs.evolve(self.merge(other), last=last)


@attrs.frozen(kw_only=True)
class Window:
    """
    Everything recorded of one arm between two instants of plan time.

    What was not recorded is not there: every reading returns None for it, never 0.

    Attributes:
        opened_s: Start, in seconds of plan time.
        closed_s: End, in seconds of plan time.
        counts: Events by metric.
        histograms: Distributions by metric; times in seconds.
        gauges: Sampled levels by metric.
        units: By metric, how many units came of age in this window after at least
            one opportunity of it; 0 for a share that was recorded and none did.
        bad_units: By metric, 64-bit hashes of those of them that went bad.
        visits: By metric, how often each unit came and fared badly; only where units
            come back and somebody asked for it.
        errors: By metric or source, why it could not be measured.
        dropped: Events of this arm that were lost because the buffer was full; what is
            left may look healthier than it was.
        left_out: How often a unit of this arm, a visit or a remark was not followed, as
            too many waited; what is left may be unlike the whole.
        stale: Events that were left out because they belong to another exposure.
        unmirrored: Mirrored runs that were dropped: too many waited, their exposure was
            over before they began, or their event loop was closed.
        exposed: Units of this arm that were first heard of in this window, of age or
            not; None where nobody counts them.
        cancelled: Units of this arm that were cut off without an outcome.
        baseline: The window to compare with: control's, else a stored one, else None.
    """

    opened_s: float = 0.0
    closed_s: float = 0.0
    counts: Mapping[str, Count] = attrs.field(factory=dict)
    histograms: Mapping[str, LogHistogram] = attrs.field(factory=dict)
    gauges: Mapping[str, Gauge] = attrs.field(factory=dict)
    units: Mapping[str, int] = attrs.field(factory=dict)
    bad_units: Mapping[str, frozenset[int]] = attrs.field(factory=dict)
    visits: Mapping[str, Visits] = attrs.field(factory=dict)
    errors: Mapping[str, str] = attrs.field(factory=dict)
    dropped: int = 0
    left_out: int = 0
    stale: int = 0
    unmirrored: int = 0
    exposed: int | None = None
    cancelled: int = 0
    baseline: Window | None = None

    @classmethod
    def of(
        cls,
        *,
        shares: Mapping[str, tuple[int, int]] | None = None,
        counts: Mapping[str, int] | None = None,
        values: Mapping[str, Iterable[float]] | None = None,
        gauges: Mapping[str, float] | None = None,
        opened_s: float = 0.0,
        closed_s: float = 60.0,
        baseline: Window | None = None,
    ) -> Window:
        """
        Make a window by hand, for a test or a host with its own telemetry.

        Args:
            shares: By metric, (events, opportunities).
            counts: By metric, events without a denominator.
            values: By metric, the recorded values; times in seconds.
            gauges: By metric, one sample.
            opened_s: Start, in seconds of plan time.
            closed_s: End, in seconds of plan time.
            baseline: The window to compare with.
        """
        counted = {name: Count(n, of) for name, (n, of) in (shares or {}).items()}
        counted |= {name: Count(n) for name, n in (counts or {}).items()}
        return cls(
            opened_s=opened_s,
            closed_s=closed_s,
            counts=counted,
            histograms={k: LogHistogram.of(v) for k, v in (values or {}).items()},
            gauges={k: Gauge.of(v) for k, v in (gauges or {}).items()},
            baseline=baseline,
        )

    @property
    def seconds(self) -> float:
        """Length in seconds of plan time."""
        return self.closed_s - self.opened_s

    def share(self, metric: str) -> float | None:
        """Return events per opportunity, 0..1, or None without opportunities."""
        count = self.counts.get(metric)
        return count.n / count.of if count is not None and count.of else None

    def count(self, metric: str) -> int | None:
        """Return the number of events, or None where nothing counts them."""
        count = self.counts.get(metric)
        return None if count is None else count.n

    def quantile(self, metric: str, q: float) -> float | None:
        """Return the *q*-quantile to within 1 %, or None without values."""
        histogram = self.histograms.get(metric)
        return None if histogram is None else histogram.quantile(q)

    def mean(self, metric: str) -> float | None:
        """Return the mean of the values, or None without values."""
        histogram = self.histograms.get(metric)
        return None if histogram is None else histogram.mean

    def gauge(self, metric: str) -> float | None:
        """Return the newest sample, or None without samples."""
        gauge = self.gauges.get(metric)
        return None if gauge is None else gauge.last

    def events(self, metric: str) -> int:
        """Return how much evidence there is: opportunities, values or samples."""
        if (count := self.counts.get(metric)) is not None:
            return count.n if count.of is None else count.of
        if (histogram := self.histograms.get(metric)) is not None:
            return histogram.count
        gauge = self.gauges.get(metric)
        return 0 if gauge is None else gauge.n

    def measures(self, metric: str) -> bool:
        """Tell whether anything at all was recorded for *metric*."""
        return (
            metric in self.counts or metric in self.histograms or metric in self.gauges
        )

    def moved(self, by_s: float) -> Window:
        """Return the same, recorded *by_s* seconds of plan time later."""
        return attrs.evolve(
            self,
            opened_s=self.opened_s + by_s,
            closed_s=self.closed_s + by_s,
            baseline=None if self.baseline is None else self.baseline.moved(by_s),
        )

    def merge(self, later: Window) -> Window:
        """Return one window over this one and a later one, baselines merged too."""
        baseline = self.baseline or later.baseline
        if self.baseline is not None and later.baseline is not None:
            baseline = self.baseline.merge(later.baseline)
        return Window(
            opened_s=min(self.opened_s, later.opened_s),
            closed_s=max(self.closed_s, later.closed_s),
            counts=_merged(self.counts, later.counts),
            histograms=_merged(self.histograms, later.histograms),
            gauges=_merged(self.gauges, later.gauges),
            units={
                metric: self.units.get(metric, 0) + later.units.get(metric, 0)
                for metric in {**self.units, **later.units}
            },
            bad_units={
                metric: self.bad_units.get(metric, frozenset())
                | later.bad_units.get(metric, frozenset())
                for metric in {**self.bad_units, **later.bad_units}
            },
            visits=_merged(self.visits, later.visits),
            errors={**self.errors, **later.errors},
            dropped=self.dropped + later.dropped,
            left_out=self.left_out + later.left_out,
            stale=self.stale + later.stale,
            unmirrored=self.unmirrored + later.unmirrored,
            exposed=(
                (self.exposed or 0) + (later.exposed or 0)
                if (self.exposed, later.exposed) != (None, None)
                else None
            ),
            cancelled=self.cancelled + later.cancelled,
            baseline=baseline,
        )

    def beside(self, other: Window, *, falls: Container[str] = ()) -> Window:
        """
        Return this window with what was recorded at the same time in another place.

        It stays as long as it is: what others saw adds evidence to it, not time.

        Args:
            other: The window of the other place; its baseline is left out.
            falls: Gauges of which the lower one is the worse.
        """
        both = attrs.evolve(self, baseline=None).merge(
            attrs.evolve(other, baseline=None)
        )
        shared = self.gauges.keys() & other.gauges.keys()
        gauges = {
            metric: self.gauges[metric].beside(
                other.gauges[metric], lower_is_worse=metric in falls
            )
            for metric in shared
        }
        return attrs.evolve(
            both,
            opened_s=self.opened_s,
            closed_s=self.closed_s,
            gauges={**both.gauges, **gauges},
            errors={**self.errors, **_said(self.errors, other.errors)},
            baseline=self.baseline,
        )

    def to_json(self) -> dict[str, JSON]:
        """Return what `from_json` reads back to an equal window."""
        return {
            "opened_s": self.opened_s,
            "closed_s": self.closed_s,
            "counts": {k: [c.n, c.of] for k, c in self.counts.items()},
            "histograms": {k: h.to_json() for k, h in self.histograms.items()},
            "gauges": {k: [g.last, g.low, g.high, g.n] for k, g in self.gauges.items()},
            "units": dict(self.units),
            "bad_units": {k: packed(units) for k, units in self.bad_units.items()},
            "visits": {k: visits.to_json() for k, visits in self.visits.items()},
            "errors": dict(self.errors),
            "dropped": self.dropped,
            "left_out": self.left_out,
            "stale": self.stale,
            "unmirrored": self.unmirrored,
            "exposed": self.exposed,
            "cancelled": self.cancelled,
            "baseline": None if self.baseline is None else self.baseline.to_json(),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, JSON]) -> Window:
        """Read what `to_json` wrote."""
        raw = cast("Mapping[str, Any]", value)
        return cls(
            opened_s=float(raw["opened_s"]),
            closed_s=float(raw["closed_s"]),
            counts={k: Count(n, of) for k, (n, of) in raw["counts"].items()},
            histograms={
                k: LogHistogram.from_json(h) for k, h in raw["histograms"].items()
            },
            gauges={
                k: Gauge(last=last, low=low, high=high, n=n)
                for k, (last, low, high, n) in raw["gauges"].items()
            },
            units={k: int(n) for k, n in raw.get("units", {}).items()},
            bad_units={k: unpacked(units) for k, units in raw["bad_units"].items()},
            visits={k: Visits.from_json(v) for k, v in raw.get("visits", {}).items()},
            errors=dict(raw["errors"]),
            dropped=int(raw["dropped"]),
            left_out=int(raw.get("left_out", 0)),
            stale=int(raw.get("stale", 0)),
            unmirrored=int(raw.get("unmirrored", 0)),
            exposed=None if raw.get("exposed") is None else int(raw["exposed"]),
            cancelled=int(raw.get("cancelled", 0)),
            baseline=None
            if raw["baseline"] is None
            else cls.from_json(raw["baseline"]),
        )


_Mergeable = TypeVar("_Mergeable", Count, Gauge, LogHistogram, Visits)


def _merged(
    left: Mapping[str, _Mergeable], right: Mapping[str, _Mergeable]
) -> dict[str, _Mergeable]:
    merged = dict(left)
    for metric, value in right.items():
        merged[metric] = merged[metric].merge(value) if metric in merged else value
    return merged


def _said(here: Mapping[str, str], there: Mapping[str, str]) -> dict[str, str]:
    """Return what *there* says, after what *here* says of the same where it differs."""
    return {
        name: f"{here[name]}; {why}"
        if why not in here.get(name, why)
        else here.get(name, why)
        for name, why in there.items()
    }
