"""Quantiles at all times at once: an interval for one arm, a p-value for two."""

from __future__ import annotations

import bisect
import collections
import itertools
import math

from collections.abc import Iterable, Sequence

import attrs

from .confseq import beta_binomial_log_mixture
from .histogram import LogHistogram
from .special import minimum, root


@attrs.frozen(kw_only=True)
class QuantileMixture:
    """
    How unlikely it is that a share of the values lies below the true quantile.

    The terms 1{X <= x} - q at the true q-quantile x are bounded, and have mean 0 (ties
    are split so that they do), so their sum obeys the two-sided beta-binomial mixture
    (Howard and Ramdas, "Sequential estimation of quantiles with applications to A/B
    testing and best-arm identification", Bernoulli 28(3) 2022, theorem 1).

    Attributes:
        q: The quantile, inside 0..1.
        t_opt: The number of values at which to be tightest, fixed beforehand.
        alpha_opt: The level to tune for.
    """

    q: float
    t_opt: float
    alpha_opt: float = 0.05

    def __attrs_post_init__(self) -> None:
        if not 0 < self.q < 1:
            msg = f"quantile: got {self.q}; write a share above 0 and below 1"
            raise ValueError(msg)

    def log_e(self, share: float, n: int) -> float:
        """
        Return the log of the mixture.

        Args:
            share: The share of values at or below a point, in 0..1.
            n: Values seen, at least 1.
        """
        v = self.q * (1 - self.q)
        return beta_binomial_log_mixture(
            (share - self.q) * n,
            v * n,
            v_opt=v * self.t_opt,
            g=self.q,
            h=1 - self.q,
            alpha_opt=self.alpha_opt,
            one_sided=False,
        )

    def centre(self, n: int) -> float:
        """Return the share, near q, that is least unlikely."""
        return minimum(lambda share: self.log_e(share, n), 0.0, 1.0)

    def ranks(self, n: int, *, alpha: float) -> tuple[int | None, int | None]:
        """
        Return the ranks, from 1 to n, between whose values the quantile lies.

        At all n at once with probability 1 - alpha (theorem 1).

        Args:
            n: Values seen.
            alpha: One minus the confidence.

        Returns:
            None where the values cannot bound that side yet.

        Raises:
            ValueError: *alpha* is not inside 0..1, or *n* is below 1.
        """
        if not (0 < alpha < 1 and n >= 1):
            msg = (
                f"quantile: got n={n} at alpha={alpha}; write n from 1 on, and a level"
            )
            raise ValueError(msg)
        centre = self.centre(n)

        def excess(share: float) -> float:
            return self.log_e(share, n) + math.log(alpha)

        low = high = None
        if excess(centre) < 0 <= excess(0.0):
            low = math.floor(root(excess, 0.0, centre) * n) + 1
        if excess(centre) < 0 <= excess(1.0):
            high = math.ceil(root(excess, centre, 1.0) * n)
        return low, high


def quantile_interval(
    values: Sequence[float] | LogHistogram,
    *,
    q: float,
    alpha: float,
    t_opt: float,
    alpha_opt: float = 0.05,
) -> tuple[float | None, float | None]:
    """
    Return a confidence sequence for a quantile, at one time.

    Howard and Ramdas, Bernoulli 28(3) 2022, theorem 1. Of a histogram the outer values
    of the buckets are within 1 %.

    Args:
        values: Independent values of one arm, in any order, or their histogram.
        q: The quantile, inside 0..1.
        alpha: One minus the confidence.
        t_opt: The number of values at which to be tightest, fixed beforehand.
        alpha_opt: The level to tune for.

    Returns:
        Lower and upper bound in the unit of the values; None where there is none yet.

    Raises:
        ValueError: There are no values, or a share is not inside 0..1.
    """
    counts = _counts(values)
    n = sum(count for _, count in counts)
    low, high = QuantileMixture(q=q, t_opt=t_opt, alpha_opt=alpha_opt).ranks(
        n, alpha=alpha
    )
    return _value(counts, low), _value(counts, high)


def quantile_p_value(
    a: Sequence[float] | LogHistogram,
    b: Sequence[float] | LogHistogram,
    *,
    q: float,
    t_opt: float,
    alpha_opt: float = 0.05,
) -> float:
    """
    Return a p-value for "both arms have the same q-quantile", valid at any time.

    The least evidence that any common value would meet in both arms together (Howard
    and Ramdas, Bernoulli 28(3) 2022, theorem 5).

    Args:
        a: Independent values of one arm, in any order, or their histogram.
        b: Those of the other.
        q: The quantile, inside 0..1.
        t_opt: The number of values an arm at which to be tightest, fixed beforehand.
        alpha_opt: The level to tune for.

    Raises:
        ValueError: An arm has no values, or a share is not inside 0..1.
    """
    mixture = QuantileMixture(q=q, t_opt=t_opt, alpha_opt=alpha_opt)
    arms = [_Arm.of(_counts(values), mixture) for values in (a, b)]
    nearest = sorted(arm.nearest() for arm in arms)
    # Both are least at their nearest, so the least sum lies between these two.
    between = {
        point
        for arm in arms
        for point in arm.points
        if nearest[0] <= point <= nearest[1]
    }
    least = min(sum(arm.log_e(point) for arm in arms) for point in between)
    return math.exp(min(0.0, -least))


@attrs.frozen(kw_only=True)
class _Arm:
    """The values of one arm, and how unlikely each is as the true quantile."""

    mixture: QuantileMixture
    points: Sequence[float]
    below: Sequence[int]
    centre: float

    @classmethod
    def of(cls, counts: Sequence[tuple[float, int]], mixture: QuantileMixture) -> _Arm:
        below = list(itertools.accumulate((n for _, n in counts), initial=0))
        return cls(
            mixture=mixture,
            points=[value for value, _ in counts],
            below=below,
            centre=mixture.centre(below[-1]),
        )

    def nearest(self) -> float:
        """Return the value at which the arm is least surprised."""
        rank = math.ceil(self.centre * self.below[-1])
        return self.points[bisect.bisect_left(self.below, rank, lo=1) - 1]

    def log_e(self, point: float) -> float:
        """Return the evidence against *point*, with ties split in its favour."""
        n = self.below[-1]
        low = self.below[bisect.bisect_left(self.points, point)] / n
        high = self.below[bisect.bisect_right(self.points, point)] / n
        return self.mixture.log_e(min(max(self.centre, low), high), n)


def _counts(values: Sequence[float] | LogHistogram) -> list[tuple[float, int]]:
    """Return (value, count), rising."""
    if isinstance(values, LogHistogram):
        counts = list(values.buckets())
    else:
        counts = sorted(collections.Counter(values).items())
    if not counts:
        msg = "quantile: got no values; leave the interval out until there are some"
        raise ValueError(msg)
    return counts


def _value(counts: Iterable[tuple[float, int]], rank: int | None) -> float | None:
    """Return the value with that rank, counted from 1."""
    if rank is None:
        return None
    for value, count in counts:
        rank -= count
        if rank <= 0:
            return value
    return None
