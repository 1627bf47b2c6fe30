"""A sample with ties: what a rank test reads."""

from __future__ import annotations

import math

from collections import Counter
from collections.abc import Iterable

import attrs


@attrs.frozen
class Sample:
    """
    Values and how often each was seen.

    A histogram's buckets are such a sample: every value in a bucket is taken for the
    one that stands for it, which is within 1 % of each, and they are tied. Ranks across
    buckets stay exact, and so do the counts.

    Attributes:
        values: The distinct values, ascending.
        counts: How often each was seen, above 0.
    """

    values: tuple[float, ...]
    counts: tuple[int, ...]
    size: int = attrs.field(init=False)

    @size.default
    def _size(self) -> int:
        return sum(self.counts)

    @classmethod
    def of(cls, values: Iterable[float]) -> Sample:
        """Make a sample of single values, none of them NaN."""
        return cls.tied(Counter(values).items())

    @classmethod
    def tied(cls, pairs: Iterable[tuple[float, int]]) -> Sample:
        """Make a sample of (value, count), such as a histogram's buckets."""
        ordered = sorted((value, count) for value, count in pairs if count)
        return cls(tuple(v for v, _ in ordered), tuple(n for _, n in ordered))

    @property
    def constant(self) -> bool:
        """Whether all values are the same."""
        return len(self.values) == 1

    @property
    def mean(self) -> float:
        """The mean, or NaN without values."""
        if not self.size:
            return math.nan
        total = math.fsum(v * n for v, n in zip(self.values, self.counts, strict=True))
        return total / self.size
