"""Entries that are on disk alone, as a snapshot has them: each can be read by itself."""

from __future__ import annotations

import json
import struct
import zlib

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from . import records
from .layout import DamageError
from .overflow import ROW
from .snapshot import Place


if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .codec import Codec
    from .layout import Head
    from .records import Put
    from .snapshot import Row


# CRC-32 of all that follows; bytes of what is packed, before and after.
_FRAME = struct.Struct("<III")
_PLACE = struct.Struct("<QIII")
_UNCHECKED = struct.Struct("<QII")
_CHECKED_SINCE = 3
_LENGTH = struct.Struct("<I")


@attrs.define(eq=False)
class Sunken:
    """
    Entries that are on disk alone, on their way into a snapshot or out of it.

    Attributes:
        table: A row of each, who goes first first; in a file, where they end is a date
            in milliseconds.
        scopes: Names of scopes, by their numbers.
        tags: Tags, likewise.
        entries: What is kept of each, answer included.
        vectors: One of each.
    """

    table: NDArray[Any]
    scopes: list[str]
    tags: list[frozenset[str]]
    entries: list[Row] = attrs.field(factory=list)
    vectors: list[NDArray[np.float32]] = attrs.field(factory=list)

    @property
    def vector_bytes(self) -> int:
        """What their vectors take."""
        return sum(vector.nbytes for vector in self.vectors)

    def heads(self) -> list[bytes]:
        """Return what is kept of each but for its vector and its answer."""
        nothing = np.empty(0, np.float32)
        return [records.put(one._replace(value=b""), nothing) for one in self.entries]

    def pack(
        self,
        heads: Sequence[bytes],
        places: Sequence[Place],
        codec: Codec,
    ) -> bytes:
        """
        Return them one after the other, and note in the table where each lies.

        Args:
            heads: What `heads` returned.
            places: Where their answers lie among all answers.
            codec: Packs what is small.
        """
        parts = [
            _framed(head + _PLACE.pack(*place), vector, codec)
            for head, place, vector in zip(heads, places, self.vectors, strict=True)
        ]
        sizes = np.array([len(part) for part in parts], np.int64)
        self.table["offset"], self.table["length"] = np.cumsum(sizes) - sizes, sizes
        return b"".join(parts)

    def listed(self) -> bytes:
        """Return the table, the first bytes of all rows first."""
        names = json.dumps([self.scopes, [sorted(tags) for tags in self.tags]]).encode()
        rows = self.table.view(np.uint8).reshape(len(self.table), -1)
        return _LENGTH.pack(len(names)) + names + rows.T.tobytes()


def read_list(data: bytes, offset: int) -> Sunken:
    """Return what `Sunken.listed` wrote; *offset* is where the first one lies."""
    (length,) = _LENGTH.unpack_from(data)
    scopes, tags = json.loads(data[_LENGTH.size :][:length])
    turned = np.frombuffer(data, np.uint8, offset=_LENGTH.size + length)
    table = turned.reshape(ROW.itemsize, -1).T.copy("C").view(ROW).ravel()
    table["offset"] += offset
    return Sunken(table, scopes, [frozenset(each) for each in tags])


def _framed(head: bytes, vector: NDArray[np.float32], codec: Codec) -> bytes:
    packed = codec.pack(head)
    sizes = _FRAME.pack(0, len(head), len(packed))[4:]
    rest = sizes + packed + vector.astype("<f4").tobytes()
    return zlib.crc32(rest).to_bytes(4, "little") + rest


def read(data: bytes, offset: int, head: Head, codec: Codec) -> Put:
    """
    Return the entry whose bytes are *data*.

    Args:
        data: What was packed.
        offset: Where it lies.
        head: That of the file.
        codec: What it was packed with.

    Raises:
        DamageError: The bytes are not what was written.
    """
    if len(data) < _FRAME.size or zlib.crc32(data[4:]) != _FRAME.unpack_from(data)[0]:
        raise DamageError(offset, "an entry")
    _, size, packed = _FRAME.unpack_from(data)
    end = _FRAME.size + packed
    told = codec.unpack(data[_FRAME.size : end], size)
    form = _UNCHECKED if head.version < _CHECKED_SINCE else _PLACE
    said = records.read(memoryview(told)[: -form.size], 0)
    assert isinstance(said, records.Put)
    start, stored, size, *check = form.unpack_from(told, len(told) - form.size)
    vector = memoryview(data)[end:]
    values = head.sections["values"].offset
    place = Place(values + start, stored, size, check[0] if check else None)
    return said._replace(place=place, vector=vector, alone=(offset, len(data)))
