"""What a rollout remembers between two looks."""

from __future__ import annotations

import enum

from collections.abc import Mapping
from typing import Any, TypeVar, cast

import attrs

from ..canonical import JSON
from ..model import Arm, Change, Finding, Level, Verdict, Window, as_json


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
        version: Counts the moves; a writer with an old one is refused.
        entry: The version that entered this stage, or exposed other code in it.
        stay: The version that entered this stage, whatever code it has had since.
        turn: Observations taken into account in this stage.
        exposure: Digest of the exposure that is live.
        observed_s: Plan time observed in this stage; downtime is not in it.
        unbroken_s: Plan time observed since the last unhealthy check.
        last_s: When the last observation was closed, in seconds of plan time.
        evidence: By rule, what its evidence remembers of this stage.
        findings: By rule, where it stands after the last observation.
        standings: By criterion, its newest closed verdict.
        past: By stream, control's newest values, from which edges are drawn.
        baseline: What control did in this stage or, where everybody has the candidate,
            in the last stage that had a control; None before any was seen.
        candidate: What the candidate did in this stage, of what estimates are made of.
        fared: By arm and metric, how many units were bad and how many there were.
        rates: By metric, how its units fared there; see `legion.stages.evidence.Rate`.
        streams: Whose telemetry has told units in this stay, under which exposure; see
            `Observation.streams`.
        exposed: Units of this stage by arm, against the planned shares, or None where
            none are split; see `legion.stages.mismatch`.
        rehearsed_s: Machine time the rehearsed rollback took, or None.
        rehearsal: What came of the last rehearsal, or "".
        rollbacks: Times this rollout went back, rehearsals not counted.
        unplanned: How many of those were not asked for by a person.
        weights: By part, its share of the budget; see `legion.stages.budget`.
        kept_back: Where units come back, the share of each part that stays in its stage
            after the first may stake; 0 where they come once.
        stays: By stage, how often it was left.
        spent: By part of a stage that was left, the log e-value it had, in nats.
        unsettled: Whether something was taken back that is not verified yet.
        in_doubt: A change whose outcome is unknown, or None.
        mover: The process that began it, and when; see `legion.store.owner`.
        routed: Whether somebody else owns the pointer's target.
        slices: The slices that are judged, in the order of their places.
        off: Features switched off by hand.
        before: Evidence of harm of earlier tries, as a log e-value in nats.
        splitter: By which order units are split; "" where that is not known.
        reason: Why it stands where it does.
    """

    plan: str
    plan_digest: str
    status: Status = Status.READY
    stage: str = ""
    version: int = 0
    entry: int = 0
    stay: int = 0
    turn: int = 0
    exposure: str = ""
    observed_s: float = 0.0
    unbroken_s: float = 0.0
    last_s: float | None = None
    evidence: Mapping[str, JSON] = attrs.field(factory=dict)
    findings: Mapping[str, Finding] = attrs.field(factory=dict)
    standings: Mapping[str, Standing] = attrs.field(factory=dict)
    past: Mapping[str, JSON] = attrs.field(factory=dict)
    baseline: Window | None = None
    candidate: Window | None = None
    fared: Mapping[str, JSON] = attrs.field(factory=dict)
    rates: Mapping[str, JSON] = attrs.field(factory=dict)
    streams: tuple[str, ...] = ()
    exposed: Mapping[str, JSON] | None = None
    rehearsed_s: float | None = None
    rehearsal: str = ""
    rollbacks: int = 0
    unplanned: int = 0
    weights: Mapping[str, float] = attrs.field(factory=dict)
    kept_back: float = 0.0
    stays: Mapping[str, int] = attrs.field(factory=dict)
    spent: Mapping[str, float] = attrs.field(factory=dict)
    unsettled: bool = False
    in_doubt: Change | None = None
    mover: str = ""
    routed: bool = False
    slices: tuple[str, ...] = ()
    off: frozenset[str] = frozenset()
    before: float = 0.0
    splitter: str = ""
    reason: str = ""

    def entered(
        self,
        stage: str,
        exposure: str,
        reason: str,
        *,
        control: bool,
        spent: Mapping[str, float],
    ) -> RolloutState:
        """
        Return the state at the start of *stage*: evidence and clocks at zero.

        A pause outlasts it, and so does what was spent of the budget. What control did
        is kept where the stage has no control of its own.
        """
        paused = self.status is Status.PAUSED
        left = {self.stage: self.left(self.stage) + 1} if self.stage else {}
        return attrs.evolve(
            self,
            status=Status.PAUSED if paused else Status.RUNNING,
            stage=stage,
            exposure=exposure,
            entry=self.version + 1,
            stay=self.version + 1,
            turn=0,
            observed_s=0.0,
            unbroken_s=0.0,
            evidence={},
            findings={},
            standings={},
            stays={**self.stays, **left},
            spent=spent,
            baseline=None if control else self.baseline,
            rates={} if control else self.rates,
            candidate=None,
            fared={} if control else self._control_fared,
            streams=(),
            exposed=None,
            unsettled=False,
            in_doubt=None,
            mover="",
            reason=reason,
        )

    def left(self, stage: str) -> int:
        """Return how often *stage* was left."""
        return self.stays.get(stage, 0)

    @property
    def _control_fared(self) -> Mapping[str, JSON]:
        control = Arm.CONTROL.value
        return {arm: n for arm, n in self.fared.items() if arm == control}

    def renewed(
        self, exposure: str, reason: str, *, proofs: frozenset[str]
    ) -> RolloutState:
        """
        Return the state at the start of a new epoch: the same stage, with other code.

        Time and proof begin anew, and so do the verdicts; evidence of harm and what is
        spent of the budget stay.

        Args:
            exposure: Digest of the exposure with that code.
            reason: Why, in one sentence.
            proofs: By key, the evidence that spoke for the code before.
        """
        return attrs.evolve(
            self,
            exposure=exposure,
            entry=self.version + 1,
            observed_s=0.0,
            unbroken_s=0.0,
            evidence=_without(self.evidence, proofs),
            findings=_without(self.findings, proofs),
            standings={},
            candidate=None,
            fared=self._control_fared,
            exposed=None,
            rehearsed_s=None,
            rehearsal="",
            in_doubt=None,
            mover="",
            reason=reason,
        )

    def taught(self, lesson: RolloutState) -> RolloutState:
        """Return this state with what *lesson* has learned in the same stage."""
        if lesson.entry != self.entry:
            return self
        return attrs.evolve(self, **{name: getattr(lesson, name) for name in _LEARNED})

    def position(self) -> dict[str, JSON]:
        """Return where it stands, as JSON: what a move writes."""
        bare = attrs.evolve(self, **_NOTHING)
        whole = {**as_json(bare), "off": sorted(self.off)}
        return {name: whole[name] for name in whole if name not in _LEARNED}

    def lesson(self) -> dict[str, JSON]:
        """Return what it has learned in this stage, as JSON: what a turn writes."""
        # What the evidence remembers is JSON already, and much of it.
        whole = as_json(attrs.evolve(self, evidence={}, past={}, findings={}))
        return {
            **{name: whole[name] for name in _LEARNED},
            # Pairs keep the order of the rules, which a decision lists them in.
            "findings": [[key, one.to_json()] for key, one in self.findings.items()],
            "evidence": self.evidence,
            "past": self.past,
            "entry": self.entry,
        }

    def to_json(self) -> dict[str, JSON]:
        """Return what `from_json` reads back to an equal state."""
        return {**self.lesson(), **self.position()}

    @classmethod
    def from_json(cls, value: Mapping[str, JSON]) -> RolloutState:
        """Read what `to_json` wrote."""
        raw = cast("dict[str, Any]", dict(value))
        raw["status"] = Status(raw["status"])
        raw["off"] = frozenset(raw["off"])
        raw["slices"] = tuple(raw.get("slices", ()))
        raw["streams"] = tuple(raw.get("streams", ()))
        raw["in_doubt"] = None if raw["in_doubt"] is None else Change(**raw["in_doubt"])
        for arm in ("candidate", "baseline"):
            if raw.get(arm) is not None:
                raw[arm] = Window.from_json(raw[arm])
        raw["standings"] = {
            name: Standing(**{**standing, "level": Level[standing["level"].upper()]})
            for name, standing in raw["standings"].items()
        }
        raw["findings"] = {
            rule: Finding.from_json(finding)
            for rule, finding in dict(raw["findings"]).items()
        }
        return cls(**raw)


_NOTHING: Mapping[str, Any] = {
    "turn": 0,
    "observed_s": 0.0,
    "unbroken_s": 0.0,
    "last_s": None,
    "evidence": {},
    "findings": {},
    "standings": {},
    "past": {},
    "baseline": None,
    "slices": (),
    "candidate": None,
    "fared": {},
    "rates": {},
    "streams": (),
    "exposed": None,
}
_LEARNED = tuple(_NOTHING)
"""The fields that every observation changes; the others change with a move."""


_Kept = TypeVar("_Kept")


def _without(values: Mapping[str, _Kept], names: frozenset[str]) -> Mapping[str, _Kept]:
    return {name: value for name, value in values.items() if name not in names}


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
