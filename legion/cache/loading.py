"""What a file says, into a shelf that is empty."""

from __future__ import annotations

import gc
import math

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import chain, pairwise, repeat
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Generic, NamedTuple

import attrs
import numpy as np

from ..exceptions import StateError
from .changes import Changes
from .disk import Disk
from .entry import Entry, Unread
from .hit import V
from .item import Item
from .opening import Found
from .overflow import Overflow, spot_of
from .records import Put
from .sketch import Sketcher
from .snapshot import FOREVER_MS, Loaded


if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .partition import Partition
    from .shelf import Shelf


_id = attrgetter("id")
_DIFFERENT = 4
"""In so many bits a sketch may differ that another machine made of the same vector."""


def fill(shelf: Shelf[V], disk: Disk[V], found: Found) -> None:
    """Fill *shelf*, which is empty, with what was found in the file."""
    disk.restore(found)
    with no_collection():
        Filling(shelf, disk)(found)


@contextmanager
def no_collection() -> Iterator[None]:
    """Look for no garbage while many objects are made that all stay: half the time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


@attrs.define(eq=False)
class Filling(Generic[V]):
    """
    A shelf that is empty, while it is filled.

    Attributes:
        shelf: The shelf.
        disk: Where answers lie that nobody read yet.
    """

    shelf: Shelf[V]
    disk: Disk[V]
    _unread: Unread = attrs.field(init=False)
    _now_s: float = attrs.field(init=False)
    _now_ms: float = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._unread = Unread(self.disk)
        self._now_s = self.shelf.clock.machine()
        self._now_ms = self.shelf.clock.wall() * 1_000

    def __call__(self, found: Found) -> None:
        """Put everything on the shelf that *found* says."""
        changes = Changes.of(found.said)
        parts: dict[str, list[Part[V]]] = {}
        if found.loaded is not None:
            for part in self._kept(found.loaded, changes):
                parts.setdefault(part.entries[0].partition.scope, []).append(part)
            changes.last_id = max(changes.last_id, found.loaded.last_id)
        added: dict[str, list[Put]] = {}
        for put in self._risen(found, changes):
            added.setdefault(put.row.scope, []).append(put)
        for scope, puts in added.items():
            parts.setdefault(scope, []).append(self._added(puts))
        for one in parts.values():
            self._place(one)
        self._rank(
            [entry for one in parts.values() for p in one for entry in p.entries]
        )
        stock = self.shelf.stock
        stock.last_id = max(stock.last_id, changes.last_id)

    def _related(self, found: Found, changes: Changes) -> Iterator[Put]:
        """Yield what was put, but for aliases whose origin was lost with a snapshot."""
        there: set[int] | None = None
        for put in changes.puts.values():
            if put.row.origin and there is None:
                there = {each.row.id for each in changes.puts.values()}
                if found.loaded is not None:
                    there.update(found.loaded.columns["id"].tolist())
            if not put.row.origin or (there and put.row.origin in there):
                yield put

    def _risen(self, found: Found, changes: Changes) -> Iterator[Put]:
        """Yield what is to be in memory beside the snapshot, and note what is not."""
        overflow, log, loaded = self.disk.overflow, self.disk.log, found.loaded
        sunken = None if loaded is None else loaded.sunken
        if sunken is not None:
            table = sunken.table[changes.left(sunken)]
            risen = table[np.isin(table["id"], list(changes.risen))]
            if overflow is None:  # nothing may be on disk alone
                risen = table[-self.shelf.stock.capacity :]
                self.disk.lose(table["id"][: -self.shelf.stock.capacity].tolist())
            else:
                ends_ms = table["expires_s"]
                ends_s = self._now_s + (ends_ms - self._now_ms) / 1_000
                ends_s[ends_ms >= FOREVER_MS] = np.inf
                table["expires_s"] = ends_s
                overflow.load(table, sunken.scopes, sunken.tags)
            for spot in map(spot_of, risen):
                put = log.row(spot)
                if overflow is not None:
                    overflow.rise(put.row.scope, put.row.key)
                yield put
        for put in self._related(found, changes):
            if overflow is None or put.alone is None:
                yield put
            else:
                self._sink(overflow, put, *put.alone)

    def _sink(self, overflow: Overflow, put: Put, offset: int, length: int) -> None:
        row = put.row
        (_,), (expires_s,) = self._times(
            np.array([row.stored_ms]), np.array([row.expires_ms])
        )
        overflow.sink(
            row.scope,
            row.key,
            row.id,
            tags=row.terms.tags,
            expires_s=expires_s,
            size=length,
        )
        overflow.placed(row.scope, row.key, row.id, offset, length)

    def _times(
        self, stored_ms: NDArray[Any], expires_ms: NDArray[Any]
    ) -> tuple[list[float], list[float]]:
        """Turn dates into machine time; what lies ahead, as a clock was set, is now."""
        stored_s = self._now_s - np.maximum(self._now_ms - stored_ms, 0) / 1_000
        lasts_s = (expires_ms - stored_ms) / 1_000
        lasts_s[expires_ms == FOREVER_MS] = np.inf
        return stored_s.tolist(), (stored_s + lasts_s).tolist()

    def _kept(self, loaded: Loaded, changes: Changes) -> Iterator[Part[V]]:
        """Yield each scope's entries that are left of a snapshot."""
        counts = loaded.columns["vectors"].astype(np.int64)
        ends = np.cumsum(counts)
        (new,) = np.diff(
            loaded.columns["scope"].astype(np.int64), prepend=-1, append=-1
        ).nonzero()
        kept = changes.kept(loaded)
        left = loaded if kept.all() else loaded.only(kept)
        entries, origins = self._entries(left), left.columns["origin"].tolist()
        row = [0, *np.cumsum(kept).tolist()]
        for begin, end in pairwise(new.tolist() if len(kept) else []):
            rows = slice(row[begin], row[end])
            if row[begin] == row[end]:
                continue
            its = slice(ends[begin] - counts[begin], ends[end - 1])
            vectors, sketches = loaded.vectors[its], loaded.sketches[its]
            if row[end] - row[begin] < end - begin:  # else nothing is copied
                taken = np.repeat(kept[begin:end], counts[begin:end])
                vectors, sketches = vectors[taken], sketches[taken]
            yield Part(
                entries[rows],
                counts[begin:end][kept[begin:end]].tolist(),
                vectors,
                sketches,
                origins[rows],
                left.groups[rows],
            )

    def _entries(self, loaded: Loaded) -> list[Entry[V]]:
        columns = loaded.columns
        stored_s, expires_s = self._times(columns["stored_ms"], columns["expires_ms"])
        used_ms = np.maximum(columns["used_ms"], columns["stored_ms"])
        used_s, _ = self._times(used_ms, used_ms)
        partitions = self._partitions(loaded.scopes)
        sizes = columns["size"].tolist()
        if self.shelf.stock.capacity_bytes is None:
            sizes = [0] * len(sizes)
        return list(
            map(
                Entry,
                columns["id"].tolist(),
                loaded.keys,
                loaded.questions,
                repeat(self._unread),
                stored_s,
                [partitions[scope] for scope in loaded.scopes],
                loaded.terms,
                sizes,
                columns["redundancy"].tolist(),
                expires_s,
                loaded.places,
                used_s,
            )
        )

    def _partitions(self, scopes: Iterable[str]) -> dict[str, Partition[V]]:
        return {scope: self.shelf.partition(scope) for scope in dict.fromkeys(scopes)}

    def _added(self, puts: Sequence[Put]) -> Part[V]:
        """Return what a log added to one scope."""
        rows = [put.row for put in puts]
        stored_s, expires_s = self._times(
            np.array([row.stored_ms for row in rows]),
            np.array([row.expires_ms for row in rows]),
        )
        counted = self.shelf.stock.capacity_bytes is not None
        partition = self.shelf.partition(rows[0].scope)
        entries = [
            Entry(
                row.id,
                row.key,
                row.question,
                self._unread,
                stored,
                partition,
                row.terms,
                row.size if counted else 0,
                row.redundancy,
                expires,
                put.place,
            )
            for row, put, stored, expires in zip(
                rows, puts, stored_s, expires_s, strict=True
            )
        ]
        # Into a bytearray, so that slots can be overwritten.
        raw = np.frombuffer(bytearray().join([put.vector for put in puts]), "<f4")
        vectors = raw.reshape(len(puts), -1)
        return Part(
            entries,
            [1] * len(entries),
            vectors,
            None,
            [row.origin for row in rows],
            [row.group for row in rows],
        )

    def _place(self, parts: Sequence[Part[V]]) -> None:
        """Put one scope's entries on the shelf."""
        entries = [entry for part in parts for entry in part.entries]
        counts = [count for part in parts for count in part.counts]
        single = len(counts) == sum(counts)
        owners = entries if single else list(chain(*map(repeat, entries, counts)))
        vectors = [part.vectors for part in parts]
        sketcher = self.shelf.stock.sketcher_of(vectors[0][0])
        known = parts[0].sketches
        if known is not None and not _same(sketcher, vectors[0][0], known[0]):
            known = None
        rest = vectors if known is None else vectors[1:]
        sketches = [] if known is None else [known]
        if rest:
            sketches.append(sketcher.sketch_many(_joined(rest)))
        partition = entries[0].partition
        partition.fill(
            entries, owners, _joined(vectors), _joined(sketches), sketcher=sketcher
        )
        for part in parts:
            self._enter(part)

    def _enter(self, part: Part[V]) -> None:
        stock, entries = self.shelf.stock, part.entries
        stock.entries.update(zip(map(_id, entries), entries, strict=True))
        if any(part.origins):
            for entry, origin in zip(entries, part.origins, strict=True):
                if origin:
                    self._relate(entry, stock.entries[origin])
        if stock.capacity_bytes is not None:
            for entry in entries:
                self._weigh(entry)
        for entry, group in zip(entries, part.groups, strict=True):
            if entry.origin is None:
                # An answer that its serializer cannot read now is in no group.
                with suppress(StateError):
                    stock.rule.restored(entry, group)
            else:
                entry.group = stock.entries[entry.origin].group
            if entry.expires_s < math.inf:
                stock.expiries.rise(entry.id, entry.expires_s)

    def _rank(self, entries: list[Entry[V]]) -> None:
        """Let them all go in the order in which they were used or stored."""
        used_s = np.array([entry.used_s for entry in entries])
        order = np.lexsort((np.array([entry.id for entry in entries]), used_s))
        self.shelf.stock.room.fill([entries[i] for i in order.tolist()])

    def _weigh(self, entry: Entry[V]) -> None:
        """Count the bytes of an entry that was stored where nobody counted them."""
        if not entry.size:
            entry.size = self._size(entry)
            entry.partition.bytes += entry.size

    def _size(self, entry: Entry[V]) -> int:
        vector = entry.partition.vectors_of(entry)[0]
        item = Item[Any](entry.key, entry.question, None, vector)
        if entry.origin is not None:
            return item.overhead
        try:
            return self.shelf.stock.weigh(item._replace(value=entry.value))
        except StateError:  # its serializer cannot read it now
            assert entry.place is not None
            return item.overhead + entry.place.size

    def _relate(self, alias: Entry[V], origin: Entry[V]) -> None:
        """Make *alias* one of *origin*, whose answer it has."""
        alias.place = origin.place
        self.shelf.stock.relate(alias, origin)


class Part(NamedTuple, Generic[V]):
    """
    Some entries of one scope, and their vectors, one after the other.

    Of each, the number of whom it is an alias of, or 0, and its `Group.digest`.
    """

    entries: list[Entry[V]]
    counts: list[int]
    vectors: NDArray[np.float32]
    sketches: NDArray[np.uint8] | None
    origins: list[int]
    groups: list[bytes]


def _joined(arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def _same(
    sketcher: Sketcher, vector: NDArray[np.float32], sketch: NDArray[np.uint8]
) -> bool:
    """Whether *sketch* is what the sketcher makes of *vector*, but for rounding."""
    differ = np.bitwise_xor(sketcher.sketch(vector), sketch)
    return int(np.unpackbits(differ).sum()) <= _DIFFERENT
