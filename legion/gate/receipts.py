"""Intents and outcomes: what was about to be done, and what came of it."""

from __future__ import annotations

import enum
import json
import traceback

from collections.abc import Mapping
from typing import Generic, TypeVar

import attrs

from .. import canonical
from ..canonical import JSON
from ..exceptions import GateError
from ..model import Action, Noun, Ruling
from ..store import Database
from .owner import Owner
from .subject import title


T = TypeVar("T")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS outcomes (
    id INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT, subject TEXT NOT NULL,
    title TEXT NOT NULL, at REAL NOT NULL, state TEXT NOT NULL,
    owner BLOB NOT NULL, is_left INTEGER NOT NULL DEFAULT 0,
    value BLOB, said TEXT NOT NULL DEFAULT '');
CREATE UNIQUE INDEX IF NOT EXISTS outcomes_key ON outcomes (key)
    WHERE state != 'not_done';
CREATE INDEX IF NOT EXISTS outcomes_running ON outcomes (id) WHERE state = 'running';
"""
_COLUMNS = "id, key, subject, title, at, owner, state, is_left, value, said"


class State(enum.StrEnum):
    """What is known of an act."""

    RUNNING = "running"
    """It was begun; without an outcome it is in doubt."""
    DONE = "done"
    FAILED = "failed"
    """What was called raised."""
    NOT_DONE = "not_done"
    """A person has looked: it did not happen, and its key may be used again."""


@attrs.frozen(kw_only=True)
class Executed(Generic[T]):
    """
    What came of asking the gate to execute an action.

    Attributes:
        ran: Whether the call returned: now or, if `replayed`, the first time.
        value: What it returned; None if it did not, or if it was replayed and its
            value could not be kept, because it is no JSON.
        ruling: Why it ran, or why it did not.
        replayed: Whether this is the outcome of an earlier call with the same key.
        in_doubt: Whether no outcome of the call stands in the state file: that of an
            earlier one with the same key, or of this one, if `ran`.
        intent: Number of the intent, for `SafetyGate.settle`, or None.
        records: Ids of what was written in the journal, in that order.
    """

    ran: bool
    value: T | None
    ruling: Ruling
    replayed: bool = False
    in_doubt: bool = False
    intent: int | None = None
    records: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class Intent(Noun):
    """
    An act that was about to be done.

    Attributes:
        id: Names it, for `SafetyGate.settle`.
        subject: Digest of the action.
        title: One line.
        key: Idempotency key, or None.
        owner: The process that was about to do it.
        at: When, in seconds since the epoch, wall clock.
    """

    id: int
    subject: str
    title: str
    owner: Owner
    key: str | None = None
    at: float = 0.0


@attrs.frozen(kw_only=True)
class Receipt:
    """
    An intent and what is known of it.

    Attributes:
        intent: What was about to be done.
        state: What is known.
        value: Canonical JSON of what the call returned, or None where it was not kept.
        said: The error, or who settled it.
        left: Whether its owner has said that it is not doing it any more.
    """

    intent: Intent
    state: State
    left: bool = False
    value: bytes | None = None
    said: str = ""

    def returned(self) -> JSON:
        """Return what the call returned, or None where that was not kept."""
        kept: JSON = None if self.value is None else json.loads(self.value)
        return kept


@attrs.define(eq=False)
class Receipts:
    """
    The receipts in the state file.

    An act without a key is forgotten once its outcome is known; the journal has it.

    Args:
        database: The open state file.
    """

    database: Database

    def __attrs_post_init__(self) -> None:
        self.database.ensure(_SCHEMA)

    def of_key(self, key: str | None) -> Receipt | None:
        """Return the receipt of the act that has taken *key*, or None."""
        if key is None:
            return None
        rows = self.database.read(
            f"SELECT {_COLUMNS} FROM outcomes WHERE key = ? AND state != 'not_done'",  # noqa: S608 - a constant
            (key,),
        )
        return _read(*rows[0]) if rows else None

    def get(self, intent_id: int) -> Receipt | None:
        """Return the receipt of an intent, or None."""
        rows = self.database.read(
            f"SELECT {_COLUMNS} FROM outcomes WHERE id = ?",  # noqa: S608 - a constant
            (intent_id,),
        )
        return _read(*rows[0]) if rows else None

    def running(self) -> tuple[Receipt, ...]:
        """Return the receipts without an outcome, oldest first."""
        rows = self.database.read(
            f"SELECT {_COLUMNS} FROM outcomes WHERE state = 'running' ORDER BY id"  # noqa: S608 - a constant
        )
        return tuple(_read(*row) for row in rows)

    def open(self, action: Action, *, subject: str, at: float, owner: Owner) -> Intent:
        """Write down that *owner* is about to do *action*, whose digest is *subject*."""
        with self.database.transaction(durable=True) as connection:
            row = connection.execute(
                "INSERT INTO outcomes (key, subject, title, at, owner, state)"
                " VALUES (?, ?, ?, ?, ?, 'running')",
                (
                    action.key,
                    subject,
                    title(action),
                    at,
                    canonical.dumps(owner.to_json()),
                ),
            )
        return Intent(
            id=row.lastrowid or 0,
            subject=subject,
            title=title(action),
            owner=owner,
            key=action.key,
            at=at,
        )

    def leave(self, intent: Intent) -> None:
        """Write down, durably, that its owner is not doing it any more."""
        with self.database.transaction(durable=True) as connection:
            connection.execute(
                "UPDATE outcomes SET is_left = 1 WHERE id = ? AND state = 'running'",
                (intent.id,),
            )

    def close(
        self,
        intent: Intent,
        state: State,
        *,
        value: bytes | None = None,
        said: str = "",
        was: State = State.RUNNING,
    ) -> bool:
        """
        Write down, durably, what came of *intent*.

        Returns:
            False, and nothing is written, if it is not what it *was* any more.
        """
        with self.database.transaction(durable=True) as connection:
            if intent.key is None:
                done = connection.execute(
                    "DELETE FROM outcomes WHERE id = ? AND state = ?", (intent.id, was)
                )
            else:
                done = connection.execute(
                    "UPDATE outcomes SET state = ?, value = ?, said = ?"
                    " WHERE id = ? AND state = ?",
                    (state, value, said, intent.id, was),
                )
        return done.rowcount == 1

    def whose(self, intent: Intent) -> str:
        """Return who has settled *intent*, or "somebody"."""
        found = self.get(intent.id)
        return found.said if found is not None and found.said else "somebody"

    def settled(self, intent_id: int, *, happened: bool, by: str) -> Intent:
        """
        Write down, durably, what a person found out of an act in doubt or failed.

        Raises:
            GateError: It is neither.
        """
        with self.database.transaction(durable=True):
            found = self.get(intent_id)
            if found is None or found.state not in {State.RUNNING, State.FAILED}:
                doubt = ", ".join(str(one.intent.id) for one in self.running())
                msg = (
                    f"settle: intent {intent_id!r} neither failed nor is in doubt;"
                    f" in doubt are: {doubt or 'none'}"
                )
                raise GateError(msg)
            state = State.DONE if happened else State.NOT_DONE
            self.close(found.intent, state, said=by, was=found.state)
        return found.intent


def kept(value: object) -> bytes | None:
    """Return the canonical JSON of *value*, or None where it has none."""
    if value is not None and not isinstance(
        value, str | int | float | Mapping | list | tuple
    ):
        return None
    try:
        return canonical.dumps(value)
    except (TypeError, ValueError, RecursionError):
        return None


def complaint(error: BaseException) -> str:
    """Return the type and message of *error*, whatever its ``__str__`` does."""
    said = "".join(traceback.format_exception_only(error)).strip()
    return said.encode("utf-8", "replace").decode()


def is_interruption(error: BaseException) -> bool:
    """
    Tell an interruption from a failure.

    A cancelled task and an exit are neither errors nor outcomes; nor is a graph that
    stops to ask a person, which LangGraph says by an exception.
    """
    return not isinstance(error, Exception) or any(
        kind.__name__ == "GraphBubbleUp" and kind.__module__.startswith("langgraph")
        for kind in type(error).__mro__
    )


def _read(
    number: int,
    key: str | None,
    subject: str,
    title: str,
    at: float,
    owner: bytes,
    state: str,
    is_left: int,
    value: bytes | None,
    said: str,
) -> Receipt:
    intent = Intent(
        id=number,
        subject=subject,
        title=title,
        owner=Owner.from_json(json.loads(owner)),
        key=key,
        at=at,
    )
    return Receipt(
        intent=intent, state=State(state), left=bool(is_left), value=value, said=said
    )
