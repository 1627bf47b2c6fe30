"""
Asymptotic confidence sequences, for means without a bound: cost, tokens, judge scores.

They are estimates with honest error bars at every look once some hundreds of values are
in, not proofs: nothing is promised for few values or heavy tails, so neither a rollback
nor a promotion rests on them. With units that come back, take one mean per unit.
"""

from __future__ import annotations

import math

from .interval import Interval
from .moments import Moments


def halfwidth(variance: float, n: int, *, alpha: float, n_opt: float) -> float:
    """
    Return half the width of an asymptotic confidence sequence for a mean.

    Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, "Time-uniform central limit theory
    and asymptotic confidence sequences", Annals of Statistics 52(6) 2024 (arXiv
    2103.06476), theorem 2.2: with ``r2 = (-2 log a + log(1 - 2 log a)) / n_opt``,

        sigma sqrt(2 (n r2 + 1) / (n^2 r2) log(sqrt(n r2 + 1) / alpha)).

    Args:
        variance: Of one value, in its unit squared, at least 0.
        n: How many values, at least 1.
        alpha: One minus the confidence; for a one-sided bound take twice its level.
        n_opt: The number of values at which to be tightest, fixed beforehand.

    Raises:
        ValueError: An argument is out of its range.
    """
    if not (0 <= variance < math.inf and n >= 1 and 0 < alpha < 1 and n_opt > 0):
        msg = (
            f"confidence sequence: got variance={variance}, n={n}, alpha={alpha},"
            f" n_opt={n_opt}; write a variance from 0 on, n from 1 on, alpha in 0..1"
        )
        raise ValueError(msg)
    nats = -2 * math.log(alpha)
    r2 = (nats + math.log1p(nats)) / n_opt
    time = n * r2 + 1
    return math.sqrt(
        variance * 2 * time / (n * n * r2) * (0.5 * math.log(time) - math.log(alpha))
    )


def mean_interval(
    values: Moments, *, alpha: float = 0.05, n_opt: float = 5000
) -> Interval | None:
    """
    Return a confidence sequence for a mean, at one time, or None below two values.

    Args:
        values: Of independent units.
        alpha: One minus the confidence.
        n_opt: As for `halfwidth`.

    Raises:
        ValueError: As for `halfwidth`.
    """
    if values.n < 2:
        return None
    return _around(values.mean, values.variance, values.n, alpha=alpha, n_opt=n_opt)


def difference_interval(
    candidate: Moments, control: Moments, *, alpha: float = 0.05, n_opt: float = 5000
) -> Interval | None:
    """
    Return a confidence sequence for the candidate's mean less control's.

    The variance of one value is that of the difference times all values of both arms
    (as in GrowthBook's sequential test).

    Args:
        candidate: Of independent units.
        control: Of other independent units.
        alpha: One minus the confidence.
        n_opt: As for `halfwidth`, of both arms together.

    Returns:
        None below two values in an arm.

    Raises:
        ValueError: As for `halfwidth`.
    """
    if min(candidate.n, control.n) < 2:
        return None
    spread = candidate.variance / candidate.n + control.variance / control.n
    n = candidate.n + control.n
    estimate = candidate.mean - control.mean
    return _around(estimate, spread * n, n, alpha=alpha, n_opt=n_opt)


def change_interval(
    candidate: Moments, control: Moments, *, alpha: float = 0.05, n_opt: float = 5000
) -> Interval | None:
    """
    Return a confidence sequence for the relative change: .1 is 10 % more than control.

    As `difference_interval`, with the variance of a ratio by the delta method.

    Returns:
        None below two values in an arm, or where control's mean is not above 0.

    Raises:
        ValueError: As for `halfwidth`.
    """
    if min(candidate.n, control.n) < 2 or not control.mean > 0:
        return None
    ratio = candidate.mean / control.mean
    spread = (
        candidate.variance / candidate.n + ratio * ratio * control.variance / control.n
    ) / (control.mean * control.mean)
    n = candidate.n + control.n
    return _around(ratio - 1, spread * n, n, alpha=alpha, n_opt=n_opt)


def _around(
    estimate: float, variance: float, n: int, *, alpha: float, n_opt: float
) -> Interval:
    half = halfwidth(variance, n, alpha=alpha, n_opt=n_opt)
    return Interval(estimate=estimate, low=estimate - half, high=estimate + half)
