"""Users who come back: who they are, which arm they have, how they fare."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import numpy as np

from ..metrics import Metric


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

    def rates(self, metric: Metric, rate: float, *, time: bool) -> Floats:
        """Return how often each user fares badly without the candidate."""
        if metric.name not in self._rates:
            shape = _UNEVEN_TIMES if time else _UNEVEN
            self._rates[metric.name] = self.rng.beta(
                shape, shape * (1 / rate - 1), self.activity.shape
            )
        return self._rates[metric.name]

    def remember(self, metric: Metric, rates: Floats, *, events: float) -> None:
        """Let *events* events pass before any user has the candidate."""
        mean = self.activity * events
        bad = self.rng.poisson(mean * rates).astype(np.float64)
        good = self.rng.poisson(mean * (1 - rates)).astype(np.float64)
        self._history[metric.name] = (bad, bad + good)

    def history(self, metric: Metric) -> tuple[Floats, Floats]:
        """Return the bad events and the events of each before the ramp."""
        nothing = np.zeros_like(self.activity)
        return self._history.get(metric.name, (nothing, nothing))
