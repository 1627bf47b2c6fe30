"""What was done, and what is written down of it."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from ..canonical import JSON
from .noun import Noun
from .scales import Level


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
