"""Which entries left memory and stay on disk, and where their rows lie."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

import attrs
import numpy as np


if TYPE_CHECKING:
    from numpy.typing import NDArray


ROW = np.dtype(
    [
        ("digest", "<u8"),
        ("id", "<i8"),
        ("offset", "<i8"),
        ("length", "<u4"),
        ("size", "<u4"),
        ("scope", "<u4"),
        ("tags", "<u4"),
        ("expires_s", "<f8"),
        ("state", "u1"),
    ]
)
_GONE, _SUNK, _RISEN = 0, 1, 2
_NOWHERE = -1
_SPARE = 8
"""Of so many rows, one more is made room for."""
_LEAST = 64

H = TypeVar("H", bound=Hashable)


class Spot(NamedTuple):
    """Where the row of an entry lies in the file, and until when it answers."""

    id: int
    offset: int
    length: int
    expires_s: float


@attrs.define(eq=False)
class Names(Generic[H]):
    """Numbers for what many rows share."""

    said: list[H] = attrs.field(factory=list)
    _numbers: dict[H, int] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._numbers = {name: n for n, name in enumerate(self.said)}

    def number(self, name: H) -> int:
        """Return the number of *name*, a new one if it has none."""
        n = self._numbers.setdefault(name, len(self.said))
        if n == len(self.said):
            self.said.append(name)
        return n

    def known(self, name: H) -> int:
        """Return the number of *name*, or -1."""
        return self._numbers.get(name, -1)

    def only(self, numbers: NDArray[np.uint32]) -> NDArray[np.uint32]:
        """Forget all but *numbers*, and return the new ones of these."""
        kept, new = np.unique(numbers, return_inverse=True)
        self.said = [self.said[n] for n in kept.tolist()]
        self._numbers = {name: n for n, name in enumerate(self.said)}
        return new.astype(np.uint32)


@attrs.define(eq=False)
class Overflow:
    """
    Entries that left memory for others and stay on disk, the oldest first.

    It knows of each where its row lies, by a digest of scope and question, and no more:
    whether the row is of that question is for who reads it to see. An entry that rose
    to memory again is known still, since its row need not be written once more when it
    sinks. It has no lock; the shelf's is held.

    Attributes:
        capacity_bytes: What the rows may take, before they are packed.
        entries: How many have sunk.
        bytes: What their rows take, before they are packed.
    """

    capacity_bytes: int
    entries: int = attrs.field(init=False, default=0)
    bytes: int = attrs.field(init=False, default=0)
    _rows: NDArray[Any] = attrs.field(init=False)
    _n: int = attrs.field(init=False, default=0)
    _oldest: int = attrs.field(init=False, default=0)
    # Slots by digest: sorted as of the last time all was tidied, and what came since.
    _digests: NDArray[np.uint64] = attrs.field(init=False)
    _slots: NDArray[np.uint32] = attrs.field(init=False)
    _recent: dict[int, int] = attrs.field(init=False, factory=dict)
    _scopes: Names[str] = attrs.field(init=False, factory=Names)
    _tags: Names[frozenset[str]] = attrs.field(init=False, factory=Names)

    def __attrs_post_init__(self) -> None:
        self._settle(np.empty(0, ROW))

    def again(self, scope: str, key: str, entry_id: int, *, expires_s: float) -> bool:
        """Let an entry that rose sink again, if its row lies in the file still."""
        slot = self._slot(digest_of(scope, key))
        if slot is None or self._rows["id"][slot] != entry_id:
            return False
        row = self._rows[slot].copy()
        row["expires_s"], row["state"] = expires_s, _SUNK
        self._drop(slot)
        self._append(row)
        return True

    def sink(
        self,
        scope: str,
        key: str,
        entry_id: int,
        *,
        tags: frozenset[str],
        expires_s: float,
        size: int,
    ) -> None:
        """
        Let an entry be the last to go, whose row is to be written.

        Until that is `placed`, nobody finds it.
        """
        row = np.zeros((), ROW)
        for name, value in (
            ("digest", digest_of(scope, key)),
            ("id", entry_id),
            ("offset", _NOWHERE),
            ("size", size),
            ("scope", self._scopes.number(scope)),
            ("tags", self._tags.number(tags)),
            ("expires_s", expires_s),
            ("state", _SUNK),
        ):
            row[name] = value
        self._append(row)

    def placed(
        self, scope: str, key: str, entry_id: int, offset: int, length: int
    ) -> None:
        """Let the row of an entry that sank lie at *offset*, if it is wanted still."""
        slot = self._slot(digest_of(scope, key))
        if slot is not None and self._rows["id"][slot] == entry_id:
            self._rows["offset"][slot], self._rows["length"][slot] = offset, length

    def spot(self, scope: str, key: str) -> Spot | None:
        """Return where the row lies of an entry that sank, or None."""
        slot = self._slot(digest_of(scope, key)) if self.entries else None
        if slot is None or self._rows["state"][slot] != _SUNK:
            return None
        row = self._rows[slot]
        if row["offset"] == _NOWHERE:
            return None
        return spot_of(row)

    def rise(self, scope: str, key: str) -> None:
        """Let the entry be in memory, which sank."""
        slot = self._slot(digest_of(scope, key))
        assert slot is not None
        self._count(slot, -1)
        self._rows["state"][slot] = _RISEN

    def discard(self, scope: str, key: str) -> int | None:
        """Know nothing of that question any more, and return whose row it was."""
        slot = self._slot(digest_of(scope, key)) if self._n else None
        if slot is None:
            return None
        self._drop(slot)
        return int(self._rows["id"][slot])

    def drop(
        self,
        *,
        scope: str | None = None,
        tag: str | None = None,
        by_s: float | None = None,
    ) -> list[int]:
        """
        Take out entries that sank, and return their ids.

        Args:
            scope: Of which scope, or of all.
            tag: Which tag they have, or whatever they have.
            by_s: When they must have expired, or never mind.
        """
        rows = self._rows[: self._n]
        chosen = rows["state"] == _SUNK
        if scope is not None:
            chosen &= rows["scope"] == self._scopes.known(scope)
        if tag is not None:
            having = [n for n, tags in enumerate(self._tags.said) if tag in tags]
            chosen &= np.isin(rows["tags"], having)
        if by_s is not None:
            chosen &= rows["expires_s"] <= by_s
        self.entries -= int(chosen.sum())
        self.bytes -= int(rows["size"][chosen].sum())
        rows["state"][chosen] = _GONE
        found: list[int] = rows["id"][chosen].tolist()
        return found

    def too_many(self) -> Iterator[int]:
        """Take out the oldest until the rest may stay, and yield their ids."""
        states = self._rows["state"]
        while self.bytes > self.capacity_bytes:
            while states[self._oldest] != _SUNK:
                self._oldest += 1
            self._drop(self._oldest)
            yield int(self._rows["id"][self._oldest])

    def count(self, scope: str | None) -> int:
        """Return how many have sunk, of one scope or of all."""
        if scope is None:
            return self.entries
        rows = self._rows[: self._n]
        sunk = rows["scope"][rows["state"] == _SUNK]
        return int((sunk == self._scopes.known(scope)).sum())

    def rows(self) -> tuple[NDArray[Any], list[str], list[frozenset[str]]]:
        """Return a copy of the rows that have sunk, and names of scopes and tags."""
        self._tidy()
        rows = self._rows[: self._n]
        sunk = (rows["state"] == _SUNK) & (rows["offset"] != _NOWHERE)
        return rows[sunk].copy(), list(self._scopes.said), list(self._tags.said)

    def load(
        self, rows: NDArray[Any], scopes: list[str], tags: list[frozenset[str]]
    ) -> None:
        """Know these *rows*, where none are known yet."""
        rows["state"] = _SUNK
        self._scopes, self._tags = Names(scopes), Names(tags)
        self.entries, self.bytes = len(rows), int(rows["size"].sum())
        self._settle(rows)

    def moved(self, mark: int, by: int, copied: NDArray[Any]) -> None:
        """
        Let the rows lie in another file.

        Args:
            mark: From where on in the old one they lie together still.
            by: How much further these lie in the new one.
            copied: Of those before, the rows as they are now; of what is not among them
                nothing is known any more.
        """
        copied = copied[np.argsort(copied["id"])]
        rows = self._rows[: self._n]
        early = (rows["offset"] != _NOWHERE) & (rows["offset"] < mark)
        rows["offset"][rows["offset"] >= mark] += by
        there = early & np.isin(rows["id"], copied["id"])
        at = np.searchsorted(copied["id"], rows["id"][there])
        for name in ("offset", "length"):
            rows[name][there] = copied[name][at]
        for slot in np.flatnonzero(early & ~there).tolist():
            self._drop(slot)

    def _slot(self, digest: int) -> int | None:
        slot = self._recent.get(digest)
        if slot is None and len(self._digests):
            at = int(self._digests.searchsorted(np.uint64(digest)))
            if at < len(self._digests) and int(self._digests[at]) == digest:
                slot = int(self._slots[at])
        if slot is None or self._rows["state"][slot] == _GONE:
            return None
        return slot

    def _append(self, row: NDArray[Any]) -> None:
        if self._n == len(self._rows):
            self._tidy()
        self._rows[self._n] = row
        self._recent[int(row["digest"])] = self._n
        self._n += 1
        self._count(self._n - 1, 1)

    def _drop(self, slot: int) -> None:
        if self._rows["state"][slot] == _SUNK:
            self._count(slot, -1)
        self._rows["state"][slot] = _GONE

    def _count(self, slot: int, sign: int) -> None:
        self.entries += sign
        self.bytes += sign * int(self._rows["size"][slot])

    def _tidy(self) -> None:
        rows = self._rows[: self._n]
        rows = rows[rows["state"] != _GONE]
        rows["scope"] = self._scopes.only(rows["scope"])
        rows["tags"] = self._tags.only(rows["tags"])
        self._settle(rows)

    def _settle(self, rows: NDArray[Any]) -> None:
        """Hold *rows* with room for some more, and find them by digest."""
        self._n, self._oldest, self._recent = len(rows), 0, {}
        self._rows = np.zeros(len(rows) + max(_LEAST, len(rows) // _SPARE), ROW)
        self._rows[: len(rows)] = rows
        order = np.argsort(rows["digest"], kind="stable")
        self._digests, self._slots = rows["digest"][order], order.astype(np.uint32)


def spot_of(row: Any) -> Spot:
    """Return what a row of `ROW` says."""
    return Spot(
        int(row["id"]), int(row["offset"]), int(row["length"]), float(row["expires_s"])
    )


def digest_of(scope: str, key: str) -> int:
    """Return what a question of a scope is found by: 64 bits, which two may share."""
    text = f"{len(scope)}:{scope}{key}".encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "little")
