"""A cache as the source of its arm's hit rate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import attrs

from ..hookspecs import hookimpl
from ..model import Arm, Count
from .stats import CacheStats


class Counted(Protocol):
    """A cache or a scope of it, whatever it holds."""

    def stats(self) -> CacheStats:
        """Return what happened so far."""
        ...


@attrs.define(eq=False)
class CacheSource:
    """
    A plugin that supplies what the cache that one arm uses has to say.

    That is its ``cache_hit_rate`` and, if it has a file, its ``storage_savings``.

    Attributes:
        cache: The cache, or a scope of it.
        arm: The arm that uses it.
    """

    cache: Counted
    arm: Arm
    _last: CacheStats = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._last = self.cache.stats()

    @hookimpl
    def legion_observe(self, plan: str, arm: Arm) -> Mapping[str, Count | float] | None:
        """Return hits and look-ups since it was last asked, for its arm only."""
        if arm is not self.arm:
            return None
        last, now = self._last, self.cache.stats()
        self._last = now
        said: dict[str, Count | float] = {
            "cache_hit_rate": Count(now.hits - last.hits, now.lookups - last.lookups)
        }
        if now.storage_savings is not None:
            said["storage_savings"] = now.storage_savings
        return said
