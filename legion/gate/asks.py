"""Questions that wait for a person: durable, bound to one act, used once."""

from __future__ import annotations

import enum
import json

from collections.abc import Mapping
from typing import cast

import attrs

from .. import canonical
from ..canonical import JSON
from ..exceptions import GateError
from ..model import Clock
from ..store import Database


_SCHEMA = """
CREATE TABLE IF NOT EXISTS ask (
    id TEXT PRIMARY KEY, subject TEXT NOT NULL, policy TEXT NOT NULL,
    state TEXT NOT NULL, body BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS ask_subject ON ask (subject, policy);
"""


class AskState(enum.StrEnum):
    """Where a question stands."""

    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"
    EXPIRED = "expired"
    USED = "used"


@attrs.frozen(kw_only=True)
class Ask:
    """
    A question to a person.

    Attributes:
        id: Names it, for the answer.
        subject: Digest of the act it is about.
        policy: Digest of the policy it was asked under.
        act: The act itself, as JSON values.
        title: One line.
        reason: Why a person is asked.
        principal: Who wants to act.
        created: When, in seconds since the epoch, wall clock.
        expires: Until when it can be answered and used.
        state: Pending, approved, denied, expired or used.
        by: Who answered.
        said: What they said about it.
    """

    id: str
    subject: str
    policy: str
    act: Mapping[str, JSON]
    title: str
    reason: str
    principal: str = ""
    created: float
    expires: float
    state: AskState = AskState.PENDING
    by: str = ""
    said: str = ""


@attrs.define(eq=False)
class Asks:
    """
    The questions in the state file.

    Args:
        database: The open state file.
        clock: For when a question expires.
    """

    database: Database
    clock: Clock

    def __attrs_post_init__(self) -> None:
        self.database.ensure(_SCHEMA)

    def find(self, subject: str, policy: str) -> Ask | None:
        """Return the newest question about *subject* under *policy*, expiry applied."""
        rows = self.database.read(
            "SELECT body FROM ask WHERE subject = ? AND policy = ?"
            " ORDER BY rowid DESC LIMIT 1",
            (subject, policy),
        )
        return self._aged(_read(rows[0][0])) if rows else None

    def get(self, ask_id: str) -> Ask:
        """
        Return a question.

        Raises:
            GateError: There is none of that id.
        """
        rows = self.database.read("SELECT body FROM ask WHERE id = ?", (ask_id,))
        if not rows:
            pending = ", ".join(ask.id for ask in self.all(open_only=True)) or "none"
            msg = f"answer: no question {ask_id!r}; open are {pending}"
            raise GateError(msg)
        return self._aged(_read(rows[0][0]))

    def all(self, *, open_only: bool) -> tuple[Ask, ...]:
        """Return all questions, oldest first, or those that wait for an answer."""
        rows = self.database.read("SELECT body FROM ask ORDER BY rowid")
        asks = (self._aged(_read(row[0])) for row in rows)
        return tuple(a for a in asks if not open_only or a.state is AskState.PENDING)

    def _aged(self, ask: Ask) -> Ask:
        waiting = ask.state in {AskState.PENDING, AskState.APPROVED}
        if waiting and self.clock.wall() > ask.expires:
            return attrs.evolve(ask, state=AskState.EXPIRED)
        return ask

    def save(self, ask: Ask) -> None:
        """Write *ask* down, durably."""
        body = canonical.dumps({**attrs.asdict(ask), "state": ask.state.value})
        with self.database.transaction(durable=True) as connection:
            connection.execute(
                "INSERT INTO ask VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT (id) DO UPDATE SET state = excluded.state,"
                " body = excluded.body",
                (ask.id, ask.subject, ask.policy, ask.state.value, body),
            )

    def consume(self, ask_id: str) -> bool:
        """Use an approval up; False if somebody has used it already."""
        with self.database.transaction(durable=True):
            ask = self.get(ask_id)
            if ask.state is not AskState.APPROVED:
                return False
            self.save(attrs.evolve(ask, state=AskState.USED))
        return True


def _read(body: bytes) -> Ask:
    raw = json.loads(body)
    raw["state"] = AskState(raw["state"])
    return Ask(**cast("dict[str, object]", raw))  # type: ignore[arg-type]
