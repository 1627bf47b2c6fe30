"""The engine's e-values, for many runs and looks at once."""

from __future__ import annotations

import functools
import math

from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs
import numpy as np

from ..stages.slices import MOST
from ..stats import GRID, LATER, PairedProcess, Side, label_share
from ..stats.grid import steps
from ..stats.onset import COARSE
from .question import Method, Question


if TYPE_CHECKING:
    import numpy.typing as npt

    Bools = npt.NDArray[np.bool_]
    Counts = npt.NDArray[np.int64]
    Floats = npt.NDArray[np.float64]

_TOO_MUCH = 1e100
_MOST_NATS = 400.0


@attrs.frozen(kw_only=True, eq=False)
class Tally:
    """
    What has been counted so far, each of shape (runs, looks) or (runs, slices, looks).

    Attributes:
        candidate: Bad units of the candidate; in shadow, pairs where it alone is bad.
        control: Bad units of control; in shadow, pairs where it alone is bad.
        good: Good units of the candidate, where a limit asks for them.
        both: Pairs in which both are bad.
        events: Bad units of the candidate by their first visit, where *candidate* are
            those by any visit.
        exact: The exact test's log e-value, where units come back.
    """

    candidate: Counts
    control: Counts
    good: Counts | None = None
    both: Counts | None = None
    events: Counts | None = None
    exact: Floats | None = None

    def of(self, slices: Bools) -> Tally:
        """Return what was counted in these slices, where slices are counted."""
        return Tally(
            candidate=self.candidate[:, slices],
            control=self.control[:, slices],
            good=None if self.good is None else self.good[:, slices],
            both=None if self.both is None else self.both[:, slices],
        )


@attrs.define(eq=False)
class Weighing:
    """
    The e-value of one question in many runs, block by block.

    Args:
        question: The question, not one of failures in a row.
        rho: The candidate's share of the units.
        looks: How many looks the engine expects; a proof does without.
    """

    question: Question
    rho: float = attrs.field(kw_only=True)
    looks: float = attrs.field(kw_only=True)
    _onsets: dict[str, Onsets] = attrs.field(init=False, factory=dict)

    def log_e(self, tally: Tally, *, places: Bools | None = None) -> Floats:
        """
        Return the log of the e-value at each look of a block, in nats.

        Args:
            tally: What was counted up to each look; blocks come in order.
            places: Which of the slices have a place, of the same shape.

        Returns:
            The shape of what was counted.
        """
        question = self.question
        if question.method is Method.LIMIT:
            found = self._beyond(tally, question.limit or 0.5, places)
            if question.compared is None:
                return found
            return np.minimum(found, self._compared(question.compared, tally, places))
        found = self._compared(question.method, tally, places)
        if question.floor is None:
            return found
        floor = self._beyond(tally, question.floor, places)
        # As `log_both` and `log_either` have it, for arrays.
        if question.side is Side.HARM:
            return np.minimum(found, floor)
        return np.asarray(np.logaddexp(found, floor) - math.log(2))

    def _compared(self, method: Method, tally: Tally, places: Bools | None) -> Floats:
        question = self.question
        counts = [tally.candidate, tally.control]
        if method is Method.PAIRED:
            both = np.zeros_like(tally.candidate) if tally.both is None else tally.both
            bets = _bets(question.side, question.ratio)
            return self._mixed("pairs", [*counts, both], bets, places)
        limit = label_share(question.ratio, rho=self.rho)
        found = self._mixed("label", counts, steps(limit, question.side), places)
        if tally.exact is not None:
            found = np.logaddexp(found, tally.exact) - math.log(2)
        return found

    def _beyond(self, tally: Tally, limit: float, places: Bools | None) -> Floats:
        assert tally.good is not None
        bad = tally.candidate if tally.events is None else tally.events
        bad = bad if tally.both is None else bad + tally.both
        adds = steps(limit, self.question.side)
        return self._mixed("limit", [bad, tally.good], adds, places)

    def _mixed(
        self,
        name: str,
        counts: Sequence[Counts],
        adds: Sequence[Sequence[float]],
        places: Bools | None,
    ) -> Floats:
        """Return the mixture over the grid, and over when harm begins."""
        first = np.asarray(-np.inf)
        for each in zip(*adds, strict=True):
            first = np.logaddexp(first, _together(counts, each))
        first = np.asarray(first - math.log(len(GRID)))
        if self.question.side is Side.PROOF:
            return first
        part = min(1 / max(self.looks, 1.0), 0.5)
        onsets = self._onsets.setdefault(name, Onsets(part))
        coarse = [each[COARSE] for each in adds]
        late = np.log(onsets.e_values(counts, coarse, places))
        return np.logaddexp(math.log1p(-LATER) + first, math.log(LATER) + late)

    def keep(self, runs: Bools) -> None:
        """Go on with these runs only."""
        for each in self._onsets.values():
            each.keep(runs)


@attrs.define(eq=False)
class Onsets:
    """
    `legion.stats.Onset` for many runs: what begins later, without the first test.

    Args:
        part: The share of the cash that each look begins with.
    """

    part: float
    _cash: Floats = attrs.field(init=False)
    _late: Floats = attrs.field(init=False)
    _last: list[Counts] = attrs.field(init=False, factory=list)

    def e_values(
        self,
        counts: Sequence[Counts],
        adds: Sequence[Sequence[float]],
        places: Bools | None,
    ) -> Floats:
        """Return cash and what has begun at each look, for counts of (.., looks)."""
        if not self._last:
            shape = counts[0].shape[:-1]
            self._cash, self._late = np.ones(shape), np.zeros((len(adds[0]), *shape))
            self._last = [np.zeros((*shape, 1), dtype=np.int64) for _ in counts]
        gains = self._gains(counts, adds)
        found: Floats = np.empty(counts[0].shape)
        for look in range(found.shape[-1]):
            stake = self.part * self._cash
            if places is not None:
                stake = stake * places[..., look]
            self._late = np.minimum((self._late + stake) * gains[..., look], _TOO_MUCH)
            self._cash = self._cash - stake
            found[..., look] = self._cash + self._late.mean(axis=0)
        self._last = [each[..., -1:] for each in counts]
        return found

    def _gains(
        self, counts: Sequence[Counts], adds: Sequence[Sequence[float]]
    ) -> Floats:
        """Return the likelihood ratios of each look alone, shape (grid, .., looks)."""
        new = [
            np.diff(each, axis=-1, prepend=last)
            for each, last in zip(counts, self._last, strict=True)
        ]
        logs = np.array([_together(new, each) for each in zip(*adds, strict=True)])
        return np.asarray(np.exp(np.minimum(logs, _MOST_NATS)))

    def keep(self, runs: Bools) -> None:
        """Go on with these runs only."""
        self._cash, self._late = self._cash[runs], self._late[:, runs]
        self._last = [each[runs] for each in self._last]


def _together(counts: Sequence[Counts], adds: Sequence[float]) -> Floats:
    """Return what all the counts add to one likelihood ratio, in nats."""
    found = np.zeros(counts[0].shape)
    for n, add in zip(counts, adds, strict=True):
        found += n * add
    return found


def over_places(logs: Floats, places: Bools) -> Floats:
    """
    Return the log of the mean e-value over all places that slices can have.

    Args:
        logs: The log e-value of each slice, shape (runs, slices, looks).
        places: Which have a place; one that nobody has is 1.

    Returns:
        Shape (runs, looks).
    """
    free = MOST - places.sum(axis=1)
    empty = np.log(free, where=free > 0, out=np.full(free.shape, -np.inf))
    taken = np.logaddexp.reduce(np.where(places, logs, -np.inf), axis=1)
    return np.asarray(np.logaddexp(taken, empty) - math.log(MOST))


@functools.cache
def _bets(side: Side, ratio: float) -> tuple[tuple[float, ...], ...]:
    """Return what each kind of pair adds to each bet: candidate, control, both."""

    def adds(g: float, candidate: int, control: int, both: int) -> float:
        start = PairedProcess.harm if side is Side.HARM else PairedProcess.proof
        one = attrs.evolve(start(ratio), grid=(g,))
        return one.update(1, candidate=candidate, control=control, both=both).log_e

    kinds = ((1, 0, 0), (0, 1, 0), (0, 0, 1))
    return tuple(tuple(adds(g, *kind) for g in GRID) for kind in kinds)
