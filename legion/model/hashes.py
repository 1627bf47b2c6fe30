"""Sets of 64-bit hashes, written short: there may be many."""

from __future__ import annotations

import array
import base64
import sys

from collections.abc import Iterable


def packed(hashes: Iterable[int]) -> str:
    """Write *hashes* as base64 of sorted big-endian words."""
    return base64.b64encode(_swapped(array.array("Q", sorted(hashes)))).decode()


def unpacked(text: str) -> frozenset[int]:
    """Read what `packed` wrote."""
    return frozenset(_swapped(array.array("Q", base64.b64decode(text))))


def _swapped(words: array.array[int]) -> array.array[int]:
    if sys.byteorder == "little":
        words.byteswap()
    return words
