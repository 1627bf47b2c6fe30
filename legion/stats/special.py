"""
Special functions on the log scale, in plain Python.

They are accurate to about 1e-12 and need neither numpy nor scipy. All arguments and
results are pure numbers.
"""

from __future__ import annotations

import math

from collections.abc import Callable


_HALF_LOG_TAU = 0.5 * math.log(2 * math.pi)
_TINY = 1e-300
_EPS = 2.0**-53
_STIRLING_FROM = 15.0
# B_2k / (2k (2k - 1)), DLMF 5.11.1.
_STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156)
_BERNOULLI = (1 / 12, -1 / 720, 1 / 30240, -1 / 1209600, 1 / 47900160)


def log_beta(a: float, b: float) -> float:
    """
    Return the log of the beta function.

    Where both arguments are large, Stirling's series takes the place of three log-gamma
    functions that would cancel (Didonato and Morris, ACM TOMS 708, 1992).

    Args:
        a: Above 0.
        b: Above 0.

    Raises:
        ValueError: An argument is not above 0.
    """
    if not (a > 0 and b > 0):
        msg = f"log_beta: got {a} and {b}; write two numbers above 0"
        raise ValueError(msg)
    a, b = min(a, b), max(a, b)
    if b < _STIRLING_FROM:
        return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
    rest = _stirling(b) - _stirling(a + b) - (b - 0.5) * math.log1p(a / b)
    if a < _STIRLING_FROM:
        return math.lgamma(a) + a - a * math.log(a + b) + rest
    power = (a - 0.5) * math.log(a / (a + b)) - 0.5 * math.log(a + b)
    return _HALF_LOG_TAU + power + _stirling(a) + rest


def _stirling(x: float) -> float:
    """Return what Stirling's formula lacks of the log of gamma(x)."""
    inverse_square, power, total = 1 / (x * x), 1 / x, 0.0
    for coefficient in _STIRLING:
        total += coefficient * power
        power *= inverse_square
    return total


def log_betainc(a: float, b: float, x: float) -> float:
    """
    Return the log of the regularised incomplete beta function I_x(a, b).

    By the continued fraction DLMF 8.17.22 on the side of the mean where it converges
    fast.

    Args:
        a: Above 0.
        b: Above 0.
        x: Between 0 and 1.

    Raises:
        ValueError: An argument is out of its range.
    """
    if not (a > 0 and b > 0 and 0 <= x <= 1):
        msg = f"log_betainc: got a={a}, b={b}, x={x}; write a, b above 0 and x in 0..1"
        raise ValueError(msg)
    if x == 0:
        return -math.inf
    if x == 1:
        return 0.0
    if x > (a + 1) / (a + b + 2):
        return _log_complement(_log_beta_tail(b, a, 1 - x, x))
    return _log_beta_tail(a, b, x, 1 - x)


def _log_beta_tail(a: float, b: float, x: float, y: float) -> float:
    """Return log I_x(a, b) for x below the mean, with y = 1 - x."""

    def term(i: int) -> float:
        m = i // 2
        if i % 2:
            return -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        return m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))

    fraction = _continued(lambda i: (term(i), 1.0))
    front = a * math.log(x) + b * math.log(y) - log_beta(a, b) - math.log(a)
    return min(0.0, front - math.log(fraction))


def log_gammainc_upper(a: float, x: float) -> float:
    """
    Return the log of the regularised upper incomplete gamma function Q(a, x).

    Args:
        a: Above 0.
        x: At least 0.

    Raises:
        ValueError: An argument is out of its range.
    """
    _check_gamma(a, x)
    if x < a + 1:
        return _log_complement(_log_gamma_series(a, x))
    return _log_gamma_fraction(a, x)


def log_gammainc_lower(a: float, x: float) -> float:
    """Return the log of P(a, x) = 1 - Q(a, x); as `log_gammainc_upper`."""
    _check_gamma(a, x)
    if x < a + 1:
        return _log_gamma_series(a, x)
    return _log_complement(_log_gamma_fraction(a, x))


def _check_gamma(a: float, x: float) -> None:
    if not (a > 0 and x >= 0):
        msg = f"incomplete gamma: got a={a}, x={x}; write a above 0 and x at least 0"
        raise ValueError(msg)


def _log_gamma_series(a: float, x: float) -> float:
    """Return log P(a, x) by the series DLMF 8.11.4, for x below a + 1."""
    if x == 0:
        return -math.inf
    term = total = 1.0
    n = a
    while term > _EPS * total:
        n += 1
        term *= x / n
        total += term
    return min(0.0, _log_gamma_front(a, x) - math.log(a) + math.log(total))


def _log_gamma_fraction(a: float, x: float) -> float:
    """Return log Q(a, x) by the continued fraction DLMF 8.9.2, for x above a + 1."""
    start = x + 1 - a
    fraction = _continued(lambda i: (-i * (i - a), start + 2 * i), start=start)
    return min(0.0, _log_gamma_front(a, x) - math.log(fraction))


def _log_gamma_front(a: float, x: float) -> float:
    """Return the log of x^a e^-x / gamma(a), without cancellation for large a."""
    if a < _STIRLING_FROM:
        return a * math.log(x) - x - math.lgamma(a)
    d = (x - a) / a
    excess = math.log1p(d) - d if d > -1 else -math.inf
    return a * excess + 0.5 * math.log(a) - _HALF_LOG_TAU - _stirling(a)


def _continued(
    pair: Callable[[int], tuple[float, float]], *, start: float = 1.0
) -> float:
    """Return start + a1 / (b1 + a2 / (b2 + ...)) by Lentz's method."""
    value = c = start if abs(start) > _TINY else _TINY
    d, i = 0.0, 0
    while True:
        i += 1
        a, b = pair(i)
        d = b + a * d
        d = 1 / (d if abs(d) > _TINY else _TINY)
        c = b + a / c
        c = c if abs(c) > _TINY else _TINY
        value *= c * d
        if abs(c * d - 1) < 4 * _EPS:
            return value


def _log_complement(log_p: float) -> float:
    """Return log(1 - p) of log(p)."""
    return math.log(-math.expm1(log_p)) if log_p > -1 else math.log1p(-math.exp(log_p))


def normal_cdf(z: float) -> float:
    """Return the standard normal distribution function."""
    return 0.5 * math.erfc(-z / math.sqrt(2))


def log_normal_cdf(z: float) -> float:
    """Return the log of the standard normal distribution function, however far left."""
    if z > -20:
        return math.log(normal_cdf(z))
    inverse_square = 1 / (z * z)
    series = term = 1.0
    for odd in (1, 3, 5, 7, 9):
        term *= -odd * inverse_square
        series += term
    return -0.5 * z * z - _HALF_LOG_TAU - math.log(-z) + math.log(series)


def zeta(s: float) -> float:
    """
    Return Riemann's zeta function for s above 1, by Euler and Maclaurin.

    Raises:
        ValueError: *s* is not above 1.
    """
    if not s > 1:
        msg = f"zeta: got {s}; write a number above 1"
        raise ValueError(msg)
    n = 20.0
    total = math.fsum(math.pow(k, -s) for k in range(1, int(n)))
    total += math.pow(n, 1 - s) / (s - 1) + 0.5 * math.pow(n, -s)
    term = s * math.pow(n, -s - 1)
    for k, coefficient in enumerate(_BERNOULLI):
        total += coefficient * term
        term *= (s + 2 * k + 1) * (s + 2 * k + 2) / (n * n)
    return total


def root(function: Callable[[float], float], low: float, high: float) -> float:
    """
    Return where *function* changes its sign between *low* and *high*.

    By bisection to the last bit that matters: it cannot fail to converge.

    Raises:
        ValueError: The signs at both ends are the same.
    """
    rises = function(low) < 0
    if (function(high) < 0) == rises:
        msg = f"root: no change of sign between {low} and {high}"
        raise ValueError(msg)
    for _ in range(200):
        middle = 0.5 * (low + high)
        if middle in {low, high} or high - low <= 4 * _EPS * abs(middle):
            break
        if (function(middle) < 0) == rises:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)


def minimum(function: Callable[[float], float], low: float, high: float) -> float:
    """
    Return where a function with one valley is least, between *low* and *high*.

    By golden section, to about half of the digits; the least value itself is exact to
    all of them.
    """
    golden = (math.sqrt(5) - 1) / 2
    left, right = high - golden * (high - low), low + golden * (high - low)
    at_left, at_right = function(left), function(right)
    while high - low > 1e-9 * max(abs(low), abs(high)):
        if at_left < at_right:
            high, right, at_right = right, left, at_left
            left = high - golden * (high - low)
            at_left = function(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + golden * (high - low)
            at_right = function(right)
    return 0.5 * (low + high)
