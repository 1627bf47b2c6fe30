"""Users who come back: who they are, which arm they have, how they fare."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import numpy as np

from ..metrics import Kind, Metric


if TYPE_CHECKING:
    import numpy.typing as npt

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
    """

    runs: int
    people: int
    rng: np.random.Generator
    activity: Floats = attrs.field(init=False)
    place: Floats = attrs.field(init=False)
    _rates: dict[str, Floats] = attrs.field(init=False, factory=dict)
    _history: dict[str, tuple[Floats, Floats]] = attrs.field(init=False, factory=dict)

    def __attrs_post_init__(self) -> None:
        shape = (self.runs, self.people)
        weight = self.rng.pareto(_TAIL, shape) + _LEAST
        self.activity = weight / weight.sum(axis=1, keepdims=True)
        self.place = self.rng.random(shape)

    def of(self, runs: npt.NDArray[np.int64]) -> Crowd:
        """Return the users of these runs only; what they did stays with them."""
        fewer = Crowd.__new__(Crowd)
        fewer.runs, fewer.people, fewer.rng = len(runs), self.people, self.rng
        fewer.activity, fewer.place = self.activity[runs], self.place[runs]
        fewer._rates = {name: each[runs] for name, each in self._rates.items()}
        fewer._history = {
            name: (bad[runs], n[runs]) for name, (bad, n) in self._history.items()
        }
        return fewer

    def arms(self, rho: float) -> npt.NDArray[np.bool_]:
        """Return who has the candidate: whoever had it at a smaller share, and more."""
        return self.place < rho

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
        mean = self.activity * before
        bad = self.rng.poisson(mean * rates).astype(np.float64)
        good = self.rng.poisson(mean * (1 - rates)).astype(np.float64)
        self._rates[metric.name] = rates
        self._history[metric.name] = (bad, bad + good)

    def knows(self, metric: Metric) -> bool:
        """Return whether it was drawn how the users fare by *metric*."""
        return metric.name in self._rates

    def rates(self, metric: Metric) -> Floats:
        """Return how often each user fares badly without the candidate."""
        return self._rates[metric.name]

    def history(self, metric: Metric) -> tuple[Floats, Floats]:
        """Return the bad events and the events of each before the ramp."""
        return self._history[metric.name]
