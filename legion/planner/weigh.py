"""The engine's e-values, for many runs and looks at once."""

from __future__ import annotations

import functools
import math

from typing import TYPE_CHECKING

import attrs

from ..stages.slices import MOST
from ..stats import GRID, PairedProcess, Side, label_share, log_e_of_counts
from .question import Method, Question


if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


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

    candidate: npt.NDArray[np.int64]
    control: npt.NDArray[np.int64]
    good: npt.NDArray[np.int64] | None = None
    both: npt.NDArray[np.int64] | None = None
    events: npt.NDArray[np.int64] | None = None
    exact: npt.NDArray[np.float64] | None = None

    def of(self, slices: npt.NDArray[np.bool_]) -> Tally:
        """Return what was counted in these slices, where slices are counted."""
        return Tally(
            candidate=self.candidate[:, slices],
            control=self.control[:, slices],
            good=None if self.good is None else self.good[:, slices],
            both=None if self.both is None else self.both[:, slices],
        )


def log_e(question: Question, tally: Tally, *, rho: float) -> npt.NDArray[np.float64]:
    """
    Return the log e-value of a question at each look, in nats.

    Args:
        question: The question, not one of failures in a row.
        tally: What was counted, in any shape.
        rho: The candidate's share of the units.

    Returns:
        The shape of what was counted.
    """
    import numpy as np

    if question.method is Method.LIMIT:
        found = _beyond(tally, question.limit or 0.5, question.side)
        if question.compared is None:
            return found
        versus = attrs.evolve(question, method=question.compared, limit=None)
        return np.minimum(found, log_e(versus, tally, rho=rho))
    if question.method is Method.PAIRED:
        found = _paired(question, tally)
    else:
        limit = label_share(question.ratio, rho=rho)
        found = log_e_of_counts(
            tally.candidate, tally.control, limit=limit, side=question.side
        )
        if tally.exact is not None:
            found = np.logaddexp(found, tally.exact) - math.log(2)
    if question.floor is None:
        return found
    floor = _beyond(tally, question.floor, question.side)
    # As `log_both` and `log_either` have it, for arrays.
    if question.side is Side.HARM:
        return np.minimum(found, floor)
    return np.asarray(np.logaddexp(found, floor) - math.log(2))


def over_places(
    logs: npt.NDArray[np.float64], places: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float64]:
    """
    Return the log of the mean e-value over all places that slices can have.

    Args:
        logs: The log e-value of each slice, shape (runs, slices, looks).
        places: Which have a place; one that nobody has is 1.

    Returns:
        Shape (runs, looks).
    """
    import numpy as np

    free = MOST - places.sum(axis=1)
    empty = np.log(free, where=free > 0, out=np.full(free.shape, -np.inf))
    taken = np.logaddexp.reduce(np.where(places, logs, -np.inf), axis=1)
    return np.asarray(np.logaddexp(taken, empty) - math.log(MOST))


def _beyond(tally: Tally, limit: float, side: Side) -> npt.NDArray[np.float64]:
    assert tally.good is not None
    bad = tally.candidate if tally.events is None else tally.events
    bad = bad if tally.both is None else bad + tally.both
    return log_e_of_counts(bad, tally.good, limit=limit, side=side)


def _paired(question: Question, tally: Tally) -> npt.NDArray[np.float64]:
    import numpy as np

    total = np.asarray(-np.inf)
    both = 0 if tally.both is None else tally.both
    for one, other, alike in _bets(question.side, question.ratio):
        logs = tally.candidate * one + tally.control * other + both * alike
        total = np.logaddexp(total, logs)
    return np.asarray(total - math.log(len(GRID)))


@functools.cache
def _bets(side: Side, ratio: float) -> tuple[tuple[float, float, float], ...]:
    """Return what a pair adds to each bet of the process: candidate, control, both."""

    def adds(g: float, candidate: int, control: int, both: int) -> float:
        start = PairedProcess.harm if side is Side.HARM else PairedProcess.proof
        one = attrs.evolve(start(ratio), grid=(g,))
        return one.update(1, candidate=candidate, control=control, both=both).log_e

    return tuple((adds(g, 1, 0, 0), adds(g, 0, 1, 0), adds(g, 0, 0, 1)) for g in GRID)
