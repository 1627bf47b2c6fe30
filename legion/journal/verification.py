"""The whole log hashed again, and held against what is stored."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from ..exceptions import JournalError, StateCorruptError
from . import entry, merkle
from .tables import Head, Row, Tables, links


_BATCH = 500

Fault = tuple[int | None, str]


@attrs.frozen(kw_only=True)
class Verification:
    """
    What came of verifying a journal.

    Attributes:
        ok: Whether everything fits.
        size: How many entries the checkpoint says there are.
        root: Root that was computed; the checkpoint's where everything fits.
        faults: What does not, in the order of the log: the entry it is about, or None
            for the log as a whole, and what is wrong.
    """

    ok: bool
    size: int
    root: str
    faults: tuple[Fault, ...] = ()


@attrs.define(eq=False)
class Audit:
    """
    One pass over a journal.

    It reads in batches and only up to the checkpoint it began with, so entries may be
    appended meanwhile. Where a hash differs it goes on with the stored one, so that one
    wrong byte is reported where it is and not in every root above it.

    Args:
        tables: The rows.
        size: A size that the caller has kept elsewhere.
        root: The root at that size.
    """

    tables: Tables
    _size: int | None = attrs.field(default=None, alias="size")
    _root: str | None = attrs.field(default=None, alias="root")
    _peaks: list[bytes] = attrs.field(init=False, factory=list)
    _next: int = attrs.field(init=False, default=0)
    _links: int = attrs.field(init=False, default=0)
    _readable: bool = attrs.field(init=False, default=True)
    _faults: list[Fault] = attrs.field(init=False, factory=list)

    def run(self) -> Verification:
        """Read everything and compare."""
        head = self.tables.head()
        for problem in self.tables.database.check():
            self._fault(None, problem)
        try:
            self._compare_kept()
            for row in self._rows(head.size):
                self._skip_to(row.seq)
                self._entry(row)
                self._compare_kept()
            self._skip_to(head.size)
            self._checkpoint(head)
            self._totals(head.size)
        except StateCorruptError as error:
            self._fault(self._next, f"cannot be read: {error}")
        return Verification(
            ok=not self._faults,
            size=head.size,
            root=merkle.root_of(self._peaks).hex(),
            faults=tuple(self._faults),
        )

    def _fault(self, seq: int | None, what: str) -> None:
        self._faults.append((seq, what))

    def _rows(self, size: int) -> Iterator[Row]:
        last = -1
        while batch := self.tables.rows(last + 1, size, limit=_BATCH):
            yield from batch
            last = batch[-1].seq

    def _skip_to(self, seq: int) -> None:
        """Name the entries that ought to stand before *seq*, once for all of them."""
        if self._next >= seq:
            return
        last = f" to {seq - 1}" if seq - 1 > self._next else ""
        self._fault(self._next, f"entry {self._next}{last} missing")
        levels = [level for level in reversed(range(64)) if seq >> level & 1]
        peaks = [self.tables.node(level, (seq >> level) - 1) for level in levels]
        self._peaks = [peak or b"" for peak in peaks]
        self._next = seq

    def _entry(self, row: Row) -> None:
        if merkle.leaf_hash(row.data) != row.hash:
            self._fault(row.seq, "its bytes are not the ones that were hashed")
        self._content(row)
        grown = [*self._peaks]
        for level, place, node in merkle.grow(grown, row.seq, row.hash):
            if self.tables.node(level, place) != node:
                self._fault(row.seq, f"the tree {level} above it is not what it was")
        self._peaks = grown
        self._next = row.seq + 1

    def _content(self, row: Row) -> None:
        try:
            record = entry.decode(row.data)
            named = list(links(record, row.data))
        except JournalError as error:
            self._fault(row.seq, f"it cannot be read: {error}")
            self._readable = False
            return
        if record.seq != row.seq:
            self._fault(row.seq, f"entry {record.seq} stands in its place")
        if record.kind != row.kind:
            self._fault(row.seq, f"listed as {row.kind!r}; it is {record.kind!r}")
        if not all(self.tables.holds_link(*link) for link in named):
            self._fault(row.seq, "its names are not all in the index")
        self._links += len(named)

    def _checkpoint(self, head: Head) -> None:
        if merkle.root_of(self._peaks) != head.root:
            self._fault(None, "the root is not the one in the checkpoint")
        if tuple(self._peaks) != head.peaks or head.size != self._next:
            self._fault(None, "the checkpoint does not fit the entries")
        if self._size is not None and head.size < self._size:
            self._fault(head.size, f"{self._size} entries were kept, {head.size} left")

    def _totals(self, size: int) -> None:
        """Look for rows that nothing accounts for."""
        tables = self.tables
        if tables.count("journal_entry", "seq < ?", size) != size:
            self._fault(None, "there are not as many entries as the checkpoint says")
        nodes = tables.count("journal_node", "(place + 1) << level <= ?", size)
        if nodes != size - size.bit_count():
            self._fault(None, f"{nodes} inner nodes, {size - size.bit_count()} needed")
        found = tables.count("journal_link", "seq < ?", size)
        if self._readable and found != self._links:
            self._fault(None, f"{found} names in the index, {self._links} needed")
        surplus = tables.surplus()
        if surplus.entries:
            self._fault(surplus.size, f"{surplus.entries} entries after the last")
        if surplus.nodes or surplus.names:
            self._fault(None, "there are nodes or names of entries that are not there")

    def _compare_kept(self) -> None:
        """Compare with the caller's root as soon as as many entries were read."""
        if self._next != self._size or self._root is None:
            return
        if merkle.root_of(self._peaks).hex() != self._root:
            self._fault(
                self._next - 1 if self._next else None,
                f"the first {self._next} entries do not have the root that was kept",
            )
