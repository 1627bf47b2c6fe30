"""MurmurHash3, 32 bits."""

from __future__ import annotations

import struct


_C1, _C2 = 0xCC9E2D51, 0x1B873593
_MASK = 0xFFFFFFFF


def murmur3(data: bytes, seed: int = 0) -> int:
    """
    Return the hash of *data*, 0 to 2**32 - 1.

    MurmurHash3_x86_32 (Appleby, 2011; in the public domain).
    """
    state, size = seed, len(data)
    whole = size & ~3
    # Written out, since this is all that an assignment costs.
    for block in struct.unpack_from(f"<{whole // 4}I", data):
        mixed = block * _C1 & _MASK
        state ^= (mixed << 15 | mixed >> 17) * _C2 & _MASK
        state = ((state << 13 | state >> 19) * 5 + 0xE6546B64) & _MASK
    if size > whole:
        mixed = int.from_bytes(data[whole:], "little") * _C1 & _MASK
        state ^= (mixed << 15 | mixed >> 17) * _C2 & _MASK
    state ^= size
    state = (state ^ state >> 16) * 0x85EBCA6B & _MASK
    state = (state ^ state >> 13) * 0xC2B2AE35 & _MASK
    return state ^ state >> 16
