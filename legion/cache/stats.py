"""How often what happened."""

from __future__ import annotations

import attrs

from .budget import CONFIDENCE


@attrs.frozen(kw_only=True)
class CacheStats:
    """
    What happened in a cache or a scope so far.

    Attributes:
        lookups: Questions asked; each is an exact hit, a semantic hit or a miss.
        exact_hits: Answered for the same question, from whatever tier.
        semantic_hits: Answered for a question that is near enough.
        misses: Not answered from the cache.
        coalesced: Look-ups that waited for what another one was finding or computing;
            they are among the hits or misses, as that one was.
        puts: Answers stored.
        refused: Answers that were put and not stored: a plugin kept them out, they take
            more bytes than there may be, or the cache only reads. And those that were
            computed and cannot be stored, as the log says.
        evictions: Entries that made room for others.
        saved_tokens: What hits saved, where a `Meter` knows what answers cost.
        saved_money: The same, in its currency.
        entries: Entries there are now, aliases included.
        capacity: Entries the whole cache may hold, or a scope that has a limit.
        expired: Entries whose time was over.
        bytes: What the entries take; 0 where the cache has no `capacity_bytes`.
        capacity_bytes: Bytes the whole cache may take, or a scope that has a limit.
        vetoed: Misses whose nearest question was near enough and meant something else.
        over_budget: Misses that might have been hits, had the error budget not been
            spent.
        judged: Answers that the coin chose and the judge, or somebody, answered for.
        wrong: Answers that are known to be wrong; most of the judged ones were never
            served.
        wrong_limit: How many wrong answers were served at most, with the confidence.
            Of the whole cache, and of the whole life of its file, as are look-ups,
            hits, misses, judged and wrong then. None of a scope, without `max_error`,
            and where a repair lost what was known.
        confidence: With which probability that is so, at every moment; or None.
        disk_bytes: What the file takes, vectors included; 0 without one, and of a scope.
        disk_hits: Exact hits that were on disk alone, and are in memory again.
        shared_hits: Exact hits from the shared tier, and in memory from now on.
        shared_failures: How often the shared tier raised; 0 of a scope.
        unusable: Misses whose row, in a tier below memory, was damaged or another's.
        overflow_entries: Entries that are on disk alone now.
        overflow_bytes: What these take before they are packed; 0 of a scope.
        storage_savings: Share of bytes saved by the last snapshot against the same
            entries as lines of plain JSON, vectors counted in neither; None without
            entries on disk, and of a scope.
        behind: Why the file lacks something that memory has, until a snapshot has it
            all: one is tried again after a second, two, four, up to a minute. None
            where it lacks nothing, and of a scope.
    """

    lookups: int = 0
    exact_hits: int = 0
    semantic_hits: int = 0
    misses: int = 0
    coalesced: int = 0
    puts: int = 0
    refused: int = 0
    evictions: int = 0
    saved_tokens: int = 0
    saved_money: float = 0.0
    entries: int = 0
    capacity: int = 0
    expired: int = 0
    bytes: int = 0
    capacity_bytes: int | None = None
    vetoed: int = 0
    over_budget: int = 0
    judged: int = 0
    wrong: int = 0
    wrong_limit: int | None = None
    confidence: float | None = None
    disk_bytes: int = 0
    disk_hits: int = 0
    shared_hits: int = 0
    shared_failures: int = 0
    unusable: int = 0
    overflow_entries: int = 0
    overflow_bytes: int = 0
    storage_savings: float | None = None
    behind: str | None = None

    @property
    def hits(self) -> int:
        """Look-ups answered from the cache."""
        return self.exact_hits + self.semantic_hits

    @property
    def hit_rate(self) -> float | None:
        """Hits per look-up, 0..1, or None before the first look-up."""
        return self.hits / self.lookups if self.lookups else None

    @property
    def error_per_request(self) -> float | None:
        """Wrong answers per look-up at most, 0..1, with the confidence; or None."""
        if self.wrong_limit is None or not self.lookups:
            return None
        return self.wrong_limit / self.lookups

    @property
    def error_per_hit(self) -> float | None:
        """Wrong answers per hit at most, 0..1, with the confidence; or None."""
        if self.wrong_limit is None or not self.hits:
            return None
        return min(self.wrong_limit / self.hits, 1.0)

    @property
    def audit_cost(self) -> float | None:
        """Judgements per hit, or None before the first hit."""
        return self.judged / self.hits if self.hits else None


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
    saved_tokens: int = 0
    saved_money: float = 0.0
    vetoed: int = 0
    over_budget: int = 0
    judged: int = 0
    wrong: int = 0
    disk_hits: int = 0
    shared_hits: int = 0
    unusable: int = 0

    @property
    def lookups(self) -> int:
        """Questions that were answered or missed."""
        return self.exact_hits + self.semantic_hits + self.misses

    def stats(
        self,
        *,
        entries: int,
        capacity: int,
        size: int,
        capacity_bytes: int | None,
        wrong_limit: int | None,
    ) -> CacheStats:
        """Return the counters as a fact."""
        return CacheStats(
            lookups=self.lookups,
            entries=entries,
            capacity=capacity,
            bytes=size,
            capacity_bytes=capacity_bytes,
            wrong_limit=wrong_limit,
            confidence=None if wrong_limit is None else CONFIDENCE,
            **attrs.asdict(self),
        )
