"""The hosts on one state file: who they are, what they saw, what they wait for."""

from __future__ import annotations

import logging

from collections.abc import Iterable
from typing import cast

import attrs

from .. import canonical
from ..canonical import JSON
from ..model import Clock, Observation
from .database import Database
from .owner import is_alive


logger = logging.getLogger("legion")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS worker (
    id INTEGER PRIMARY KEY AUTOINCREMENT, plan TEXT NOT NULL, process TEXT NOT NULL,
    seen REAL NOT NULL, units BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS published (
    id INTEGER PRIMARY KEY AUTOINCREMENT, plan TEXT NOT NULL, worker INTEGER NOT NULL,
    body BLOB NOT NULL);
"""


@attrs.frozen(kw_only=True)
class Published:
    """
    What one worker saw, until a leader has learned it.

    Attributes:
        id: Its number; a later one of the same worker is greater.
        worker: Whose it is.
        observation: What was seen, or None where it cannot be read any more.
    """

    id: int
    worker: int
    observation: Observation | None


@attrs.frozen(kw_only=True)
class Left:
    """
    What a worker that is no more was waiting for.

    Attributes:
        id: Whose it was.
        units: Units that had not come of age, as `Telemetry.to_json` returned them;
            None where they cannot be read any more.
    """

    id: int
    units: JSON


@attrs.define(eq=False)
class WorkerFile:
    """
    The rows that the hosts of one plan write for each other.

    Args:
        database: The open state file.
        plan: Name of the plan.
        clock: For the date.
    """

    database: Database
    plan: str
    clock: Clock

    def __attrs_post_init__(self) -> None:
        self.database.ensure(_SCHEMA)

    def join(self, process: str) -> int:
        """Return a number for a new worker in *process*; no number is used twice."""
        with self.database.transaction(durable=False) as connection:
            done = connection.execute(
                "INSERT INTO worker (plan, process, seen, units) VALUES (?, ?, ?, ?)",
                (self.plan, process, self.clock.wall(), canonical.dumps({})),
            )
        return cast("int", done.lastrowid)

    def keep(self, worker: int, units: JSON) -> None:
        """Write down which units of *worker* have not come of age."""
        with self.database.transaction(durable=False) as connection:
            connection.execute(
                "UPDATE worker SET seen = ?, units = ? WHERE id = ?",
                (self.clock.wall(), canonical.dumps(units), worker),
            )

    def leave(self, worker: int) -> None:
        """Let whoever leads next have what *worker* was waiting for."""
        with self.database.transaction(durable=False) as connection:
            connection.execute("UPDATE worker SET process = '' WHERE id = ?", (worker,))

    def left(self, *, but: int, after_s: float) -> list[Left]:
        """
        Return what workers were waiting for that are no more.

        Args:
            but: The worker that asks.
            after_s: How long one is waited for of which nobody can tell whether it
                lives.
        """
        rows = self.database.read(
            "SELECT id, CAST(process AS BLOB), seen FROM worker"
            " WHERE plan = ? AND id != ?",
            (self.plan, but),
        )
        gone = [
            worker
            for worker, process, seen in rows
            if not self._lives(process.decode(errors="replace"), seen, after_s)
        ]
        return [Left(id=worker, units=self._units(worker)) for worker in gone]

    def _lives(self, process: str, seen: float, after_s: float) -> bool:
        if not process:
            return False
        try:
            alive = is_alive(process)
        except ValueError:
            return False  # Damaged: nobody has that name.
        # However the date was set meanwhile, it is not waited for longer than that.
        return abs(self.clock.wall() - seen) < after_s if alive is None else alive

    def _units(self, worker: int) -> JSON:
        rows = self.database.read("SELECT units FROM worker WHERE id = ?", (worker,))
        try:
            return canonical.loads(rows[0][0]) if rows else {}
        except (ValueError, TypeError):
            logger.warning("units of worker %d cannot be read", worker, exc_info=True)
            return None

    def publish(self, worker: int, seen: Iterable[Observation]) -> None:
        """
        Leave what *worker* saw to whoever leads.

        Raises:
            StateError: The file cannot be written.
        """
        with self.database.transaction(durable=False) as connection:
            connection.executemany(
                "INSERT INTO published (plan, worker, body) VALUES (?, ?, ?)",
                [(self.plan, worker, canonical.dumps(one.to_json())) for one in seen],
            )

    def waiting(self) -> list[Published]:
        """Return what nobody has learned yet, the oldest first."""
        rows = self.database.read(
            "SELECT id, worker, body FROM published WHERE plan = ? ORDER BY id",
            (self.plan,),
        )
        return [_read(*row) for row in rows]

    def forget(self, published: Iterable[int], workers: Iterable[int]) -> None:
        """
        Delete what was learned, and workers whose units were taken over.

        Call it in the transaction that writes what was learned.
        """
        with self.database.transaction(durable=False) as connection:
            for table, ids in (("published", published), ("worker", workers)):
                connection.executemany(
                    f"DELETE FROM {table} WHERE id = ?",  # noqa: S608 - constants only
                    [(one,) for one in ids],
                )


def _read(published: int, worker: int, body: bytes) -> Published:
    observation = None
    try:
        raw = cast("dict[str, JSON]", canonical.loads(body))
        observation = Observation.from_json(raw)
    except (ValueError, LookupError, TypeError, AttributeError):
        logger.warning("what worker %s published cannot be read", worker, exc_info=True)
    return Published(id=published, worker=worker, observation=observation)
