"""Counts of users who come back: once each, by first bad visit, and by the exact test."""

from __future__ import annotations

import itertools
import math

from collections.abc import Mapping
from typing import TYPE_CHECKING

import attrs
import numpy as np

from ..metrics import Metric
from ..stages.evidence import Drawn, log_e_of_look
from ..stages.evidence.exact import AFTERWARDS
from ..stats import RandomisationProcess, Side, geometric_looks
from .crowd import Crowd, counted
from .question import Question
from .tasks import Flow
from .weigh import Tally


if TYPE_CHECKING:
    import numpy.typing as npt

    Bools = npt.NDArray[np.bool_]
    Counts = npt.NDArray[np.int64]
    Fared = tuple[Bools, Bools, Bools]
    Floats = npt.NDArray[np.float64]


@attrs.define(eq=False)
class Sticky:
    """
    Counts of users who come back, in a stage that exposes some of them.

    Poisson visits of each user in the stretches between the exact test's looks; the
    first bad one lies where the least of so many uniform times does. Harm in a share is
    the mean of two e-values, as the engine has it. Proof, limits and times count each
    user once, by the first visit.

    Args:
        flow: What comes; `Flow.times` may hold several cuts, drawn one by one.
        metric: What is counted.
        rate: The share of bad visits before the stage.
        crowd: Who comes.
        worse: As `Flow.times`, of each user, shape (runs or 1, people or 1).
        dwell_looks: How many looks the dwell has.
        ratios: The nulls of harm that are held against the users' past; none where the
            metric is a time.
    """

    flow: Flow
    metric: Metric
    rate: float
    crowd: Crowd
    worse: Mapping[float, Floats]
    dwell_looks: int
    ratios: frozenset[float]
    _load: Floats = attrs.field(init=False)
    _arms: npt.NDArray[np.bool_] = attrs.field(init=False)
    _counts: dict[str, Counts] = attrs.field(init=False, factory=dict)
    _sliced: dict[str, npt.NDArray[np.int32]] = attrs.field(init=False, factory=dict)
    _block: dict[str, Counts] = attrs.field(init=False, factory=dict)
    _exact: dict[float, Floats] = attrs.field(init=False, factory=dict)
    _span: slice = attrs.field(init=False, default=slice(0, 0))

    def __attrs_post_init__(self) -> None:
        # How many visits all users made up to each look, on average.
        both = self.flow.candidate + self.flow.control
        self._load = np.concatenate([[0.0], np.cumsum(both)])
        self._arms = self.crowd.arms(self.flow.rho)
        for slower in self.flow.times:
            self._firsts(slower)
        if self.ratios:
            self._visits(self.worse[max(self.flow.times, key=self._mean)])

    def _mean(self, slower: float) -> float:
        return self.flow.times[slower]

    @property
    def _looks(self) -> int:
        return len(self.flow.candidate)

    def _worse(self, run: int, times: Floats) -> Floats:
        """Return how often each user fares badly in this stage."""
        rates, of = self.crowd.rates(self.metric)[run], times[min(run, len(times) - 1)]
        return np.asarray(np.where(self._arms[run], np.minimum(rates * of, 1.0), rates))

    def _firsts(self, slower: float) -> None:
        """Count users by their first visit: bad ones of both arms, good ones of one."""
        parts = self.flow.parts
        sliced = parts is not None and slower in parts.times
        found, among = [], []
        for run in range(self.crowd.runs):
            at, fared = self._once(run, self.worse[slower])
            found.append([self._at(at, who) for who in fared])
            if sliced:
                among.append([self._among(run, at, who) for who in fared])
        for row, name in enumerate(("candidate", "control", "good")):
            counts = np.array([each[row] for each in found])
            self._counts[f"{name} {slower}"] = np.cumsum(counts, axis=1)
            if sliced:
                of = np.array([each[row] for each in among], dtype=np.int32)
                self._sliced[f"{name} {slower}"] = of

    def _among(self, run: int, at: Counts, who: npt.NDArray[np.bool_]) -> Counts:
        """Return how many of *who* are counted in each slice at each look."""
        shape = len(self.crowd.slicing.shares), self._looks
        here = who & (at < self._looks)
        of = self.crowd.slices[:, run]
        return sum(
            (counted(each[here], at[here], shape) for each in of),
            np.zeros(shape, dtype=np.int64),
        )

    def _once(self, run: int, times: Floats) -> tuple[Counts, Fared]:
        """Return when each user first comes, and whose visit that is, and how it goes."""
        rng, load, arms = self.crowd.rng, self._load, self._arms[run]
        activity = np.maximum(self.crowd.activity[run], 1e-300)
        at = np.searchsorted(load, rng.exponential(1 / activity)) - 1
        swing = self._swing(run, 0, self._looks)
        bad = rng.random(len(at)) < self._worse(run, times) * swing
        return at, (arms & bad, ~arms & bad, arms & ~bad)

    def _at(self, at: Counts, who: npt.NDArray[np.bool_]) -> Counts:
        """Return how many of *who* are counted at each look."""
        looks = self._looks
        return np.bincount(at[who & (at < looks)], minlength=looks)

    def _visits(self, times: Floats) -> None:
        """Count the first bad visits of both arms, and look at all visits."""
        found = [
            self._run(run, self._worse(run, times)) for run in range(self.crowd.runs)
        ]
        first = np.array([part[0] for part in found])
        self._counts["first candidate"] = np.cumsum(first[:, 0], axis=1)
        self._counts["first control"] = np.cumsum(first[:, 1], axis=1)
        for ratio in self.ratios:
            self._exact[ratio] = np.array([part[1][ratio] for part in found])

    def _run(self, run: int, worse: Floats) -> tuple[Counts, dict[float, Floats]]:
        rng, load, arms = self.crowd.rng, self._load, self._arms[run]
        activity, looks = self.crowd.activity[run], self._looks
        bad, n = np.zeros_like(worse), np.zeros_like(worse)
        at = np.full(worse.shape, looks)
        taken: list[tuple[int, Drawn]] = []
        for first, last in itertools.pairwise([0, *self._edges()]):
            amount = activity * (load[last] - load[first])
            chance = np.minimum(worse * self._swing(run, first, last), 1.0)
            new = rng.poisson(amount * chance)
            fresh = np.flatnonzero((new > 0) & (bad == 0))
            share = 1 - rng.random(len(fresh)) ** (1 / new[fresh])
            when = load[first] + share * (load[last] - load[first])
            at[fresh] = np.clip(np.searchsorted(load, when) - 1, 0, looks - 1)
            bad += new
            n += new + rng.poisson(amount * (1 - chance))
            taken.append((last, self._drawn(run, bad, n)))
        exact = {ratio: self._over_looks(taken, ratio - 1) for ratio in self.ratios}
        return np.array([self._at(at, arms), self._at(at, ~arms)]), exact

    @property
    def _planned(self) -> tuple[float, ...]:
        """The looks of the exact test, counted from the stage's first look."""
        return geometric_looks(max(self.dwell_looks - 1.5, self.dwell_looks / 4))

    def _edges(self) -> list[int]:
        """Return how many looks have passed when the exact test looks, and the last."""
        planned = [math.ceil(each) + 1 for each in self._planned]
        return sorted({min(each, self._looks) for each in planned} | {self._looks})

    def _swing(self, run: int, first: int, last: int) -> float:
        """Return how many times as many visits are bad in these looks."""
        bad = self.flow.bad[run if len(self.flow.bad) > 1 else 0, first:last]
        return float(bad.mean()) / self.rate if len(bad) else 1.0

    def _drawn(self, run: int, bad: Floats, n: Floats) -> Drawn:
        """Return what the engine knows of the users that may be compared."""
        before, n_before, kept = (each[run] for each in self.crowd.past(self.metric))
        open_ = (n > 0) & (kept < self.flow.rho)
        kept = kept[open_]
        return Drawn(
            units=(self.crowd.place[run][open_] * 2.0**63).astype(np.uint64),
            candidate=self._arms[run][open_],
            bad=bad[open_].astype(np.int64),
            n=n[open_].astype(np.int64),
            bad_before=before[open_].astype(np.int64),
            n_before=n_before[open_].astype(np.int64),
            rho=(self.flow.rho - kept) / (1 - kept),
        )

    def _over_looks(self, taken: list[tuple[int, Drawn]], margin: float) -> Floats:
        """Return the exact test's log e-value at each look of the stage."""
        process = RandomisationProcess.of(self._planned)
        planned = math.log1p(-AFTERWARDS)
        found = np.full(self._looks, planned + process.log_e)
        for last, drawn in taken:
            due = process.due(last - 1)
            if due:
                log_e = (
                    log_e_of_look(drawn, stream=self.metric.stream, margin=margin)
                    if len(drawn.units)
                    else 0.0
                )
                process = process.update(log_e, looks=due)
                found[last - 1 :] = planned + process.log_e
        return found

    def advance(self, first: int, last: int, places: Bools) -> None:
        """Count the looks from *first* up to *last*, and those of slices with a place."""
        self._span = slice(first, last)
        for name, each in self._sliced.items():
            new = np.where(places, each[..., self._span], 0)
            block = np.cumsum(new, axis=-1, dtype=np.int64)
            if name in self._block:
                block += self._block[name][..., -1:]
            self._block[name] = block

    def tally(self, question: Question) -> Tally:
        """Return what was counted up to each look of the block."""
        slower = question.slower
        if question.sliced:
            candidate, control, good = (
                self._block[f"{name} {slower}"]
                for name in ("candidate", "control", "good")
            )
            return Tally(candidate=candidate, control=control, good=good)
        candidate, control, good = (
            self._counts[f"{name} {slower}"][:, self._span]
            for name in ("candidate", "control", "good")
        )
        if question.side is Side.PROOF or not self.ratios:
            return Tally(candidate=candidate, control=control, good=good)
        exact = self._exact.get(question.ratio)
        return Tally(
            candidate=self._counts["first candidate"][:, self._span],
            control=self._counts["first control"][:, self._span],
            good=good,
            events=candidate,
            exact=None if exact is None else exact[:, self._span],
        )

    def keep(self, runs: npt.NDArray[np.bool_]) -> None:
        """Go on with these runs only."""
        self._counts = {name: each[runs] for name, each in self._counts.items()}
        self._sliced = {name: each[runs] for name, each in self._sliced.items()}
        self._block = {name: each[runs] for name, each in self._block.items()}
        self._exact = {ratio: each[runs] for ratio, each in self._exact.items()}
