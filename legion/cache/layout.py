"""
Where what lies in a cache's file, and how damage is found.

    head       magic, format version, length and CRC-32 of the JSON that follows
    sections   each from a multiple of 64 bytes on, a CRC-32 for every block of it
    log        records: length, CRC-32 of the payload, CRC-32 of these two; payload

The head names the sections. A checksum of a record starts from that of the head, so that
no record of an older file is taken for one of this one. A record that a kill cut short is
told from a damaged one: a kill leaves the first bytes of what was written, so a whole
record with a wrong checksum is damage, and so is a wrong length.
"""

from __future__ import annotations

import json
import struct
import zlib

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

import attrs

from ..canonical import JSON


if TYPE_CHECKING:
    from typing_extensions import Buffer


MAGIC = b"legion cache"
VERSION = 3
"""
Version 1 has neither what was learned nor groups of equal answers; neither it nor 2 has
checksums of single answers, or says when they were used.
"""
BLOCK = 1 << 20
"""Bytes of a section that share a checksum."""
_ALIGNED = 64
_PREFIX = struct.Struct("<12sIII")
_RECORD = struct.Struct("<III")
_LENGTHS = struct.Struct("<II")
_READ = 1 << 22


class DamageError(Exception):
    """
    Bytes are not what was written.

    Attributes:
        offset: Where, at the earliest, counted from the beginning of the file.
        what: What lies there.
    """

    def __init__(self, offset: int, what: str) -> None:
        self.offset, self.what = offset, what
        super().__init__(offset, what)


class LaterError(Exception):
    """The file is of a format version that is not known yet."""


@attrs.frozen(kw_only=True)
class Section:
    """
    A stretch of the file.

    Attributes:
        offset: Where it begins.
        size: Bytes of it.
        sums: CRC-32 of each block of it.
    """

    offset: int
    size: int
    sums: tuple[int, ...]


@attrs.frozen(kw_only=True)
class Head:
    """
    The head of a file.

    Attributes:
        facts: What is said of the whole.
        sections: By their name.
        log: Where the log begins.
        seed: What checksums of its records start from.
        version: Of the format.
    """

    facts: Mapping[str, JSON]
    sections: Mapping[str, Section]
    log: int
    seed: int
    version: int


def snapshot(
    facts: Mapping[str, JSON], sections: Mapping[str, Buffer]
) -> Iterator[Buffer]:
    """Yield the head and *sections*, as they are to be written."""
    views = {name: _view(data) for name, data in sections.items()}
    # Offsets count from where the head ends, so that it may be of any length.
    offset, listed = 0, {}
    for name, view in views.items():
        listed[name] = [offset, len(view), _sums(view)]
        offset += _padded(len(view))
    text = json.dumps({"facts": dict(facts), "sections": listed, "log": offset})
    raw = text.encode()
    raw += b" " * (_padded(_PREFIX.size + len(raw)) - _PREFIX.size - len(raw))
    yield _PREFIX.pack(MAGIC, VERSION, len(raw), _head_sum(raw)) + raw
    for view in views.values():
        yield view
        yield bytes(_padded(len(view)) - len(view))


def read_head(read: Callable[[int, int], bytes]) -> Head:
    """
    Return the head of a file.

    Args:
        read: From an offset and a size to as many bytes, or to what there is.

    Raises:
        DamageError: It is none, or is damaged.
        LaterError: It is of a format version to come.
    """
    prefix = read(0, _PREFIX.size)
    if len(prefix) < _PREFIX.size or not prefix.startswith(MAGIC):
        raise DamageError(0, "no head of a cache file")
    _, version, size, checksum = _PREFIX.unpack(prefix)
    raw = read(_PREFIX.size, size)
    # What follows the version is checked with it, so it is no flipped bit.
    if len(raw) != size or _head_sum(raw, version) != checksum:
        raise DamageError(0, "the head")
    if version > VERSION:
        raise LaterError(version)
    told = json.loads(raw)
    start = _PREFIX.size + size
    return Head(
        facts=told["facts"],
        sections={
            name: Section(offset=start + offset, size=length, sums=tuple(sums))
            for name, (offset, length, sums) in told["sections"].items()
        },
        log=start + told["log"],
        seed=checksum,
        version=version,
    )


def check_section(name: str, section: Section, data: Buffer) -> None:
    """
    Compare a section with its checksums.

    Raises:
        DamageError: A block differs, or is missing.
    """
    view = _view(data)
    found = _sums(view)
    for i, checksum in enumerate(section.sums):
        if i >= len(found) or found[i] != checksum:
            raise DamageError(section.offset + i * BLOCK, f"the section {name!r}")


def record(payload: bytes | memoryview, seed: int) -> bytes:
    """Return *payload* as a record of the log."""
    lengths = _LENGTHS.pack(len(payload), zlib.crc32(payload, seed))
    return lengths + zlib.crc32(lengths, seed).to_bytes(4, "little") + payload


def checked(data: bytes, offset: int, seed: int) -> bytes:
    """
    Return the payload of the one record that *data* is.

    Raises:
        DamageError: It is none; it would lie at *offset*.
    """
    payload = data[_RECORD.size :]
    if record(payload, seed) != data:
        raise DamageError(offset, "a record")
    return payload


RECORD_SIZE = _RECORD.size
"""Bytes of a record before its payload."""


def records(
    read: Callable[[int, int], bytes], head: Head, start: int | None = None
) -> Iterator[tuple[int, memoryview]]:
    """
    Yield the payloads of the log and where each begins, up to a torn end.

    Args:
        read: From an offset and a size to as many bytes, or to what there is.
        head: The head of the file.
        start: Where a record begins; that of the log by default.

    Raises:
        DamageError: A record is damaged.
    """
    offset, data, at = start or head.log, b"", 0
    while True:
        if len(data) - at < _RECORD.size:
            data, at = data[at:] + read(offset + len(data) - at, _READ), 0
            if len(data) < _RECORD.size:
                return
        size, checksum, own = _RECORD.unpack_from(data, at)
        if zlib.crc32(data[at : at + _LENGTHS.size], head.seed) != own:
            if _only_zeros(read, offset):
                return
            raise DamageError(offset, "the length of a record")
        if len(data) - at < _RECORD.size + size:
            wanted = max(_RECORD.size + size - (len(data) - at), _READ)
            data, at = data[at:] + read(offset + len(data) - at, wanted), 0
            if len(data) < _RECORD.size + size:
                return
        payload = memoryview(data)[at + _RECORD.size : at + _RECORD.size + size]
        if zlib.crc32(payload, head.seed) != checksum:
            raise DamageError(offset, "a record")
        yield offset + _RECORD.size, payload
        offset += _RECORD.size + size
        at += _RECORD.size + size


def _only_zeros(read: Callable[[int, int], bytes], offset: int) -> bool:
    """Tell whether nothing follows: a lost power may leave a file longer than written."""
    while data := read(offset, _READ):
        if data.count(0) != len(data):
            return False
        offset += len(data)
    return True


def _view(data: Buffer) -> memoryview:
    view = memoryview(data)
    return view.cast("B") if view.nbytes else memoryview(b"")  # of none, no cast


def _head_sum(raw: bytes, version: int = VERSION) -> int:
    return zlib.crc32(raw, version + (len(raw) << 8) & 0xFFFFFFFF)


def _sums(view: memoryview) -> list[int]:
    return [zlib.crc32(view[at : at + BLOCK]) for at in range(0, len(view), BLOCK)]


def _padded(size: int) -> int:
    return -(-size // _ALIGNED) * _ALIGNED
