"""
Uniform boundaries: where a sum stays below a curve at all times at once.

A boundary u(v) holds for a sum S with intrinsic time V (its accumulated variance, or
what bounds it) in the sense P(exists t: S_t >= u(V_t)) <= alpha. Each comes from a
mixture m(s, v): the exponential supermartingale of the sum, averaged over its
parameter; ``log m`` is an e-process on the log scale, and u solves m(u, v) = 1/alpha.
All are from Howard, Ramdas, McAuliffe and Sekhon, "Time-uniform, nonparametric,
nonasymptotic confidence sequences", Annals of Statistics 2021 (HRMS below).
"""

from __future__ import annotations

import math

from collections.abc import Callable

from .interval import Interval
from .special import (
    log_beta,
    log_betainc,
    log_gammainc_lower,
    log_gammainc_upper,
    log_normal_cdf,
    root,
)


def tuning(v_opt: float, *, alpha: float = 0.05, one_sided: bool = True) -> float:
    """
    Return rho, which makes a mixture's boundary tightest about *v_opt*.

    HRMS, section 3.5, with Lambert's function approximated by its first two terms.

    Args:
        v_opt: The intrinsic time at which to be tightest, above 0.
        alpha: The level for which to tune, above 0 and below 1 (below 1/2 one-sided).
        one_sided: Whether the boundary is.

    Raises:
        ValueError: An argument is out of its range.
    """
    level = 2 * alpha if one_sided else alpha
    if not (0 < v_opt < math.inf and 0 < level < 1):
        msg = f"tuning: got v_opt={v_opt}, alpha={alpha}; write a time and a level"
        raise ValueError(msg)
    nats = -2 * math.log(level)
    return v_opt / (nats + math.log1p(nats))


def normal_log_mixture(
    s: float,
    v: float,
    *,
    v_opt: float,
    alpha_opt: float = 0.05,
    one_sided: bool = True,
) -> float:
    """
    Return the log of the normal mixture (HRMS, propositions 4 and 5).

    For sub-Gaussian sums.

    Args:
        s: The sum.
        v: Its intrinsic time, at least 0.
        v_opt: As for `tuning`.
        alpha_opt: As for `tuning`.
        one_sided: Against large sums only, or against both.

    Raises:
        ValueError: As for `tuning`.
    """
    rho = tuning(v_opt, alpha=alpha_opt, one_sided=one_sided)
    total = v + rho
    log_m = 0.5 * math.log(rho / total) + s * s / (2 * total)
    if not one_sided:
        return log_m
    return log_m + math.log(2) + log_normal_cdf(s / math.sqrt(total))


def normal_mixture_bound(
    v: float,
    *,
    alpha: float,
    v_opt: float,
    alpha_opt: float = 0.05,
    one_sided: bool = True,
) -> float:
    """Return u(v) of `normal_log_mixture`, in the unit of the sum."""
    if not one_sided:
        rho = tuning(v_opt, alpha=alpha_opt, one_sided=False)
        return math.sqrt((v + rho) * (math.log1p(v / rho) - 2 * math.log(alpha)))

    def log_m(s: float) -> float:
        return normal_log_mixture(s, v, v_opt=v_opt, alpha_opt=alpha_opt)

    return _bound(log_m, v, alpha=alpha)


def gamma_exponential_log_mixture(
    s: float, v: float, *, v_opt: float, c: float, alpha_opt: float = 0.05
) -> float:
    """
    Return the log of the gamma-exponential mixture (HRMS, proposition 8).

    For sub-exponential sums with scale *c*.

    Args:
        s: The sum, above -(v + rho) / c.
        v: Its intrinsic time, at least 0.
        v_opt: As for `tuning`.
        c: The scale, above 0, in the unit of the sum.
        alpha_opt: As for `tuning`.

    Raises:
        ValueError: As for `tuning`; or *s* is too far below 0.
    """
    rho = tuning(v_opt, alpha=alpha_opt) / c**2
    time = v / c**2
    shape = time + rho
    rate = s / c + shape
    if not rate > 0:
        msg = f"gamma-exponential mixture: got s={s}; write more than {-shape * c:g}"
        raise ValueError(msg)
    return (
        rho * math.log(rho)
        - math.lgamma(rho)
        - log_gammainc_lower(rho, rho)
        + math.lgamma(shape)
        + log_gammainc_lower(shape, rate)
        - shape * math.log(rate)
        + s / c
        + time
    )


def gamma_exponential_mixture_bound(
    v: float, *, alpha: float, v_opt: float, c: float, alpha_opt: float = 0.05
) -> float:
    """Return u(v) of `gamma_exponential_log_mixture`, in the unit of the sum."""

    def log_m(s: float) -> float:
        return gamma_exponential_log_mixture(
            s, v, v_opt=v_opt, c=c, alpha_opt=alpha_opt
        )

    return _bound(log_m, v, alpha=alpha)


def gamma_poisson_log_mixture(
    s: float, v: float, *, v_opt: float, c: float, alpha_opt: float = 0.05
) -> float:
    """
    Return the log of the gamma-Poisson mixture (HRMS, proposition 9).

    For sub-Poisson sums with scale *c*: with c = 1, a Poisson count less its mean,
    whose intrinsic time is that mean.

    Args:
        s: The sum, above -(v + rho) / c.
        v: Its intrinsic time, at least 0.
        v_opt: As for `tuning`.
        c: The scale, above 0, in the unit of the sum.
        alpha_opt: As for `tuning`.

    Raises:
        ValueError: As for `tuning`; or *s* is too far below 0.
    """
    rho = tuning(v_opt, alpha=alpha_opt) / c**2
    time = v / c**2
    rate = time + rho
    shape = s / c + rate
    if not shape > 0:
        msg = f"gamma-Poisson mixture: got s={s}; write more than {-rate * c:g}"
        raise ValueError(msg)
    return (
        rho * math.log(rho)
        - math.lgamma(rho)
        - log_gammainc_upper(rho, rho)
        + math.lgamma(shape)
        + log_gammainc_upper(shape, rate)
        - shape * math.log(rate)
        + time
    )


def gamma_poisson_mixture_bound(
    v: float, *, alpha: float, v_opt: float, c: float, alpha_opt: float = 0.05
) -> float:
    """Return u(v) of `gamma_poisson_log_mixture`, in the unit of the sum."""

    def log_m(s: float) -> float:
        return gamma_poisson_log_mixture(s, v, v_opt=v_opt, c=c, alpha_opt=alpha_opt)

    return _bound(log_m, v, alpha=alpha)


def beta_binomial_log_mixture(
    s: float,
    v: float,
    *,
    v_opt: float,
    g: float,
    h: float,
    alpha_opt: float = 0.05,
    one_sided: bool = True,
) -> float:
    """
    Return the log of the beta-binomial mixture (HRMS, propositions 6 and 7).

    For sums of independent terms within [-g, h] and mean 0; of a share p: g = p,
    h = 1 - p, s the sum of the terms less p, and v = g h n.

    Args:
        s: The sum, between -v / h and v / g.
        v: Its intrinsic time, at least 0.
        v_opt: As for `tuning`.
        g: How far below 0 a term can be, above 0.
        h: How far above 0 a term can be, above 0.
        alpha_opt: As for `tuning`.
        one_sided: Against large sums only, or against both.

    Raises:
        ValueError: As for `tuning`; or *s* is out of its range.
    """
    rho = tuning(v_opt, alpha=alpha_opt, one_sided=one_sided)
    r = max(rho - g * h, 1e-3 * g * h)
    width = g + h
    x = h / width if one_sided else 1.0

    def log_beta_to_x(a: float, b: float) -> float:
        return log_beta(a, b) + (log_betainc(a, b, x) if one_sided else 0.0)

    low, high = v / (g * width), v / (h * width)
    return (
        v / (g * h) * math.log(width)
        - (high + s / width) * math.log(g)
        - (low - s / width) * math.log(h)
        + log_beta_to_x(
            r / (g * width) + low - s / width, r / (h * width) + high + s / width
        )
        - log_beta_to_x(r / (g * width), r / (h * width))
    )


def beta_binomial_mixture_bound(
    v: float,
    *,
    alpha: float,
    v_opt: float,
    g: float,
    h: float,
    alpha_opt: float = 0.05,
    one_sided: bool = True,
) -> float:
    """Return u(v) of `beta_binomial_log_mixture`, in the unit of the sum."""

    def log_m(s: float) -> float:
        return beta_binomial_log_mixture(
            s, v, v_opt=v_opt, g=g, h=h, alpha_opt=alpha_opt, one_sided=one_sided
        )

    return _bound(log_m, v, alpha=alpha, most=v / g)


def bernoulli_interval(
    successes: float,
    trials: int,
    *,
    alpha: float,
    t_opt: float,
    alpha_opt: float = 0.05,
) -> Interval:
    """
    Return a confidence sequence for a share, at one time.

    All p at which the two-sided beta-binomial mixture stays below 1/alpha (HRMS,
    propositions 6 and 7): with probability 1 - alpha the share is inside at all times.

    Args:
        successes: How many, between 0 and *trials*.
        trials: How many, at least 1.
        alpha: One minus the confidence.
        t_opt: The number of trials at which to be tightest, fixed beforehand.
        alpha_opt: The level to tune for.

    Raises:
        ValueError: An argument is out of its range.
    """
    if not (0 <= successes <= trials and trials >= 1 and 0 < alpha < 1):
        msg = f"interval: got {successes} of {trials} at alpha={alpha}"
        raise ValueError(msg)
    mean = successes / trials

    def excess(p: float) -> float:
        if p in {0, 1}:
            return -1.0 if p == mean else 1.0
        v = p * (1 - p)
        log_m = beta_binomial_log_mixture(
            (mean - p) * trials,
            v * trials,
            v_opt=v * t_opt,
            g=p,
            h=1 - p,
            alpha_opt=alpha_opt,
            one_sided=False,
        )
        return log_m + math.log(alpha)

    return Interval(
        estimate=mean,
        low=root(excess, 0.0, mean) if mean > 0 else 0.0,
        high=root(excess, mean, 1.0) if mean < 1 else 1.0,
    )


def _bound(
    log_m: Callable[[float], float],
    v: float,
    *,
    alpha: float,
    most: float | None = None,
) -> float:
    """Return the sum at which the mixture reaches 1/alpha, or the most it can be."""
    if not (v > 0 and 0 < alpha < 1):
        msg = f"bound: got v={v} at alpha={alpha}; write a time above 0, and a level"
        raise ValueError(msg)
    nats = -math.log(alpha)
    if most is None:
        most = v
        while log_m(most) <= nats:
            most *= 2
    elif log_m(most) < nats:
        return most
    return root(lambda s: log_m(s) - nats, 0.0, most)
