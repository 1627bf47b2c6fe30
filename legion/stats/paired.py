"""Shadow pairs: both arms answered the same unit."""

from __future__ import annotations

import functools
import math

from collections.abc import Mapping, Sequence
from typing import cast

import attrs

from ..canonical import JSON
from .grid import GRID, Side, log_mean_exp


@attrs.frozen(kw_only=True)
class PairedProcess:
    """
    Evidence from pairs of outcomes of one unit, valid at any time.

    With x = 1 for a bad outcome of the candidate (c) or of control (b), the product of
    ``1 + lambda (x_c - m x_b)`` for ``0 <= lambda < 1 / m`` is a supermartingale where
    E[x_c - m x_b | past] <= 0; for proof the sign of the bet is turned, and
    ``0 <= lambda < 1``. It is averaged over one lambda a grid point g: the bet that
    grows fastest when the candidate is m g times (harm), or m / g times (proof), as bad
    and two bad outcomes seldom meet (Kelly, 1956; betting on a mean: Waudby-Smith and
    Ramdas, JRSS B 2024, section 4). Pairs in which neither was bad say nothing.

    Attributes:
        side: What the evidence is for.
        ratio: m: the null is E[x_c] <= m E[x_b] for harm, >= for proof.
        grid: Alternatives, as for the label process.
        both: Pairs in which both were bad.
        candidate: Pairs in which only the candidate was bad.
        control: Pairs in which only control was bad.
        n: All pairs.
    """

    side: Side
    ratio: float = 1.0
    grid: tuple[float, ...] = GRID
    both: int = 0
    candidate: int = 0
    control: int = 0
    n: int = 0

    @classmethod
    def harm(cls, ratio: float = 1.0) -> PairedProcess:
        """
        Start evidence that the candidate is more than *ratio* times as bad.

        Raises:
            ValueError: *ratio* is not a number above 0.
        """
        _bets(Side.HARM, ratio, GRID)
        return cls(side=Side.HARM, ratio=ratio)

    @classmethod
    def proof(cls, ratio: float) -> PairedProcess:
        """
        Start evidence that the candidate is less than *ratio* times as bad.

        Raises:
            ValueError: *ratio* is not a number above 0.
        """
        _bets(Side.PROOF, ratio, GRID)
        return cls(side=Side.PROOF, ratio=ratio)

    def update(
        self, n: int, *, both: int = 0, candidate: int = 0, control: int = 0
    ) -> PairedProcess:
        """
        Return the process after *n* more pairs.

        Args:
            n: New pairs.
            both: In how many of them both were bad.
            candidate: In how many only the candidate was bad.
            control: In how many only control was bad.

        Raises:
            ValueError: A count is negative, or the three exceed *n*.
        """
        least = min(both, candidate, control)
        if not 0 <= least <= both + candidate + control <= n < math.inf:
            msg = (
                f"pairs: got {both} + {candidate} + {control} bad of {n};"
                f" write counts of at least 0 that add up to at most n"
            )
            raise ValueError(msg)
        return PairedProcess(
            side=self.side,
            ratio=self.ratio,
            grid=self.grid,
            both=self.both + both,
            candidate=self.candidate + candidate,
            control=self.control + control,
            n=self.n + n,
        )

    def merge(self, other: PairedProcess) -> PairedProcess:
        """
        Return the evidence of both, which saw different pairs of the same test.

        Raises:
            ValueError: They do not test the same.
        """
        mine = (self.side, self.ratio, self.grid)
        yours = (other.side, other.ratio, other.grid)
        if mine != yours:
            msg = f"pairs: {mine} cannot be merged with {yours}"
            raise ValueError(msg)
        return self.update(
            other.n,
            both=other.both,
            candidate=other.candidate,
            control=other.control,
        )

    @property
    def logs(self) -> list[float]:
        """Log of what each bet has brought, in nats."""
        return [
            self.both * both + self.candidate * candidate + self.control * control
            for both, candidate, control in _bets(self.side, self.ratio, self.grid)
        ]

    @property
    def log_e(self) -> float:
        """The log of the e-value, in nats; 0 says nothing."""
        return log_mean_exp(self.logs)

    def to_json(self) -> dict[str, JSON]:
        """Return what `from_json` reads back to an equal process."""
        return {
            "side": self.side.value,
            "ratio": self.ratio,
            "grid": list(self.grid),
            "both": self.both,
            "candidate": self.candidate,
            "control": self.control,
            "n": self.n,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, JSON]) -> PairedProcess:
        """Read what `to_json` wrote."""
        return cls(
            side=Side(cast("str", value["side"])),
            ratio=float(cast("float", value["ratio"])),
            grid=tuple(cast("Sequence[float]", value["grid"])),
            both=int(cast("int", value["both"])),
            candidate=int(cast("int", value["candidate"])),
            control=int(cast("int", value["control"])),
            n=int(cast("int", value["n"])),
        )


@functools.lru_cache(maxsize=256)
def _bets(
    side: Side, ratio: float, grid: tuple[float, ...]
) -> tuple[tuple[float, float, float], ...]:
    """Return, a grid point, what a pair adds: both bad, candidate's only, control's."""
    if not 0 < ratio < math.inf:
        msg = f"ratio: got {ratio}; write a number above 0, as 1.25"
        raise ValueError(msg)
    bets = []
    for g in grid:
        if side is Side.HARM:
            stake = (g - 1) / (1 + g * ratio)
        else:
            stake = -(g - 1) / (g + ratio)
        bets.append(
            (
                math.log1p(stake * (1 - ratio)),
                math.log1p(stake),
                math.log1p(-stake * ratio),
            )
        )
    return tuple(bets)
