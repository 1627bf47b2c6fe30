"""How far one sample is shifted against another: the Mann-Whitney test, inverted."""

from __future__ import annotations

import math

from collections.abc import Iterator

import attrs

from .root import root
from .sample import Sample


@attrs.frozen(kw_only=True)
class Shift:
    """
    By how much a value of one sample exceeds one of the other.

    Attributes:
        low: Lower end of the interval.
        high: Upper end.
        estimate: The Hodges-Lehmann estimate, where neither side exceeds the other.
    """

    low: float
    high: float
    estimate: float


def shift_of(x: Sample, y: Sample, confidence: float) -> Shift:
    """
    Return by how much *x* is shifted against *y*, with its interval.

    The interval holds the shifts that the two-sided rank test does not reject (Bauer,
    "Constructing confidence sets using rank statistics", JASA 67, 1972; R's
    `wilcox.test` with `exact = FALSE`). Its ends are found to within 1e-4 of the
    values' unit, so values should not be much smaller than that.

    Two constant samples have no rank variance: their shift is their difference, which
    is what any noise that falls to 0 gives in the limit.

    Args:
        x: The sample that may have moved.
        y: The one it is held against.
        confidence: Between 0 and 1.

    Raises:
        ValueError: A sample is empty, or *confidence* is not between 0 and 1.
    """
    if not x.size or not y.size or not 0 < confidence < 1:
        msg = f"shift: got {x.size} and {y.size} values at confidence {confidence}"
        raise ValueError(msg)
    if x.constant and y.constant:
        apart = x.values[0] - y.values[0]
        return Shift(low=apart, high=apart, estimate=apart)
    z = _normal_quantile((1 - confidence) / 2)
    return Shift(
        low=_end(x, y, -z), high=_end(x, y, z), estimate=_end(x, y, 0.0, clip=False)
    )


def statistic(x: Sample, y: Sample, shift: float, quantile: float = 0.0) -> float:
    """
    Return the standardised rank-sum statistic of ``x - shift`` and *y*, less *quantile*.

    With correction for continuity and for ties (Hollander, Wolfe and Chicken,
    "Nonparametric Statistical Methods", 3rd edition, equations 4.11 and 4.14).

    Raises:
        ValueError: All observations are tied.
    """
    below = twice = ties = 0
    for in_x, in_y in _tied(x, y, shift):
        twice += in_x * (2 * below + in_y)
        below += in_y
        ties += (in_x + in_y) ** 3 - (in_x + in_y)
    n, m = x.size, y.size
    excess = twice / 2 - n * m / 2
    spread = (n * m / 12) * (n + m + 1 - ties / ((n + m) * (n + m - 1)))
    if spread <= 0:
        msg = "shift: all observations are tied"
        raise ValueError(msg)
    correction = math.copysign(0.5, excess) if excess else 0.0
    return (excess - correction) / math.sqrt(spread) - quantile


def superiority(x: Sample, y: Sample) -> float:
    """
    Return how often a value of *x* exceeds one of *y*, ties counted half; 0..1.

    The common-language effect size (Vargha and Delaney, "A critique and improvement of
    the CL common language effect size statistics", JEBS 25(2), 2000).
    """
    below = twice = 0
    for in_x, in_y in _tied(x, y, 0.0):
        twice += in_x * (2 * below + in_y)
        below += in_y
    return twice / (2 * x.size * y.size)


def _tied(x: Sample, y: Sample, shift: float) -> Iterator[tuple[int, int]]:
    """Yield for each distinct value, ascending, how often ``x - shift`` and y have it."""
    ahead_x = ((value - shift, n) for value, n in zip(x.values, x.counts, strict=True))
    ahead_y = iter(zip(y.values, y.counts, strict=True))
    nothing = (math.inf, 0)
    at_x, at_y = next(ahead_x, nothing), next(ahead_y, nothing)
    while at_x[1] or at_y[1]:
        value = min(at_x[0], at_y[0])
        in_x = in_y = 0
        # Different values may meet once the shift is taken away.
        while at_x[1] and at_x[0] == value:
            in_x += at_x[1]
            at_x = next(ahead_x, nothing)
        while at_y[1] and at_y[0] == value:
            in_y += at_y[1]
            at_y = next(ahead_y, nothing)
        yield in_x, in_y


def _end(x: Sample, y: Sample, quantile: float, *, clip: bool = True) -> float:
    least, most = x.values[0] - y.values[-1], x.values[-1] - y.values[0]
    at_least = statistic(x, y, least, quantile)
    at_most = statistic(x, y, most, quantile)
    if clip and at_least <= 0:
        return least
    if clip and at_most >= 0:
        return most
    return root(
        lambda at: statistic(x, y, at, quantile), least, most, at_least, at_most
    )


def _normal_quantile(p: float) -> float:
    from statistics import NormalDist

    return NormalDist().inv_cdf(p)
