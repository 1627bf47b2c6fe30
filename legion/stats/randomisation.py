"""Units that come back: an exact test from the randomness of the split itself."""

from __future__ import annotations

import itertools
import math

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, cast

import attrs

from ..canonical import JSON


if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

EFFECTS = (1.25, 1.5, 2.0, 3.0, 5.0, 10.0)
"""How many times more often a unit of the candidate might go wrong."""

ADDED = (1.0, 4.0)
"""How many times the usual rate of bad events might be added for every unit."""

_PRIOR = 0.1
_LARGEST_WEIGHT = 8.0
_NOTHING = math.log(1e-300)


def randomisation_log_e(
    bad: npt.ArrayLike,
    n: npt.ArrayLike,
    candidate: npt.ArrayLike,
    *,
    rho: npt.ArrayLike,
    rate: float,
    bad_before: npt.ArrayLike = 0,
    n_before: npt.ArrayLike = 0,
    times: Sequence[float] = EFFECTS,
    added: Sequence[float] = ADDED,
) -> float:
    """
    Return the log of one look's e-value that some unit fares worse with the candidate.

    What happened is held fixed; only the arms are random, as they were drawn. A unit
    with y bad of n events now, and b bad of h before, has bad events at a rate that is
    gamma distributed with shape s = a + b and rate r = a / *rate* + h, a = .1, and the
    number of them now is Poisson. Its weight w is the log likelihood ratio of an
    alternative, clipped at -8 and 8:

        y ln g - (s + y) ln((r + g n) / (r + n)),    "g times as often bad";
        ln G(s + d + y) - ln G(s + d) - ln G(s + y) + ln G(s) - d ln((r + n) / r),
            "at a rate that is more by d / r, gamma distributed with shape d",

    with G the gamma function. The e-value is the mean over all alternatives of the
    product over units of ``exp(w A) / (rho exp(w) + 1 - rho)``, with A = 1 for units of
    the candidate. A weight only rises with y. If no unit is
    affected the arms are independent of the weights, and the mean is exactly 1 in any
    finite sample, whatever the tails and however wrong the model; if none is made
    worse, it is at most 1 (randomisation inference: Fisher, 1935; as an e-value:
    Koning, "Post-hoc and anytime valid permutation and group invariance testing",
    2023; the likelihoods: Greenwood and Yule, 1920).

    Args:
        bad: y, shape (units,): bad events of each unit that was exposed, in either arm.
        n: Events of each.
        candidate: Whether each is of the candidate's arm.
        rho: How likely each unit was to get the candidate, shape (units,) or one number
            for all: their share, above 0 and below 1.
        rate: The share of events that are bad, from before the stage or of both arms
            together, above 0; it must not depend on who is in which arm.
        bad_before: b, shape (units,) or 0: bad events before the stage.
        n_before: h, the events before the stage.
        times: Each g of the first kind, above 1.
        added: Each d / r of the second kind in multiples of *rate*, above 0.

    Returns:
        Nats; 0 says nothing.

    Raises:
        ValueError: Shapes differ, not 0 <= bad <= n, there is no alternative, or one,
            *rho* or *rate* is out of its range.
    """
    import numpy as np

    y, events, history_bad, history = _counts(bad, n, bad_before, n_before)
    arms = np.asarray(candidate, dtype=bool)
    if arms.shape != y.shape:
        msg = f"randomisation: got {arms.shape} arms for {y.shape} units"
        raise ValueError(msg)
    chance = np.asarray(rho, dtype=np.float64)
    fits = chance.shape in {(), y.shape} and np.all((chance > 0) & (chance < 1))
    if not (fits and 0 < rate < math.inf):
        msg = (
            f"randomisation: got rho={rho!r}, rate={rate}; write both above 0, rho < 1"
        )
        raise ValueError(msg)
    if not (times or added) or min(times, default=2) <= 1 or min(added, default=1) <= 0:
        msg = f"randomisation: got times={times}, added={added}; write some > 1, > 0"
        raise ValueError(msg)
    shape, base = _PRIOR + history_bad, _PRIOR / rate + history
    bets = itertools.chain(
        _multiplied(y, events, shape, base, times),
        _added(y, events, shape, base, [rate * each for each in added]),
    )
    logs = []
    for raw in bets:
        w = np.clip(raw, -_LARGEST_WEIGHT, _LARGEST_WEIGHT)
        # log(rho e^w + 1 - rho); the weight is clipped, so nothing overflows.
        logs.append(float(np.sum(w[arms]) - np.sum(np.log1p(chance * np.expm1(w)))))
    return float(np.logaddexp.reduce(logs)) - math.log(len(logs))


def _multiplied(
    y: Floats, events: Floats, shape: Floats, base: Floats, times: Sequence[float]
) -> Iterator[Floats]:
    """Yield the weights of the units for "g times as often bad"."""
    import numpy as np

    for g in times:
        yield y * math.log(g) - (shape + y) * np.log(
            (base + g * events) / (base + events)
        )


def _added(
    y: Floats, events: Floats, shape: Floats, base: Floats, rates: Sequence[float]
) -> Iterator[Floats]:
    """Yield the weights of the units for "bad at a rate that is more by this"."""
    import numpy as np

    bad = y > 0
    more, s = y[bad], shape[bad]
    usual = _log_gamma(s + more) - _log_gamma(s)
    for rate in rates:
        w = -rate * base * np.log1p(events / base)
        s = shape[bad] + rate * base[bad]
        w[bad] += _log_gamma(s + more) - _log_gamma(s) - usual
        yield w


def _log_gamma(values: Floats) -> Floats:
    """Return the log of the gamma function of each, which numpy lacks."""
    import numpy as np

    return np.fromiter(map(math.lgamma, values), dtype=np.float64, count=len(values))


def _counts(*counts: npt.ArrayLike) -> list[npt.NDArray[np.float64]]:
    """Return bad, n, bad before and n before as arrays of one shape."""
    import numpy as np

    arrays = [np.asarray(each, dtype=np.float64) for each in counts]
    shape = arrays[0].shape
    if len(shape) != 1 or any(each.shape not in {(), shape} for each in arrays):
        msg = f"randomisation: got counts of shapes {[each.shape for each in arrays]}"
        raise ValueError(msg)
    arrays = [np.broadcast_to(each, shape) for each in arrays]
    for bad, n in (arrays[:2], arrays[2:]):
        if not np.all((bad >= 0) & (bad <= n) & np.isfinite(n)):
            msg = "randomisation: write 0 <= bad <= n for every unit, now and before"
            raise ValueError(msg)
    return arrays


def geometric_looks(
    horizon: float, *, count: int = 10, first: float = 1 / 512
) -> tuple[float, ...]:
    """
    Return when to look, each time a constant factor later.

    Args:
        horizon: When the last look is, above 0: events or seconds of the stage.
        count: How many looks, at least 2.
        first: The first look, as a share of the horizon, above 0 and below 1.

    Raises:
        ValueError: An argument is out of its range.
    """
    if not (0 < horizon < math.inf and count >= 2 and 0 < first < 1):
        msg = f"looks: got horizon={horizon}, count={count}, first={first}"
        raise ValueError(msg)
    return tuple(horizon * first ** (1 - j / (count - 1)) for j in range(count))


@attrs.frozen(kw_only=True)
class RandomisationProcess:
    """
    The exact test at looks fixed beforehand.

    E is the weighted sum of the e-values so far. A look weighs as the square root of
    its time, all of them 1: the last tell most, and one that is a hundred times earlier
    still counts a tenth as much, so a large fault is seen early. E never falls, and the
    full sum has mean 1, so it ever reaches 1 / alpha with probability at most alpha
    (Markov). It is not a martingale between looks: only the planned looks count.

    Attributes:
        looks: When to look, rising, above 0, in the unit of the horizon.
        taken: How many looks have been taken.
        log_sum: Log of the weighted sum of their e-values; None before the first.
    """

    looks: tuple[float, ...]
    taken: int = 0
    log_sum: float | None = None

    @classmethod
    def of(cls, looks: Sequence[float]) -> RandomisationProcess:
        """
        Start a test with these *looks*.

        Raises:
            ValueError: There is none, or they do not rise from above 0.
        """
        if not looks or list(looks) != sorted(set(looks)) or looks[0] <= 0:
            msg = f"looks: got {looks}; write one or more numbers above 0 that rise"
            raise ValueError(msg)
        return cls(looks=tuple(looks))

    def due(self, now: float) -> int:
        """
        Return how many looks are due and not taken; more than one after a pause.

        Args:
            now: Events or seconds of the stage, as the looks are counted.
        """
        return sum(look <= now for look in self.looks[self.taken :])

    def update(self, log_e: float, *, looks: int = 1) -> RandomisationProcess:
        """
        Return the process after a look.

        Args:
            log_e: What `randomisation_log_e` says now, finite.
            looks: How many looks it stands for, as `due` says: those that were missed
                count with what is known now.

        Raises:
            ValueError: There are not so many looks left, or *log_e* is not finite.
        """
        left = len(self.looks) - self.taken
        if not (1 <= looks <= left and math.isfinite(log_e)):
            msg = f"looks: got {looks} with log_e={log_e}; {left} are left"
            raise ValueError(msg)
        roots = [math.sqrt(look) for look in self.looks]
        these = math.fsum(roots[self.taken : self.taken + looks])
        new = log_e + math.log(these / math.fsum(roots))
        if self.log_sum is not None:
            top = max(new, self.log_sum)
            new = top + math.log1p(math.exp(min(new, self.log_sum) - top))
        return attrs.evolve(self, taken=self.taken + looks, log_sum=new)

    @property
    def log_e(self) -> float:
        """The log of the e-value, in nats; before the first look that of 1e-300."""
        return _NOTHING if self.log_sum is None else self.log_sum

    def to_json(self) -> dict[str, JSON]:
        """Return what `from_json` reads back to an equal process."""
        return {"looks": list(self.looks), "taken": self.taken, "log_sum": self.log_sum}

    @classmethod
    def from_json(cls, value: Mapping[str, JSON]) -> RandomisationProcess:
        """Read what `to_json` wrote."""
        log_sum = value["log_sum"]
        return cls(
            looks=tuple(cast("Sequence[float]", value["looks"])),
            taken=int(cast("int", value["taken"])),
            log_sum=None if log_sum is None else float(cast("float", log_sum)),
        )
