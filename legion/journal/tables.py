"""The journal's rows in the state file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from sqlite3 import Connection

import attrs

from ..exceptions import StateCorruptError
from ..model import Record
from ..store import Database
from . import entry, merkle


_SCHEMA = """
CREATE TABLE IF NOT EXISTS journal_entry (
    seq INTEGER PRIMARY KEY, kind TEXT NOT NULL, data BLOB NOT NULL,
    hash BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS journal_entry_by_kind ON journal_entry (kind, seq);
CREATE TABLE IF NOT EXISTS journal_node (
    level INTEGER NOT NULL, place INTEGER NOT NULL, hash BLOB NOT NULL,
    PRIMARY KEY (level, place)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS journal_link (
    name TEXT NOT NULL, role INTEGER NOT NULL, seq INTEGER NOT NULL,
    PRIMARY KEY (name, role, seq)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS journal_head (
    one INTEGER PRIMARY KEY CHECK (one = 1), size INTEGER NOT NULL,
    root BLOB NOT NULL, peaks BLOB NOT NULL);
"""

_SELECT = """
SELECT seq, CAST(kind AS BLOB), CAST(data AS BLOB), hash FROM journal_entry
WHERE seq >= ? AND seq < ? {} ORDER BY seq LIMIT ?
"""

IS, REFERS_TO = 0, 1
"""What a row of ``journal_link`` says: the entry is called that, or points there."""


@attrs.frozen(kw_only=True)
class Head:
    """
    The checkpoint, written anew with every entry.

    Attributes:
        size: How many entries there are.
        root: Root of the tree over them.
        peaks: Roots of the perfect trees it is made of, largest first.
    """

    size: int = 0
    root: bytes = merkle.EMPTY
    peaks: tuple[bytes, ...] = ()

    @property
    def sound(self) -> bool:
        """Whether its parts fit each other."""
        return (
            self.size >= 0
            and len(self.peaks) == self.size.bit_count()
            and merkle.root_of(self.peaks) == self.root
        )


@attrs.frozen(kw_only=True)
class Surplus:
    """
    Rows that are beyond the checkpoint.

    Attributes:
        size: How many entries the checkpoint says there are.
        entries: Entries after the last of them.
        nodes: Inner nodes more than so many entries have.
        names: Names in the index of entries after the last.
    """

    size: int
    entries: int
    nodes: int
    names: int


@attrs.frozen(kw_only=True)
class Row:
    """
    One entry as it is stored.

    Attributes:
        seq: Its position.
        kind: Its kind, for look-ups.
        data: Its bytes.
        hash: The leaf of the tree.
    """

    seq: int
    kind: str
    data: bytes
    hash: bytes


@attrs.define(eq=False)
class Tables:
    """Reads and writes the rows; knows nothing of what they mean."""

    database: Database

    def __attrs_post_init__(self) -> None:
        self.database.ensure(_SCHEMA)

    def head(self) -> Head:
        """Return the checkpoint."""
        rows = self.database.read("SELECT size, root, peaks FROM journal_head")
        return _head(rows)

    def insert(
        self, draft: entry.Draft, *, at: float, connection: Connection
    ) -> Record:
        """
        Write the entry, its nodes, its names and the new checkpoint.

        Raises:
            StateCorruptError: The checkpoint to build on is damaged.
        """
        head = _head(connection.execute("SELECT size, root, peaks FROM journal_head"))
        if not head.sound:
            msg = "the journal's checkpoint is damaged; put back a copy from before"
            raise StateCorruptError(self.database.path, msg)
        data = entry.encode(draft, seq=head.size, at=at)
        record, leaf, peaks = entry.decode(data), merkle.leaf_hash(data), [*head.peaks]
        nodes = list(merkle.grow(peaks, head.size, leaf))
        connection.execute(
            "INSERT INTO journal_entry VALUES (?, ?, ?, ?)",
            (head.size, draft.kind, data, leaf),
        )
        connection.executemany("INSERT INTO journal_node VALUES (?, ?, ?)", nodes)
        connection.executemany(
            "INSERT INTO journal_link VALUES (?, ?, ?)", links(record, data)
        )
        connection.execute(
            "INSERT OR REPLACE INTO journal_head VALUES (1, ?, ?, ?)",
            (head.size + 1, merkle.root_of(peaks), b"".join(peaks)),
        )
        return record

    def rows(
        self, since: int, until: int, *, kind: str | None = None, limit: int = -1
    ) -> list[Row]:
        """Return the entries with ``since <= seq < until``, in order."""
        found = self.database.read(
            _SELECT.format("" if kind is None else "AND kind = ?"),
            [since, until, *([] if kind is None else [kind]), limit],
        )
        return [_row(row) for row in found]

    def node(self, level: int, place: int) -> bytes | None:
        """Return the stored hash at *level* above the leaves, or None."""
        found = self.database.read(
            "SELECT hash FROM journal_node WHERE level = ? AND place = ?"
            if level
            else "SELECT hash FROM journal_entry WHERE ? = 0 AND seq = ?",
            (level, place),
        )
        return _blob(found[0][0]) if found else None

    def count(self, table: str, condition: str, size: int) -> int:
        """Count the rows of one of the tables."""
        sql = f"SELECT count(*) FROM {table} WHERE {condition}"  # noqa: S608 - constants only
        return int(self.database.read(sql, (size,))[0][0])

    def holds_link(self, name: str, role: int, seq: int) -> bool:
        """Tell whether the row is there."""
        found = self.database.read(
            "SELECT 1 FROM journal_link WHERE name = ? AND role = ? AND seq = ?",
            (name, role, seq),
        )
        return bool(found)

    def linked(self, name: str, role: int) -> list[int]:
        """Return the entries with that link, in order."""
        found = self.database.read(
            "SELECT seq FROM journal_link WHERE name = ? AND role = ? ORDER BY seq",
            (name, role),
        )
        return [seq for (seq,) in found]

    def surplus(self) -> Surplus:
        """Return, as of one instant, what no entry accounts for."""
        found = self.database.read(
            "WITH head AS (SELECT coalesce((SELECT size FROM journal_head), 0) AS size)"
            " SELECT size, (SELECT count(*) FROM journal_entry WHERE seq >= size),"
            " (SELECT count(*) FROM journal_node),"
            " (SELECT count(*) FROM journal_link WHERE seq >= size) FROM head"
        )
        size, entries, nodes, names = (_int(value) for value in found[0])
        needed = max(size, 0) - max(size, 0).bit_count()
        return Surplus(size=size, entries=entries, nodes=nodes - needed, names=names)


def links(record: Record, data: bytes) -> Iterator[tuple[str, int, int]]:
    """Yield the rows that make *record* findable by digest."""
    for name in entry.names(record, data):
        yield name, IS, record.seq
    for ref in record.refs:
        yield ref, REFERS_TO, record.seq


def _head(rows: Iterable[Sequence[object]]) -> Head:
    for size, root, peaks in rows:
        raw = _blob(peaks)
        return Head(
            size=_int(size),
            root=_blob(root),
            peaks=tuple(raw[i : i + 32] for i in range(0, len(raw), 32)),
        )
    return Head()


def _row(row: Sequence[object]) -> Row:
    seq, kind, data, leaf = row
    assert isinstance(seq, int)
    return Row(
        seq=seq,
        kind=_blob(kind).decode(errors="backslashreplace"),
        data=_blob(data),
        hash=_blob(leaf),
    )


def _int(value: object) -> int:
    """Return a stored integer; -1 where a damaged file holds something else."""
    return value if isinstance(value, int) else -1


def _blob(value: object) -> bytes:
    """Return stored bytes; a damaged file may hold text or a number in their place."""
    return value if isinstance(value, bytes) else str(value).encode()
