"""Facts: counters and sampled levels, in which chance has no part."""

from __future__ import annotations

import math
import operator

from collections.abc import Callable, Mapping
from typing import TypeVar, cast

import attrs

from ...canonical import JSON
from ...metrics import Kind, Metric
from ...model import Finding, Missing, Window
from ...stats import e_value
from ..plan import Rule
from .units import Seen
from .watch import Watch


_DAY_S = 86_400.0
_PERIOD_S = {"day": _DAY_S, "hour": 3_600.0}

STABLE = 0.10
"""A share is stable when its samples lie within ten points of one another."""

LEAST_BAD = 5
"""A share is worse than the baseline's only with this many bad events."""

PROOF = math.log(1e300)
"""What a fact writes for infinity, which JSON cannot say."""


_COMPARISONS: tuple[tuple[str, Callable[[float, float], bool], str], ...] = (
    ("equals", operator.eq, "wanted"),
    ("below", operator.lt, "wanted below"),
    ("at_most", operator.le, "wanted at most"),
    ("at_least", operator.ge, "wanted at least"),
    ("above", operator.gt, "limit"),
    ("longer_than", operator.gt, "limit"),
    ("failures_in_a_row", operator.ge, "limit"),
)


@attrs.frozen(kw_only=True)
class Reading:
    """What one rule reads from a window: the value, its limit, and whether it is met."""

    value: float | None = None
    limit: float | None = None
    met: bool | None = None
    missing: Missing | None = None
    reason: str = ""


@attrs.define(eq=False)
class ThresholdEvidence:
    """
    A plain threshold, held against enough evidence.

    A trigger on a share or a latency reads the newest window that is an interval long
    and holds `min_events` of the candidate and, where it compares, of control; a share
    counts as worse only with five bad events. Counters and sampled levels are facts: a
    trigger on them fires at once. What a stage must prove is read over the whole stage.

    It knows nothing of chance: as a trigger it is for facts alone.

    Args:
        rule: The rule.
        metric: What it speaks of.
        trigger: Whether it takes back, rather than proves.
        interval_s: How long a window lasts at least, in seconds of plan time.
        min_events: How many events a window holds at least.
        detected_at: From which value on the metric counts as detected.
    """

    rule: Rule
    metric: Metric = attrs.field(kw_only=True)
    trigger: bool = attrs.field(kw_only=True)
    interval_s: float = attrs.field(kw_only=True)
    min_events: int = attrs.field(kw_only=True)
    detected_at: float = attrs.field(kw_only=True, default=1.0)
    fact: bool = attrs.field(init=False, default=True)
    watches: tuple[Watch, ...] = attrs.field(init=False, default=())
    _total: Window | None = attrs.field(init=False, default=None)
    _open: Window | None = attrs.field(init=False, default=None)
    _closed: Window | None = attrs.field(init=False, default=None)
    _at_s: float = attrs.field(init=False, default=0.0)
    _seen_s: float | None = attrs.field(init=False, default=None)
    _gap_s: float = attrs.field(init=False, default=0.0)
    _error: str = attrs.field(init=False, default="")

    @property
    def log_bad(self) -> float:
        """All there can be where a trigger fires, else nothing."""
        return PROOF if self.trigger and self._reading().met else 0.0

    @property
    def log_good(self) -> float:
        """All there can be where what must be proven holds, else nothing."""
        return PROOF if not self.trigger and self._reading().met else 0.0

    def update(self, seen: Seen) -> None:
        """
        Add the observation's windows to those of this stage.

        Where there is no control, the candidate's baseline is a stored one: it is held
        beside the windows, and not added again and again.
        """
        observation = seen.observation
        stream = self.metric.stream
        window = _only(stream, observation.candidate, observation.control)
        stored = window.baseline if observation.control is None else None
        self._at_s = observation.at_s
        if window.measures(stream):
            began_s = (self._total or window).opened_s
            self._gap_s = self._at_s - (
                began_s if self._seen_s is None else self._seen_s
            )
            self._seen_s = self._at_s
        self._error = observation.candidate.errors.get(stream, "")
        self._total = window if self._total is None else self._total.merge(window)
        self._open = window if self._open is None else self._open.merge(window)
        if stored is not None:
            self._total = attrs.evolve(self._total, baseline=stored)
            self._open = attrs.evolve(self._open, baseline=stored)
        if self._open.seconds >= self.interval_s and self._enough(self._open):
            self._closed, self._open = self._open, None

    def _enough(self, window: Window) -> bool:
        windows = [window]
        if self.rule.versus:
            if window.baseline is None:
                return False
            windows.append(window.baseline)
        least = {Kind.COUNT: 0, Kind.GAUGE: 1}.get(self.metric.kind, self.min_events)
        return all(self.metric.events(each) >= least for each in windows)

    def finding(self) -> Finding:
        """Return where the rule stands now."""
        reading = self._reading()
        window = self._window()
        return Finding(
            rule=str(self.rule),
            metric=self.rule.metric,
            met=reading.met,
            missing=reading.missing,
            value=reading.value,
            limit=reading.limit,
            fact=self.fact,
            bad=e_value(self.log_bad),
            good=e_value(self.log_good),
            reason=reading.reason or f"{self.rule}: holds",
            evidence=(
                {"trigger": self.trigger} if window is None else self._figures(window)
            ),
        )

    def _figures(self, window: Window) -> dict[str, JSON]:
        figures: dict[str, JSON] = {
            "events": self.metric.events(window),
            "window_s": window.seconds,
            "trigger": self.trigger,
        }
        if self.rule.versus and window.baseline is not None:
            figures["baseline"] = self.metric.read(window.baseline)
            figures["baseline_events"] = self.metric.events(window.baseline)
        return figures

    def _window(self) -> Window | None:
        """Return the window the rule is read from."""
        return self._closed if self.trigger and not self._is_fact else self._total

    def _reading(self) -> Reading:
        if self._total is None or not self._total.measures(self.metric.stream):
            if self._error:
                return self._absent(Missing.ERROR, self._error)
            return self._absent(Missing.NO_DATA, "not measured")
        window = self._window()
        if window is None or not self._enough(window):
            return self._absent(Missing.INCONCLUSIVE, self._progress())
        if self._stale(window):
            return self._absent(Missing.STALE, "nothing recorded lately")
        return self._compare(window)

    def _stale(self, window: Window) -> bool:
        """Tell whether the next window, or what fills it, is long overdue."""
        if self._seen_s is not None:
            # A counter needs no events to close a window, so its source is asked for.
            patience_s = 3 * max(self.interval_s, self._gap_s)
            if self._is_fact and self._at_s - self._seen_s > patience_s:
                return True
        last = self._closed or window
        return self._at_s - last.closed_s > 3 * max(self.interval_s, last.seconds)

    @property
    def _is_fact(self) -> bool:
        return self.metric.kind in {Kind.COUNT, Kind.GAUGE}

    def _absent(self, missing: Missing, why: str) -> Reading:
        return Reading(missing=missing, reason=f"{self.rule.metric}: {why}")

    def _progress(self) -> str:
        window = self._open or self._total
        events = 0 if window is None else self.metric.events(window)
        needed = f"{events} of {self.min_events} events"
        if self.rule.versus and window is not None:
            baseline = window.baseline
            of = 0 if baseline is None else self.metric.events(baseline)
            needed += f", and {of} of the baseline"
        return needed

    def _compare(self, window: Window) -> Reading:
        value = self._value(window)
        if value is None:
            return self._absent(Missing.INCONCLUSIVE, self._progress())
        if self.rule.versus:
            return self._against_baseline(window, value)
        limit, met, sign = self._against_limit(value)
        if self.rule.stable and met:
            gauge = window.gauges[self.metric.stream]
            met = gauge.high - gauge.low <= STABLE
        reason = f"{self.rule.metric} is {self._say(value)}, {sign} {self._say(limit)}"
        return Reading(value=value, limit=limit, met=met, reason=reason)

    def _value(self, window: Window) -> float | None:
        """Return the value, as a rate where the rule asks for one."""
        if self.rule.failures_in_a_row is not None:
            return window.gauge("health_check")
        value = self.metric.read(window)
        if value is None or self.rule.per is None:
            return value
        periods = window.seconds / _PERIOD_S[self.rule.per]
        return value / periods if periods >= 1 else None

    def _against_limit(self, value: float) -> tuple[float, bool, str]:
        """Return the limit, whether *value* is on its wanted side, and the relation."""
        for name, compare, relation in _COMPARISONS:
            limit = getattr(self.rule, name)
            if limit is not None:
                return float(limit), compare(value, limit), relation
        return self.detected_at, value >= self.detected_at, "limit"

    def _against_baseline(self, window: Window, value: float) -> Reading:
        baseline = window.baseline
        base = None if baseline is None else self.metric.read(baseline)
        if base is None:
            return self._absent(Missing.INCONCLUSIVE, "the baseline is not measured")
        by = self.rule.worse_by if self.trigger else self.rule.margin
        by = by or 0.0
        lower = self.metric.higher_is_better
        limit = base * (1 - by if lower else 1 + by)
        worse = value < limit if lower else value > limit
        floor = self.rule.or_below
        if floor is not None and value < floor:
            worse = False
        if self.trigger and worse and self.metric.kind is Kind.SHARE:
            worse = self._bad_events(window) >= LEAST_BAD
        relation = f"{value / base - 1:+.0%} against" if base else "against"
        reason = (
            f"{self.rule.metric} is {self._say(value)}, {relation}"
            f" the baseline's {self._say(base)}"
        )
        met = worse if self.trigger else not worse
        return Reading(value=value, limit=limit, met=met, reason=reason)

    def _bad_events(self, window: Window) -> int:
        count = window.counts[self.metric.stream]
        of = count.of or 0
        return of - count.n if self.metric.higher_is_better else count.n

    def _say(self, value: float) -> str:
        match self.metric.unit:
            case "share":
                return f"{value:.1%}"
            case "s" if value < 1:
                return f"{value * 1000:.1f} ms"
            case "count":
                return f"{value:g}"
            case unit:
                return f"{value:.3g} {unit}"

    def to_json(self) -> JSON:
        """Return the windows, which hold this one metric only."""
        return {
            "total": None if self._total is None else self._total.to_json(),
            "open": None if self._open is None else self._open.to_json(),
            "closed": None if self._closed is None else self._closed.to_json(),
            "at_s": self._at_s,
            "seen_s": self._seen_s,
            "gap_s": self._gap_s,
            "error": self._error,
        }

    def restore(self, value: JSON) -> None:
        """Go on from what `to_json` returned."""
        raw = cast("Mapping[str, JSON]", value)
        self._total = _window(raw["total"])
        self._open = _window(raw["open"])
        self._closed = _window(raw["closed"])
        self._at_s = float(cast("float", raw["at_s"]))
        seen_s = cast("float | None", raw["seen_s"])
        self._seen_s = None if seen_s is None else float(seen_s)
        self._gap_s = float(cast("float", raw["gap_s"]))
        self._error = str(raw["error"])


def _window(value: JSON) -> Window | None:
    return (
        None if value is None else Window.from_json(cast("Mapping[str, JSON]", value))
    )


def _only(stream: str, window: Window, baseline: Window | None) -> Window:
    """Return what *window* and its baseline hold of one stream."""
    compared = baseline or window.baseline
    return Window(
        opened_s=window.opened_s,
        closed_s=window.closed_s,
        counts=_kept(window.counts, stream),
        histograms=_kept(window.histograms, stream),
        gauges=_kept(window.gauges, stream),
        baseline=None if compared is None else _only_one(stream, compared),
    )


def _only_one(stream: str, window: Window) -> Window:
    return Window(
        opened_s=window.opened_s,
        closed_s=window.closed_s,
        counts=_kept(window.counts, stream),
        histograms=_kept(window.histograms, stream),
        gauges=_kept(window.gauges, stream),
    )


_Kept = TypeVar("_Kept")


def _kept(values: Mapping[str, _Kept], stream: str) -> dict[str, _Kept]:
    return {stream: values[stream]} if stream in values else {}
