"""The units of a rollout in its state file: who went bad, and how often each came."""

from __future__ import annotations

import struct

import attrs

from ..exceptions import StateCorruptError
from ..store import Database
from .evidence import Known, Stay, Visitor, Visitors


_SCHEMA = """
CREATE TABLE IF NOT EXISTS bad_unit (
    plan TEXT NOT NULL, stay INTEGER NOT NULL, metric TEXT NOT NULL,
    unit BLOB NOT NULL, epoch INTEGER NOT NULL,
    PRIMARY KEY (plan, stay, metric, unit)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS visitor (
    plan TEXT NOT NULL, metric TEXT NOT NULL, unit BLOB NOT NULL,
    entry INTEGER NOT NULL, share REAL NOT NULL, epoch INTEGER NOT NULL,
    candidate INTEGER NOT NULL,
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
    it for the past. Units that went bad are those of the newest stay alone.

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
            (stay, units), visitors = self._bad(), Visitors(self._visitors())
        except (TypeError, ValueError, OverflowError, struct.error) as error:
            msg = (
                f"the units of {self.plan!r} are damaged; put a copy of the file from"
                " before there"
            )
            raise StateCorruptError(str(self.database.path), msg) from error
        known.stay, known.units, known.visitors = stay, units, visitors
        known.new, known.forgotten = [], set()

    def _bad(self) -> tuple[int, dict[str, dict[int, int]]]:
        # One row a metric, since reading ten thousand takes most of a restart.
        rows = self.database.read(
            "SELECT stay, metric, sum(length(unit) = 8), group_concat(hex(unit), ''),"
            " group_concat(epoch) FROM bad_unit WHERE plan = ?1 AND stay ="
            " (SELECT MAX(stay) FROM bad_unit WHERE plan = ?1) GROUP BY metric",
            (self.plan,),
        )
        newest = 0
        units: dict[str, dict[int, int]] = {}
        for stay, metric, whole, hashes, epochs in rows:
            newest = stay
            places = struct.unpack(f">{whole}Q", bytes.fromhex(hashes))
            since = map(int, epochs.split(","))
            units[metric] = dict(zip(places, since, strict=True))
        return newest, units

    def _visitors(self) -> dict[str, dict[int, Visitor]]:
        rows = self.database.read(
            "SELECT metric, unit, entry, share, epoch, candidate, bad, n, bad_before,"
            " n_before, kept FROM visitor WHERE plan = ?",
            (self.plan,),
        )
        stays: dict[tuple[int, float, int], Stay] = {}
        found: dict[str, dict[int, Visitor]] = {}
        for metric, unit, entry, share, epoch, candidate, *counts in rows:
            key = entry, share, epoch
            at = stays.get(key)
            if at is None:
                at = stays[key] = Stay(*key)
            if metric not in found:
                found[metric] = {}
            visitor = Visitor(at, bool(candidate), *counts)
            found[metric][int.from_bytes(unit)] = visitor
        return found

    def save(self, known: Known) -> None:
        """
        Write what is new of *known*, with whatever else the caller is writing.

        Raises:
            StateError: The file cannot be written.
        """
        metrics = known.visitors.metrics
        with self.database.transaction(durable=False) as connection:
            connection.execute(
                "DELETE FROM bad_unit WHERE plan = ? AND stay < ?",
                (self.plan, known.stay),
            )
            connection.executemany(
                "DELETE FROM bad_unit WHERE plan = ? AND stay = ? AND metric = ?",
                [(self.plan, known.stay, metric) for metric in known.forgotten],
            )
            connection.executemany(
                "INSERT OR REPLACE INTO bad_unit VALUES (?, ?, ?, ?, ?)",
                [
                    (
                        self.plan,
                        known.stay,
                        name,
                        unit.to_bytes(8),
                        known.units[name][unit],
                    )
                    for name, unit in known.new
                ],
            )
            connection.executemany(
                "INSERT OR REPLACE INTO visitor VALUES"
                " (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    self._row(metric, unit, metrics[metric][unit])
                    for metric, unit in known.visitors.new
                ],
            )

    def clear(self) -> None:
        """
        Delete all of them, with whatever else the caller is writing.

        Raises:
            StateError: The file cannot be written.
        """
        with self.database.transaction(durable=False) as connection:
            for table in ("bad_unit", "visitor"):
                connection.execute(
                    f"DELETE FROM {table} WHERE plan = ?",  # noqa: S608 - constants only
                    (self.plan,),
                )

    def _row(self, metric: str, unit: int, visitor: Visitor) -> tuple[object, ...]:
        at, candidate, *counts = attrs.astuple(visitor, recurse=False)
        key = (self.plan, metric, unit.to_bytes(8))
        return (*key, at.entry, at.share, at.epoch, int(candidate), *counts)
