"""After 100 per cent without a holdback: has it become worse than it was?"""

from __future__ import annotations

import math

from collections.abc import Mapping, Sequence
from typing import cast

import attrs

from ..canonical import JSON
from .confseq import bernoulli_interval
from .grid import GRID, Side, log_mean_exp, steps


_MOST = math.log(1e300)


@attrs.frozen(kw_only=True)
class Detector:
    """
    A Shiryaev-Roberts detector of a rate that rises above a limit.

    Without control there is nothing to be compared with, so the promise is weaker: not
    "ever falsely with probability alpha", but "on average no false alarm before so much
    time". For each alternative of the grid the detector sums the likelihood ratios over
    every moment at which the rate could have changed,

        M <- (M + passed) L,

    and averages over the grid. M minus the time passed is a supermartingale while the
    rate is at most *limit*, so the mean time until M >= c is at least c (Shin, Ramdas
    and Rinaldo, "E-detectors", New England Journal of Statistics in Data Science 2023:
    the e-SR detector and its run length; Roberts, Technometrics 1966).

    Where r streams count the same units perhaps, each step is the geometric mean of
    theirs, as in `BernoulliProcess`. A further stream makes that of all steps before a
    mean over one more: with p = r / (r + 1) the sum over the beginnings s is then

        sum_s passed_s L_s ** p  >=  (sum_s passed_s L_s) ** p

    for a *passed* of at least 1, and the detector goes on from the right-hand side.

    Attributes:
        limit: The highest rate that is still as before; `learned_limit` finds one.
        grid: Odds ratios of the alternatives.
        logs: log M of each alternative; empty before the first update.
        streams: r: in how many streams one and the same unit may have counted.
    """

    limit: float
    grid: tuple[float, ...] = GRID
    logs: tuple[float, ...] = ()
    streams: int = 1

    @classmethod
    def above(cls, limit: float) -> Detector:
        """
        Start to watch for a rate above *limit*.

        Raises:
            ValueError: *limit* is not above 0 and below 1.
        """
        steps(limit, Side.HARM)
        return cls(limit=limit)

    def update(
        self, bad: int, n: int, *, passed: float = 1.0, streams: int = 1
    ) -> Detector:
        """
        Return the detector after *n* more events, *bad* of them bad.

        Args:
            bad: Bad events; one a unit at most.
            n: Events.
            passed: How much of the promised time this step takes, above 0 and known
                before its outcomes: 1 to promise in steps, seconds to promise in
                seconds.
            streams: In how many streams a unit of them may have counted so far.

        Raises:
            ValueError: Not 0 <= *bad* <= *n*, or *passed* is not above 0.
        """
        if not (0 <= bad <= n < math.inf and 0 < passed < math.inf):
            msg = (
                f"detector: got {bad} bad of {n} in {passed};"
                f" write 0 <= bad <= n, and a time above 0"
            )
            raise ValueError(msg)
        up, down = steps(self.limit, Side.HARM, self.grid)
        before = [math.log(passed)] * len(self.grid)
        r = max(self.streams, streams)
        if self.logs:
            kept = self.streams / r
            before = [_log_add(kept * log, before[0]) for log in self.logs]
        return Detector(
            limit=self.limit,
            grid=self.grid,
            logs=tuple(
                log + (bad * u + (n - bad) * d) / r
                for log, u, d in zip(before, up, down, strict=True)
            ),
            streams=r,
        )

    @property
    def level(self) -> float:
        """M, in the unit of the promised time; 0 at the start, at most 1e300."""
        return math.exp(min(log_mean_exp(self.logs), _MOST)) if self.logs else 0.0

    def fires(self, run_length: float) -> bool:
        """
        Return whether to raise an alarm, and begin again after it.

        Args:
            run_length: The promise: without a change, the mean time until an alarm is
                at least this, in the unit of *passed*.
        """
        return self.level >= run_length

    def restart(self) -> Detector:
        """Return the detector as it was at first, for after an alarm."""
        return Detector(limit=self.limit, grid=self.grid, streams=self.streams)

    def to_json(self) -> dict[str, JSON]:
        """Return what `from_json` reads back to an equal detector."""
        return {
            "limit": self.limit,
            "grid": list(self.grid),
            "logs": list(self.logs),
            "streams": self.streams,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, JSON]) -> Detector:
        """Read what `to_json` wrote."""
        return cls(
            limit=float(cast("float", value["limit"])),
            grid=tuple(cast("Sequence[float]", value["grid"])),
            logs=tuple(cast("Sequence[float]", value["logs"])),
            streams=int(cast("int", value["streams"])),
        )


def learned_limit(
    bad: int, n: int, *, alpha: float = 0.05, n_opt: float = 10_000
) -> float:
    """
    Return an upper bound of a rate from what was seen before 100 per cent.

    With the rate itself in place of a bound the detector would take every second
    baseline for a change. The bound holds whenever the baseline ended, with probability
    1 - alpha (`bernoulli_interval`), and with it the promised run length.

    Args:
        bad: Bad events of the baseline.
        n: Its events.
        alpha: How likely the bound may be too low.
        n_opt: The number of events for which the bound is made tightest, fixed before.

    Raises:
        ValueError: Not 0 <= *bad* <= *n*, *n* is 0, or *alpha* is not inside 0..1.
    """
    return bernoulli_interval(bad, n, alpha=alpha, t_opt=n_opt).high


def _log_add(a: float, b: float) -> float:
    top = max(a, b)
    return top + math.log1p(math.exp(min(a, b) - top))
