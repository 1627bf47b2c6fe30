"""The units of a rollout in its state file: who went bad, and how often each came."""

from __future__ import annotations

import attrs

from ..exceptions import StateCorruptError
from ..store import Database
from .evidence import Known, Stay, Visitor, Visitors


_SCHEMA = """
CREATE TABLE IF NOT EXISTS bad_unit (
    plan TEXT NOT NULL, metric TEXT NOT NULL, unit BLOB NOT NULL,
    PRIMARY KEY (plan, metric, unit)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS visitor (
    plan TEXT NOT NULL, metric TEXT NOT NULL, unit BLOB NOT NULL,
    entry INTEGER NOT NULL, share REAL NOT NULL, candidate INTEGER NOT NULL,
    bad INTEGER NOT NULL, n INTEGER NOT NULL,
    bad_before INTEGER NOT NULL, n_before INTEGER NOT NULL, kept REAL NOT NULL,
    PRIMARY KEY (plan, metric, unit)) WITHOUT ROWID;
"""


@attrs.define(eq=False)
class UnitRows:
    """
    Loads and saves the units of one plan's rollout.

    A unit's visits are one row, which says of which stay in a stage they are: when the
    rollout moves on nothing is written, and whoever reads an old row takes what is in
    it for the past.

    Args:
        database: The open state file.
        plan: Name of the plan.
    """

    database: Database
    plan: str

    def __attrs_post_init__(self) -> None:
        self.database.ensure(_SCHEMA)

    def load(self, known: Known) -> None:
        """
        Have *known* hold what is written down, and nothing else.

        Of a file that is only looked at nothing is read, as nothing is learned from it.

        Raises:
            StateError: The file cannot be read, or is damaged; *known* is as it was.
        """
        if self.database.readonly:
            return
        try:
            units, visitors = self.bad(), Visitors(self._visitors())
        except (TypeError, ValueError, OverflowError) as error:
            msg = (
                f"the units of {self.plan!r} are damaged; put a copy of the file from"
                " before there"
            )
            raise StateCorruptError(str(self.database.path), msg) from error
        known.units, known.new, known.visitors = units, [], visitors

    def bad(self) -> dict[str, set[int]]:
        """Return the units that went bad in this rollout, by metric."""
        rows = self.database.read(
            "SELECT metric, unit FROM bad_unit WHERE plan = ?", (self.plan,)
        )
        units: dict[str, set[int]] = {}
        for metric, unit in rows:
            units.setdefault(metric, set()).add(int.from_bytes(unit))
        return units

    def _visitors(self) -> dict[str, dict[int, Visitor]]:
        rows = self.database.read(
            "SELECT metric, unit, entry, share, candidate, bad, n, bad_before,"
            " n_before, kept FROM visitor WHERE plan = ?",
            (self.plan,),
        )
        stays: dict[tuple[int, float], Stay] = {}
        found: dict[str, dict[int, Visitor]] = {}
        for metric, unit, entry, share, candidate, *counts in rows:
            at = stays.setdefault((entry, share), Stay(entry, share))
            visitor = Visitor(at, bool(candidate), *counts)
            found.setdefault(metric, {})[int.from_bytes(unit)] = visitor
        return found

    def save(self, known: Known) -> None:
        """
        Write what is new of *known*, with whatever else the caller is writing.

        Raises:
            StateError: The file cannot be written.
        """
        metrics = known.visitors.metrics
        with self.database.transaction(durable=False) as connection:
            connection.executemany(
                "INSERT OR IGNORE INTO bad_unit VALUES (?, ?, ?)",
                [(self.plan, metric, unit.to_bytes(8)) for metric, unit in known.new],
            )
            connection.executemany(
                "INSERT OR REPLACE INTO visitor VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    self._row(metric, unit, metrics[metric][unit])
                    for metric, unit in known.visitors.new
                ],
            )

    def _row(self, metric: str, unit: int, visitor: Visitor) -> tuple[object, ...]:
        at, candidate, *counts = attrs.astuple(visitor, recurse=False)
        key = (self.plan, metric, unit.to_bytes(8))
        return (*key, at.entry, at.share, int(candidate), *counts)
