"""A cache as a source of its hit rate."""

from __future__ import annotations

from typing import TypeVar

import attrs

from ..hookspecs import hookimpl
from ..model import Arm, Count
from .cache import Scope


V = TypeVar("V")


@attrs.define(eq=False)
class CacheSource:
    """
    Supplies the hit rate of the cache that one arm uses.

    Args:
        cache: The cache, or a scope of it.
        arm: The arm that uses it.
    """

    cache: Scope[object]
    arm: Arm
    _seen: tuple[int, int] = attrs.field(init=False, default=(0, 0))

    @hookimpl
    def legion_observe(self, plan: str, arm: Arm) -> dict[str, Count | float] | None:
        """Return hits and look-ups since last asked."""
        if arm is not self.arm:
            return None
        stats = self.cache.stats()
        hits, lookups = self._seen
        self._seen = (stats.hits, stats.lookups)
        return {"cache_hit_rate": Count(stats.hits - hits, stats.lookups - lookups)}
