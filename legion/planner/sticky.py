"""Counts of users who come back: each one's first bad event."""

from __future__ import annotations

import itertools
import math

from typing import TYPE_CHECKING

import attrs
import numpy as np

from ..metrics import Metric
from ..stats import geometric_looks
from .crowd import Crowd
from .tasks import Flow
from .weigh import Tally


if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]


@attrs.define(eq=False)
class Sticky:
    """
    Counts of users who come back, in a stage that exposes some of them.

    Poisson events of each user in ten stretches of the stage; the first bad one of each
    lies where the least of so many uniform times does.

    Args:
        flow: What comes; `Flow.times` may hold several cuts, drawn one by one.
        metric: What is counted.
        rate: The share of bad units before the stage.
        crowd: Who comes.
        dwell_looks: How many looks the dwell has; the stretches divide it.
    """

    flow: Flow
    metric: Metric
    rate: float
    crowd: Crowd
    dwell_looks: int
    _counts: dict[str, npt.NDArray[np.int64]] = attrs.field(init=False, factory=dict)
    _span: slice = attrs.field(init=False, default=slice(0, 0))

    def __attrs_post_init__(self) -> None:
        rates = self.crowd.rates(self.metric)
        for slower, times in self.flow.times.items():
            parts = [self._run(run, rates[run], times) for run in range(len(rates))]
            first = np.array(parts)
            self._counts[f"candidate {slower}"] = np.cumsum(first[:, 0], axis=1)
            self._counts[f"control {slower}"] = np.cumsum(first[:, 1], axis=1)
        if self.flow.goods:
            self._goods(rates, max(self.flow.times.values()))

    def _edges(self) -> list[int]:
        """Return the looks at which the stretches end."""
        looks = len(self.flow.candidate)
        planned = [math.ceil(each) for each in geometric_looks(self.dwell_looks)]
        return sorted({min(each, looks) for each in planned} | {looks})

    def _run(self, run: int, rates: Floats, times: float) -> npt.NDArray[np.int64]:
        """Return the first bad events of both arms at each look, shape (2, looks)."""
        rng, looks = self.crowd.rng, len(self.flow.candidate)
        load = np.concatenate(
            [[0.0], np.cumsum(self.flow.candidate + self.flow.control)]
        )
        arms = self.crowd.arms(self.flow.rho)[run]
        activity = self.crowd.activity[run]
        worse = np.where(arms, np.minimum(rates * times, 1.0), rates)
        bad = np.zeros_like(rates)
        at = np.full(rates.shape, looks)
        for first, last in itertools.pairwise([0, *self._edges()]):
            amount = activity * (load[last] - load[first])
            new = rng.poisson(amount * worse * self._swing(run, first, last))
            fresh = np.flatnonzero((new > 0) & (bad == 0))
            share = 1 - rng.random(len(fresh)) ** (1 / new[fresh])
            when = load[first] + share * (load[last] - load[first])
            at[fresh] = np.clip(np.searchsorted(load, when) - 1, 0, looks - 1)
            bad += new
        counted = [
            np.bincount(at[mine & (at < looks)], minlength=looks)
            for mine in (arms, ~arms)
        ]
        return np.array(counted)

    def _swing(self, run: int, first: int, last: int) -> float:
        """Return how many times as many units are bad in these looks."""
        bad = self.flow.bad[run if len(self.flow.bad) > 1 else 0, first:last]
        return float(bad.mean()) / self.rate if len(bad) else 1.0

    def _goods(self, rates: Floats, times: float) -> None:
        """Count the candidate's good and bad events, for limits."""
        flow, arms = self.flow, self.crowd.arms(self.flow.rho)
        share = self.crowd.activity * arms
        total = np.maximum(share.sum(axis=1), 1e-12)
        worse = np.minimum(rates * times, 1.0)
        bad = (share * worse).sum(axis=1)[:, None] / self.rate
        load = flow.candidate + flow.control
        mean_bad = np.minimum(flow.bad * bad, total[:, None]) * load
        mean_all = total[:, None] * load
        draw = self.crowd.rng.poisson
        self._counts["bad"] = np.cumsum(draw(mean_bad), axis=1)
        self._counts["good"] = np.cumsum(
            draw(np.maximum(mean_all - mean_bad, 0)), axis=1
        )

    def advance(self, first: int, last: int) -> None:
        """Count the looks from *first* up to *last*."""
        self._span = slice(first, last)

    def tally(self, slower: float) -> Tally:
        """Return what was counted up to each look of the block."""
        return Tally(
            candidate=self._counts[f"candidate {slower}"][:, self._span],
            control=self._counts[f"control {slower}"][:, self._span],
            good=self._part("good"),
            events=self._part("bad"),
        )

    def _part(self, name: str) -> npt.NDArray[np.int64] | None:
        found = self._counts.get(name)
        return None if found is None else found[:, self._span]

    def keep(self, runs: npt.NDArray[np.bool_]) -> None:
        """Go on with these runs only."""
        self._counts = {name: each[runs] for name, each in self._counts.items()}
