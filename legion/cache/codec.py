"""Bytes made smaller: zstd where it is installed, zlib otherwise."""

from __future__ import annotations

import zlib

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import attrs

from ..exceptions import MissingExtraError


if TYPE_CHECKING:
    import zstandard


LEVEL = 9
_DICTIONARY_BYTES = 16_384
_SAMPLES = 20_000
_FEW = 64
"""Of fewer samples no dictionary is trained."""


class Codec(Protocol):
    """One way to make bytes smaller, with a dictionary of what small ones share."""

    name: str
    dictionary: bytes

    def pack(self, data: bytes) -> bytes:
        """Make *data* smaller."""
        ...

    def unpack(self, data: bytes, size: int) -> bytes:
        """Return what was packed; *size* is how many bytes that was."""
        ...


@attrs.define(eq=False)
class Zstd:
    """
    Zstandard. Frames have neither magic number nor size, which others know.

    Attributes:
        dictionary: What `trained` made, or nothing.
    """

    dictionary: bytes = b""
    name: str = attrs.field(init=False, default="zstd")
    _packer: zstandard.ZstdCompressor = attrs.field(init=False)
    _unpacker: zstandard.ZstdDecompressor = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        import zstandard

        shared = zstandard.ZstdCompressionDict(self.dictionary)
        parameters = zstandard.ZstdCompressionParameters.from_level(
            LEVEL,
            format=zstandard.FORMAT_ZSTD1_MAGICLESS,
            write_content_size=0,
            write_dict_id=0,
        )
        self._packer = zstandard.ZstdCompressor(
            dict_data=shared if self.dictionary else None,
            compression_params=parameters,
        )
        self._unpacker = zstandard.ZstdDecompressor(
            dict_data=shared if self.dictionary else None,
            format=zstandard.FORMAT_ZSTD1_MAGICLESS,
        )

    def pack(self, data: bytes) -> bytes:
        """Make *data* smaller."""
        return bytes(self._packer.compress(data))

    def unpack(self, data: bytes, size: int) -> bytes:
        """Return what was packed."""
        return bytes(self._unpacker.decompress(data, max_output_size=max(size, 1)))

    @staticmethod
    def trained(samples: Sequence[bytes]) -> bytes:
        """Return a dictionary of what *samples* share, or nothing where they are few."""
        import zstandard

        total = sum(map(len, samples))
        if len(samples) < _FEW or total < _DICTIONARY_BYTES:
            return b""
        size = min(_DICTIONARY_BYTES, total // 8)
        try:
            dictionary: bytes = zstandard.train_dictionary(
                size, list(samples)
            ).as_bytes()
        except zstandard.ZstdError:  # it finds nothing that they share
            return b""
        return dictionary


@attrs.define(eq=False)
class Zlib:
    """
    Zlib, without header or checksum.

    Attributes:
        dictionary: Samples one after the other, or nothing.
    """

    dictionary: bytes = b""
    name: str = attrs.field(init=False, default="zlib")

    def pack(self, data: bytes) -> bytes:
        """Make *data* smaller."""
        packer = zlib.compressobj(LEVEL, zlib.DEFLATED, -15, zdict=self.dictionary)
        return packer.compress(data) + packer.flush()

    def unpack(self, data: bytes, size: int) -> bytes:
        """Return what was packed."""
        return zlib.decompressobj(-15, zdict=self.dictionary).decompress(data)

    @staticmethod
    def trained(samples: Sequence[bytes]) -> bytes:
        """Return as many samples as a dictionary may have bytes."""
        return b"".join(samples)[-_DICTIONARY_BYTES:] if len(samples) >= _FEW else b""


def best() -> type[Zstd | Zlib]:
    """Return the better one of those installed."""
    try:
        import zstandard  # noqa: F401
    except ModuleNotFoundError:
        return Zlib
    return Zstd


def named(name: str, dictionary: bytes) -> Codec:
    """
    Return the codec that a file names.

    Raises:
        MissingExtraError: Its package is not installed.
    """
    if name == "zlib":
        return Zlib(dictionary)
    extra = "zstd"
    if best() is not Zstd:
        raise MissingExtraError(extra, "zstandard")
    return Zstd(dictionary)


def spread(values: Sequence[bytes]) -> Sequence[bytes]:
    """Return samples from all over *values*."""
    return values[:: len(values) // _SAMPLES + 1]
