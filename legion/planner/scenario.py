"""The circumstances of a simulated rollout."""

from __future__ import annotations

import enum
import math

from typing import TYPE_CHECKING

import attrs

from .workload import WorkloadError


if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_DAY_S = 86_400.0
_MOST_VALUES = 100


class Units(enum.StrEnum):
    """What is randomised."""

    TASKS = "tasks"
    """Each comes once, and may go wrong more than once: retries."""
    STICKY = "sticky"
    """Users who come back: few of them bring most of the traffic and of the errors."""


@attrs.frozen(kw_only=True)
class Bursts:
    """
    Incidents that hit both arms alike.

    Attributes:
        every_s: Mean time between two, in seconds.
        lasts_s: Mean length, in seconds.
        times: How many times as many units are bad then.
    """

    every_s: float = 7_200.0
    lasts_s: float = 60.0
    times: float = 10.0


@attrs.frozen(kw_only=True)
class Scenario:
    """
    The circumstances of a simulated rollout.

    Attributes:
        units: What is randomised.
        people: How many sticky units there are.
        late_s: How much later than the candidate's control's bad outcomes are known.
        bursts: Incidents that hit both arms, or None.
        daily: Whether load and errors swing with the day.
        retries: How many times a bad task goes wrong at the most; one is counted.
        count_retries: Count all of them, which no engine must: to see what it costs.
        patience: A stage that cannot be left is given up after so many dwells.
        values: How many values each slice of the plan has: the k-th has a share of the
            units as 1 / k.
    """

    units: Units = Units.TASKS
    people: int = 2_000
    late_s: float = 0.0
    bursts: Bursts | None = None
    daily: bool = False
    retries: int = 4
    count_retries: bool = False
    patience: float = 2.0
    values: int = 20

    def __attrs_post_init__(self) -> None:
        if self.people < 1 or not 0 <= self.late_s < math.inf or self.patience < 1:
            msg = (
                f"scenario: got people={self.people}, late_s={self.late_s},"
                f" patience={self.patience}; write at least 1, 0 and 1"
            )
            raise WorkloadError(msg)
        if not 1 <= self.values <= _MOST_VALUES:
            msg = f"scenario: got values={self.values}; write 1 to {_MOST_VALUES}"
            raise WorkloadError(msg)

    @property
    def says(self) -> str:
        """The circumstances in words."""
        parts = [
            f"tasks with up to {self.retries} bad events"
            if self.units is Units.TASKS
            else f"{self.people:,} sticky units"
        ]
        parts += ["late outcomes"] * bool(self.late_s)
        parts += ["bursts"] * (self.bursts is not None)
        parts += ["daily load"] * self.daily
        return ", ".join(parts)

    @property
    def worst(self) -> float:
        """How many times as many units are bad at the worst moment."""
        day = 1.5 if self.daily else 1.0
        return day * (1.0 if self.bursts is None else self.bursts.times)

    def load(self, at_s: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the load at each time, as a multiple of its mean."""
        import numpy as np

        if not self.daily:
            return np.ones_like(at_s)
        return 1 + 0.8 * np.sin(2 * math.pi * at_s / _DAY_S)

    def badness(
        self, at_s: npt.NDArray[np.float64], runs: int, rng: np.random.Generator
    ) -> npt.NDArray[np.float64]:
        """
        Return how many times as many units of both arms are bad.

        Args:
            at_s: Times, shape (looks,), evenly spaced.
            runs: How many runs.
            rng: Draws the bursts.

        Returns:
            Shape (runs or 1, looks).
        """
        import numpy as np

        swing = np.sin(2 * math.pi * at_s / _DAY_S) if self.daily else 0 * at_s
        found = (1 + 0.5 * swing)[None, :]
        if self.bursts is None or len(at_s) < 2:
            return found
        return found * _burst(self.bursts, at_s, runs, rng)


def _burst(
    bursts: Bursts, at_s: npt.NDArray[np.float64], runs: int, rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    import numpy as np

    step_s = float(at_s[1] - at_s[0])
    spans = np.zeros((runs, len(at_s)))
    begun = rng.poisson(step_s / bursts.every_s, spans.shape)
    for run, look in zip(*np.nonzero(begun), strict=True):
        left_s = float(rng.exponential(bursts.lasts_s))
        first = int(look)
        while left_s > 0 and first < len(at_s):
            spans[run, first] += min(left_s, step_s) / step_s
            left_s -= step_s
            first += 1
    return 1 + (bursts.times - 1) * np.minimum(spans, 1.0)
