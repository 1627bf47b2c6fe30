"""A histogram with logarithmic buckets: mergeable, and honest to one per cent."""

from __future__ import annotations

import math
import sys

from collections.abc import Iterable, Mapping, Sequence
from typing import cast

import attrs

from ..canonical import JSON


RELATIVE_ERROR = 0.01
_LOG_GAMMA = math.log((1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR))
_LOG_LARGEST = math.log(sys.float_info.max)


@attrs.frozen(kw_only=True)
class LogHistogram:
    """
    Counts of values in buckets whose bounds grow by a constant factor.

    Any quantile is within 1 % of a value that was recorded, whatever the distribution,
    and two histograms merge by adding counts (Masson, Rim and Lee, DDSketch, VLDB 2019,
    sections 2.1 to 2.3). Of numbers closer to 0 than 2.3e-308, which floats themselves
    hold less and less exactly, that is not said.

    Attributes:
        positive: Counts by bucket, for values above 0.
        negative: Counts by bucket of the absolute value, for values below 0.
        zeros: How many values were exactly 0.
        total: Sum of all values, as floats add up.

    Raises:
        ValueError: The sum is more than a float holds.
    """

    positive: Mapping[int, int] = attrs.field(factory=dict)
    negative: Mapping[int, int] = attrs.field(factory=dict)
    zeros: int = 0
    total: float = attrs.field(default=0.0)
    count: int = attrs.field(init=False)

    @total.validator
    def _finite(self, _: object, total: float) -> None:
        if not math.isfinite(total):
            msg = f"histogram: the values add up to {total}; record a larger unit"
            raise ValueError(msg)

    @count.default
    def _count(self) -> int:
        return self.zeros + sum(self.positive.values()) + sum(self.negative.values())

    @classmethod
    def of(cls, values: Iterable[float]) -> LogHistogram:
        """
        Count *values*.

        Raises:
            ValueError: A value is not finite.
        """
        positive: dict[int, int] = {}
        negative: dict[int, int] = {}
        zeros, total = 0, 0.0
        for value in values:
            total += value
            if value == 0:
                zeros += 1
                continue
            side = positive if value > 0 else negative
            bucket = bucket_of(abs(value))
            side[bucket] = side.get(bucket, 0) + 1
        return cls(positive=positive, negative=negative, zeros=zeros, total=total)

    def merge(self, other: LogHistogram) -> LogHistogram:
        """
        Return the histogram of both sets of values.

        Counts and quantiles are exactly those of all the values, in whatever order
        parts are merged. `total` is rounded at each sum, so the mean of the same values
        merged in another order may differ in its last digits.
        """
        return LogHistogram(
            positive=_added(self.positive, other.positive),
            negative=_added(self.negative, other.negative),
            zeros=self.zeros + other.zeros,
            total=self.total + other.total,
        )

    def quantile(self, q: float) -> float | None:
        """
        Return a value within 1 % of the *q*-quantile, or None without values.

        Args:
            q: Between 0 and 1; the value of rank ``floor(q * (count - 1))``.

        Raises:
            ValueError: *q* is outside 0..1.
        """
        if not 0 <= q <= 1:
            msg = f"quantile: got {q}; write a share between 0 and 1"
            raise ValueError(msg)
        if not self.count:
            return None
        rank = math.floor(q * (self.count - 1))
        for value, count in self.buckets():
            if rank < count:
                return value
            rank -= count
        return None  # pragma: no cover - the ranks add up to the count

    def buckets(self) -> Iterable[tuple[float, int]]:
        """Yield (value, count) from the smallest bucket to the largest."""
        for bucket in sorted(self.negative, reverse=True):
            yield -value_of(bucket), self.negative[bucket]
        if self.zeros:
            yield 0.0, self.zeros
        for bucket in sorted(self.positive):
            yield value_of(bucket), self.positive[bucket]

    def above(self, limit: float) -> int:
        """Count the values above *limit*, to within the width of its bucket."""
        return sum(count for value, count in self.buckets() if value > limit)

    @property
    def mean(self) -> float | None:
        """The mean, from the sum and not the buckets, or None without values."""
        return self.total / self.count if self.count else None

    def to_json(self) -> dict[str, JSON]:
        """Return what `from_json` reads back to an equal histogram."""
        return {
            "positive": _flat(self.positive),
            "negative": _flat(self.negative),
            "zeros": self.zeros,
            "total": self.total,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, JSON]) -> LogHistogram:
        """Read what `to_json` wrote."""
        return cls(
            positive=_pairs(value["positive"]),
            negative=_pairs(value["negative"]),
            zeros=int(cast("int", value["zeros"])),
            total=float(cast("float", value["total"])),
        )


def bucket_of(value: float) -> int:
    """
    Return the bucket of a value above 0.

    Raises:
        ValueError: *value* is not finite.
    """
    if not math.isfinite(value):
        msg = f"histogram: got {value}; leave out what was not measured"
        raise ValueError(msg)
    return math.ceil(math.log(value) / _LOG_GAMMA)


def value_of(bucket: int) -> float:
    """Return the value that is within 1 % of everything in *bucket*."""
    # The last bucket ends beyond the floats; what there is of it ends with them.
    end = math.exp(min(bucket * _LOG_GAMMA, _LOG_LARGEST))
    return end / ((math.exp(_LOG_GAMMA) + 1) / 2)


def _added(left: Mapping[int, int], right: Mapping[int, int]) -> dict[int, int]:
    added = dict(left)
    for bucket, count in right.items():
        added[bucket] = added.get(bucket, 0) + count
    return added


def _flat(counts: Mapping[int, int]) -> list[JSON]:
    """Write buckets and counts in turn: half the bytes of pairs, and much faster."""
    return [number for bucket in sorted(counts) for number in (bucket, counts[bucket])]


def _pairs(value: JSON) -> dict[int, int]:
    numbers = cast("Sequence[int]", value)
    return dict(zip(map(int, numbers[::2]), map(int, numbers[1::2]), strict=True))
