"""
The eight nouns, in the order in which they come about.

    Observation ─▶ Report ─▶ Decision ─▶ Outcome ─▶ Record
                   └Verdict  └Change
                             └Ruling

Each is a fact: frozen, and named by the digest of its canonical JSON. One refers to the
one before it by that digest, so a turn can be put together again from the journal.
"""

from __future__ import annotations

import enum
import functools

from collections.abc import Iterable, Mapping
from typing import cast

import attrs

from .. import canonical
from ..canonical import JSON
from ..stats import LogHistogram
from .scales import Arm, Level, Missing, Move, Permission
from .window import Window


class Noun:
    """What all nouns can do: be written as JSON, and be named by it."""

    def to_json(self) -> dict[str, JSON]:
        """Return the fields as JSON values; scales become lower-case words."""
        return as_json(self)

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON together with the noun's name."""
        return canonical.digest({"noun": type(self).__name__, **self.to_json()})


@attrs.frozen(kw_only=True)
class Observation(Noun):
    """
    What was seen since the last look, of both arms.

    Attributes:
        plan: Name of the plan, or "" outside a rollout.
        stage: Name of the stage the rollout was in, or "".
        at_s: When it was closed, in seconds of plan time.
        candidate: The window of the arm that is judged.
        control: The window of the other arm, or None.
        exposure: Digest of the exposure in force, or "".
    """

    plan: str = ""
    stage: str = ""
    at_s: float = 0.0
    candidate: Window = attrs.field(factory=Window)
    control: Window | None = None
    exposure: str = ""

    def window(self, arm: Arm) -> Window | None:
        """Return the window of *arm*."""
        return self.candidate if arm is Arm.CANDIDATE else self.control

    @classmethod
    def from_json(cls, value: Mapping[str, JSON]) -> Observation:
        """Read what `to_json` wrote."""
        control = value["control"]
        return cls(
            plan=str(value["plan"]),
            stage=str(value["stage"]),
            at_s=float(cast("float", value["at_s"])),
            candidate=Window.from_json(cast("Mapping[str, JSON]", value["candidate"])),
            control=(
                None
                if control is None
                else Window.from_json(cast("Mapping[str, JSON]", control))
            ),
            exposure=str(value["exposure"]),
        )


@attrs.frozen(kw_only=True)
class Verdict(Noun):
    """
    What one criterion says of one closed window.

    Exactly one of `level` and `missing` is set.

    Attributes:
        criterion: Its name.
        level: How bad it is, or None.
        missing: Why there is no level, or None.
        code: Stable word for programs, such as ``above_critical`` or ``window_open``.
        reason: One sentence for people.
        value: The measured value, or None.
        unit: Unit of the value and the limits.
        limits: Limits by level name, as they were applied.
        evidence: Counts, bounds, tracebacks: whatever the sentence rests on.
        in_a_row: Unhealthy closed windows up to this one, with no healthy one between.
        closed_s: End of the window, in seconds of plan time.
    """

    criterion: str
    level: Level | None = None
    missing: Missing | None = None
    code: str
    reason: str
    value: float | None = None
    unit: str = ""
    limits: Mapping[str, float] = attrs.field(factory=dict)
    evidence: Mapping[str, JSON] = attrs.field(factory=dict)
    in_a_row: int = 0
    closed_s: float = 0.0

    def __attrs_post_init__(self) -> None:
        if (self.level is None) == (self.missing is None):
            msg = (
                f"verdict of {self.criterion!r}: got level={self.level!r} and "
                f"missing={self.missing!r}; write exactly one of the two"
            )
            raise ValueError(msg)


@attrs.frozen(kw_only=True)
class Report(Noun):
    """
    All verdicts on one observation.

    Attributes:
        plan: Name of the plan, or "".
        stage: Name of the stage, or "".
        at_s: When, in seconds of plan time.
        verdicts: One for each criterion, in the order of their names.
        observation: Digest of the observation.
    """

    plan: str = ""
    stage: str = ""
    at_s: float = 0.0
    verdicts: tuple[Verdict, ...] = ()
    observation: str = ""

    @property
    def level(self) -> Level | None:
        """The worst level, or None where no criterion has one."""
        return max(
            (v.level for v in self.verdicts if v.level is not None), default=None
        )

    @property
    def healthy(self) -> bool:
        """Whether something was judged and nothing is an alert or worse."""
        return self.level is not None and not self.level.unhealthy

    def verdict(self, criterion: str) -> Verdict | None:
        """Return the verdict of *criterion*, or None if it was not asked."""
        return next((v for v in self.verdicts if v.criterion == criterion), None)

    def missing(self, *required: str) -> tuple[str, ...]:
        """
        Return those of *required* that have no level, or all such without arguments.

        A criterion that was not asked at all is missing too.
        """
        judged = {v.criterion for v in self.verdicts if v.level is not None}
        names = required or tuple(v.criterion for v in self.verdicts)
        return tuple(name for name in names if name not in judged)

    @property
    def reason(self) -> str:
        """One sentence: the worst verdicts, or that nothing was judged."""
        if self.level is None:
            return "nothing could be judged"
        worst = [v for v in self.verdicts if v.level is self.level]
        if self.level is Level.OK:
            return f"{len(worst)} criteria within their limits"
        return "; ".join(v.reason for v in worst)


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
        met: True, False, or None where it cannot be told.
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
    met: bool | None = None
    missing: Missing | None = None
    value: float | None = None
    limit: float | None = None
    bad: float = 1.0
    good: float = 1.0
    reason: str = ""
    evidence: Mapping[str, JSON] = attrs.field(factory=dict)


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
    findings: tuple[Finding, ...] = ()
    missing: tuple[str, ...] = ()
    not_applicable: tuple[str, ...] = ()
    change: Change | None = None
    within_s: float | None = None
    report: str = ""


@attrs.frozen(kw_only=True)
class Step:
    """
    One step of an act.

    Attributes:
        name: Such as ``route_to_baseline``.
        ok: Whether it did what it had to.
        took_s: Machine time it took, in seconds.
        detail: What was found.
    """

    name: str
    ok: bool
    took_s: float
    detail: str = ""


@attrs.frozen(kw_only=True)
class Outcome(Noun):
    """
    What came of acting on a change.

    Attributes:
        target: What was to move.
        applied: True, False, or None while that is in doubt.
        verified: Whether the live digest was read back and is the wanted one.
        digest_live: The digest that is live, or "" where nobody could tell.
        code: Stable word for programs, such as ``applied`` or ``in_doubt``.
        reason: One sentence for people.
        took_s: Machine time from the decision to the verification, in seconds.
        steps: What was done, in order.
        change: Digest of the change.
        ruling: Digest of the ruling, or "" for a retreat, which needs none.
        decision: Digest of the decision, or "".
    """

    target: str
    applied: bool | None
    verified: bool
    digest_live: str = ""
    code: str = "applied"
    reason: str = ""
    took_s: float = 0.0
    steps: tuple[Step, ...] = ()
    change: str = ""
    ruling: str = ""
    decision: str = ""


@attrs.frozen(kw_only=True)
class Record(Noun):
    """
    An entry of the journal.

    Attributes:
        id: Name of the entry, unique in its journal.
        seq: Position in the log, from 0.
        kind: ``decision``, ``intent``, ``outcome``, ... or what the caller said.
        at: Seconds since the epoch, wall clock, never scaled.
        body: What was recorded.
        refs: Digests of what it refers to.
        subject: Digest of the noun that was recorded, or "".
    """

    id: str
    seq: int
    kind: str
    at: float
    body: Mapping[str, JSON]
    refs: tuple[str, ...] = ()
    subject: str = ""


@attrs.frozen(kw_only=True)
class Notice(Noun):
    """
    Something a person should hear of: an incident or an open question.

    Attributes:
        kind: ``incident``, ``resolved`` or ``question``.
        id: The same for a fire and its resolve.
        title: One line.
        reason: What happened, and what to do.
        level: How bad.
        at_s: When, in seconds of plan time.
    """

    kind: str
    id: str
    title: str
    reason: str
    level: Level = Level.ALERT
    at_s: float = 0.0


@attrs.frozen(kw_only=True)
class Action(Noun):
    """
    A consequential act of the host's, such as sending a mail.

    Attributes:
        kind: What sort of act: ``tool``, ``deployment``, ``data_deletion``, ...
        name: Which one, such as ``send_email``.
        args: Its arguments; together with the names they say exactly what is done.
        risk: 0 (harmless) to 1.
        principal: Who asks for it.
        key: Idempotency key; the same key twice returns the first outcome.
    """

    kind: str
    name: str
    args: Mapping[str, JSON] = attrs.field(factory=dict)
    risk: float = 0.0
    principal: str = ""
    key: str | None = None


def as_json(noun: object) -> dict[str, JSON]:
    """Return the fields of an attrs object as JSON values."""
    return {name: _value(getattr(noun, name)) for name in _fields(type(noun))}


@functools.cache
def _fields(kind: type) -> tuple[str, ...]:
    return tuple(field.name for field in attrs.fields(kind))


_ATOMS = frozenset({str, int, float, bool, type(None)})


def _value(value: object) -> JSON:
    if type(value) in _ATOMS:
        return cast("JSON", value)
    if isinstance(value, enum.IntEnum):
        return value.name.lower()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Window | LogHistogram):
        return value.to_json()
    if attrs.has(type(value)):
        return as_json(value)
    if isinstance(value, Mapping):
        return {str(key): _value(item) for key, item in value.items()}
    if isinstance(value, Iterable):
        return [_value(item) for item in value]
    msg = f"cannot write {type(value).__name__} as JSON; write a number, a string, ..."
    raise TypeError(msg)
