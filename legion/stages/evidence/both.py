"""Two nulls, of which both must be false; and several, weighed together."""

from __future__ import annotations

import math

from collections.abc import Mapping
from typing import cast

import attrs

from ...canonical import JSON
from ...model import Finding
from ...stats import decides, e_value, log_both
from .protocol import Evidence
from .units import Seen
from .watch import Watch


@attrs.define(eq=False)
class BothEvidence:
    """
    Harm only where the candidate is beyond its own limit *and* worse than control.

    A fault of the surroundings brings both arms beyond a limit, and going back would
    mend nothing. The lesser of two e-values is one where either null holds.

    Args:
        limit: Against the limit; its finding is told.
        compared: Against control.
        alpha: The level at which both together decide.
    """

    limit: Evidence
    compared: Evidence
    alpha: float = attrs.field(kw_only=True)
    fact: bool = attrs.field(init=False, default=False)
    log_good: float = attrs.field(init=False, default=0.0)

    @property
    def log_bad(self) -> float:
        """The lesser of the two."""
        return log_both(self.limit.log_bad, self.compared.log_bad)

    @property
    def watches(self) -> tuple[Watch, ...]:
        """Those of both."""
        return (*self.limit.watches, *self.compared.watches)

    def update(self, seen: Seen) -> None:
        """Let both take it into account."""
        self.limit.update(seen)
        self.compared.update(seen)

    def finding(self) -> Finding:
        """Return where the limit stands, met only where control does better."""
        one, other = self.limit.finding(), self.compared.finding()
        missing = one.missing or other.missing
        met = None if missing else decides(self.log_bad, alpha=self.alpha)
        return attrs.evolve(
            one,
            met=met,
            missing=missing,
            bad=e_value(self.log_bad),
            reason=other.reason if one.missing is None and missing else one.reason,
        )

    def to_json(self) -> JSON:
        """Return both."""
        return {"limit": self.limit.to_json(), "compared": self.compared.to_json()}

    def restore(self, value: JSON) -> None:
        """Go on from what `to_json` returned."""
        raw = cast("Mapping[str, JSON]", value)
        self.limit.restore(raw["limit"])
        self.compared.restore(raw["compared"])


@attrs.define(eq=False)
class RowEvidence:
    """
    So many unhealthy checks, and proof that something is worse than it may be.

    Checks alone are chance's work: on a noisy criterion, three in a row each minute roll
    every second healthy rollout back within two days. So they only open the door, and the
    average of the criteria's e-values, each against its alert, must carry it through.

    Args:
        reading: What reads the checks: in a row, or how many verdicts there were.
        criteria: By criterion, the evidence against its alert limit.
        alpha: The level at which it decides.
    """

    reading: Evidence
    criteria: Mapping[str, Evidence]
    alpha: float = attrs.field(kw_only=True)
    fact: bool = attrs.field(init=False, default=False)
    log_good: float = attrs.field(init=False, default=0.0)

    @property
    def log_bad(self) -> float:
        """The average of the criteria's, and nothing while the reading is not met."""
        if not self.criteria:
            return 0.0
        logs = [one.log_bad for one in self.criteria.values()]
        top = max(logs)
        mean = top + math.log(math.fsum(math.exp(x - top) for x in logs) / len(logs))
        return mean if self.reading.finding().met else min(mean, 0.0)

    @property
    def watches(self) -> tuple[Watch, ...]:
        """Those of all criteria."""
        return tuple(each for one in self.criteria.values() for each in one.watches)

    def update(self, seen: Seen) -> None:
        """Let all of them take it into account."""
        self.reading.update(seen)
        for one in self.criteria.values():
            one.update(seen)

    def finding(self) -> Finding:
        """Return where the reading stands."""
        plain = self.reading.finding()
        met = None if plain.missing else decides(self.log_bad, alpha=self.alpha)
        worst = max(self.criteria, key=lambda n: self.criteria[n].log_bad, default="")
        why = (
            f"; {self.criteria[worst].finding().reason}" if worst and plain.met else ""
        )
        return attrs.evolve(
            plain,
            met=met,
            fact=self.fact,
            bad=e_value(self.log_bad),
            good=1.0,
            reason=f"{plain.reason}{why}",
            evidence={**plain.evidence, "worst": worst},
        )

    def to_json(self) -> JSON:
        """Return all of them."""
        return {
            "reading": self.reading.to_json(),
            "criteria": {name: one.to_json() for name, one in self.criteria.items()},
        }

    def restore(self, value: JSON) -> None:
        """Go on from what `to_json` returned; a criterion that is new starts anew."""
        raw = cast("Mapping[str, JSON]", value)
        self.reading.restore(raw["reading"])
        known = cast("Mapping[str, JSON]", raw["criteria"])
        for name, one in self.criteria.items():
            if name in known:
                one.restore(known[name])
