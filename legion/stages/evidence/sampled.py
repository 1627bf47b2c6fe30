"""A sampled level that wanders: how often is it beyond its limit?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import attrs

from ...canonical import JSON
from ...model import Finding
from ...stats import BernoulliProcess, Onset, decides, e_value
from .fact import ThresholdEvidence
from .limit import limited_by
from .units import Seen
from .watch import Watch


HEALTHY = 0.05
"""Share of disjoint windows in which a healthy level may be beyond its limit."""


@attrs.define(eq=False)
class SampledEvidence:
    """
    Whether a level is beyond its limit more often than a healthy one may be.

    A level such as the growth of memory is noisy, belongs to the process and not to an
    arm, and has no unit that was drawn. What can be promised rests on one assumption,
    which the finding names: that in a healthy process it is beyond its limit in at most
    one window of twenty, whatever the windows before were. Three in a row are then
    proof at about one in a thousand.

    Args:
        reading: What reads the level, window by window.
        alpha: The level at which its own evidence decides.
        looks: How many windows are expected: it may begin in each.
    """

    reading: ThresholdEvidence
    alpha: float = attrs.field(kw_only=True)
    looks: float = attrs.field(kw_only=True)
    fact: bool = attrs.field(init=False, default=False)
    log_good: float = attrs.field(init=False, default=0.0)
    watches: tuple[Watch, ...] = attrs.field(init=False, default=())
    _process: Onset[BernoulliProcess] = attrs.field(init=False)
    _seen_s: float = attrs.field(init=False, default=float("-inf"))

    def __attrs_post_init__(self) -> None:
        self._process = limited_by(HEALTHY, harm=True, looks=self.looks)

    @property
    def log_bad(self) -> float:
        """Evidence that the level is beyond its limit too often."""
        return self._process.log_e

    def update(self, seen: Seen) -> None:
        """Count the window, once it is an interval after the one counted last."""
        self.reading.update(seen)
        met = self.reading.finding().met
        fresh = self.reading.metric.stream in seen.observation.candidate.gauges
        if met is None or not fresh:
            return
        if seen.observation.at_s - self._seen_s >= self.reading.interval_s:
            self._seen_s = seen.observation.at_s
            first = self._process.first.update(int(met), 1)
            self._process = self._process.update(first)

    def finding(self) -> Finding:
        """Return where the rule stands now."""
        plain = self.reading.finding()
        met = None if plain.missing else decides(self.log_bad, alpha=self.alpha)
        bad, n = self._process.first.bad, self._process.first.n
        beyond = f"beyond its limit in {bad} of {n} windows"
        return attrs.evolve(
            plain,
            met=met,
            fact=self.fact,
            bad=e_value(self.log_bad),
            good=1.0,
            reason=plain.reason if plain.missing else f"{plain.reason}; {beyond}",
            evidence={
                **plain.evidence,
                "windows": n,
                "beyond": bad,
                "assumed": f"a healthy one is beyond it in {HEALTHY:.0%} at most",
            },
        )

    def to_json(self) -> JSON:
        """Return the reading and the process."""
        return {
            "reading": self.reading.to_json(),
            "process": self._process.first.to_json(),
            "onset": self._process.to_json(),
            "seen_s": self._seen_s if self._process.first.n else None,
        }

    def restore(self, value: JSON) -> None:
        """Go on from what `to_json` returned."""
        raw = cast("Mapping[str, JSON]", value)
        self.reading.restore(raw["reading"])
        process = cast("Mapping[str, JSON]", raw["process"])
        first = BernoulliProcess.from_json(process)
        self._process = self._process.restore(first, raw.get("onset"))
        if raw["seen_s"] is not None:
            self._seen_s = float(cast("float", raw["seen_s"]))
