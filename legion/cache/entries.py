"""What the cache holds, and what it answers."""

from __future__ import annotations

from typing import Generic, TypeVar

import attrs


V = TypeVar("V")


@attrs.define(eq=False)
class Entry(Generic[V]):
    """
    One question and its answer.

    Attributes:
        number: Counts the insertions; names the entry for ever.
        scope: The scope it belongs to.
        key: The normalised question.
        question: The question as it was put.
        value: The answer.
        put_s: When, in seconds of the cache's timer.
    """

    number: int
    scope: str
    key: str
    question: str
    value: V
    put_s: float


@attrs.frozen(kw_only=True)
class Hit(Generic[V]):
    """
    An answer found.

    Attributes:
        value: The answer.
        question: The question it was given to.
        similarity: Cosine of both questions' embeddings; 1 where they are equal.
        exact: Whether the question is the same but for white space.
        age_s: How long ago it was put, in seconds.
        scope: The scope it was found in.
        id: Names the entry.
    """

    value: V
    question: str
    similarity: float
    exact: bool
    age_s: float
    scope: str
    id: int


@attrs.frozen(kw_only=True)
class Explanation:
    """
    What a look-up would find, and why.

    Attributes:
        outcome: ``exact_hit``, ``semantic_hit`` or ``miss``.
        reason: One sentence.
        nearest: The nearest question that is stored, or None.
        similarity: Its cosine, or None.
        threshold: The cosine from which an answer is reused.
    """

    outcome: str
    reason: str
    nearest: str | None
    similarity: float | None
    threshold: float


@attrs.define
class CacheStats:
    """
    How often what happened, since the cache was made.

    Attributes:
        lookups: Questions asked.
        exact_hits: Answered for the same question.
        semantic_hits: Answered for a question that is near enough.
        puts: Answers stored.
        refused: Answers that a plugin kept out.
        evictions: Entries that made room for others.
        entries: Entries there are now.
        capacity: Entries there can be.
    """

    lookups: int = 0
    exact_hits: int = 0
    semantic_hits: int = 0
    puts: int = 0
    refused: int = 0
    evictions: int = 0
    entries: int = 0
    capacity: int = 0

    @property
    def hits(self) -> int:
        """Look-ups that were answered."""
        return self.exact_hits + self.semantic_hits

    @property
    def misses(self) -> int:
        """Look-ups that were not answered."""
        return self.lookups - self.hits

    @property
    def hit_rate(self) -> float | None:
        """Hits per look-up, or None before the first one."""
        return self.hits / self.lookups if self.lookups else None
