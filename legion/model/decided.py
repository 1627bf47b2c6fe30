"""What is to happen, why, and whether it may."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import attrs

from ..canonical import JSON
from .noun import Noun
from .scales import Missing, Move, Permission


@attrs.frozen(kw_only=True)
class Change(Noun):
    """
    A pointer that is to move from one digest to another.

    Attributes:
        target: What points, such as ``rollout:legion-4.1.0`` or ``registry:stable``.
        before: Digest it points at now, or "" where it points at nothing.
        after: Digest it is to point at.
        kind: What sort of change: ``advance``, ``patch``, ``setting``, ...
        risk: 0 (harmless) to 1.
        reason: One sentence for people.
        proposer: Who proposes it.
        report: Digest of the report it rests on, or "".
        detail: What a reviewer should see.
    """

    target: str
    before: str
    after: str
    kind: str
    risk: float = attrs.field(default=0.0)
    reason: str = ""
    proposer: str = ""
    report: str = ""
    detail: Mapping[str, JSON] = attrs.field(factory=dict)

    @risk.validator
    def _in_range(self, _: object, risk: float) -> None:
        if not 0 <= risk <= 1:
            msg = f"change of {self.target!r}: got risk={risk}; write 0 to 1"
            raise ValueError(msg)


@attrs.frozen(kw_only=True)
class Ruling(Noun):
    """
    What the gate says of a change or an action.

    Attributes:
        permission: ALLOW, ASK or DENY.
        code: Stable word for programs, such as ``low_risk`` or ``reviewer_raised``.
        reason: One sentence for people.
        evidence: The rules and figures behind it.
        subject: Digest of what was reviewed.
        policy: Digest of the policy it was reviewed under.
        ask: Id of the durable question, where the answer is ASK.
        by: Who ruled: the gate, a reviewer's name, or the person who answered.
    """

    permission: Permission
    code: str
    reason: str
    evidence: Mapping[str, JSON] = attrs.field(factory=dict)
    subject: str = ""
    policy: str = ""
    ask: str | None = None
    by: str = "gate"

    @property
    def allowed(self) -> bool:
        """Whether the act may go ahead now."""
        return self.permission is Permission.ALLOW


@attrs.frozen(kw_only=True)
class Finding(Noun):
    """
    Where one rule of the plan stands.

    Attributes:
        rule: The rule as the plan says it.
        metric: What it speaks of.
        slice: Of which units alone, such as ``tenant=acme``; "" for all of them.
        met: True, False, or None where it cannot be told.
        fact: Whether chance has no part in it.
        missing: Why it cannot be told, or None.
        value: The measured value, or None.
        limit: What the value is held against, or None.
        bad: Evidence of harm; 1 is none, ``1 / alpha`` and more fires the rule.
        good: Evidence that the rule holds, on the same scale.
        reason: One sentence for people.
        evidence: Counts and windows behind it.
    """

    rule: str
    metric: str
    slice: str = ""
    met: bool | None = None
    fact: bool = False
    missing: Missing | None = None
    value: float | None = None
    limit: float | None = None
    bad: float = 1.0
    good: float = 1.0
    reason: str = ""
    evidence: Mapping[str, JSON] = attrs.field(factory=dict)

    @classmethod
    def from_json(cls, value: Mapping[str, JSON]) -> Finding:
        """Read what `to_json` wrote."""
        raw = cast("Mapping[str, Any]", value)
        missing = raw["missing"]
        return cls(**{**raw, "missing": None if missing is None else Missing(missing)})


@attrs.frozen(kw_only=True)
class Decision(Noun):
    """
    What the rollout is to do next, and why.

    Attributes:
        move: Advance, hold, freeze or roll back.
        code: Stable word for programs, such as ``dwell`` or ``trigger:error_rate``.
        reason: One sentence for people.
        plan: Name of the plan.
        stage: The stage it is in.
        to: The stage it is to be in; "" after a rollback.
        at_s: When, in seconds of plan time.
        version: The rollout's moves so far; it holds for no other state.
        findings: Every rule that was looked at.
        missing: Required metrics without evidence.
        not_applicable: What this stage does not require.
        change: The pointer's move, for all but a hold and a freeze.
        within_s: Deadline of a rollback, in seconds of machine time.
        report: Digest of the report.
    """

    move: Move
    code: str
    reason: str
    plan: str = ""
    stage: str = ""
    to: str = ""
    at_s: float = 0.0
    version: int = 0
    findings: tuple[Finding, ...] = ()
    missing: tuple[str, ...] = ()
    not_applicable: tuple[str, ...] = ()
    change: Change | None = None
    within_s: float | None = None
    report: str = ""

    @classmethod
    def from_json(cls, value: Mapping[str, JSON]) -> Decision:
        """Read what `to_json` wrote."""
        raw = cast("Mapping[str, Any]", value)
        change = raw["change"]
        return cls(
            **{
                **raw,
                "move": Move(raw["move"]),
                "findings": tuple(Finding.from_json(one) for one in raw["findings"]),
                "missing": tuple(raw["missing"]),
                "not_applicable": tuple(raw["not_applicable"]),
                "change": None if change is None else Change(**change),
            }
        )
