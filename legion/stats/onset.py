"""Harm that may begin at any time: a mixture over when."""

from __future__ import annotations

import math

from collections.abc import Mapping, Sequence
from typing import Generic, Protocol, TypeVar, cast

import attrs

from ..canonical import JSON
from .grid import GRID


LATER = 0.1
"""The share of a test's stake that is kept for harm which begins later."""

COARSE = slice(1, None, 2)
"""Every second point of a grid: ratios that begin at each look need no finer one."""

_MOST = 1e100
_MOST_NATS = 400.0


class Process(Protocol):
    """A test by likelihood ratios against a grid of alternatives."""

    @property
    def logs(self) -> Sequence[float]:
        """Log likelihood ratio of each alternative, in nats."""
        ...

    @property
    def log_e(self) -> float:
        """The log of their mean."""
        ...


P = TypeVar("P", bound=Process)


# Not frozen: one is made at each look, and that would take a tenth longer.
@attrs.define(kw_only=True)
class Onset(Generic[P]):
    """
    A test of harm that may begin at any time, and not with the first unit alone.

    A likelihood ratio that has seen a healthy candidate for a day is so small that harm
    which then begins must outweigh the day first. So a tenth of the stake is kept as
    cash, and at each update the share `part` of what is left of it goes into ratios that
    begin there:

        E = .9 E_first + .1 (cash + mean over g of M_g),
        M_g = (M_g + part cash) L_g,    cash = (1 - part) cash.

    Each ratio that is begun is at most 1 on average under the null, whenever it is begun,
    so their mixture is an e-process as the first is (Shiryaev, 1963, with a prior over
    the change; as a mixture of e-processes: Shin, Ramdas and Rinaldo, New England Journal
    of Statistics in Data Science 2024). It costs .11 nats where harm is there from the
    first unit on. Harm that begins at update t needs ln(10 / part) + t part nats more
    than it would have at first, and not what speaks for the candidate until then.

    Attributes:
        first: The test from the first unit on.
        part: The share of the cash that each update begins with: 1 / looks, where so many
            are to come; 0 for a test that only `first` makes.
        cash: What is left.
        late: M_g: what the ratios that began later have brought, one for every second
            point of the grid.
    """

    first: P
    part: float
    cash: float = 1.0
    late: tuple[float, ...] = (0.0,) * (len(GRID) // 2)

    @classmethod
    def of(cls, first: P, *, looks: float) -> Onset[P]:
        """
        Start with a test, of which *looks* are to come.

        Args:
            first: The test, blank.
            looks: How many updates are expected, above 0; infinite for `first` alone.
        """
        return cls(first=first, part=min(1 / max(looks, 1.0), 0.5))

    def update(self, first: P) -> Onset[P]:
        """
        Return the process after an update.

        Args:
            first: `first`, updated.
        """
        if not self.part:
            return attrs.evolve(self, first=first)
        stake = self.part * self.cash
        exp, late = math.exp, []
        olds, news = self.first.logs[COARSE], first.logs[COARSE]
        # A loop, a plain zip, no call of `min`: each saves a tenth of the update.
        for m, old, new in zip(self.late, olds, news):  # noqa: B905 - one a grid point
            gain = new - old
            grown = (m + stake) * exp(gain if gain < _MOST_NATS else _MOST_NATS)  # noqa: FURB136
            late.append(grown if grown < _MOST else _MOST)  # noqa: FURB136
        return Onset(
            first=first, part=self.part, cash=self.cash - stake, late=tuple(late)
        )

    def anew(self, first: P) -> Onset[P]:
        """Return the process with *first*, and nothing of what has begun since."""
        return attrs.evolve(self, first=first, late=(0.0,) * len(self.late))

    @property
    def log_e(self) -> float:
        """The log of the e-value, in nats; 0 says nothing."""
        first = self.first.log_e
        if not self.part:
            return first
        late = math.log(self.cash + math.fsum(self.late) / len(self.late))
        one, other = math.log1p(-LATER) + first, math.log(LATER) + late
        top = max(one, other)
        return top + math.log(math.exp(one - top) + math.exp(other - top))

    def to_json(self) -> dict[str, JSON]:
        """Return what `restore` takes up, beside what `first` writes of itself."""
        return {"cash": self.cash, "late": list(self.late)}

    def restore(self, first: P, value: JSON) -> Onset[P]:
        """
        Go on from what `to_json` returned.

        Args:
            first: The test, as it has read itself.
            value: What was written, or None where that was before there was any.
        """
        if value is None:
            return attrs.evolve(self, first=first)
        raw = cast("Mapping[str, JSON]", value)
        return attrs.evolve(
            self,
            first=first,
            cash=float(cast("float", raw["cash"])),
            late=tuple(float(each) for each in cast("Sequence[float]", raw["late"])),
        )
