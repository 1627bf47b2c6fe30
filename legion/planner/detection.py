"""What control did before everybody had the candidate, and what has risen since."""

from __future__ import annotations

import functools
import math

from typing import TYPE_CHECKING

import attrs
import numpy as np

from ..stages.evidence.limit import LEAST
from ..stages.evidence.rates import STRETCH_S, STRETCH_UNITS
from ..stages.plan import Stage
from ..stats import GRID, learned_limit
from .question import Question
from .scenario import Scenario
from .weigh import Tally
from .workload import Workload


if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

_TINY = 1e-300


def expected_limit(question: Question, workload: Workload) -> float | None:
    """Return the limit that is learned on average, or None where there is nothing."""
    rate, before = workload.bad_rate(question.metric), question.before
    if rate is None or before is None:
        return None
    units_per_s = workload.traffic_per_s * (1 - before.traffic)
    dwell_s = before.dwell_s or before.unbroken_for_s or STRETCH_S
    stretch_s = min(max(STRETCH_S, STRETCH_UNITS / units_per_s), dwell_s)
    units = max(round(units_per_s * stretch_s), 1)
    # The worst of so many Poisson counts.
    spread = math.sqrt(2 * units * rate * math.log(max(dwell_s / stretch_s, 1.0)))
    bad = min(round(units * rate + spread), units)
    return _allowed(question, _bound(bad, units, question.alpha / 2))


def learned_limits(
    question: Question,
    workload: Workload,
    scenario: Scenario,
    *,
    runs: int,
    rng: np.random.Generator,
) -> Floats | None:
    """
    Draw what control did in the stage before, and return the limit learned from it.

    Returns:
        Shape (runs,), or None where there is nothing to learn from.
    """
    rate, before = workload.bad_rate(question.metric), question.before
    if rate is None or before is None:
        return None
    bad, units = _stretches(rate, before, workload, scenario, runs=runs, rng=rng)
    shares = bad / units
    worst = np.broadcast_to(shares.argmax(axis=1), (runs,))
    rows = np.arange(runs)
    found = [
        _bound(int(b), int(n), question.alpha / 2)
        for b, n in zip(bad[rows, worst], units[worst], strict=True)
    ]
    return np.array([_allowed(question, each) for each in found])


def _stretches(
    rate: float,
    before: Stage,
    workload: Workload,
    scenario: Scenario,
    *,
    runs: int,
    rng: np.random.Generator,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return bad units (runs, stretches) and units (stretches,) of control."""
    interval_s = before.check_interval_s
    dwell_s = before.dwell_s or before.unbroken_for_s or STRETCH_S
    looks = max(math.ceil(dwell_s / interval_s), 1)
    at_s = interval_s * np.arange(looks, dtype=np.float64)
    a_look = workload.traffic_per_s * (1 - before.traffic) * interval_s
    units = a_look * scenario.load(at_s)
    badness = np.minimum(rate * scenario.badness(at_s, runs, rng), 0.95)
    bad = rng.poisson(np.broadcast_to(units * badness, (runs, len(at_s))))
    length = math.ceil(max(STRETCH_S / interval_s, STRETCH_UNITS / a_look))
    # What does not fill a stretch at the end is none, unless there is no other.
    edges = np.arange(0, max(len(at_s) - length + 1, 1), length)
    kept = slice(0, len(edges) * length)
    all_bad = np.add.reduceat(bad[:, kept], edges, axis=1)
    together = np.rint(np.add.reduceat(units[kept], edges)).astype(np.int64)
    together = np.maximum(together, 1)
    return np.minimum(all_bad, together), together


@functools.lru_cache(maxsize=65_536)
def _bound(bad: int, units: int, alpha: float) -> float:
    return learned_limit(bad, units, alpha=alpha)


def _allowed(question: Question, most: float) -> float:
    share = max(question.ratio * most, question.floor or 0.0)
    return min(share, 1 - LEAST)


@attrs.define(eq=False)
class Detection:
    """
    `legion.stages.evidence.DetectorEvidence` for many runs at once.

    With S the log likelihood ratio up to a step, the level is the sum over all steps s
    of ``passed exp(S - S before s)``, so its logarithm is S and a running logarithm of
    a sum: no loop over time.

    Args:
        question: The question.
        limits: The limit of each run, shape (runs,); None where the rule rests.
        interval_s: Plan time between two looks.
    """

    question: Question
    limits: Floats | None
    interval_s: float
    _seen: int = attrs.field(init=False, default=0)
    _counts: npt.NDArray[np.int64] = attrs.field(init=False)
    _row: npt.NDArray[np.int64] = attrs.field(init=False)
    _ratio: Floats = attrs.field(init=False)
    _begun: Floats = attrs.field(init=False)
    _log_e: Floats = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        runs = 0 if self.limits is None else len(self.limits)
        self._counts = np.zeros((2, runs, 1), dtype=np.int64)
        self._row = np.zeros((runs, 1), dtype=np.int64)
        self._ratio = np.zeros((runs, 1, len(GRID)))
        self._begun = np.full((runs, 1, len(GRID)), -np.inf)
        self._log_e = np.full((runs, 1), -self._halved)

    @property
    def _halved(self) -> float:
        return math.log(2) if self.question.learned else 0.0

    @property
    def _step(self) -> int:
        """How many looks are weighed as a whole."""
        return max(math.ceil(self.question.step_s / self.interval_s), 1)

    def log_e(self, tally: Tally) -> Floats:
        """Return the log e-values of the next looks, in nats; *tally* adds up."""
        shape = tally.candidate.shape
        if self.limits is None:
            return np.zeros(shape)
        assert tally.good is not None
        first, self._seen = self._seen, self._seen + shape[1]
        over = np.flatnonzero((np.arange(first, self._seen) + 1) % self._step == 0)
        bad = tally.candidate if tally.events is None else tally.events
        self._look(np.array([bad, bad + tally.good]))
        ends = self._weigh(bad[:, over], tally.good[:, over], first + over + 1)
        # Between two steps it stays as it was.
        known = np.concatenate([self._log_e, ends], axis=1)
        self._log_e = known[:, -1:]
        last = np.searchsorted(over, np.arange(shape[1]), side="right")
        return np.asarray(known[:, last])

    def _look(self, counts: npt.NDArray[np.int64]) -> None:
        """Count, look by look, how many in a row were beyond the limit."""
        assert self.limits is not None
        bad, units = np.diff(np.concatenate([self._counts, counts], axis=2), axis=2)
        self._counts = counts[:, :, -1:]
        place = np.arange(bad.shape[1])
        healthy = np.where(bad <= self.limits[:, None] * units, place, -1)
        last = np.maximum.accumulate(healthy, axis=1)
        self._row = place - last + np.where(last < 0, self._row[:, -1:], 0)

    def row(self, shape: tuple[int, int]) -> npt.NDArray[np.int64]:
        """Return how many looks in a row were beyond the limit, at each of these."""
        return self._row if self.limits is not None else np.zeros(shape, np.int64)

    def _weigh(
        self,
        bad: npt.NDArray[np.int64],
        good: npt.NDArray[np.int64],
        looks: npt.NDArray[np.int64],
    ) -> Floats:
        if not bad.shape[1]:
            return np.zeros(bad.shape)
        assert self.limits is not None
        odds = np.array(GRID)
        down = -np.log1p(self.limits[:, None, None] * (odds - 1))
        ratio = bad[..., None] * (np.log(odds) + down) + good[..., None] * down
        before = np.concatenate([self._ratio, ratio[:, :-1]], axis=1)
        passed_s = self._step * self.interval_s
        starts = np.concatenate([self._begun, math.log(passed_s) - before], axis=1)
        begun = np.logaddexp.accumulate(starts, axis=1)
        self._ratio, self._begun = ratio[:, -1:], begun[:, -1:]
        level = np.logaddexp.reduce(ratio + begun[:, 1:], axis=2) - math.log(len(GRID))
        horizon_s = self.question.horizon_s
        left_s = np.maximum(horizon_s - looks * self.interval_s, 0.0)
        log_e = np.logaddexp(level, np.log(np.maximum(left_s, _TINY)))
        return np.asarray(log_e - math.log(horizon_s) - self._halved)

    def keep(self, runs: npt.NDArray[np.bool_]) -> None:
        """Go on with these runs only."""
        if self.limits is not None:
            self.limits = self.limits[runs]
            self._ratio, self._begun = self._ratio[runs], self._begun[runs]
            self._log_e, self._row = self._log_e[runs], self._row[runs]
            self._counts = self._counts[:, runs]
