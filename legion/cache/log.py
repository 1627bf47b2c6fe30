"""The file of a cache, open: a snapshot, and the log of what happened since."""

from __future__ import annotations

import threading
import zlib

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from . import layout, records, snapshot, sunken
from .codec import Codec
from .file import CacheFile
from .fork import Order, over_fork
from .layout import DamageError, Head
from .overflow import ROW
from .snapshot import Place


if TYPE_CHECKING:
    import mmap

    from numpy.typing import NDArray

    from .overflow import Spot
    from .records import Put


_SHORT = 4 << 20
"""A log of so many bytes is never too long."""


@attrs.define(eq=False)
class CacheLog:
    """
    The file of a cache, open.

    Attributes:
        head: Its head.
        file: Its bytes.
        followed: Up to where a process that only reads has followed the log.
    """

    head: Head
    file: CacheFile
    _map: mmap.mmap | None
    followed: int = attrs.field(init=False)
    _codec: Codec | None = attrs.field(init=False, default=None)
    # What unpacks serves one thread at a time, and answers are read without the shelf's.
    _lock: threading.Lock = attrs.field(
        init=False, factory=partial(over_fork, Order.LEAF, threading.Lock)
    )

    @followed.default
    def _begin(self) -> int:
        return self.head.log

    @classmethod
    def open(cls, path: Path, *, readonly: bool) -> CacheLog:
        """
        Open the file at *path*; one that is only read is mapped.

        Raises:
            DamageError: Its head is damaged, or its snapshot has no end.
            LaterError: It is of a format version to come.
        """
        file = CacheFile.open(path, readonly=readonly)
        return cls.of(file, file.mapped() if readonly else None)

    @classmethod
    def of(cls, file: CacheFile, mapped: mmap.mmap | None = None) -> CacheLog:
        """
        Read the head of a *file* that is open, and *mapped* where it is only read.

        Raises:
            DamageError: Its head is damaged, or its snapshot has no end.
            LaterError: It is of a format version to come.
        """
        head = layout.read_head(file.read)
        if file.end < head.log:
            raise DamageError(file.end, "the snapshot, whose end is missing")
        return cls(head, file, mapped)

    def section(self, name: str) -> memoryview:
        """Return the bytes of a section; of a mapped file, without reading them."""
        section = self.head.sections[name]
        if self._map is not None:
            return memoryview(self._map)[section.offset :][: section.size]
        data = np.empty(section.size, np.uint8).data
        self.file.read_into(section.offset, data)
        return data

    def records(
        self, start: int | None = None, end: int | None = None
    ) -> Iterator[tuple[int, memoryview]]:
        """
        Yield the payloads of the log and where each begins, up to a torn end.

        Args:
            start: Where a record begins; that of the log by default.
            end: Where one ends, beyond which others write; of all by default.

        Raises:
            DamageError: A record is damaged.
        """

        def read(offset: int, size: int) -> bytes:
            left = size if end is None else max(min(size, end - offset), 0)
            return self.file.read(offset, left)

        return layout.records(read, self.head, start)

    def append(self, payloads: Sequence[bytes | memoryview]) -> list[int]:
        """
        Write *payloads* as records, all or none, and return where each begins.

        Raises:
            OSError: They cannot be written.
        """
        at, starts = self.file.end, []
        for payload in payloads:
            starts.append(at + layout.RECORD_SIZE)
            at += layout.RECORD_SIZE + len(payload)
        seed = self.head.seed
        self.file.append([b"".join(layout.record(one, seed) for one in payloads)])
        return starts

    def raw(self, place: Place) -> bytes:
        """
        Return the bytes of an answer, as its serializer made them.

        Raises:
            DamageError: What lies there is not what was written.
        """
        data = self.file.read(place.offset, place.packed)
        if place.check not in {None, zlib.crc32(data)}:
            raise DamageError(place.offset, "an answer")
        if place.packed == place.size:
            return data
        with self._lock:
            return self._small().unpack(data, place.size)

    def _small(self) -> Codec:
        if self._codec is None:
            self._codec = snapshot.small_codec(self.head, self.section)
        return self._codec

    def row(self, spot: Spot) -> Put:
        """
        Read an entry that is on disk alone.

        Raises:
            DamageError: What lies there is not what was written.
        """
        if spot.offset >= self.head.log:
            before = layout.RECORD_SIZE
            data = self.file.read(spot.offset - before, before + spot.length)
            payload = layout.checked(data, spot.offset, self.head.seed)
            said = records.read(memoryview(payload), spot.offset)
            assert isinstance(said, records.Put)
            return said
        data = self.file.read(spot.offset, spot.length)
        with self._lock:
            return sunken.read(data, spot.offset, self.head, self._small())

    def lying(self, copied: sunken.Sunken | None) -> NDArray[Any]:
        """Return where the entries lie that are on disk alone in this snapshot."""
        if copied is None:
            return np.empty(0, ROW)
        rows = copied.table.copy()
        rows["offset"] += self.head.sections["sunken"].offset
        return rows

    def too_long(self) -> bool:
        """Whether reading the log would take long beside reading the snapshot."""
        return self.file.end - self.head.log > max(_SHORT, self.head.log // 4)

    def close(self) -> None:
        """Close it; what was mapped stays while somebody uses it."""
        self.file.close()
