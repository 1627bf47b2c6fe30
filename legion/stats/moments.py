"""How many values, their mean and their variance: mergeable."""

from __future__ import annotations

import math

from collections.abc import Iterable, Mapping
from typing import cast

import attrs

from ..canonical import JSON


@attrs.frozen(kw_only=True)
class Moments:
    """
    The first two moments of some values.

    Kept as the mean and the sum of squares about it, which do not cancel for large
    values (Chan, Golub and LeVeque, The American Statistician 1983, equation 1.5).

    Attributes:
        n: How many.
        mean: Their mean, in their unit.
        squares: Sum of squared differences from the mean, in the unit squared.
    """

    n: int = 0
    mean: float = 0.0
    squares: float = 0.0

    @classmethod
    def of(cls, values: Iterable[float]) -> Moments:
        """
        Take the moments of *values*.

        Raises:
            ValueError: A value is not finite.
        """
        moments = cls()
        for value in values:
            moments = moments.update(value)
        return moments

    @classmethod
    def of_sums(cls, n: int, *, total: float, squares: float) -> Moments:
        """
        Take the moments from sums.

        Args:
            n: How many values, at least 1.
            total: Their sum.
            squares: The sum of their squares.

        Raises:
            ValueError: *n* is below 1, or no values have such sums.
        """
        if n < 1 or not (math.isfinite(total) and math.isfinite(squares)):
            msg = f"moments: got {n} values with sums {total} and {squares}"
            raise ValueError(msg)
        about = squares - total * total / n
        if about < -1e-9 * squares:
            msg = f"moments: no {n} values have sums {total} and {squares}"
            raise ValueError(msg)
        return cls(n=n, mean=total / n, squares=max(about, 0.0))

    def update(self, value: float) -> Moments:
        """
        Return the moments with one more value.

        Raises:
            ValueError: *value* is not finite.
        """
        if not math.isfinite(value):
            msg = f"moments: got {value}; leave out what was not measured"
            raise ValueError(msg)
        return self.merge(Moments(n=1, mean=value))

    def merge(self, other: Moments) -> Moments:
        """Return the moments of both."""
        n = self.n + other.n
        if not n:
            return self
        gap = other.mean - self.mean
        return Moments(
            n=n,
            mean=self.mean + gap * other.n / n,
            squares=self.squares + other.squares + gap * gap * self.n * other.n / n,
        )

    @property
    def variance(self) -> float:
        """The unbiased variance, in the unit squared; 0 below two values."""
        return self.squares / (self.n - 1) if self.n > 1 else 0.0

    def to_json(self) -> dict[str, JSON]:
        """Return what `from_json` reads back to equal moments."""
        return {"n": self.n, "mean": self.mean, "squares": self.squares}

    @classmethod
    def from_json(cls, value: Mapping[str, JSON]) -> Moments:
        """Read what `to_json` wrote."""
        return cls(
            n=int(cast("int", value["n"])),
            mean=float(cast("float", value["mean"])),
            squares=float(cast("float", value["squares"])),
        )
