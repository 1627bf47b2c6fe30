"""The grid of alternatives that harm and proof are weighed against."""

from __future__ import annotations

import enum
import functools
import math

from collections.abc import Sequence
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

GRID = (1.1, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0)
"""How many times worse (harm) or better (proof) than the null, with equal weights."""


class Side(enum.StrEnum):
    """What an e-process speaks for."""

    HARM = "harm"
    """The null is "not worse than the limit"; evidence says that it is worse."""

    PROOF = "proof"
    """The null is "at least as bad as the limit"; evidence says that it is better."""


@functools.lru_cache(maxsize=1024)
def steps(
    limit: float, side: Side, grid: tuple[float, ...] = GRID
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """
    Return what one bad and one good event add to the log of each likelihood ratio.

    The alternative of a grid point g has the odds of *limit* times g (harm) or divided
    by g (proof), so it stays between 0 and 1 and

        log L(good) = -log(1 + limit (g - 1)),    log L(bad) = log g + log L(good).

    The mean of L is 1 where an event is bad with probability *limit*, and at most 1
    everywhere in the null (Wald, 1945; as a test martingale: Ramdas, Grunwald, Vovk and
    Shafer, Statistical Science 2023).

    Args:
        limit: The largest (harm) or least (proof) probability of the null, inside 0..1.
        side: What the evidence is for.
        grid: Numbers above 1.

    Returns:
        Steps for a bad event and for a good one, one a grid point, in nats.

    Raises:
        ValueError: *limit* or a grid point is out of its range.
    """
    if not 0 < limit < 1:
        msg = f"limit: got {limit}; write a probability above 0 and below 1"
        raise ValueError(msg)
    if not grid or not all(1 < g < math.inf for g in grid):
        msg = f"grid: got {grid}; write numbers above 1"
        raise ValueError(msg)
    odds = [g if side is Side.HARM else 1 / g for g in grid]
    good = tuple(-math.log1p(limit * (g - 1)) for g in odds)
    bad = tuple(math.log(g) + step for g, step in zip(odds, good, strict=True))
    return bad, good


def log_mean_exp(logs: Sequence[float]) -> float:
    """Return the log of the mean of the exponentials; never overflows."""
    top = max(logs)
    total = 0.0
    for each in logs:
        total += math.exp(each - top)
    return top + math.log(total / len(logs))


def log_e_of_counts(
    bad: npt.NDArray[np.int64],
    good: npt.NDArray[np.int64],
    *,
    limit: float,
    side: Side = Side.HARM,
    grid: tuple[float, ...] = GRID,
) -> npt.NDArray[np.float64]:
    """
    Return the log of the mixture e-value for many counts at once, for simulations.

    Args:
        bad: Bad events so far, any shape.
        good: Good events so far, of a shape that broadcasts with *bad*.
        limit: As for `steps`.
        side: As for `steps`.
        grid: As for `steps`.

    Returns:
        Nats, in the common shape.

    Raises:
        ValueError: As for `steps`.
    """
    import numpy as np

    total = np.asarray(-np.inf)
    for up, down in zip(*steps(limit, side, grid), strict=True):
        total = np.logaddexp(total, bad * up + good * down)
    return np.asarray(total - math.log(len(grid)), dtype=np.float64)
