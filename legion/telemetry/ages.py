"""How old a unit must be before a metric is read of it."""

from __future__ import annotations

import math

from collections.abc import Iterator, Mapping

from .event import ERROR_RATE


class Ages(dict[str, tuple[int, float]]):
    """
    (bit, age in seconds of machine time) of each metric, made when one first comes.

    A set of metrics is an integer: what a unit had, what of it was bad, what has been
    told of it are one small number each.

    Args:
        matures: Age in seconds, by metric.
        default_s: Age of all other metrics, in seconds.

    Attributes:
        spans: Every age above 0, in seconds, the shortest first.
        longest_s: The age at which nothing more is told.
        error: Bit of the error rate.
        error_s: Its age, in seconds.
        waits: Whether a trial may take as long as it likes, as that age is 0.

    Raises:
        ValueError: An age is not a finite number from 0.
    """

    def __init__(self, matures: Mapping[str, float], default_s: float) -> None:
        super().__init__()
        for name, age_s in {**matures, "all others": default_s}.items():
            if not 0 <= age_s < math.inf:
                msg = f"matures: got {age_s} for {name}; write seconds from 0"
                raise ValueError(msg)
        self._matures = dict(matures)
        self._default_s = float(default_s)
        ages_s = {float(age_s) for age_s in (*matures.values(), default_s)}
        self.spans = sorted(ages_s - {0.0})
        self.longest_s = max(ages_s)
        self.masks: dict[float, int] = dict.fromkeys(ages_s, 0)
        self.error, self.error_s = self[ERROR_RATE]
        self.waits = self.error_s == 0

    def __missing__(self, name: str) -> tuple[int, float]:
        # Slow units count under the name of their metric and what it is held against.
        metric = name if name in self._matures else name.partition(" ")[0]
        age_s = float(self._matures.get(metric, self._default_s))
        found = self[name] = (1 << len(self), age_s)
        self.masks[age_s] |= found[0]
        return found

    def names(self, mask: int) -> Iterator[tuple[str, int]]:
        """Yield (metric, bit) of the metrics in *mask*."""
        if not mask:
            return
        for name, (bit, _) in self.items():
            if mask & bit:
                yield name, bit

    def mask(self, names: list[str]) -> int:
        """Return the set of these metrics."""
        mask = 0
        for name in names:
            mask |= self[name][0]
        return mask
