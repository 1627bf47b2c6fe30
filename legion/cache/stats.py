"""How often what happened."""

from __future__ import annotations

import attrs


@attrs.frozen(kw_only=True)
class CacheStats:
    """
    What happened in a cache or a scope so far.

    Attributes:
        lookups: Questions asked; each is an exact hit, a semantic hit or a miss.
        exact_hits: Answered for the same question.
        semantic_hits: Answered for a question that is near enough.
        misses: Not answered from the cache.
        coalesced: Look-ups that waited for what another one was finding or computing;
            they are among the hits or misses, as that one was.
        puts: Answers stored.
        refused: Answers that a plugin kept out.
        evictions: Entries that made room for others.
        entries: Entries there are now.
        capacity: Entries the whole cache may hold, or a scope that has a limit.
        expired: Entries whose time was over.
        bytes: What the entries take; 0 where the cache has no `capacity_bytes`.
        capacity_bytes: Bytes the whole cache may take, or a scope that has a limit.
        disk_bytes: What the file takes, vectors included; 0 without one, and of a scope.
        storage_savings: Share of bytes saved by the last snapshot against the same
            entries as lines of plain JSON, vectors counted in neither; None without
            entries on disk, and of a scope.
    """

    lookups: int = 0
    exact_hits: int = 0
    semantic_hits: int = 0
    misses: int = 0
    coalesced: int = 0
    puts: int = 0
    refused: int = 0
    evictions: int = 0
    entries: int = 0
    capacity: int = 0
    expired: int = 0
    bytes: int = 0
    capacity_bytes: int | None = None
    disk_bytes: int = 0
    storage_savings: float | None = None

    @property
    def hits(self) -> int:
        """Look-ups answered from the cache."""
        return self.exact_hits + self.semantic_hits

    @property
    def hit_rate(self) -> float | None:
        """Hits per look-up, 0..1, or None before the first look-up."""
        return self.hits / self.lookups if self.lookups else None


@attrs.define(eq=False)
class Tally:
    """The counters behind a `CacheStats`; guarded by the lock of who owns it."""

    exact_hits: int = 0
    semantic_hits: int = 0
    misses: int = 0
    coalesced: int = 0
    puts: int = 0
    refused: int = 0
    evictions: int = 0
    expired: int = 0

    def stats(
        self, *, entries: int, capacity: int, size: int, capacity_bytes: int | None
    ) -> CacheStats:
        """Return the counters as a fact."""
        return CacheStats(
            lookups=self.exact_hits + self.semantic_hits + self.misses,
            entries=entries,
            capacity=capacity,
            bytes=size,
            capacity_bytes=capacity_bytes,
            **attrs.asdict(self),
        )
