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
from ..model import Action, Change, Clock, Ruling
from ..store import Database
from . import given
from .given import NAME, TEXT
from .subject import binding, principal, title


_SCHEMA = """
CREATE TABLE IF NOT EXISTS asks (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, binds TEXT NOT NULL,
    policy TEXT NOT NULL, state TEXT NOT NULL, body BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS asks_binds ON asks (binds, policy);
CREATE INDEX IF NOT EXISTS asks_state ON asks (state);
"""


class AskState(enum.StrEnum):
    """Where a question stands."""

    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"
    EXPIRED = "expired"
    """Nobody answered in time, or nobody used the approval in time."""
    USED = "used"
    """It was approved, and the act was begun."""


@attrs.frozen(kw_only=True)
class Ask:
    """
    A question to a person.

    Attributes:
        id: Names it, for the answer.
        subject: Digest of the act as it was when the question was opened.
        binds: Digest of what an approval is bound to: see `legion.gate.subject.binding`.
        policy: Digest of the policy it was asked under.
        act: The act itself, as JSON values.
        title: One line.
        reason: Why a person is asked.
        principal: Who wants to act.
        created: When, in seconds since the epoch, wall clock.
        expires: From when the question, or its answer, does not hold any more.
        state: Pending, approved, denied, expired or used.
        by: Who answered.
        said: What they said about it.
        answered: When they did, in seconds since the epoch, or None.
    """

    id: str
    subject: str
    binds: str
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
    answered: float | None = None


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

    def newest(self, binds: str, policy: str) -> Ask | None:
        """Return the newest question about an act under *policy*, or None."""
        rows = self.database.read(
            "SELECT body FROM asks WHERE binds = ? AND policy = ?"
            " ORDER BY number DESC LIMIT 1",
            (binds, policy),
        )
        return self._aged(_read(rows[0][0])) if rows else None

    def get(self, ask_id: str) -> Ask:
        """
        Return a question.

        Raises:
            GateError: There is none of that id.
        """
        rows = self.database.read("SELECT body FROM asks WHERE id = ?", (ask_id,))
        if not rows:
            pending = ", ".join(ask.id for ask in self.all(open_only=True)) or "none"
            msg = f"there is no question {ask_id!r}; open are: {pending}"
            raise GateError(msg)
        return self._aged(_read(rows[0][0]))

    def all(self, *, open_only: bool) -> tuple[Ask, ...]:
        """Return all questions, oldest first, or those that wait for an answer."""
        where = f"WHERE state = '{AskState.PENDING}'" if open_only else ""
        rows = self.database.read(f"SELECT body FROM asks {where} ORDER BY number")  # noqa: S608 - a constant
        asks = (self._aged(_read(row[0])) for row in rows)
        return tuple(a for a in asks if not open_only or a.state is AskState.PENDING)

    def open(
        self, subject: Change | Action, ruling: Ruling, *, expires_s: float
    ) -> Ask:
        """Write a new question down, durably."""
        now, binds = self.clock.wall(), binding(subject)
        with self.database.transaction(durable=True) as connection:
            (number,) = connection.execute(
                "SELECT coalesce(max(number), 0) + 1 FROM asks"
            ).fetchone()
            ask = Ask(
                id=f"ask-{number}-{binds[:8]}",
                subject=ruling.subject,
                binds=binds,
                policy=ruling.policy,
                act=subject.to_json(),
                title=title(subject),
                reason=ruling.reason,
                principal=principal(subject),
                created=now,
                expires=now + expires_s,
            )
            connection.execute(
                "INSERT INTO asks VALUES (?, ?, ?, ?, ?, ?)",
                (number, ask.id, binds, ask.policy, ask.state.value, _write(ask)),
            )
        return ask

    def answer(
        self, ask_id: str, *, approve: bool, by: str, said: str
    ) -> tuple[Ask, Ask]:
        """
        Write an answer down, durably; the same answer of the same person twice is one.

        Returns:
            The question with it, and as it was before.

        Raises:
            GateError: It cannot be answered, or not like this.
        """
        ask_id = given.text(
            ask_id, "answer: got ask_id", write="the id that asks() lists", most=NAME
        )
        what = f"answer to {ask_id}: got"
        by = given.text(by, f"{what} by", write="who answers", most=NAME)
        said = given.text(said, f"{what} reason", write="text", most=TEXT, least=0)
        approved = given.yes_or_no(approve, f"{what} approve")
        state = AskState.APPROVED if approved else AskState.DENIED
        with self.database.transaction(durable=True):
            ask = self.get(ask_id)
            if by.casefold() == ask.principal.strip().casefold():
                msg = (
                    f"answer to {ask_id}: {by} is who wants to act;"
                    " somebody else has to answer"
                )
                raise GateError(msg)
            if ask.state is state and ask.by == by:
                return ask, ask
            if ask.state is not AskState.PENDING:
                raise GateError(_refusal(ask))
            answered = attrs.evolve(
                ask, state=state, by=by, said=said, answered=self.clock.wall()
            )
            self._save(answered)
        return answered, ask

    def use(self, ask_id: str) -> bool:
        """Use an approval up; False if it was used, or has expired, meanwhile."""
        with self.database.transaction(durable=True):
            ask = self.get(ask_id)
            if ask.state is not AskState.APPROVED:
                return False
            self._save(attrs.evolve(ask, state=AskState.USED))
        return True

    def _save(self, ask: Ask) -> None:
        with self.database.transaction(durable=True) as connection:
            connection.execute(
                "UPDATE asks SET state = ?, body = ? WHERE id = ?",
                (ask.state.value, _write(ask), ask.id),
            )

    def _aged(self, ask: Ask) -> Ask:
        waiting = ask.state in {AskState.PENDING, AskState.APPROVED}
        if waiting and self.clock.wall() >= ask.expires:
            return attrs.evolve(ask, state=AskState.EXPIRED)
        return ask


def _refusal(ask: Ask) -> str:
    if ask.state is AskState.EXPIRED:
        return (
            f"answer to {ask.id}: it has expired;"
            " have the act reviewed again and answer the new question"
        )
    return (
        f"answer to {ask.id}: it is {ask.state.value} already, answered by {ask.by},"
        " and an answer is not changed"
    )


def _write(ask: Ask) -> bytes:
    return canonical.dumps({**attrs.asdict(ask), "state": ask.state.value})


def _read(body: bytes) -> Ask:
    raw = json.loads(body)
    raw["state"] = AskState(raw["state"])
    return Ask(**cast("dict[str, object]", raw))  # type: ignore[arg-type]
