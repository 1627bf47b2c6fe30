"""Ranges of the line from 0 to 1, and who stands where on it, as in GrowthBook."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import TypeAlias

import attrs


Range: TypeAlias = tuple[float, float]
"""From the first number on, and below the second."""

BUCKETS = {1: 1_000, 2: 10_000}
"""How many buckets each version of the hash has."""

_NEAR_ONE = 0.01


def bucket_of(seed: str, value: str, version: int) -> int | None:
    """
    Return the bucket of *value*, or None for a version of the hash that is not known.

    FNV-1a with 32 bits (Fowler, Noll and Vo; RFC 9923), over the code points of the
    text, which are what other languages hash, too, up to U+FFFF. Version 1 hashes the
    value before the seed once; version 2 the seed before the value, and then the digits
    of that.
    """
    match version:
        case 1:
            return _fnv1a(value + seed) % BUCKETS[1]
        case 2:
            return _fnv1a(str(_fnv1a(seed + value))) % BUCKETS[2]
        case _:
            return None


def place_of(seed: str, value: str, version: int) -> float | None:
    """Return where *value* stands, 0 to below 1, or None for an unknown version."""
    bucket = bucket_of(seed, value, version)
    return None if bucket is None else bucket / BUCKETS[version]


def _fnv1a(text: str) -> int:
    state = 0x811C9DC5
    for point in map(ord, text):
        state = (state ^ point) * 0x01000193 & 0xFFFFFFFF
    return state


def equal_weights(variations: int) -> list[float]:
    """Return the weights of as many variations, all the same."""
    return [1 / variations for _ in range(variations)]


def ranges_of(
    variations: int, coverage: float = 1.0, weights: Sequence[float] | None = None
) -> list[Range]:
    """
    Return the range of each variation.

    Args:
        variations: How many there are.
        coverage: Share of each variation's range that is used; cut to 0..1.
        weights: One for each, adding up to about 1; equal ones where they do not.
    """
    coverage = min(max(coverage, 0.0), 1.0)
    if weights is None or len(weights) != variations:
        weights = equal_weights(variations)
    if abs(sum(weights) - 1) > _NEAR_ONE:
        weights = equal_weights(variations)
    starts = accumulate(weights, initial=0.0)
    return [
        (start, start + coverage * weight)
        for start, weight in zip(starts, weights, strict=False)
    ]


def chosen(place: float, ranges: Sequence[Range]) -> int | None:
    """Return which range *place* is in, the first of them, or None."""
    for index, (start, end) in enumerate(ranges):
        if start <= place < end:
            return index
    return None


@attrs.frozen
class Filter:
    """
    Who may take part at all, such as a namespace shared by several experiments.

    Attributes:
        seed: What the value is hashed with.
        ranges: Where one must stand.
        hash_version: 1 or 2.
        attribute: Which attribute is hashed.
    """

    seed: str
    ranges: Sequence[Range]
    hash_version: int = attrs.field(default=2, kw_only=True)
    attribute: str = attrs.field(default="id", kw_only=True)

    @classmethod
    def namespace(cls, name: str, start: float, end: float) -> Filter:
        """Return the filter of a namespace: from *start* on, and below *end*."""
        return cls(f"__{name}", [(start, end)], hash_version=1)

    def admits(self, value: str) -> bool:
        """Tell whether *value* may take part; nobody's never may."""
        if not value:
            return False
        place = place_of(self.seed, value, self.hash_version)
        return place is not None and chosen(place, self.ranges) is not None
