"""The candidate against control, by the arms of the units that went bad."""

from __future__ import annotations

import math

from collections.abc import Mapping
from typing import cast

import attrs

from ...canonical import JSON
from ...metrics import LATENCY, WITHOUT_TOOLS, Kind, Metric
from ...model import Arm, Finding, Missing, Pairs
from ...stats import (
    BernoulliProcess,
    LabelProcess,
    Onset,
    PairedProcess,
    Side,
    decides,
    e_value,
    log_both,
    log_either,
)
from ...telemetry import labelled
from ..plan import Rule
from .exact import ExactEvidence
from .limit import counted, limited_by
from .outlook import Outlook, outlook_of_margin
from .units import Seen, Tally, by_visit
from .watch import Watch, watched


@attrs.define(eq=False)
class ComparedEvidence:
    """
    Whether the candidate is worse than control, or proven not to be, beyond a margin.

    Units that went bad are labelled with their arm: `legion.stats.LabelProcess`. Where
    the candidate only mirrors, both answers of a unit are compared:
    `legion.stats.PairedProcess`. A time is compared by the units slower than a quantile
    of control's past; the candidate may be slower by the margin, and the ratio is 1.
    Where the candidate only mirrors, the latency is that without the time in marked
    tools, of which some do not run then; where none is marked it is the same.

    Where units come back, harm in a share is the mean of two e-values. One is that of
    the arms of each unit's first bad visit of the stay, whenever it comes: it sees
    faults that reach new units at once. The other is exact, `ExactEvidence`: at its looks
    it sees errors that are added and those that multiply a unit's own. Proof is left to units as they were when
    they came of age: given time, whoever can fail has failed once in either arm, and a
    candidate that fails twice as often would pass for no worse.

    Args:
        rule: The rule; it compares with the baseline.
        metric: What it speaks of.
        trigger: Whether it takes back, rather than proves.
        margin: By which share the candidate may be worse.
        share: Share of the units that get the candidate, 0..1.
        alpha: The level at which its own evidence decides.
        stale_s: Plan time after which the newest unit is too old.
        slice: Of which units alone it speaks, or "" for all of them.
        visits_s: Plan time over which the exact test looks, where units come back;
            None where each comes once.
        looks: How often a trigger is expected to be updated: harm may begin at each.
    """

    rule: Rule
    metric: Metric = attrs.field(kw_only=True)
    trigger: bool = attrs.field(kw_only=True)
    margin: float = attrs.field(kw_only=True)
    share: float = attrs.field(kw_only=True)
    alpha: float = attrs.field(kw_only=True)
    stale_s: float = attrs.field(kw_only=True)
    slice: str = attrs.field(kw_only=True, default="")
    visits_s: float | None = attrs.field(default=None, kw_only=True)
    fact: bool = attrs.field(init=False, default=False)
    looks: float = attrs.field(default=math.inf, kw_only=True)
    _process: Onset[LabelProcess | PairedProcess] = attrs.field(init=False)
    _floor: Onset[BernoulliProcess] | None = attrs.field(init=False)
    _exact: ExactEvidence | None = attrs.field(init=False, default=None)
    _tally: Tally = attrs.field(init=False, factory=Tally)
    _at_s: float = attrs.field(init=False, default=0.0)
    _error: str = attrs.field(init=False, default="")
    _counted: bool = attrs.field(init=False, default=False)
    _whole: bool = attrs.field(init=False, default=False)
    _young: bool = attrs.field(init=False, default=False)

    def __attrs_post_init__(self) -> None:
        if self.share == 0 and self.metric.stream == LATENCY:
            self.metric = attrs.evolve(self.metric, stream=WITHOUT_TOOLS)
        # A time has its margin in the edge beyond which a unit is slow.
        ratio = 1.0 if self.metric.kind is Kind.TIME else 1.0 + self.margin
        kind = PairedProcess if self.share == 0 else LabelProcess
        first = kind.harm(ratio) if self.trigger else kind.proof(ratio)
        looks = self.looks if self.trigger else math.inf
        self._process = Onset.of(first, looks=looks)
        floor = self.rule.or_below
        if floor is None:
            self._floor = None
        else:
            self._floor = limited_by(floor, harm=self.trigger, looks=self.looks)
        shared = self.metric.kind is Kind.SHARE and 0 < self.share < 1
        if self.visits_s is not None and self.trigger and shared:
            self._exact = ExactEvidence(
                self.metric.stream, margin=self.margin, over_s=self.visits_s
            )

    @property
    def name(self) -> str:
        """Under which name the units are counted."""
        return f"{self._watched}{labelled(self.slice)}"

    @property
    def _watched(self) -> str:
        side = Side.HARM if self.trigger else Side.PROOF
        return watched(self.metric, side, self.margin)

    @property
    def watches(self) -> tuple[Watch, ...]:
        """The edge beyond which a unit is slow, where it is a time that is compared."""
        if self.metric.kind is not Kind.TIME:
            return ()
        side = Side.HARM if self.trigger else Side.PROOF
        return (
            Watch(
                name=self._watched, metric=self.metric, side=side, slower=self.margin
            ),
        )

    def update(self, seen: Seen) -> None:
        """Add the units that came of age, unless some of the look are missing."""
        observation = seen.observation
        self._at_s = observation.at_s
        self._error = observation.candidate.errors.get(self.metric.stream, "")
        candidate = observation.candidate
        # A share that is recorded by unit is among the units, with 0 of age.
        self._counted |= (
            self.metric.stream in candidate.counts and self.name not in candidate.units
        )
        self._young |= self.name in candidate.units
        # Times that were recorded whole, by hand, in a stage that mirrors.
        self._whole |= self.metric.stream == WITHOUT_TOOLS and (
            LATENCY in candidate.histograms
            and WITHOUT_TOOLS not in candidate.histograms
        )
        if observation.lost:
            return
        anew = not self.trigger
        tally = Tally.of(seen, self.name, anew=anew)
        bad = self.name if self._exact is None else by_visit(self.name)
        once = Tally.once(seen, self.name, bad=bad, anew=anew)
        self._tally = self._tally.plus(tally if self._exact is None else once).heard(
            seen, self.metric.stream
        )
        if self._exact is not None:
            self._exact.update(seen)
        if self._floor is not None:
            self._floor = counted(self._floor, tally)
        first = self._process.first
        if isinstance(first, PairedProcess):
            pairs = observation.pairs.get(self.name, Pairs())
            first = first.update(
                pairs.n,
                both=pairs.both,
                candidate=pairs.candidate,
                control=pairs.control,
            )
        elif 0 < self.share < 1:
            first = first.update(once.candidate_bad, once.control_bad, rho=self.share)
        self._process = self._process.update(first)

    @property
    def log_bad(self) -> float:
        """Evidence that the candidate is worse by more than the margin."""
        if not self.trigger:
            return 0.0
        log_e = self._process.log_e
        if self._exact is not None:
            log_e = log_either(log_e, self._exact.log_e)
        return log_e if self._floor is None else log_both(log_e, self._floor.log_e)

    @property
    def log_good(self) -> float:
        """Evidence that the candidate is not worse by the margin."""
        if self.trigger:
            return 0.0
        if self._floor is None:
            return self._process.log_e
        return log_either(self._process.log_e, self._floor.log_e)

    def finding(self) -> Finding:
        """Return where the rule stands now."""
        log_e = self.log_bad if self.trigger else self.log_good
        missing, why = self._missing()
        met = None if missing else decides(log_e, alpha=self.alpha)
        return Finding(
            rule=f"{self.rule}, in {self.slice}" if self.slice else str(self.rule),
            metric=self.rule.metric,
            slice=self.slice,
            met=met,
            missing=missing,
            value=None if self.metric.kind is Kind.TIME else self._tally.share,
            bad=e_value(self.log_bad),
            good=e_value(self.log_good),
            reason=why or self._reason(log_e, met=bool(met)),
            evidence={
                "trigger": self.trigger,
                "units": self._tally.candidate,
                "bad_units": self._tally.candidate_bad,
                "control_units": self._tally.control,
                "control_bad_units": self._tally.control_bad,
                "margin": self.margin,
                "needed": 1 / self.alpha,
                **self._by_visit(),
            },
        )

    def outlook(self, observed_s: float) -> Outlook:
        """Return when the margin could be proven, after so many seconds of proof."""
        return outlook_of_margin(
            self._process.first,
            None if self._floor is None else self._floor.first,
            self._tally,
            share=self.share,
            margin=self.margin,
            slow=self.metric.kind is Kind.TIME,
            alpha=self.alpha,
            observed_s=observed_s,
        )

    def _by_visit(self) -> dict[str, JSON]:
        """Return what both tests of units that come back say, each for itself."""
        if self._exact is None:
            return {}
        return {
            "first_bad": e_value(self._process.log_e),
            "exact": e_value(self._exact.log_e),
            "exact_looks": self._exact.looks,
            "exact_units": self._exact.units,
            "visits_left_out": self._exact.left_out,
        }

    def _missing(self) -> tuple[Missing | None, str]:
        metric, tally = self._said, self._tally
        if tally.empty:
            missing, why = self._not_measured()
            return missing, f"{metric}: {why}"
        silent = tally.silent(self._at_s, self.stale_s)
        if silent is not None:
            return Missing.STALE, f"{metric}: nothing recorded lately of {_of(silent)}"
        if not tally.candidate or not tally.control:
            arm = Arm.CONTROL if tally.candidate else Arm.CANDIDATE
            why = f"no unit of {_of(arm)} is of age yet"
            return Missing.INCONCLUSIVE, f"{metric}: {why}"
        return None, ""

    def _not_measured(self) -> tuple[Missing, str]:
        if self._error:
            return Missing.ERROR, self._error
        if self._counted:
            why = "counted by event; record it by unit, in a trial, to compare arms"
            return Missing.INCONCLUSIVE, why
        if self._whole:
            why = (
                "recorded with the time in tools; give tools_s, 0 where there are none"
            )
            return Missing.INCONCLUSIVE, why
        if self._young:
            return Missing.INCONCLUSIVE, "no unit is of age yet"
        return Missing.NO_DATA, "not measured"

    @property
    def _said(self) -> str:
        metric = self.rule.metric
        return f"{metric} in {self.slice}" if self.slice else metric

    def _reason(self, log_e: float, *, met: bool) -> str:
        tally = self._tally
        what = "bad"
        if self.metric.kind is Kind.TIME:
            what = "slow" if self.metric.unit == "s" else "beyond the edge"
        if self.metric.stream == WITHOUT_TOOLS:
            what += " without the time in tools"
        said = (
            f"{self._said}: {tally.candidate_bad} of {tally.candidate} units are"
            f" {what}, of control's {tally.control_bad} of {tally.control}"
        )
        against = (
            f"more than {self.margin:.0%} worse"
            if self.trigger
            else f"at most {self.margin:.0%} worse"
        )
        state = "proven" if met else "not proven"
        found = f"{state}, E {e_value(log_e):.3g} of {1 / self.alpha:.3g}"
        return f"{said}; {against}: {found}{self._stronger()}"

    def _stronger(self) -> str:
        """Name the test that says more, where there are two."""
        if self._exact is None:
            return ""
        left_out = self._exact.left_out
        beyond = f" ({left_out} visits of later units left out)" if left_out else ""
        if self._exact.log_e > self._process.log_e:
            return f", most of it from units held against their own past{beyond}"
        return f", most of it from each unit's first bad visit{beyond}"

    def to_json(self) -> JSON:
        """Return the counts and the processes."""
        return {
            "tally": self._tally.to_json(),
            "process": self._process.first.to_json(),
            "onset": self._process.to_json(),
            "floor": None if self._floor is None else self._floor.first.to_json(),
            "floor_onset": None if self._floor is None else self._floor.to_json(),
            "exact": None if self._exact is None else self._exact.to_json(),
            "at_s": self._at_s,
            "error": self._error,
            "counted": self._counted,
            "whole": self._whole,
            "young": self._young,
        }

    def restore(self, value: JSON) -> None:
        """Go on from what `to_json` returned."""
        raw = cast("Mapping[str, JSON]", value)
        self._tally = Tally.from_json(raw["tally"])
        process = cast("Mapping[str, JSON]", raw["process"])
        first = type(self._process.first).from_json(process)
        # Some are not there where they were written by a version without them.
        self._process = self._process.restore(first, raw.get("onset"))
        if self._floor is not None and raw["floor"] is not None:
            floor = BernoulliProcess.from_json(cast("Mapping[str, JSON]", raw["floor"]))
            self._floor = self._floor.restore(floor, raw.get("floor_onset"))
        if self._exact is not None and raw.get("exact") is not None:
            self._exact.restore(raw["exact"])
        self._at_s = float(cast("float", raw["at_s"]))
        self._error = str(raw["error"])
        self._counted = bool(raw["counted"])
        self._whole, self._young = bool(raw.get("whole")), bool(raw.get("young"))


def _of(arm: Arm) -> str:
    return "control" if arm is Arm.CONTROL else "the candidate"
