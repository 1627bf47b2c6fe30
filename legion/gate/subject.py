"""What is ruled on: an action or a change, and what names it."""

from __future__ import annotations

import attrs

from .. import canonical
from ..model import Action, Change


def digest(subject: Change | Action) -> str:
    """
    Return the digest of *subject* as it is now.

    `Noun.digest` is worked out once. The arguments of an action are the caller's own
    mapping, though, and may change while it is reviewed; then this differs.
    """
    return canonical.digest({"noun": type(subject).__name__, **subject.to_json()})


def binding(subject: Change | Action) -> str:
    """
    Return the digest of what is done, which is what a person approves.

    For an action that is all of it. For a change it is all but `reason` and `report`: a
    rollout that waits for an answer words these anew at every look, and the answer must
    still fit the same move of the same pointer.
    """
    if isinstance(subject, Action):
        return digest(subject)
    return digest(attrs.evolve(subject, reason="", report=""))


def principal(subject: Change | Action) -> str:
    """Return who wants to act, and thus may not answer."""
    return subject.principal if isinstance(subject, Action) else subject.proposer


def title(subject: Change | Action) -> str:
    """Return one line that says what is to be done."""
    if isinstance(subject, Action):
        return f"{subject.kind}: {subject.name}"
    return f"{subject.kind} of {subject.target}"
