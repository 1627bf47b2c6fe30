"""How a ruling comes about: the policy's, the reviewers', a person's."""

from __future__ import annotations

import re

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import attrs

from ..canonical import JSON
from ..exceptions import GateError
from ..model import Action, Change, Permission, Report, Ruling
from .asks import Ask, AskState


RETREATS = frozenset({"roll_back", "deactivate"})
"""Kinds of moves of a rollout that only take something back."""

_DIGEST = re.compile("[0-9a-f]{64}")
_ANSWERS = {
    AskState.APPROVED: (Permission.ALLOW, "approved"),
    AskState.DENIED: (Permission.DENY, "refused_by_person"),
}


class Reviewed(Protocol):
    """What one reviewer said, or why it could not; `legion.plugins.Answer` is one."""

    @property
    def plugin(self) -> str:
        """Name of the reviewer."""
        ...

    @property
    def value(self) -> Ruling | None:
        """What it said, or None."""
        ...

    @property
    def error(self) -> str | None:
        """Why there is no value, or None."""
        ...


class Reviewers(Protocol):
    """What the gate needs of `legion.Plugins`."""

    def review(
        self, subject: Change | Action, report: Report | None, /
    ) -> Sequence[Reviewed]:
        """Ask every reviewer; one that raises gives an answer with an error."""
        ...


def is_retreat(subject: Change | Action) -> bool:
    """
    Tell whether *subject* takes a rollout back.

    Only a rollout's pointer is believed: its engine makes these moves itself. Any other
    change that calls itself so is reviewed like the rest, or the word would be a way
    around the gate.
    """
    return (
        isinstance(subject, Change)
        and subject.kind in RETREATS
        and subject.target.startswith("rollout:")
    )


def strictest(own: Ruling, answers: Iterable[Reviewed]) -> Ruling:
    """
    Return the strictest of all rulings, the gate's own where several are.

    The evidence lists what each reviewer said.
    """
    said = [own, *(_said(answer) for answer in answers)]
    ruling = max(said, key=lambda one: one.permission)
    reviews: list[JSON] = [
        {
            "by": one.by,
            "permission": one.permission.name.lower(),
            "code": one.code,
            "reason": one.reason,
        }
        for one in said[1:]
    ]
    evidence = {**ruling.evidence, **({"reviews": reviews} if reviews else {})}
    return attrs.evolve(ruling, evidence=evidence, ask=None)


def _said(answer: Reviewed) -> Ruling:
    if answer.value is not None and answer.error is None:
        return attrs.evolve(answer.value, by=answer.plugin)
    return Ruling(
        permission=Permission.DENY,
        code="reviewer_raised",
        reason=f"reviewer {answer.plugin} failed: {answer.error or 'it said nothing'}",
        by=answer.plugin,
    )


def checked_judges(judges: Mapping[str, str]) -> Mapping[str, str]:
    """
    Return *judges* if they are digests by name.

    Raises:
        GateError: They are not.
    """
    for name, digest in judges.items():
        if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
            msg = f"judges: got {name}={digest!r}; write a SHA-256, as 64 digits of hex"
            raise GateError(msg)
    return judges


def judged(ruling: Ruling, judges: Mapping[str, str], *, policy: str) -> Ruling:
    """Return *ruling* with the digests of what judges in its evidence."""
    named: dict[str, JSON] = {**judges, "policy": policy}
    return attrs.evolve(ruling, evidence={**ruling.evidence, "judges": named})


def mirrored(*, subject: str, policy: str) -> Ruling:
    """Return the denial of whatever a mirrored run asks for."""
    return Ruling(
        permission=Permission.DENY,
        code="shadow",
        reason="a mirrored run asks, and nothing that it does may have effects",
        subject=subject,
        policy=policy,
    )


def observed(ruling: Ruling) -> Ruling:
    """Return leave to go on all the same, with what would have been said."""
    would = ruling.permission.name.lower()
    return attrs.evolve(
        ruling,
        permission=Permission.ALLOW,
        code="observed",
        reason=f"only observed; enforced, it would be {would}: {ruling.reason}",
        evidence={**ruling.evidence, "would": would, "code": ruling.code},
    )


def answered(ruling: Ruling, ask: Ask, now: float) -> Ruling | None:
    """
    Return *ruling* as a person has answered it, or None where the answer is open.

    A refusal holds as long as the question would have; then it is asked again.
    """
    if ask.state not in _ANSWERS or now >= ask.expires:
        return None
    permission, code = _ANSWERS[ask.state]
    said = f": {ask.said}" if ask.said else ""
    return attrs.evolve(
        ruling,
        permission=permission,
        code=code,
        reason=f"{ask.state.value} by {ask.by}{said}",
        by=ask.by,
        ask=ask.id,
    )


def asked(ruling: Ruling, ask: Ask, earlier: Ask | None = None) -> Ruling:
    """Return *ruling* with the question that waits for its answer."""
    if earlier is None or earlier.state is not AskState.EXPIRED:
        return attrs.evolve(ruling, ask=ask.id)
    what = "approval expired unused" if earlier.by else "question expired unanswered"
    return attrs.evolve(
        ruling,
        ask=ask.id,
        code="expired",
        reason=f"{ruling.reason}; the last {what}, so it is asked again",
    )


def changed(ruling: Ruling) -> Ruling:
    """Return the denial of an act that is not the one that was reviewed."""
    return attrs.evolve(
        ruling,
        permission=Permission.DENY,
        code="changed",
        reason="it was changed while it was reviewed",
    )


def failure(error: Exception, *, policy: str) -> Ruling:
    """Return the denial that a failure of the gate itself amounts to."""
    return Ruling(
        permission=Permission.DENY,
        code="gate_error",
        reason=f"the gate failed, so it denies: {type(error).__name__}: {error}",
        policy=policy,
    )
