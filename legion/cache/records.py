"""What the log of a cache's file says, one change a record."""

from __future__ import annotations

import json
import struct

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from .groups import DIGEST
from .lifetime import NOTHING_SAID, Terms
from .snapshot import Place, Row


if TYPE_CHECKING:
    from numpy.typing import NDArray


_PUT, _GONE, _LEARNED, _GROUPED, _SUNK, _RISEN = b"P", b"G", b"L", b"A", b"S", b"R"
# Id, date stored, date of expiry, bytes counted, redundancy; lengths of what follows.
_FIELDS = struct.Struct("<qqqqf6I")
# Of a cache that compares values: whose alias it is, and `Group.digest`; a put follows.
_GROUP = struct.Struct(f"<q{DIGEST}s")
_NO_GROUP = bytes(DIGEST)


class Put(NamedTuple):
    """
    An answer was stored, or is on disk alone from now on.

    Attributes:
        row: What is kept of it.
        place: Where its bytes lie.
        vector: Of its question, 32-bit floats.
        alone: Where all of it lies, offset and length, if it is on disk alone.
    """

    row: Row
    place: Place
    vector: memoryview
    alone: tuple[int, int] | None = None

    def floats(self) -> NDArray[np.float32]:
        """Return the vector of its question."""
        return np.frombuffer(self.vector, "<f4")


class Gone(NamedTuple):
    """An entry was taken out."""

    id: int


class Learned(NamedTuple):
    """Something was learned, or spent; `learned.known` can read it."""

    raw: bytes


class Risen(NamedTuple):
    """An entry that had left memory is back."""

    id: int


Said: TypeAlias = Put | Gone | Learned | Risen


def put(row: Row, vector: NDArray[np.float32], *, sunk: bool = False) -> bytes:
    """Return the record of an answer, whose bytes come last."""
    terms = row.terms
    texts = [
        row.scope.encode("utf-8", "surrogatepass"),
        row.key.encode("utf-8", "surrogatepass"),
        row.question.encode("utf-8", "surrogatepass"),
        b"" if terms == NOTHING_SAID else _terms(terms),
        vector.astype("<f4").tobytes(),
        row.value,
    ]
    fields = _FIELDS.pack(
        row.id,
        row.stored_ms,
        row.expires_ms,
        row.size,
        row.redundancy,
        *map(len, texts),
    )
    group = [_SUNK if sunk else _PUT]
    # What is on disk alone is in no group until it is back.
    if not sunk and (row.origin or row.group):
        group = [_GROUPED, _GROUP.pack(row.origin, row.group)]
    return b"".join([*group, fields, *texts])


def gone(entry_id: int) -> bytes:
    """Return the record that an entry is gone."""
    return _GONE + struct.pack("<q", entry_id)


def risen(entry_id: int) -> bytes:
    """Return the record that an entry is back in memory."""
    return _RISEN + struct.pack("<q", entry_id)


def learned(raw: bytes) -> bytes:
    """Return the record of what was learned, or spent."""
    return _LEARNED + raw


def read(payload: memoryview, offset: int) -> Said:
    """Return what a record says whose payload lies at *offset* of the file."""
    kind = bytes(payload[:1])
    if kind in {_PUT, _SUNK}:
        return _read_put(payload, offset)
    if kind == _GROUPED:
        origin, group = _GROUP.unpack_from(payload, 1)
        put = _read_put(payload, offset, _GROUP.size)
        group = b"" if group == _NO_GROUP else group
        return put._replace(row=put.row._replace(origin=origin, group=group))
    if kind == _LEARNED:
        return Learned(bytes(payload[1:]))
    (entry_id,) = struct.unpack_from("<q", payload, 1)
    return Risen(entry_id) if kind == _RISEN else Gone(entry_id)


def _terms(terms: Terms) -> bytes:
    said = [terms.ttl_s, terms.sliding, sorted(terms.tags), terms.cost]
    return json.dumps(said).encode()


def _read_terms(said: bytes) -> Terms:
    ttl_s, sliding, tags, cost = json.loads(said)
    return Terms(ttl_s=ttl_s, sliding=sliding, tags=frozenset(tags), cost=cost)


def _read_put(payload: memoryview, offset: int, before: int = 0) -> Put:
    entry_id, stored_ms, expires_ms, size, redundancy, *lengths = _FIELDS.unpack_from(
        payload, 1 + before
    )
    at, parts = 1 + before + _FIELDS.size, []
    for length in lengths:
        parts.append(payload[at : at + length])
        at += length
    scope, key, question = (str(text, "utf-8", "surrogatepass") for text in parts[:3])
    terms = NOTHING_SAID if not lengths[3] else _read_terms(bytes(parts[3]))
    row = Row(
        entry_id,
        scope,
        key,
        question,
        b"",
        stored_ms,
        expires_ms,
        terms,
        size,
        redundancy,
        1,
        used_ms=stored_ms,
    )
    begin = len(payload) - lengths[5]
    place = Place.of(payload[begin:], offset + begin)
    alone = (offset, len(payload)) if payload[:1] == _SUNK else None
    return Put(row, place, parts[4], alone)
