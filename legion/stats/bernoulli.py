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

    **Streams.** Where r processes count, each a unit once but the same units perhaps, the
    events are independent within a stream j only. For each alternative k the ratio L_jk
    of one stream alone is an e-value then, and the geometric mean over the streams is at
    most their arithmetic mean, which is one whatever they have to do with each other
    (Vovk and Wang, Annals of Statistics 2021). So the average over k of

        (L_1k L_2k ... L_rk) ** (1 / r)

    is an e-value, and needs no more than the sums over all streams.

    Attributes:
        side: What the evidence is for.
        limit: The null is p <= limit for harm, p >= limit for proof.
        grid: Odds ratios of the alternatives.
        bad: Bad events so far.
        n: All events so far.
        streams: r: in how many streams one and the same unit may have counted.
    """

    side: Side
    limit: float
    grid: tuple[float, ...] = GRID
    bad: int = 0
    n: int = 0
    streams: int = 1

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

    def update(self, bad: int, n: int, *, streams: int = 1) -> BernoulliProcess:
        """
        Return the process after *n* more events, *bad* of them bad.

        Args:
            bad: Bad events.
            n: Events.
            streams: In how many streams a unit of them may have counted so far.

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
            streams=max(self.streams, streams),
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
        return self.update(other.bad, other.n, streams=other.streams)

    @property
    def logs(self) -> list[float]:
        """Log likelihood ratio of each alternative, the mean over streams, in nats."""
        steps_bad, steps_good = steps(self.limit, self.side, self.grid)
        bad, good = self.bad / self.streams, (self.n - self.bad) / self.streams
        both = zip(steps_bad, steps_good, strict=True)
        return [bad * up + good * down for up, down in both]

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
            "streams": self.streams,
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
            streams=int(cast("int", value["streams"])),
        )
