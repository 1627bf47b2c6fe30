"""One arm against an absolute limit."""

from __future__ import annotations

import math

from collections.abc import Mapping, Sequence
from typing import cast

import attrs

from ..canonical import JSON
from .grid import GRID, Side, log_mean_exp, steps


@attrs.frozen(kw_only=True)
class BernoulliProcess:
    """
    Evidence that a rate is above, or below, an absolute limit; valid at any time.

    The average of likelihood ratios against a grid of alternatives, which have the odds
    of the limit times (harm) or divided by (proof) each grid point. A grid and not a
    beta prior: it is exact in closed form for a one-sided null, needs no special
    function and cannot overflow. Under the null each ratio is a supermartingale, also
    where the rate moves, as long as it stays on its side of the limit given the past
    (Wald, 1945; Waudby-Smith and Ramdas, JRSS B 2024, section 4).

    Attributes:
        side: What the evidence is for.
        limit: The null is p <= limit for harm, p >= limit for proof.
        grid: Odds ratios of the alternatives.
        bad: Bad events so far.
        n: All events so far.
    """

    side: Side
    limit: float
    grid: tuple[float, ...] = GRID
    bad: int = 0
    n: int = 0

    @classmethod
    def harm(cls, limit: float) -> BernoulliProcess:
        """
        Start evidence that the rate is above *limit*.

        Raises:
            ValueError: *limit* is not above 0 and below 1.
        """
        steps(limit, Side.HARM)
        return cls(side=Side.HARM, limit=limit)

    @classmethod
    def proof(cls, limit: float) -> BernoulliProcess:
        """
        Start evidence that the rate is below *limit*.

        Raises:
            ValueError: *limit* is not above 0 and below 1.
        """
        steps(limit, Side.PROOF)
        return cls(side=Side.PROOF, limit=limit)

    def update(self, bad: int, n: int) -> BernoulliProcess:
        """
        Return the process after *n* more events, *bad* of them bad.

        Raises:
            ValueError: Not 0 <= *bad* <= *n*.
        """
        if not 0 <= bad <= n < math.inf:
            msg = f"Bernoulli process: got {bad} bad of {n}; write 0 <= bad <= n"
            raise ValueError(msg)
        return BernoulliProcess(
            side=self.side,
            limit=self.limit,
            grid=self.grid,
            bad=self.bad + bad,
            n=self.n + n,
        )

    def merge(self, other: BernoulliProcess) -> BernoulliProcess:
        """
        Return the evidence of both, which saw different events of the same test.

        Raises:
            ValueError: They do not test the same.
        """
        mine = (self.side, self.limit, self.grid)
        yours = (other.side, other.limit, other.grid)
        if mine != yours:
            msg = f"Bernoulli process: {mine} cannot be merged with {yours}"
            raise ValueError(msg)
        return self.update(other.bad, other.n)

    @property
    def logs(self) -> list[float]:
        """Log likelihood ratio of each alternative, in nats."""
        bad, good = steps(self.limit, self.side, self.grid)
        well = self.n - self.bad
        return [self.bad * up + well * down for up, down in zip(bad, good, strict=True)]

    @property
    def log_e(self) -> float:
        """The log of the e-value, in nats; 0 says nothing."""
        return log_mean_exp(self.logs)

    def to_json(self) -> dict[str, JSON]:
        """Return what `from_json` reads back to an equal process."""
        return {
            "side": self.side.value,
            "limit": self.limit,
            "grid": list(self.grid),
            "bad": self.bad,
            "n": self.n,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, JSON]) -> BernoulliProcess:
        """Read what `to_json` wrote."""
        return cls(
            side=Side(cast("str", value["side"])),
            limit=float(cast("float", value["limit"])),
            grid=tuple(cast("Sequence[float]", value["grid"])),
            bad=int(cast("int", value["bad"])),
            n=int(cast("int", value["n"])),
        )
