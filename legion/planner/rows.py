"""Three unhealthy windows in a row: the rule as it is, window by window."""

from __future__ import annotations

import math

from collections.abc import Mapping
from statistics import NormalDist
from typing import TYPE_CHECKING

import attrs
import numpy as np

from .question import Question, Watched
from .workload import Workload


if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

_Z = np.linspace(-7.0, 7.0, 2_801)
_LOGITS = np.array(
    [math.log(NormalDist().cdf(z)) - math.log(NormalDist().cdf(-z)) for z in _Z]
)


@attrs.frozen(kw_only=True, eq=False)
class Rows:
    """
    Draws the windows of the criteria that are counted in a row.

    Windows are disjoint, an interval long at least, and hold what the criterion needs.
    The quantile of n latencies is drawn as the order statistic that it is.

    Attributes:
        question: How many in a row, of which criteria.
        workload: The traffic.
        units: By metric, mature units of the candidate at each look, on average.
        bad: By metric, the candidate's share of bad units, shape (runs or 1, looks).
        effects: By metric, how many times as slow the candidate is.
        rho: The candidate's share; of the pairs in shadow, a half.
    """

    question: Question
    workload: Workload
    units: Mapping[str, Floats]
    bad: Mapping[str, Floats]
    effects: Mapping[str, float]
    rho: float

    def first(self, runs: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
        """Return at which look each run has the row; the number of looks if never."""
        looks = len(next(iter(self.units.values()))) if self.units else 0
        found = np.full(runs, looks, dtype=np.int64)
        for watched in self.question.watched:
            units = self.units.get(watched.metric.name)
            if units is None or not units.any():
                continue
            size = max(math.ceil(watched.min_events / float(units.mean())), 1)
            if size * self.question.in_a_row > looks:
                continue
            unhealthy = self._unhealthy(watched, size, runs, rng)
            fired = _in_a_row(unhealthy, self.question.in_a_row)
            at = np.where(
                fired.any(axis=1), (fired.argmax(axis=1) + 1) * size - 1, looks
            )
            found = np.minimum(found, at)
        return found

    def _unhealthy(
        self, watched: Watched, size: int, runs: int, rng: np.random.Generator
    ) -> npt.NDArray[np.bool_]:
        """Return which windows are unhealthy, shape (runs, windows)."""
        name = watched.metric.name
        units = self.units[name]
        windows = len(units) // size
        cut = windows * size
        n = np.maximum(
            units[:cut].reshape(windows, size).sum(axis=1), watched.min_events
        ).astype(np.int64)
        if watched.rise:
            value = self._rise(watched, n, (runs, windows), rng)
            return np.asarray(value >= watched.alert)
        bad = self.bad[name][:, :cut]
        share = np.minimum(bad.reshape(len(bad), windows, size).mean(axis=2), 1.0)
        value = rng.binomial(np.broadcast_to(n, (runs, windows)), share) / n
        alert = watched.alert
        return np.asarray(
            value >= (1 - alert if watched.metric.higher_is_better else alert)
        )

    def _rise(
        self,
        watched: Watched,
        n: npt.NDArray[np.int64],
        shape: tuple[int, int],
        rng: np.random.Generator,
    ) -> Floats:
        candidate = self._quantile(watched, n, shape, rng)
        control = self._quantile(
            watched, (n * (1 - self.rho) / self.rho).astype(np.int64), shape, rng
        )
        slower = math.log(self.effects.get(watched.metric.name, 1.0))
        return np.asarray(
            np.expm1(self.workload.spread * (candidate - control) + slower)
        )

    def _quantile(
        self,
        watched: Watched,
        n: npt.NDArray[np.int64],
        shape: tuple[int, int],
        rng: np.random.Generator,
    ) -> Floats:
        """Return the quantile of n standard normal values."""
        n = np.maximum(n, 1)
        rank = np.clip(np.ceil(watched.metric.quantile * n), 1, n)
        above, below = rng.gamma(n + 1 - rank, size=shape), rng.gamma(rank, size=shape)
        return np.asarray(np.interp(np.log(below) - np.log(above), _LOGITS, _Z))


def _in_a_row(unhealthy: npt.NDArray[np.bool_], count: int) -> npt.NDArray[np.bool_]:
    """Return at which windows the last *count* were all unhealthy."""
    found = unhealthy.copy()
    for back in range(1, count):
        found[:, back:] &= unhealthy[:, :-back]
        found[:, :back] = False
    return found
