"""Small things that outlive the process: one JSON value a name."""

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


@attrs.define(eq=False)
class Memory:
    """
    What parts of a host remember between two turns.

    A value written last may be lost when the power fails, never torn.

    Args:
        database: The open state file.
    """

    database: Database

    def __attrs_post_init__(self) -> None:
        self.database.ensure(_SCHEMA)

    def load(self, name: str) -> JSON:
        """Return the value under *name*; None, and logged, where it is damaged."""
        rows = self.database.read("SELECT body FROM memory WHERE name = ?", (name,))
        try:
            return canonical.loads(rows[0][0]) if rows else None
        except (ValueError, TypeError):
            logger.warning("memory of %s cannot be read", name, exc_info=True)
            return None

    def save(self, name: str, value: JSON) -> None:
        """
        Keep *value* under *name*.

        Raises:
            StateError: The file cannot be written.
        """
        with self.database.transaction(durable=False) as connection:
            connection.execute(
                "INSERT OR REPLACE INTO memory VALUES (?, ?)",
                (name, canonical.dumps(value)),
            )
