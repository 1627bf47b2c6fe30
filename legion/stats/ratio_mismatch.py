"""Sample-ratio mismatch: does the splitter give each arm its share?"""

from __future__ import annotations

import math

from collections.abc import Mapping, Sequence
from typing import cast

import attrs

from ..canonical import JSON
from .special import log_beta


CONCENTRATION = 1000.0
"""How many units the prior is worth: best for shares that are off by a tenth."""


@attrs.frozen(kw_only=True)
class RatioMismatch:
    """
    Evidence that units are not assigned by the planned shares, valid at any time.

    The multinomial likelihood of the counts, averaged over a Dirichlet prior around the
    plan, over the likelihood at the plan: under the plan a martingale with mean 1
    (Lindon and Malek, "Anytime-valid inference for multinomial count data",
    NeurIPS 2022). One assignment a unit. Shares that
    change begin a new test.

    Attributes:
        shares: The planned shares, which add up to 1.
        counts: Units in each arm.
        concentration: Pseudo-units of the prior.
    """

    shares: tuple[float, ...]
    counts: tuple[int, ...] = attrs.field()
    concentration: float = CONCENTRATION

    @counts.default
    def _start(self) -> tuple[int, ...]:
        return (0,) * len(self.shares)

    @classmethod
    def of(cls, *shares: float, concentration: float = CONCENTRATION) -> RatioMismatch:
        """
        Start a test of the planned *shares*.

        Raises:
            ValueError: There are fewer than two, one is not above 0, or they do not add
                up to 1; or *concentration* is not above 0.
        """
        whole = math.isclose(math.fsum(shares), 1, abs_tol=1e-9)
        if len(shares) < 2 or not all(s > 0 for s in shares) or not whole:
            msg = f"shares: got {shares}; write two or more above 0 that add up to 1"
            raise ValueError(msg)
        if not 0 < concentration < math.inf:
            msg = f"concentration: got {concentration}; write a number above 0"
            raise ValueError(msg)
        return cls(shares=shares, concentration=concentration)

    def update(self, *counts: int) -> RatioMismatch:
        """
        Return the test after more units: one count an arm, in the order of the shares.

        Raises:
            ValueError: A count is missing, too many, or negative.
        """
        right = len(counts) == len(self.shares)
        if not right or not all(0 <= each < math.inf for each in counts):
            msg = (
                f"ratio mismatch: got {counts} for {len(self.shares)} arms;"
                f" write one count of at least 0 for each"
            )
            raise ValueError(msg)
        return RatioMismatch(
            shares=self.shares,
            counts=tuple(a + b for a, b in zip(self.counts, counts, strict=True)),
            concentration=self.concentration,
        )

    def merge(self, other: RatioMismatch) -> RatioMismatch:
        """
        Return the evidence of both, which saw different units of the same test.

        Raises:
            ValueError: They do not test the same.
        """
        mine = (self.shares, self.concentration)
        yours = (other.shares, other.concentration)
        if mine != yours:
            msg = f"ratio mismatch: {mine} cannot be merged with {yours}"
            raise ValueError(msg)
        return self.update(*other.counts)

    @property
    def log_e(self) -> float:
        """The log of the e-value, in nats; 0 says nothing."""
        prior = [share * self.concentration for share in self.shares]
        posterior = [a + n for a, n in zip(prior, self.counts, strict=True)]
        planned = math.fsum(
            n * math.log(share)
            for n, share in zip(self.counts, self.shares, strict=True)
        )
        return _log_dirichlet(posterior) - _log_dirichlet(prior) - planned

    def to_json(self) -> dict[str, JSON]:
        """Return what `from_json` reads back to an equal test."""
        return {
            "shares": list(self.shares),
            "counts": list(self.counts),
            "concentration": self.concentration,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, JSON]) -> RatioMismatch:
        """Read what `to_json` wrote."""
        return cls(
            shares=tuple(cast("Sequence[float]", value["shares"])),
            counts=tuple(cast("Sequence[int]", value["counts"])),
            concentration=float(cast("float", value["concentration"])),
        )


def _log_dirichlet(alphas: Sequence[float]) -> float:
    """Return the log of the multivariate beta function, one arm split off at a time."""
    total, rest = 0.0, math.fsum(alphas)
    for alpha in alphas[:-1]:
        rest -= alpha
        total += log_beta(alpha, rest)
    return total
