"""What a comparison of two samples is called, in the manner of Kayenta."""

from __future__ import annotations

import enum
import math

from typing import Literal, TypeAlias

import attrs

from .sample import Sample
from .shift import Shift, shift_of, superiority


Direction: TypeAlias = Literal["increase", "decrease", "either"]
"""Which change counts."""

Effect: TypeAlias = Literal["mean_ratio", "cles"]
"""What an effect is measured by: candidate's mean over control's, or superiority."""

NaN: TypeAlias = Literal["remove", "replace"]
"""What is done with what could not be measured: left out, or taken for 0."""


class Label(enum.StrEnum):
    """What a comparison is called."""

    PASS = "pass"  # noqa: S105 - no password
    HIGH = "high"
    LOW = "low"
    NO_DATA = "nodata"
    NO_DATA_FAILS = "nodata_fail_metric"


@attrs.frozen(kw_only=True)
class Classification:
    """
    What a comparison came to.

    Attributes:
        label: What it is called.
        critical: Whether it fails the canary by itself.
        ratio: Candidate's mean over control's; NaN where either is 0.
        effect: The effect, as it is asked for; NaN where it cannot be told.
        shift: By how much the candidate is shifted, where that was looked at.
        reason: One sentence, or "" where all is well.
    """

    label: Label
    critical: bool = False
    ratio: float = 1.0
    effect: float = math.nan
    shift: Shift | None = None
    reason: str = ""


@attrs.frozen(kw_only=True)
class Classifier:
    """
    Compares a candidate's sample with control's.

    The rules are those of Kayenta's MannWhitneyClassifier and MeanInequalityClassifier
    (kayenta-judge, at a69573be). A change counts when the whole interval of the shift
    lies further out than `tolerance` times the estimate, and the effect reaches its
    limit; an effect that cannot be told is no objection.

    Attributes:
        direction: Which change counts.
        tolerance: Share of the estimated shift that the interval must exceed.
        confidence: Of the interval, between 0 and 1.
        effect: What an effect is measured by.
        allowed: Effect from which on a decrease and an increase count.
        critical: Effect from which on they are critical, or None where none is.
        nan: What was done with values that are NaN; it decides about empty samples.
        must_have_data: Whether an empty sample is a failure.
        means_only: Whether the means alone are compared, without a test.
    """

    direction: Direction = "either"
    tolerance: float = 0.25
    confidence: float = 0.98
    effect: Effect = "mean_ratio"
    allowed: tuple[float, float] = (1.0, 1.0)
    critical: tuple[float, float] | None = None
    nan: NaN = "remove"
    must_have_data: bool = False
    means_only: bool = False

    def classify(
        self, candidate: Sample, control: Sample, *, ratio: float | None = None
    ) -> Classification:
        """
        Compare *candidate* with *control*.

        Args:
            candidate: Its values, without NaN.
            control: Its values, without NaN.
            ratio: Candidate's mean over control's where it is known better than from
                the samples.
        """
        if not candidate.size or not control.size:
            return self._empty()
        if ratio is None:
            ratio = ratio_of(candidate.mean, control.mean)
        if self.means_only:
            return self._by_means(candidate, control, ratio)
        alike = candidate.constant and candidate.values == control.values
        if alike or candidate == control:
            return Classification(label=Label.PASS, reason="the data are identical")
        shift = shift_of(candidate, control, self.confidence)
        effect = ratio
        if self.effect == "cles":
            effect = superiority(candidate, control)
        label = self._label(shift, effect)
        return Classification(
            label=label,
            critical=self._critical(label, effect),
            ratio=ratio,
            effect=effect,
            shift=shift,
            reason="" if label is Label.PASS else f"classified as {label.value}",
        )

    def _empty(self) -> Classification:
        if self.nan == "replace":
            return Classification(label=Label.PASS)
        critical = self.critical is not None
        fails = self.must_have_data and not critical
        return Classification(
            label=Label.NO_DATA_FAILS if fails else Label.NO_DATA,
            critical=critical,
            reason="a sample is empty",
        )

    def _by_means(
        self, candidate: Sample, control: Sample, ratio: float
    ) -> Classification:
        label = Label.PASS
        if self.direction != "decrease" and candidate.mean > control.mean:
            label = Label.HIGH
        elif self.direction != "increase" and candidate.mean < control.mean:
            label = Label.LOW
        changed = label is not Label.PASS
        return Classification(
            label=label,
            critical=changed and self.critical is not None,
            ratio=ratio,
            effect=ratio,
            reason=f"the candidate's mean is {label.value}" if changed else "",
        )

    def _label(self, shift: Shift, effect: float) -> Label:
        margin = self.tolerance * abs(shift.estimate)
        least, most = self.allowed
        if self.direction != "decrease" and shift.low > margin and not effect < most:
            return Label.HIGH
        if self.direction != "increase" and shift.high < -margin and not effect > least:
            return Label.LOW
        return Label.PASS

    def _critical(self, label: Label, effect: float) -> bool:
        if self.critical is None or label is Label.PASS:
            return False
        least, most = self.critical
        # NaN compares as false, so that an effect that cannot be told is critical.
        return not effect < most if label is Label.HIGH else not effect > least


def ratio_of(candidate: float, control: float) -> float:
    """Return a mean over another, or NaN where either is 0."""
    return math.nan if 0 in {candidate, control} else candidate / control
