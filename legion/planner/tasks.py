"""Counts of tasks: each comes once, and is counted once however often it goes wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

import attrs
import numpy as np

from .question import Question
from .weigh import Tally


if TYPE_CHECKING:
    import numpy.typing as npt

    Counts = npt.NDArray[np.int64]
    Bools = npt.NDArray[np.bool_]
    Shares = npt.NDArray[np.float64]


@attrs.frozen(kw_only=True, eq=False)
class Parts:
    """
    How a flow is divided into slices.

    Attributes:
        shares: The share of each slice; those of a group sum to 1.
        groups: Which slices are those of one name.
        times: As `Flow.times`, of each slice; shape (slices,).
    """

    shares: Shares
    groups: tuple[slice, ...]
    times: Mapping[float, Shares]


@attrs.frozen(kw_only=True, eq=False)
class Flow:
    """
    What one metric of one stage gets, look by look.

    Attributes:
        candidate: Mature units of the candidate at each look, on average; in shadow,
            pairs. Shape (looks,).
        control: Units of control.
        bad: Control's share of bad units, shape (runs or 1, looks).
        times: By the share that the candidate may be slower (0 for shares): how many
            times as many of its units are bad.
        rho: The candidate's share of the units.
        paired: Whether both arms answer the same unit.
        goods: Whether the candidate's good units are counted, too.
        retries: How many bad events a bad task has at the most.
        count_retries: Whether all of them are counted.
        parts: Its slices, where any are asked about.
    """

    candidate: Shares
    control: Shares
    bad: Shares
    times: Mapping[float, float]
    rho: float
    paired: bool = False
    goods: bool = False
    retries: int = 1
    count_retries: bool = False
    parts: Parts | None = None


class Source(Protocol):
    """Counts of many runs, block by block."""

    def advance(self, first: int, last: int, places: Bools) -> None:
        """
        Count the looks from *first* up to *last*.

        Args:
            first: The first look.
            last: The one after the last.
            places: Which slices are counted, shape (runs, slices, looks).
        """
        ...

    def tally(self, question: Question) -> Tally:
        """Return what was counted up to each look of the block."""
        ...

    def keep(self, runs: npt.NDArray[np.bool_]) -> None:
        """Go on with these runs only."""
        ...


@attrs.define(eq=False)
class Tasks:
    """
    Poisson counts of independent tasks.

    Args:
        flow: What comes.
        runs: How many runs.
        rng: Draws the counts.
    """

    flow: Flow
    runs: int
    rng: np.random.Generator
    _last: dict[str, Counts] = attrs.field(init=False, factory=dict)
    _block: dict[str, Counts] = attrs.field(init=False, factory=dict)

    def advance(self, first: int, last: int, places: Bools) -> None:
        """Count the looks from *first* up to *last*, and those of slices with a place."""
        flow, span = self.flow, slice(first, last)
        bad = np.minimum(flow.bad[:, span], 1.0)
        worst = max(flow.times.values())
        worse = np.minimum(bad * worst, 1.0)
        units, control = flow.candidate[span], flow.control[span]
        draw = self._pairs if flow.paired else self._arms
        new = draw(units, control, bad, worse)
        if flow.goods:
            new["good"] = self._poisson(units * (1 - worse))
        for slower, times in flow.times.items():
            self._thin(new, slower, np.minimum(bad * times, 1.0) / worse)
        if flow.parts is not None:
            new |= self._sliced(new, flow.parts, bad, places)
        self._block = {
            name: np.cumsum(each, axis=-1) + self._last.get(name, 0)
            for name, each in new.items()
        }
        self._last = {name: each[..., -1:] for name, each in self._block.items()}

    def _arms(
        self, units: Shares, control: Shares, bad: Shares, worse: Shares
    ) -> dict[str, Counts]:
        return {
            "candidate": self._events(units * worse),
            "control": self._events(control * bad),
        }

    def _pairs(
        self, units: Shares, control: Shares, bad: Shares, worse: Shares
    ) -> dict[str, Counts]:
        """Both arms go wrong independently: the hardest to tell apart."""
        return {
            "candidate": self._poisson(units * worse * (1 - bad)),
            "control": self._poisson(units * bad * (1 - worse)),
            "both": self._poisson(units * worse * bad),
        }

    def _thin(self, new: dict[str, Counts], slower: float, share: Shares) -> None:
        """Keep those of the candidate that are bad by this cut, too."""
        keep = np.broadcast_to(share, new["candidate"].shape)
        certain = bool(np.all(keep == 1))
        candidate = new["candidate"]
        kept = candidate if certain else self.rng.binomial(candidate, keep)
        new[f"candidate {slower}"] = kept
        new[f"control {slower}"] = new["control"]
        if "both" in new:
            both = new["both"] if certain else self.rng.binomial(new["both"], keep)
            new[f"both {slower}"] = both
            new[f"control {slower}"] = new["control"] + new["both"] - both

    def _sliced(
        self, new: dict[str, Counts], parts: Parts, bad: Shares, places: Bools
    ) -> dict[str, Counts]:
        """Return those that count in each slice, shape (runs, slices, looks)."""
        found = {}
        for slower, times in parts.times.items():
            worse = np.minimum(bad[..., None] * times, 1.0)
            for name, each in _fared(new, slower).items():
                chance = worse if name in {"candidate", "both"} else 1 - worse
                if name == "control" and not self.flow.paired:
                    chance = np.ones_like(worse)
                among = self._divide(each, parts, chance)
                found[f"{name} {slower} sliced"] = np.where(places, among, 0)
        return found

    def _divide(self, counts: Counts, parts: Parts, chance: Shares) -> Counts:
        """Draw of which slice each of these is; *chance* has shape (.., looks, slices)."""
        weights = chance * parts.shares
        found = []
        for group in parts.groups:
            of = weights[..., group]
            of = of / np.maximum(of.sum(axis=-1, keepdims=True), 1e-300)
            found.append(self.rng.multinomial(counts, of))
        return np.concatenate(found, axis=-1).swapaxes(1, 2)

    def _events(self, mean: Shares) -> Counts:
        """Draw bad tasks; with all their retries only where that is asked for."""
        if not self.flow.count_retries:
            return self._poisson(mean)
        each = self.flow.retries
        return sum(
            (k * self._poisson(mean / each) for k in range(1, each + 1)),
            start=np.zeros((1, 1), dtype=np.int64),
        )

    def _poisson(self, mean: Shares) -> Counts:
        shape = (self.runs, mean.shape[-1])
        return self.rng.poisson(np.broadcast_to(mean, shape))

    def tally(self, question: Question) -> Tally:
        """Return what was counted up to each look of the block."""
        block, slower = self._block, question.slower
        if question.sliced:
            return Tally(
                candidate=block[f"candidate {slower} sliced"],
                control=block[f"control {slower} sliced"],
                good=block.get(f"good {slower} sliced"),
                both=block.get(f"both {slower} sliced"),
            )
        fared = _fared(block, slower)
        return Tally(
            candidate=fared["candidate"],
            control=fared["control"],
            good=fared.get("good"),
            both=fared.get("both"),
        )

    def keep(self, runs: npt.NDArray[np.bool_]) -> None:
        """Go on with these runs only."""
        self.runs = int(np.count_nonzero(runs))
        self._last = {name: each[runs] for name, each in self._last.items()}
        if len(self.flow.bad) > 1:
            self.flow = attrs.evolve(self.flow, bad=self.flow.bad[runs])


def _fared(counts: Mapping[str, Counts], slower: float) -> dict[str, Counts]:
    """Return how units fared by one cut, by field of a tally."""
    found = {
        name: counts[f"{name} {slower}"]
        for name in ("candidate", "control", "both")
        if f"{name} {slower}" in counts
    }
    if "good" in counts:
        # Those that are bad by a harder cut alone are good by this one.
        found["good"] = counts["good"] + counts["candidate"] - found["candidate"]
    return found
