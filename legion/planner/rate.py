"""How often something happened in the simulated rollouts, and how sure that is."""

from __future__ import annotations

import math

from collections.abc import Sequence

import attrs

from ..stats.special import log_betainc, root


_CONFIDENCE = 0.95


@attrs.frozen(kw_only=True)
class Rate:
    """
    A share of the runs with its 95 % interval (Clopper and Pearson, Biometrika 1934).

    Attributes:
        n: In how many runs it happened.
        of: Among how many.
        share: n / of.
        low: The lower bound.
        high: The upper bound.
    """

    n: int
    of: int
    share: float
    low: float
    high: float

    @classmethod
    def of_counts(cls, n: int, of: int) -> Rate:
        """
        Return the rate of *n* among *of* runs.

        Raises:
            ValueError: Not 0 <= *n* <= *of*, or *of* is 0.
        """
        if not 0 <= n <= of or of < 1:
            msg = f"rate: got {n} of {of}; write 0 <= n <= of, and of at least 1"
            raise ValueError(msg)
        tail = (1 - _CONFIDENCE) / 2
        low = _beta_quantile(n, of - n + 1, tail) if n else 0.0
        high = _beta_quantile(n + 1, of - n, 1 - tail) if n < of else 1.0
        return cls(n=n, of=of, share=n / of, low=low, high=high)

    def refutes(self, at_most: float, *, level: float = 0.001) -> bool:
        """Return whether a binomial test rejects "at most that share" at *level*."""
        if not self.n:
            return False
        return log_betainc(self.n, self.of - self.n + 1, at_most) < math.log(level)


def _beta_quantile(a: float, b: float, share: float) -> float:
    return root(lambda x: log_betainc(a, b, x) - math.log(share), 1e-12, 1 - 1e-12)


@attrs.frozen(kw_only=True)
class Spread:
    """
    A figure of many runs.

    Attributes:
        median: Half of the runs are below.
        p90: Nine of ten are below.
    """

    median: float
    p90: float

    @classmethod
    def of_values(cls, values: Sequence[float]) -> Spread | None:
        """Return the spread of *values*, or None where there are none."""
        ranked = sorted(values)
        if not ranked:
            return None
        return cls(median=_ranked(ranked, 0.5), p90=_ranked(ranked, 0.9))


def _ranked(ranked: Sequence[float], share: float) -> float:
    return float(ranked[max(math.ceil(share * len(ranked)) - 1, 0)])
