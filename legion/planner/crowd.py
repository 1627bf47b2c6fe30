"""Users who come back: who they are, which arm they have, how they fare."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import numpy as np

from ..metrics import Kind, Metric
from .slicing import Slicing


if TYPE_CHECKING:
    import numpy.typing as npt

    Counts = npt.NDArray[np.int64]
    Floats = npt.NDArray[np.float64]

_TAIL = 1.2
_LEAST = 0.05
_UNEVEN = 0.05
_UNEVEN_TIMES = 0.5


@attrs.define(eq=False)
class Crowd:
    """
    The users of many runs, the same in every stage.

    Their activity is Pareto distributed with tail 1.2; a few bring most of it. How often
    each fares badly is beta distributed around the rate, so that most never do.

    Args:
        runs: How many runs.
        people: How many users each has.
        rng: Draws them.
        slicing: How they are spread over slices.
    """

    runs: int
    people: int
    rng: np.random.Generator
    slicing: Slicing
    activity: Floats = attrs.field(init=False)
    place: Floats = attrs.field(init=False)
    slices: Counts = attrs.field(init=False)
    _metrics: dict[str, Metric] = attrs.field(init=False, factory=dict)
    _rates: dict[str, Floats] = attrs.field(init=False, factory=dict)
    _past: dict[str, tuple[Floats, Floats, Floats]] = attrs.field(
        init=False, factory=dict
    )

    def __attrs_post_init__(self) -> None:
        shape = (self.runs, self.people)
        weight = self.rng.pareto(_TAIL, shape) + _LEAST
        self.activity = weight / weight.sum(axis=1, keepdims=True)
        self.place = self.rng.random(shape)
        self.slices = self.slicing.drawn(shape, self.rng)

    def of(self, runs: npt.NDArray[np.int64]) -> Crowd:
        """Return the users of these runs only; what they did stays with them."""
        fewer = Crowd.__new__(Crowd)
        fewer.runs, fewer.people, fewer.rng = len(runs), self.people, self.rng
        fewer.activity, fewer.place = self.activity[runs], self.place[runs]
        fewer.slicing, fewer.slices = self.slicing, self.slices[:, runs]
        fewer._metrics = self._metrics
        fewer._rates = {name: each[runs] for name, each in self._rates.items()}
        fewer._past = {
            name: (bad[runs], n[runs], kept[runs])
            for name, (bad, n, kept) in self._past.items()
        }
        return fewer

    def arms(self, rho: float) -> npt.NDArray[np.bool_]:
        """Return who has the candidate: whoever had it at a smaller share, and more."""
        return self.place < rho

    def within(self, one: int) -> npt.NDArray[np.bool_]:
        """Return who is in a slice."""
        return np.asarray((self.slices == one).any(axis=0))

    def come(self, visits: Floats, *, rho: float) -> Floats:
        """
        Draw how many users with control have come by each look, of each slice.

        Args:
            visits: Visits of all users up to each look, on average, shape (looks,).
            rho: The share of users that have the candidate.

        Returns:
            Shape (runs, slices, looks).
        """
        when = self.rng.exponential(1 / np.maximum(self.activity, 1e-300))
        at = np.searchsorted(visits, when)
        shape = len(self.slicing.shares), len(visits)
        new = np.zeros((self.runs, *shape))
        for run in range(self.runs):
            here = ~self.arms(rho)[run] & (at[run] < len(visits))
            for of in self.slices[:, run]:
                new[run] += counted(of[here], at[run][here], shape)
        return np.cumsum(new, axis=-1)

    def meet(self, metric: Metric, rate: float, *, before: float) -> None:
        """
        Draw how each user fares, and let some events pass before any has the candidate.

        Args:
            metric: By which metric.
            rate: The mean share of bad events, inside 0..1.
            before: How many events of all users pass, on average; 0 leaves no history.
        """
        uneven = _UNEVEN_TIMES if metric.kind is Kind.TIME else _UNEVEN
        shape = self.activity.shape
        rates = self.rng.beta(uneven, uneven * (1 / rate - 1), shape)
        bad, n = self._visits(self.activity * before, rates)
        self._metrics[metric.name] = metric
        self._rates[metric.name] = rates
        self._past[metric.name] = (bad, n, np.zeros_like(bad))

    def _visits(self, mean: Floats, rates: Floats) -> tuple[Floats, Floats]:
        bad = self.rng.poisson(mean * rates).astype(np.float64)
        return bad, bad + self.rng.poisson(mean * (1 - rates))

    def live(
        self,
        metric: Metric,
        runs: npt.NDArray[np.int64],
        *,
        rho: float,
        times: Floats,
        visits: Floats,
    ) -> None:
        """
        Let a stage go by, so that it is the past of the next one.

        What each user did in it is drawn anew and not what the stage was judged by.

        Args:
            metric: By which metric.
            runs: Of which runs.
            rho: The share of users that had the candidate.
            times: How many times as often these fared badly, shape (runs or 1, people
                or 1).
            visits: How many visits of all users there were on average, shape (runs,).
        """
        arms = self.arms(rho)[runs]
        rates = self._rates[metric.name][runs]
        rates = np.where(arms, np.minimum(rates * times, 1.0), rates)
        bad, n = self._visits(self.activity[runs] * visits[:, None], rates)
        bad_before, n_before, kept = self._past[metric.name]
        kept[runs] = np.where(
            n > 0, np.maximum(kept[runs], np.where(arms, 1.0, rho)), kept[runs]
        )
        bad_before[runs] += bad
        n_before[runs] += n

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The metrics by which it was drawn how the users fare."""
        return tuple(self._metrics.values())

    def knows(self, metric: Metric) -> bool:
        """Return whether it was drawn how the users fare by *metric*."""
        return metric.name in self._rates

    def rates(self, metric: Metric) -> Floats:
        """Return how often each user fares badly without the candidate."""
        return self._rates[metric.name]

    def past(self, metric: Metric) -> tuple[Floats, Floats, Floats]:
        """
        Return what each user did in the rollout so far.

        Returns:
            Bad visits, visits, and the largest share of candidates under which each
            still had control; 1 for those who have had the candidate.
        """
        return self._past[metric.name]


def counted(of: Counts, at: Counts, shape: tuple[int, int]) -> Counts:
    """Return how many are in each slice at each look; shape (slices, looks)."""
    slices, looks = shape
    return np.bincount(of * looks + at, minlength=slices * looks).reshape(shape)
