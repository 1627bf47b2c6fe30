"""MurmurHash3, 32 bits."""

from __future__ import annotations


_C1, _C2 = 0xCC9E2D51, 0x1B873593
_MASK = 0xFFFFFFFF


def murmur3(data: bytes, seed: int = 0) -> int:
    """
    Return the hash of *data*, 0 to 2**32 - 1.

    MurmurHash3_x86_32 (Appleby, 2011; in the public domain).
    """
    state, size = seed, len(data)
    whole = size & ~3
    for at in range(0, whole, 4):
        state ^= _mixed(int.from_bytes(data[at : at + 4], "little"))
        state = (state << 13 | state >> 19) & _MASK
        state = (state * 5 + 0xE6546B64) & _MASK
    if size > whole:
        state ^= _mixed(int.from_bytes(data[whole:], "little"))
    state ^= size
    state = (state ^ state >> 16) * 0x85EBCA6B & _MASK
    state = (state ^ state >> 13) * 0xC2B2AE35 & _MASK
    return state ^ state >> 16


def _mixed(block: int) -> int:
    block = block * _C1 & _MASK
    block = (block << 15 | block >> 17) & _MASK
    return block * _C2 & _MASK
