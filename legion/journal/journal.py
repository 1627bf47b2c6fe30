"""The append-only log."""

from __future__ import annotations

import os

from collections.abc import Callable, Sequence

from ..exceptions import JournalError, StateCorruptError
from ..model import Clock, Record
from ..store import Database
from . import entry, given, merkle
from .story import Story, seq_in
from .tables import IS, Row, Tables
from .verification import Audit, Verification


class Journal:
    """
    An append-only log that shows whether it was tampered with.

    Every entry is a leaf of a Merkle tree (RFC 6962): one root stands for all of them,
    and a few hashes prove that an entry is in the log, or that the log has only grown.
    Whoever can write the file can also write a whole new log that fits itself; keep
    `root` and `size` somewhere else to see that.

    Args:
        store: A file's path, or an open state file to share. In a shared one, an entry
            that is appended inside a transaction is committed with it.
        clock: Where the date comes from.
        recorders: Called with each record once it is written. What it raises is logged.

    Raises:
        StateError: The file cannot be used.
    """

    def __init__(
        self,
        store: Database | str | os.PathLike[str],
        *,
        clock: Clock | None = None,
        recorders: Callable[[Record], object] | None = None,
    ) -> None:
        self._owned = None if isinstance(store, Database) else Database(store)
        self._database = store if isinstance(store, Database) else self._owned
        assert self._database is not None
        self._tables = Tables(self._database)
        self._clock = _system_clock() if clock is None else clock
        self._recorders = recorders

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Journal({self._tables.database.path!r})"

    def close(self) -> None:
        """Close the file, if this journal opened it."""
        if self._owned is not None:
            self._owned.close()

    def append(
        self,
        body: object,
        *,
        kind: str | None = None,
        refs: Sequence[str] = (),
        durable: bool = True,
    ) -> Record:
        """
        Write one entry.

        Args:
            body: A noun, or a mapping of JSON values.
            kind: What sort of record; by default the noun's name in lower case, or
                ``note``.
            refs: Digests or record ids it refers to. Those that a noun holds in its
                fields are added.
            durable: Whether it must survive a loss of power on return; if not, it
                survives the death of the process. Inside a transaction both hold from
                its end.

        Returns:
            The record as it will be read back.

        Raises:
            JournalError: *body* or *refs* are of the wrong type.
            ValueError: *body* holds something that JSON cannot say exactly.
            TypeError: *body* holds something that JSON has no word for.
            StateError: It could not be written.
        """
        draft = entry.draft(body, kind=kind, refs=refs)
        database = self._tables.database
        with database.transaction(durable=durable) as connection:
            record = self._tables.insert(
                draft, at=self._clock.wall(), connection=connection
            )
            if self._recorders is not None:
                tell = self._recorders
                database.after_commit(lambda: tell(record))
        return record

    @property
    def size(self) -> int:
        """How many entries there are."""
        return self._tables.head().size

    def root(self, size: int | None = None) -> str:
        """
        Return the root over the first *size* entries, by default over all.

        Raises:
            JournalError: There are not as many.
        """
        head = self._tables.head()
        if size is None or size == head.size:
            return head.root.hex()
        self._within(size, head.size, least=0)
        return merkle.subtree(0, size, self._node).hex() if size else merkle.EMPTY.hex()

    def get(self, record_id: str) -> Record | None:
        """
        Return the record with that id, or None.

        Raises:
            JournalError: Its bytes are not what was written.
        """
        seq = seq_in(given.text(record_id, "record_id", write="a record's id"))
        rows = [] if seq is None else self._tables.rows(seq, seq + 1)
        record = _read(rows[0]) if rows else None
        return record if record is not None and record.id == record_id else None

    def records(
        self, kind: str | None = None, *, since: int = 0, limit: int | None = None
    ) -> tuple[Record, ...]:
        """
        Return records, oldest first.

        Args:
            kind: Only those of this kind.
            since: Only from this position on.
            limit: At most so many.

        Raises:
            JournalError: The bytes of one are not what was written.
        """
        size = self.size
        since = min(given.whole(since, "since"), size)
        limit = size if limit is None else min(given.whole(limit, "limit"), size)
        if kind is not None:
            kind = given.text(kind, "kind", write="a kind of record, or None")
        rows = self._tables.rows(since, size, kind=kind, limit=limit)
        return tuple(_read(row) for row in rows)

    def story(self, record: str | Record) -> tuple[Record, ...]:
        """
        Return the turn that a record belongs to, oldest first.

        That is everything it rests on, and everything that rests on that: observation,
        report, decision, ruling, intent, outcome. At most a thousand records, the
        nearest ones.

        Args:
            record: A record, its id, or the digest of the noun in it; of several
                records of one noun the newest.

        Raises:
            JournalError: There is no such record, or the bytes of one in the story are
                not what was written.
        """
        name = record.id if isinstance(record, Record) else record
        name = given.text(name, "record", write="a record, its id or a digest")
        if (found := self.get(name)) is not None:
            seq = found.seq
        elif called := self._tables.linked(name, IS):
            seq = called[-1]
        else:
            msg = (
                f"journal {self._tables.database.path}: no record {name!r};"
                " write a record's id or the digest of what it records"
            )
            raise JournalError(msg)
        positions = Story(self._tables).around(seq)
        return tuple(_read(row) for seq in positions for row in self._row(seq))

    def leaf(self, seq: int) -> str:
        """
        Return the hash of entry *seq* that its proof is for.

        It is `merkle.leaf_hash` of the record's canonical JSON.

        Raises:
            JournalError: There is no such entry.
        """
        self._within(given.integer(seq, "seq") + 1, self.size, least=1)
        return self._node(0, seq).hex()

    def inclusion(self, seq: int, size: int | None = None) -> list[str]:
        """
        Return the proof that entry *seq* is in the log of *size* entries.

        `legion.journal.merkle.verify_inclusion` checks it.

        Raises:
            JournalError: There are not as many entries.
        """
        now = self.size
        size = now if size is None else size
        self._within(size, now, least=1)
        self._within(given.integer(seq, "seq") + 1, size, least=1)
        return self._prove(seq, seq + 1, size)

    def consistency(self, old_size: int, new_size: int | None = None) -> list[str]:
        """
        Return the proof that the log of *new_size* begins with that of *old_size*.

        `legion.journal.merkle.verify_consistency` checks it.

        Raises:
            JournalError: There are not as many entries, or *old_size* is 0, which
                every log begins with.
        """
        now = self.size
        new_size = now if new_size is None else new_size
        self._within(new_size, now, least=1)
        self._within(old_size, new_size, least=1)
        return self._prove(0, old_size, new_size)

    def verify(
        self, *, root: str | None = None, size: int | None = None
    ) -> Verification:
        """
        Hash everything again and compare it with what is stored.

        Args:
            root: A root that was kept elsewhere, together with *size*.
            size: How many entries there were then.

        Returns:
            What was found; a fault is an answer, not an exception.

        Raises:
            JournalError: *root* was given without *size*, or one of them is none.
            StateCorruptError: The file cannot be read at all.
        """
        if root is not None and size is None:
            msg = "verify: got root without size; write the size it was the root of"
            raise JournalError(msg)
        if size is not None:
            size = given.whole(size, "size")
        if root is not None:
            root = given.root(root)
        return Audit(self._tables, size=size, root=root).run()

    def _prove(self, start: int, end: int, size: int) -> list[str]:
        proof = merkle.prove(start, end, size=size, node=self._node)
        return [item.hex() for item in proof]

    def _node(self, level: int, place: int) -> bytes:
        node = self._tables.node(level, place)
        if node is None:
            msg = f"a hash of the tree is missing (level {level}, place {place})"
            raise StateCorruptError(self._tables.database.path, msg)
        return node

    def _row(self, seq: int) -> list[Row]:
        return self._tables.rows(seq, seq + 1)

    def _within(self, size: int, most: int, *, least: int) -> None:
        given.integer(size, "size")
        if not least <= size <= most:
            msg = (
                f"journal {self._tables.database.path}: asked for {size} of {most}"
                f" entries; write {least} to {most}"
            )
            raise JournalError(msg)


def _read(row: Row) -> Record:
    """Return a row's record, once its bytes have been hashed again."""
    if merkle.leaf_hash(row.data) != row.hash:
        msg = f"entry {row.seq} is not what was written; verify() names all that differ"
        raise JournalError(msg, seq=row.seq)
    return entry.decode(row.data)


def _system_clock() -> Clock:
    from ..telemetry.clock import SystemClock

    return SystemClock()
