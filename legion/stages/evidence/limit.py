"""The candidate against a limit of its own, whatever control does."""

from __future__ import annotations

import math

from collections.abc import Mapping
from typing import cast

import attrs

from ...canonical import JSON
from ...metrics import Kind, Metric
from ...model import Finding, Missing
from ...stats import BernoulliProcess, Onset, decides, e_value
from ..plan import Rule
from .outlook import Outlook, outlook_of_limit
from .units import CLUSTERED, Seen, Tally
from .watch import Watch


LEAST = 1e-6
"""The nearest to 0 and to 1 that a limit can be told from them by counting."""


def bad_share(rule: Rule, metric: Metric) -> float:
    """Return the share of bad units at which the limit of *rule* is reached."""
    if metric.kind is Kind.TIME:
        return 1 - metric.quantile
    limit = limit_of(rule)
    return 1 - limit if metric.higher_is_better else limit


def limit_of(rule: Rule) -> float:
    """Return the number that *rule* has for a limit."""
    limits = (rule.below, rule.at_most, rule.above, rule.at_least, rule.equals)
    return next((limit for limit in limits if limit is not None), 0.0)


def limited(metric: Metric, rule: Rule) -> str:
    """Return under which name the units beyond the limit of *rule* are counted."""
    if metric.kind is not Kind.TIME:
        return metric.stream
    return f"{metric.name} beyond {limit_of(rule):g} {metric.unit}"


def limited_by(share: float, *, harm: bool, looks: float) -> Onset[BernoulliProcess]:
    """
    Start evidence that more are bad than a share, or fewer.

    Args:
        share: The share.
        harm: Whether it is evidence of more.
        looks: How often it is expected to be updated, where it is.
    """
    if harm:
        return Onset.of(BernoulliProcess.harm(share), looks=looks)
    return Onset.of(BernoulliProcess.proof(share), looks=math.inf)


def counted(process: Onset[BernoulliProcess], tally: Tally) -> Onset[BernoulliProcess]:
    """Return the evidence after the candidate's units of *tally*."""
    first = process.first.update(
        tally.candidate_bad, tally.candidate, streams=tally.streams
    )
    # A unit may have counted in one more process from now on: what it says is divided
    # among them from the first unit on, and what began later begins anew.
    same = first.streams == process.first.streams
    return process.update(first) if same else process.anew(first)


@attrs.define(eq=False)
class LimitEvidence:
    """
    Whether a share or a quantile is beyond its limit, or proven to be within.

    Bad units are held against the limit: `legion.stats.BernoulliProcess`. A quantile q
    is below its limit where fewer than 1 - q of the units exceed it. A share that is
    supplied by event and not by unit is judged by its events, which must then be
    independent of one another; the finding says so. Where units come back they are not,
    and it is not judged.

    Args:
        rule: The rule; it has an absolute limit.
        metric: What it speaks of.
        trigger: Whether it takes back, rather than proves.
        alpha: The level at which its own evidence decides.
        stale_s: Plan time after which the newest event is too old.
        clustered: Whether events belong to units that come back, so that several are of
            one unit.
        looks: How often a trigger is expected to be updated: harm may begin at each.
    """

    rule: Rule
    metric: Metric = attrs.field(kw_only=True)
    trigger: bool = attrs.field(kw_only=True)
    alpha: float = attrs.field(kw_only=True)
    stale_s: float = attrs.field(kw_only=True)
    clustered: bool = attrs.field(default=False, kw_only=True)
    fact: bool = attrs.field(init=False, default=False)
    looks: float = attrs.field(default=math.inf, kw_only=True)
    _process: Onset[BernoulliProcess] = attrs.field(init=False)
    _tally: Tally = attrs.field(init=False, factory=Tally)
    _by_event: bool = attrs.field(init=False, default=False)
    _at_s: float = attrs.field(init=False, default=0.0)
    _error: str = attrs.field(init=False, default="")

    def __attrs_post_init__(self) -> None:
        share = min(max(bad_share(self.rule, self.metric), LEAST), 1 - LEAST)
        self._process = limited_by(share, harm=self.trigger, looks=self.looks)

    @property
    def name(self) -> str:
        """Under which name the units are counted."""
        return limited(self.metric, self.rule)

    @property
    def watches(self) -> tuple[Watch, ...]:
        """The limit beyond which a unit is slow, where it is a time."""
        if self.metric.kind is not Kind.TIME:
            return ()
        limit = limit_of(self.rule)
        return (Watch(name=self.name, metric=self.metric, limit=limit),)

    def update(self, seen: Seen) -> None:
        """
        Add the units that came of age, or the events where there are no units.

        Where some of the look are missing it is no proof, but harm it shows is harm.
        """
        self._at_s = seen.observation.at_s
        errors = seen.observation.candidate.errors
        self._error = errors.get(self.metric.stream, "")
        if seen.observation.lost and not self.trigger:
            return
        tally, by_event = Tally.alone(
            seen, self.name, self.metric, anew=not self.trigger
        )
        self._by_event |= by_event
        self._tally = self._tally.plus(tally).heard(seen, self.metric.stream)
        if self._by_event and self.clustered:
            return
        self._process = counted(self._process, tally)

    @property
    def log_bad(self) -> float:
        """Evidence that the limit is passed."""
        return self._process.log_e if self.trigger else 0.0

    @property
    def log_good(self) -> float:
        """Evidence that the limit is kept."""
        return 0.0 if self.trigger else self._process.log_e

    def finding(self) -> Finding:
        """Return where the rule stands now."""
        log_e = self._process.log_e
        missing, why = self._missing()
        met = None if missing else decides(log_e, alpha=self.alpha)
        return Finding(
            rule=str(self.rule),
            metric=self.rule.metric,
            met=met,
            missing=missing,
            value=self._value(),
            limit=None if self.metric.kind is Kind.TIME else limit_of(self.rule),
            bad=e_value(self.log_bad),
            good=e_value(self.log_good),
            reason=why or self._reason(log_e, met=bool(met)),
            evidence={
                "trigger": self.trigger,
                "by": "event" if self._by_event else "unit",
                "units": self._tally.candidate,
                "bad_units": self._tally.candidate_bad,
                "streams": self._tally.streams,
                "needed": 1 / self.alpha,
            },
        )

    def outlook(self, observed_s: float) -> Outlook:
        """Return when the limit could be proven, after so many seconds of proof."""
        return outlook_of_limit(
            self._process.first, alpha=self.alpha, observed_s=observed_s
        )

    def _value(self) -> float | None:
        share = self._tally.share
        if share is None or self.metric.kind is Kind.TIME:
            return None  # What is counted is who is slow, not how slow.
        return 1 - share if self.metric.higher_is_better else share

    def _missing(self) -> tuple[Missing | None, str]:
        metric = self.rule.metric
        heard = self._tally.candidate_heard
        if self._tally.empty:
            if self._error:
                return Missing.ERROR, f"{metric}: {self._error}"
            return Missing.NO_DATA, f"{metric}: not measured"
        if heard.is_old(self._at_s, self.stale_s):
            return Missing.STALE, f"{metric}: nothing recorded lately"
        if not self._tally.candidate:
            why = "no unit of the candidate is of age yet"
            return Missing.INCONCLUSIVE, f"{metric}: {why}"
        if self._by_event and self.clustered:
            return Missing.INCONCLUSIVE, f"{metric}: {CLUSTERED}"
        return None, ""

    def _reason(self, log_e: float, *, met: bool) -> str:
        tally = self._tally
        of = "events" if self._by_event else "units"
        if self.metric.kind is Kind.TIME:
            said = (
                f"{tally.candidate_bad} of {tally.candidate} {of} are beyond the limit"
            )
        else:
            bad = tally.candidate_bad
            counted = tally.candidate - bad if self.metric.higher_is_better else bad
            said = f"{counted} of {tally.candidate} {of}"
        state = "proven" if met else "not proven"
        metric = self.rule.metric
        return (
            f"{metric}: {said}; {str(self.rule).removeprefix(f'{metric} ')}: {state},"
            f" E {e_value(log_e):.3g} of {1 / self.alpha:.3g}{self._tally.shared}"
        )

    def to_json(self) -> JSON:
        """Return the counts and the process."""
        return {
            "tally": self._tally.to_json(),
            "process": self._process.first.to_json(),
            "onset": self._process.to_json(),
            "by_event": self._by_event,
            "at_s": self._at_s,
            "error": self._error,
        }

    def restore(self, value: JSON) -> None:
        """Go on from what `to_json` returned."""
        raw = cast("Mapping[str, JSON]", value)
        self._tally = Tally.from_json(raw["tally"])
        process = cast("Mapping[str, JSON]", raw["process"])
        first = BernoulliProcess.from_json(process)
        self._process = self._process.restore(first, raw.get("onset"))
        self._by_event = bool(raw["by_event"])
        self._at_s = float(cast("float", raw["at_s"]))
        self._error = str(raw["error"])
