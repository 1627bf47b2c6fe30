"""Intents and outcomes: what was about to be done, and what came of it."""

from __future__ import annotations

import json

from collections.abc import Mapping
from typing import Generic, TypeVar

import attrs

from .. import canonical
from ..canonical import JSON
from ..exceptions import GateError
from ..model import Noun, Ruling
from ..store import Database


T = TypeVar("T")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS receipt (
    id INTEGER PRIMARY KEY, key TEXT UNIQUE, subject TEXT NOT NULL,
    title TEXT NOT NULL, state TEXT NOT NULL, value BLOB);
"""

RUNNING, DONE, FAILED = "running", "done", "failed"


@attrs.frozen(kw_only=True)
class Executed(Generic[T]):
    """
    What came of asking the gate to execute an action.

    Attributes:
        ran: Whether the call was made, now or, if `replayed`, before.
        value: What it returned; None if it did not run, or if it was replayed and its
            value is no JSON.
        ruling: Why it ran, or why it did not.
        replayed: Whether this is the outcome of an earlier call with the same key.
        in_doubt: Whether an earlier call with the same key has no known outcome.
    """

    ran: bool
    value: T | None
    ruling: Ruling
    replayed: bool = False
    in_doubt: bool = False


@attrs.frozen(kw_only=True)
class Intent(Noun):
    """
    An act that was about to be done.

    Attributes:
        id: Names it, for `SafetyGate.settle`.
        subject: Digest of the action.
        title: One line.
        key: Idempotency key, or None.
    """

    id: int
    subject: str
    title: str
    key: str | None = None


@attrs.define(eq=False)
class Receipts:
    """
    The receipts in the state file.

    Args:
        database: The open state file.
    """

    database: Database

    def __attrs_post_init__(self) -> None:
        self.database.ensure(_SCHEMA)

    def earlier(self, key: str, subject: str) -> tuple[str, JSON] | None:
        """
        Return (state, value) of the call with *key*, or None if there was none.

        Raises:
            GateError: The key was used for another action.
        """
        rows = self.database.read(
            "SELECT subject, state, value FROM receipt WHERE key = ?", (key,)
        )
        if not rows:
            return None
        if rows[0][0] != subject:
            msg = f"execute: key {key!r} was used for another action; write a new key"
            raise GateError(msg)
        value = rows[0][2]
        return rows[0][1], None if value is None else json.loads(value)

    def open(self, subject: str, title: str, key: str | None) -> Intent:
        """Write down, durably, that the act is about to be done."""
        with self.database.transaction(durable=True) as connection:
            # What failed may be tried again; the journal keeps both attempts.
            connection.execute(
                "DELETE FROM receipt WHERE key = ? AND state = ?", (key, FAILED)
            )
            row = connection.execute(
                "INSERT INTO receipt (key, subject, title, state) VALUES (?, ?, ?, ?)",
                (key, subject, title, RUNNING),
            )
        return Intent(id=row.lastrowid or 0, subject=subject, title=title, key=key)

    def close(self, intent_id: int, state: str, value: object = None) -> None:
        """Write down, durably, what came of it."""
        with self.database.transaction(durable=True) as connection:
            connection.execute(
                "UPDATE receipt SET state = ?, value = ? WHERE id = ?",
                (state, _kept(value), intent_id),
            )

    def running(self) -> tuple[Intent, ...]:
        """Return the intents without an outcome."""
        rows = self.database.read(
            "SELECT id, subject, title, key FROM receipt WHERE state = ? ORDER BY id",
            (RUNNING,),
        )
        return tuple(
            Intent(id=row[0], subject=row[1], title=row[2], key=row[3]) for row in rows
        )


def _kept(value: object) -> bytes | None:
    """Return the canonical JSON of *value*, or None where it has none."""
    if not isinstance(value, str | int | float | Mapping | list | tuple):
        return None
    try:
        return canonical.dumps(value)
    except (TypeError, ValueError):
        return None
