"""Where a function crosses zero."""

from __future__ import annotations

from collections.abc import Callable


WITHIN = 1e-4
"""How near the root is found, in units of the argument, as R's `uniroot` does."""

_EPSILON = 2.0**-52
_MOST_STEPS = 1_000


def root(
    function: Callable[[float], float], a: float, b: float, fa: float, fb: float
) -> float:
    """
    Return where *function* crosses zero between *a* and *b*, to within `WITHIN`.

    Inverse quadratic interpolation that falls back on bisection: Brent, "Algorithms for
    Minimization without Derivatives" (1973), chapter 4, procedure zero. The last digits
    depend on the order of its steps, and other implementations are held against them,
    so that order is kept.

    Args:
        function: Decreasing or increasing; it may jump.
        a: One end.
        b: The other end.
        fa: The function at *a*.
        fb: The function at *b*.
    """
    if fa == 0:
        return a
    if fb == 0:
        return b
    c, fc = a, fa
    for _ in range(_MOST_STEPS):
        before = b - a
        if abs(fc) < abs(fb):
            # b is always the best guess so far, and c lies beyond the root.
            a, b, c = b, c, b
            fa, fb, fc = fb, fc, fb
        least = 2 * _EPSILON * abs(b) + WITHIN / 2
        step = (c - b) / 2
        if abs(step) <= least or fb == 0:
            return b
        if abs(before) >= least and abs(fa) > abs(fb):
            step = _interpolated(a, b, c, fa, fb, fc, before, least) or step
        if abs(step) < least:
            step = least if step > 0 else -least
        a, fa = b, fb
        b += step
        fb = function(b)
        if fb * fc > 0:
            c, fc = a, fa
    return b


def _interpolated(
    a: float,
    b: float,
    c: float,
    fa: float,
    fb: float,
    fc: float,
    before: float,
    least: float,
) -> float | None:
    """Return the step that interpolation suggests, or None where bisection is safer."""
    width = c - b
    if a == c:
        ratio = fb / fa
        p, q = width * ratio, 1.0 - ratio
    else:
        u, v, w = fa / fc, fb / fc, fb / fa
        p = w * (width * u * (u - v) - (b - a) * (v - 1.0))
        q = (u - 1.0) * (v - 1.0) * (w - 1.0)
    p, q = (p, -q) if p > 0 else (-p, q)
    within = p < 0.75 * width * q - abs(least * q) / 2 and p < abs(before * q / 2)
    return p / q if within else None
