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
    is. So a deadlock of exactly 60 s is critical, and so is the first failed checksum.

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

    def fault(self, *, lower_is_worse: bool, unit: str = "") -> str | None:
        """Return what is wrong with these limits, or None."""
        values = [limit for _, limit in self]
        if not values:
            return "has no limit; write warning=, alert= or critical="
        for level, limit in self:
            if not _finite(limit):
                return f"got {level.name.lower()}={limit!r}; write a finite number"
            if unit == "share" and not 0 <= limit <= 1:
                return (
                    f"got {level.name.lower()}={limit!r}; a share is 0 to 1,"
                    " write 0.05 for 5 %"
                )
        ordered = sorted(set(values), reverse=lower_is_worse)
        if values != ordered:
            word = "fall" if lower_is_worse else "rise"
            given = ", ".join(f"{x.name.lower()}={y:g}" for x, y in self)
            return f"got {given}; write limits that {word} from warning to critical"
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


def _finite(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value)
