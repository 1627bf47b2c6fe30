"""From which value on a criterion is how bad."""

from __future__ import annotations

import math

from collections.abc import Iterator

import attrs

from ..model import Level


@attrs.frozen
class Limits:
    """
    The values at which a level is reached; None where there is no such level.

    A limit is reached by the value itself: ``>=`` where high is bad, ``<=`` where low
    is.

    Attributes:
        warning: Makes a task of medium priority.
        alert: Counts as unhealthy.
        critical: Takes the rollout back.
    """

    warning: float | None = None
    alert: float | None = None
    critical: float | None = None

    def __iter__(self) -> Iterator[tuple[Level, float]]:
        """Yield (level, limit) of those there are, the mildest first."""
        for level in (Level.WARNING, Level.ALERT, Level.CRITICAL):
            limit = getattr(self, level.name.lower())
            if limit is not None:
                yield level, limit

    def fault(self, *, lower_is_worse: bool) -> str | None:
        """Return what is wrong with these limits, or None."""
        values = [limit for _, limit in self]
        if not values:
            return "has no limit; write warning=, alert= or critical="
        if any(isinstance(value, bool) or not math.isfinite(value) for value in values):
            return f"has the limits {values}; write finite numbers"
        if values != sorted(values, reverse=lower_is_worse):
            word = "fall" if lower_is_worse else "rise"
            return f"has the limits {values}; they must {word} from warning to critical"
        return None

    def level(self, value: float, *, lower_is_worse: bool) -> Level:
        """Return the worst level that *value* reaches."""
        reached = Level.OK
        for level, limit in self:
            if value <= limit if lower_is_worse else value >= limit:
                reached = level
        return reached

    def as_dict(self) -> dict[str, float]:
        """Return the limits by level name."""
        return {level.name.lower(): limit for level, limit in self}
