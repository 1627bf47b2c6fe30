"""What a rollout remembers between two looks."""

from __future__ import annotations

import enum

from collections.abc import Mapping
from typing import Any, cast

import attrs

from ..canonical import JSON
from ..model import Change, Finding, Level, Missing, Verdict, Window, as_json


class Status(enum.StrEnum):
    """Where a rollout stands."""

    READY = "ready"
    """Loaded, and nothing is exposed yet."""
    RUNNING = "running"
    PAUSED = "paused"
    """A person stopped the ladder; evidence goes on, and so does going back."""
    FROZEN = "frozen"
    """Evidence of harm stopped the ladder."""
    ROLLED_BACK = "rolled_back"
    """Everybody has the baseline, and that is final for this plan."""
    COMPLETE = "complete"
    """The last stage succeeded."""

    @property
    def over(self) -> bool:
        """Whether the ladder has ended."""
        return self in {Status.ROLLED_BACK, Status.COMPLETE}


@attrs.frozen(kw_only=True)
class Standing:
    """
    The newest closed verdict of one criterion.

    Attributes:
        level: Its level.
        in_a_row: Unhealthy windows in a row.
        closed_s: End of the window, in seconds of plan time.
        length_s: How long the window took to close.
        reason: What the verdict said.
    """

    level: Level
    in_a_row: int
    closed_s: float
    length_s: float
    reason: str = ""

    def stale(self, at_s: float, interval_s: float) -> bool:
        """
        Tell whether the next window is long overdue.

        Three intervals, or three times as long as the last one took where evidence
        comes slowly.
        """
        return at_s - self.closed_s > 3 * max(interval_s, self.length_s)


@attrs.frozen(kw_only=True)
class RolloutState:
    """
    What a rollout remembers; every change makes a new one with the next version.

    Attributes:
        plan: Name of the plan.
        plan_digest: Digest of the plan this state was made under.
        status: Where it stands.
        stage: The stage it is in, or "".
        version: Counts the writes; a writer with an old one is refused.
        exposure: Digest of the exposure that is live.
        observed_s: Plan time observed in this stage; downtime is not in it.
        unbroken_s: Plan time observed since the last unhealthy check.
        last_s: When the last observation was closed, in seconds of plan time.
        evidence: By rule, what its evidence remembers of this stage.
        findings: By rule, where it stands after the last observation.
        standings: By criterion, its newest closed verdict.
        baseline: What control did in this stage or, where everybody has the candidate,
            in the last stage that had a control; None before any was seen.
        rehearsed_s: Machine time the rehearsed rollback took, or None.
        rollbacks: Times this rollout went back, rehearsals not counted.
        in_doubt: A change whose outcome is unknown, or None.
        off: Features switched off by hand.
        reason: Why it stands where it does.
    """

    plan: str
    plan_digest: str
    status: Status = Status.READY
    stage: str = ""
    version: int = 0
    exposure: str = ""
    observed_s: float = 0.0
    unbroken_s: float = 0.0
    last_s: float | None = None
    evidence: Mapping[str, JSON] = attrs.field(factory=dict)
    findings: Mapping[str, Finding] = attrs.field(factory=dict)
    standings: Mapping[str, Standing] = attrs.field(factory=dict)
    baseline: Window | None = None
    rehearsed_s: float | None = None
    rollbacks: int = 0
    in_doubt: Change | None = None
    off: frozenset[str] = frozenset()
    reason: str = ""

    def entered(
        self, stage: str, exposure: str, reason: str, *, control: bool
    ) -> RolloutState:
        """
        Return the state at the start of *stage*: evidence and clocks at zero.

        What control did is kept where the stage has no control of its own.
        """
        return attrs.evolve(
            self,
            status=Status.RUNNING,
            stage=stage,
            exposure=exposure,
            observed_s=0.0,
            unbroken_s=0.0,
            evidence={},
            findings={},
            standings={},
            baseline=None if control else self.baseline,
            reason=reason,
        )

    def to_json(self) -> dict[str, JSON]:
        """Return what `from_json` reads back to an equal state."""
        # What the evidence remembers is JSON already, and much of it.
        rest = as_json(attrs.evolve(self, evidence={}))
        return {**rest, "evidence": self.evidence, "off": sorted(self.off)}

    @classmethod
    def from_json(cls, value: Mapping[str, JSON]) -> RolloutState:
        """Read what `to_json` wrote."""
        raw = cast("dict[str, Any]", dict(value))
        raw["status"] = Status(raw["status"])
        raw["off"] = frozenset(raw["off"])
        raw["in_doubt"] = None if raw["in_doubt"] is None else Change(**raw["in_doubt"])
        if raw["baseline"] is not None:
            raw["baseline"] = Window.from_json(raw["baseline"])
        raw["standings"] = {
            name: Standing(**{**standing, "level": Level[standing["level"].upper()]})
            for name, standing in raw["standings"].items()
        }
        raw["findings"] = {
            rule: Finding(**{**finding, "missing": _missing(finding["missing"])})
            for rule, finding in raw["findings"].items()
        }
        return cls(**raw)


def _missing(value: str | None) -> Missing | None:
    return None if value is None else Missing(value)


def standing_of(verdict: Verdict) -> Standing | None:
    """Return the standing after *verdict*, or None where it has no level."""
    if verdict.level is None:
        return None
    length = verdict.evidence.get("window_s")
    return Standing(
        level=verdict.level,
        in_a_row=verdict.in_a_row,
        closed_s=verdict.closed_s,
        length_s=float(cast("float", length)) if length is not None else 0.0,
        reason=verdict.reason,
    )
