"""What a plan's watchdog knows that outlives the process: one JSON value."""

from __future__ import annotations

import logging

import attrs

from .. import canonical
from ..canonical import JSON
from .database import Database


logger = logging.getLogger("legion")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS memory (name TEXT PRIMARY KEY, body BLOB NOT NULL);
"""

_LEFT = "watchdog"
"""Under which name lies what is no plan's: once all of them shared it."""


@attrs.define(eq=False)
class Memory:
    """
    What a plan's watchdog remembers between two turns.

    A value written last may be lost when the power fails, never torn.

    Args:
        database: The open state file.
        plan: Name of the plan.
    """

    database: Database
    plan: str

    def __attrs_post_init__(self) -> None:
        self.database.ensure(_SCHEMA)

    @property
    def _name(self) -> str:
        return f"{_LEFT}:{self.plan}"

    def load(self) -> JSON:
        """Return the plan's value; None, and logged, where it is damaged."""
        return self._load(self._name)

    def left(self) -> JSON:
        """Return what a plan left that is over, or None."""
        return self._load(_LEFT)

    def _load(self, name: str) -> JSON:
        rows = self.database.read("SELECT body FROM memory WHERE name = ?", (name,))
        try:
            return canonical.loads(rows[0][0]) if rows else None
        except (ValueError, TypeError):
            logger.warning("memory of %s cannot be read", name, exc_info=True)
            return None

    def save(self, value: JSON) -> None:
        """
        Keep *value* as the plan's, and nothing of what was left: it is part of it.

        Raises:
            StateError: The file cannot be written.
        """
        with self.database.transaction(durable=False) as connection:
            connection.execute(
                "INSERT OR REPLACE INTO memory VALUES (?, ?)",
                (self._name, canonical.dumps(value)),
            )
            connection.execute("DELETE FROM memory WHERE name = ?", (_LEFT,))

    def leave(self) -> None:
        """
        Leave the plan's value to whichever begins next.

        Raises:
            StateError: The file cannot be written.
        """
        with self.database.transaction(durable=False) as connection:
            connection.execute(
                "UPDATE OR REPLACE memory SET name = ? WHERE name = ?",
                (_LEFT, self._name),
            )
