"""Everybody has the candidate: has it become worse than it may be?"""

from __future__ import annotations

import math

from collections.abc import Mapping
from typing import cast

import attrs

from ...canonical import JSON
from ...metrics import Kind, Metric
from ...model import Finding, Missing
from ...stats import Detector, decides, e_value
from ..plan import Rule
from .units import CLUSTERED, Seen, Tally
from .watch import Watch


_LEAST = math.log(1e-300)


@attrs.frozen(kw_only=True)
class Bound:
    """
    The share of bad units that is no harm.

    Attributes:
        says: The limit in words.
        share: Inside 0..1; None where control was never measured.
        learned: Whether it is a bound that may be too low, as chance has it.
        step_s: Plan time that is weighed as a whole, in seconds; 0 for each look.
    """

    says: str
    share: float | None = None
    learned: bool = False
    step_s: float = 0.0


@attrs.define(eq=False)
class DetectorEvidence:
    """
    Whether a rate has risen above a limit, at any time since everybody has it.

    Evidence that adds up from the first unit on forgives slowly: a fault of the sixth
    day must first outweigh five good ones. So the evidence begins anew at every look,
    and all these beginnings are added up: `legion.stats.Detector`, whose level M grows
    no faster than the time that has passed. Over a horizon of T seconds

        E = (M + max(T - t, 0)) / T

    is therefore 1 on average at its start and a supermartingale up to T, so that it
    reaches c with a probability of 1 / c at most, like every other part of the budget.
    After T the promise is a mean time: on average no false alarm in T / alpha.

    A limit that was learned from control is too low with a probability of half of
    *alpha* at most; the evidence spends the other half, and counts half.

    What is supplied by event and not by unit is judged by its events, except where units
    come back, as in `LimitEvidence`.

    Args:
        rule: The rule.
        metric: What it speaks of.
        name: Under which name its units are counted.
        watch: Beyond which time a unit is bad, or None.
        bound: The share of bad units that is no harm.
        alpha: The level at which its own evidence decides.
        interval_s: Plan time between two looks; what is longer than two is downtime.
        stale_s: Plan time after which the newest unit is too old.
        horizon_s: T, in seconds of plan time.
        run_length_s: On average no false alarm of the whole plan in this time.
        clustered: Whether events belong to units that come back.
    """

    rule: Rule
    metric: Metric = attrs.field(kw_only=True)
    name: str = attrs.field(kw_only=True)
    watch: Watch | None = attrs.field(kw_only=True)
    bound: Bound = attrs.field(kw_only=True)
    alpha: float = attrs.field(kw_only=True)
    interval_s: float = attrs.field(kw_only=True)
    stale_s: float = attrs.field(kw_only=True)
    horizon_s: float = attrs.field(kw_only=True)
    run_length_s: float = attrs.field(kw_only=True)
    clustered: bool = attrs.field(default=False, kw_only=True)
    fact: bool = attrs.field(init=False, default=False)
    log_good: float = attrs.field(init=False, default=0.0)
    _detector: Detector | None = attrs.field(init=False)
    _passed_s: float = attrs.field(init=False, default=0.0)
    _waiting: Tally = attrs.field(init=False, factory=Tally)
    _waiting_s: float = attrs.field(init=False, default=0.0)
    _tally: Tally = attrs.field(init=False, factory=Tally)
    _by_event: bool = attrs.field(init=False, default=False)
    _at_s: float | None = attrs.field(init=False, default=None)
    _recorded_s: float | None = attrs.field(init=False, default=None)
    _error: str = attrs.field(init=False, default="")

    def __attrs_post_init__(self) -> None:
        share = self.bound.share
        self._detector = None if share is None else Detector.above(share)

    @property
    def watches(self) -> tuple[Watch, ...]:
        """Beyond which time a unit is slow, where it is a time."""
        return () if self.watch is None else (self.watch,)

    def update(self, seen: Seen) -> None:
        """Add the units that came of age, and the time that has passed."""
        at_s, window = seen.observation.at_s, seen.observation.candidate
        gap_s = self.interval_s if self._at_s is None else at_s - self._at_s
        passed_s = min(max(gap_s, 0.0), 2 * self.interval_s)
        self._at_s = at_s
        self._error = window.errors.get(self.metric.stream, "")
        tally, by_event = Tally.alone(seen, self.name, self.metric)
        self._by_event |= by_event
        if tally.candidate or window.measures(self.metric.stream):
            self._recorded_s = at_s
        self._tally = self._tally.plus(tally)
        if not self._refused:
            self._waiting = self._waiting.plus(tally)
        self._waiting_s += passed_s
        if self._waiting_s > 0 and self._waiting_s >= self.bound.step_s:
            self._weigh()

    @property
    def _refused(self) -> bool:
        return self._by_event and self.clustered

    def _weigh(self) -> None:
        waiting, self._waiting = self._waiting, Tally()
        passed_s, self._waiting_s = self._waiting_s, 0.0
        self._passed_s += passed_s
        if self._detector is not None:
            self._detector = self._detector.update(
                waiting.candidate_bad,
                waiting.candidate,
                passed=passed_s,
                streams=waiting.streams,
            )

    @property
    def log_bad(self) -> float:
        """Evidence that the rate has risen above the limit."""
        if self._detector is None:
            return 0.0
        left_s = max(self.horizon_s - self._passed_s, 0.0)
        e = (self._detector.level + left_s) / self.horizon_s
        log_e = math.log(e) if e > 0 else _LEAST
        return log_e - math.log(2) if self.bound.learned else log_e

    def finding(self) -> Finding:
        """Return where the rule stands now."""
        missing, why = self._missing()
        met = None if missing else decides(self.log_bad, alpha=self.alpha)
        share = self._tally.share
        if share is not None and self.metric.higher_is_better:
            share = 1 - share
        return Finding(
            rule=str(self.rule),
            metric=self.rule.metric,
            met=met,
            missing=missing,
            value=None if self.metric.kind is Kind.TIME else share,
            limit=None if self.metric.kind is Kind.TIME else self.bound.share,
            bad=e_value(self.log_bad),
            good=1.0,
            reason=why or self._reason(met=bool(met)),
            evidence={
                "trigger": True,
                "by": "event" if self._by_event else "unit",
                "units": self._tally.candidate,
                "bad_units": self._tally.candidate_bad,
                "streams": self._tally.streams,
                "bad_share": self.bound.share,
                "learned": self.bound.learned,
                "needed": 1 / self.alpha,
                "horizon_s": self.horizon_s,
                "run_length_s": self.run_length_s,
            },
        )

    def _missing(self) -> tuple[Missing | None, str]:
        metric = self.rule.metric
        if self._recorded_s is None or self._at_s is None:
            if self._error:
                return Missing.ERROR, f"{metric}: {self._error}"
            return Missing.NO_DATA, f"{metric}: not measured"
        if self._at_s - self._recorded_s > self.stale_s:
            return Missing.STALE, f"{metric}: nothing recorded lately"
        if self._refused:
            return Missing.INCONCLUSIVE, f"{metric}: {CLUSTERED}"
        return None, ""

    def _reason(self, *, met: bool) -> str:
        metric, tally = self.rule.metric, self._tally
        if self._detector is None:
            return f"{metric}: {self.bound.says}, so this rule rests"
        what = "slow" if self.metric.kind is Kind.TIME else "bad"
        of = "events" if self._by_event else "units"
        state = "proven" if met else "not proven"
        return (
            f"{metric}: {tally.candidate_bad} of {tally.candidate} {of} are {what};"
            f" {self.bound.says}: {state}, E {e_value(self.log_bad):.3g} of"
            f" {1 / self.alpha:.3g}{tally.shared}; no control: on average no false alarm in"
            f" {self.run_length_s / 86_400:,.3g} days"
        )

    def to_json(self) -> JSON:
        """Return the counts, the time and the detector."""
        return {
            "detector": None if self._detector is None else self._detector.to_json(),
            "passed_s": self._passed_s,
            "waiting": self._waiting.to_json(),
            "waiting_s": self._waiting_s,
            "tally": self._tally.to_json(),
            "by_event": self._by_event,
            "at_s": self._at_s,
            "recorded_s": self._recorded_s,
            "error": self._error,
        }

    def restore(self, value: JSON) -> None:
        """Go on from what `to_json` returned."""
        raw = cast("Mapping[str, JSON]", value)
        if raw["detector"] is not None:
            detector = cast("Mapping[str, JSON]", raw["detector"])
            self._detector = Detector.from_json(detector)
        self._passed_s = float(cast("float", raw["passed_s"]))
        self._waiting = Tally.from_json(raw["waiting"])
        self._waiting_s = float(cast("float", raw["waiting_s"]))
        self._tally = Tally.from_json(raw["tally"])
        self._by_event = bool(raw["by_event"])
        self._at_s = cast("float | None", raw["at_s"])
        self._recorded_s = cast("float | None", raw["recorded_s"])
        self._error = str(raw["error"])
