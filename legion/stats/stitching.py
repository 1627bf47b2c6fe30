"""Boundaries of the iterated logarithm: never far from the best at any time."""

from __future__ import annotations

import functools
import math

from .special import minimum, root, zeta


def poly_stitching_bound(
    v: float,
    *,
    alpha: float,
    v_min: float,
    c: float = 0.0,
    s: float = 1.4,
    eta: float = 2.0,
) -> float:
    """
    Return the polynomial stitched boundary.

    Howard, Ramdas, McAuliffe and Sekhon, Annals of Statistics 2021, theorem 1 and
    the polynomial example after it: P(exists t: S_t >= u(V_t)) <= alpha for sub-gamma
    sums with scale c.

    Args:
        v: Intrinsic time; below *v_min* it counts as *v_min*.
        alpha: Above 0 and below 1.
        v_min: Where the boundary begins to rise, above 0.
        c: Scale of the sub-gamma tail, in the unit of the sum; 0 for sub-Gaussian.
        s: Exponent of how the level is spent over the epochs, above 1.
        eta: Ratio of an epoch's end to its start, above 1.

    Returns:
        u(v), in the unit of the sum.

    Raises:
        ValueError: An argument is out of its range.
    """
    if not (v_min > 0 and 0 < alpha < 1 and eta > 1):
        msg = f"stitching: got v_min={v_min}, alpha={alpha}, eta={eta}"
        raise ValueError(msg)
    v = max(v, v_min)
    nats = (
        s * math.log(math.log(eta * v / v_min))
        + math.log(zeta(s) / math.log(eta) ** s)
        - math.log(alpha)
    )
    k1, k2 = _stretch(eta)
    drift = k2 * c * nats
    return math.sqrt(k1 * k1 * v * nats + drift * drift) + drift


def double_stitching_bound(
    p: float,
    t: float,
    *,
    alpha: float,
    t_opt: float,
    delta: float = 0.5,
    s: float = 1.4,
    eta: float = 2.0,
) -> float:
    """
    Return a boundary for the empirical distribution at all quantiles and times at once.

    Howard and Ramdas, "Sequential estimation of quantiles", Bernoulli 28(3) 2022,
    theorem 3 (stitched over time and over quantiles).

    Args:
        p: The quantile, above 0 and below 1.
        t: Values seen.
        alpha: Above 0 and below 1.
        t_opt: Where the boundary begins, at least 1.
        delta: Width of the grid of quantiles, above 0.
        s: As for `poly_stitching_bound`.
        eta: As for `poly_stitching_bound`.

    Returns:
        How far t times the share of values below the quantile can be off.

    Raises:
        ValueError: An argument is out of its range.
    """
    if not (0 < p < 1 and 0 < alpha < 1 and t_opt >= 1 and delta > 0 and eta > 1):
        msg = f"stitching: got p={p}, alpha={alpha}, t_opt={t_opt}, delta={delta}"
        raise ValueError(msg)
    t = max(t, t_opt)
    logit = math.log(p / (1 - p))
    r = p
    if p < 0.5:
        shifted = logit + 2 * delta * math.sqrt(t_opt * eta / t)
        r = min(0.5, 1 / (1 + math.exp(-shifted)))
    variance = r * (1 - r)
    cells = math.sqrt(t / t_opt) * abs(logit) / (2 * delta) + 1
    z = zeta(s)
    nats = (
        s * math.log(math.log(eta * t / t_opt))
        + s * math.log(cells)
        + math.log(2 * z * (2 * z + 1) / (alpha * math.log(eta) ** s))
    )
    k1, k2 = _stretch(eta)
    drift = k2 * (1 - 2 * p) / 3 * nats
    return (
        delta * math.sqrt(eta * t * variance / t_opt)
        + math.sqrt(k1 * k1 * variance * t * nats + drift * drift)
        + drift
    )


def _stretch(eta: float) -> tuple[float, float]:
    """Return k1 and k2 of theorem 1: what a line costs over one epoch."""
    return (eta**0.25 + eta**-0.25) / math.sqrt(2), (math.sqrt(eta) + 1) / 2


def empirical_process_lil_bound(
    t: float, *, alpha: float, t_min: float, amplitude: float = 0.85
) -> float:
    """
    Return how far an empirical distribution function can be off, at all times at once.

    Howard and Ramdas, Bernoulli 28(3) 2022, theorem 2:
    ``A sqrt((log(1 + log(t / t_min)) + C) / t)`` bounds the largest difference of the
    empirical and the true distribution function at all t >= t_min.

    Args:
        t: Values seen.
        alpha: Above 0 and below 1.
        t_min: From where on the bound holds, at least 1.
        amplitude: A, above 1 / sqrt(2).

    Returns:
        A difference of probabilities; infinite before *t_min*.

    Raises:
        ValueError: An argument is out of its range.
    """
    if not (0 < alpha < 1 and t_min >= 1 and amplitude > math.sqrt(0.5)):
        msg = f"bound: got alpha={alpha}, t_min={t_min}, amplitude={amplitude}"
        raise ValueError(msg)
    if t < t_min:
        return math.inf
    c = _lil_constant(alpha, amplitude)
    return amplitude * math.sqrt((math.log1p(math.log(t / t_min)) + c) / t)


@functools.lru_cache(maxsize=64)
def _lil_constant(alpha: float, amplitude: float) -> float:
    """Return the least C for which the error of theorem 2 is *alpha*."""

    def error(c: float, eta: float) -> float:
        gap = amplitude - math.sqrt(2 * (eta - 1) / c)
        squared = 2 / eta * gap * gap
        if squared <= 1 or eta <= 1:
            return math.inf
        tail = 1 + 1 / ((squared - 1) * math.log(eta))
        return 4 * math.exp(-squared * c) * tail

    def least_error(c: float) -> float:
        top = root(
            lambda eta: math.sqrt(eta / 2) + math.sqrt(2 * (eta - 1) / c) - amplitude,
            1.0,
            2 * amplitude * amplitude,
        )
        return error(c, minimum(lambda eta: error(c, eta), 1.0, top))

    high = 5.0
    while least_error(high) > alpha:
        high *= 2
    low = high / 2
    while least_error(low) < alpha:
        low /= 2
    return root(lambda c: alpha - least_error(c), low, high)
