"""A tier that several processes share: its interface, and one of SQLite."""

from __future__ import annotations

import json
import os

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import attrs

from ..store import Database
from .given import whole_number


if TYPE_CHECKING:
    from typing import Self

    from ..model import Clock


@attrs.frozen(kw_only=True)
class SharedRow:
    """
    An answer on its way into a shared tier.

    Attributes:
        key: What it is found by, 32 bytes: a digest of the embedder's and the
            serializer's names, scope and question.
        data: The answer and what belongs to it; it says whose it is, and is checked
            when it comes back.
        tags: What it can be invalidated by, 32 bytes each.
        ttl_s: How long it lasts from now on, in seconds, or None for no end. Once it is
            over, nobody takes it; a tier may keep it all the same.
    """

    key: bytes
    data: bytes
    tags: tuple[bytes, ...]
    ttl_s: float | None


class SharedTier(Protocol):
    """
    What a cache asks of a tier that several processes share.

    It may raise whatever it likes: then a look-up is a miss, and is counted. It is
    called from several threads, never under a lock, and waits as long as it likes, so
    give it a time-out of its own: every look-up that memory cannot answer waits for it.
    """

    def get(self, keys: Sequence[bytes], /) -> Sequence[bytes | None]:
        """Return the data of each key, None where there is none, in one round trip."""
        ...

    def put(self, rows: Sequence[SharedRow], /) -> None:
        """Store *rows*, each instead of the one that has its key."""
        ...

    def invalidate(self, *, keys: Sequence[bytes], tags: Sequence[bytes]) -> None:
        """Remove the rows that have one of *keys*, or one of *tags*."""
        ...


_SCHEMA = """
CREATE TABLE IF NOT EXISTS shared_rows (
    n INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL UNIQUE,
    data BLOB NOT NULL,
    expires_s REAL
);
CREATE INDEX IF NOT EXISTS shared_ends ON shared_rows (expires_s);
CREATE TABLE IF NOT EXISTS shared_tags (
    tag TEXT NOT NULL,
    n INTEGER NOT NULL,
    PRIMARY KEY (tag, n)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS shared_tagged ON shared_tags (n);
CREATE TRIGGER IF NOT EXISTS shared_gone AFTER DELETE ON shared_rows BEGIN
    DELETE FROM shared_tags WHERE n = OLD.n;
END;
"""
_AMONG = "IN (SELECT value FROM json_each(?))"


class SqliteTier:
    """
    A shared tier for the processes of one machine: a SQLite file.

        cache = legion.SemanticCache(embed, shared=SqliteTier("answers.db"))

    A process that was forked opens the file anew. Whoever can write the file can put
    answers into it.

    Args:
        path: The file; it is made when missing. Give each application one of its own.
        capacity: Rows there may be; of more, those written first go.
        timeout_s: How long to wait for another process that writes.
        clock: Its dates say when rows end; the system's by default.

    Raises:
        ValueError: *capacity* is out of range.
        StateError: The file cannot be opened, or is another program's.

    .. versionadded:: 0.1
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        capacity: int = 100_000,
        timeout_s: float = 1.0,
        clock: Clock | None = None,
    ) -> None:
        whole_number("SqliteTier", "capacity", capacity)
        if clock is None:
            from ..telemetry import SystemClock

            clock = SystemClock()
        self.capacity = capacity
        self._clock = clock
        self._database = Database(path, timeout_s=timeout_s)
        self._database.ensure(_SCHEMA)

    def get(self, keys: Sequence[bytes], /) -> list[bytes | None]:
        """
        Return the data of each key, None where there is none or its time is over.

        Raises:
            StateError: The file cannot be read, or is locked for too long.
        """
        rows = self._database.read(
            f"SELECT key, data FROM shared_rows WHERE key {_AMONG}"  # noqa: S608 - no input
            " AND (expires_s IS NULL OR expires_s > ?)",
            (_listed(keys), self._clock.wall()),
        )
        found: dict[str, bytes] = dict(rows)
        return [found.get(key.hex()) for key in keys]

    def put(self, rows: Sequence[SharedRow], /) -> None:
        """
        Store *rows*, in one transaction, and remove what is over or too many.

        Raises:
            StateError: The file cannot be written, or is locked for too long.
        """
        now_s = self._clock.wall()
        with self._database.transaction(durable=False) as connection:
            connection.execute("DELETE FROM shared_rows WHERE expires_s <= ?", (now_s,))
            for row in rows:
                ends_s = None if row.ttl_s is None else now_s + row.ttl_s
                key = row.key.hex()
                connection.execute("DELETE FROM shared_rows WHERE key = ?", (key,))
                n = connection.execute(
                    "INSERT INTO shared_rows (key, data, expires_s) VALUES (?, ?, ?)",
                    (key, row.data, ends_s),
                ).lastrowid
                connection.executemany(
                    "INSERT OR IGNORE INTO shared_tags VALUES (?, ?)",
                    [(tag.hex(), n) for tag in row.tags],
                )
            connection.execute(
                "DELETE FROM shared_rows"
                " WHERE n <= (SELECT max(n) FROM shared_rows) - ?",
                (self.capacity,),
            )

    def invalidate(self, *, keys: Sequence[bytes], tags: Sequence[bytes]) -> None:
        """
        Remove the rows that have one of *keys* or *tags*, also for a loss of power.

        Raises:
            StateError: The file cannot be written, or is locked for too long.
        """
        with self._database.transaction() as connection:
            connection.execute(
                f"DELETE FROM shared_rows WHERE key {_AMONG} OR n IN"  # noqa: S608
                f" (SELECT n FROM shared_tags WHERE tag {_AMONG})",
                (_listed(keys), _listed(tags)),
            )

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()


def _listed(keys: Sequence[bytes]) -> str:
    return json.dumps([key.hex() for key in keys])
