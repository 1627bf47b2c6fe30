"""Answers given before, and who may have them again."""

from __future__ import annotations

from collections.abc import Mapping
from threading import Lock
from typing import TYPE_CHECKING, Protocol

import attrs

from cachetools import LRUCache

from ..hookspecs import hookimpl
from ..model import Arm, Count


if TYPE_CHECKING:
    from ..cache import SemanticCache


@attrs.frozen
class Answer:
    """
    An answer.

    Attributes:
        article: The help article it rests on, or "" where none fits.
        text: What the customer reads.
    """

    article: str
    text: str


class Reuse(Protocol):
    """Answers already given, and how often one was given again."""

    def get(self, question: str) -> Answer | None:
        """Return the answer to reuse, or None."""
        ...

    def put(self, question: str, answer: Answer) -> None:
        """Keep *answer* for later."""
        ...

    @property
    def lookups(self) -> int:
        """How often it was asked."""
        ...

    @property
    def hits(self) -> int:
        """How often it had an answer."""
        ...

    @property
    def size(self) -> int:
        """How many answers it keeps."""
        ...

    @property
    def capacity(self) -> int:
        """How many answers it has room for."""
        ...

    @property
    def near(self) -> int | None:
        """How many of the hits were for another wording, or None if none can be."""
        ...


@attrs.define(eq=False)
class ExactReuse:
    """
    Reuse for the identical question; the least recently used answer makes room.

    Args:
        capacity: How many answers it keeps.
    """

    capacity: int
    lookups: int = attrs.field(init=False, default=0)
    hits: int = attrs.field(init=False, default=0)
    near: None = attrs.field(init=False, default=None)
    _answers: LRUCache[str, Answer] = attrs.field(init=False)
    _lock: Lock = attrs.field(init=False, factory=Lock)

    def __attrs_post_init__(self) -> None:
        self._answers = LRUCache(self.capacity)

    @property
    def size(self) -> int:
        """How many answers it keeps."""
        return len(self._answers)

    def get(self, question: str) -> Answer | None:
        """Return the answer to this very question, or None."""
        with self._lock:
            answer = self._answers.get(question)
            self.lookups += 1
            self.hits += answer is not None
            return answer

    def put(self, question: str, answer: Answer) -> None:
        """Keep *answer*."""
        with self._lock:
            self._answers[question] = answer


@attrs.define(eq=False)
class SemanticReuse:
    """
    Reuse for a question that means nearly the same.

    Args:
        cache: Where the answers are.
    """

    cache: SemanticCache[Answer]

    @property
    def lookups(self) -> int:
        """How often it was asked."""
        return self.cache.stats().lookups

    @property
    def hits(self) -> int:
        """How often it had an answer."""
        stats = self.cache.stats()
        return stats.exact_hits + stats.semantic_hits

    @property
    def size(self) -> int:
        """How many answers it keeps."""
        return len(self.cache)

    @property
    def capacity(self) -> int:
        """How many answers it has room for."""
        return self.cache.stats().capacity

    @property
    def near(self) -> int:
        """How many of the hits were for another wording."""
        return self.cache.stats().semantic_hits

    def get(self, question: str) -> Answer | None:
        """Return the answer to a question near enough, or None."""
        hit = self.cache.get(question)
        return None if hit is None else hit.value

    def put(self, question: str, answer: Answer) -> None:
        """Keep *answer*."""
        self.cache.put(question, answer)


@attrs.define(eq=False)
class ReuseSource:
    """How often each version reused an answer, since last asked."""

    versions: Mapping[Arm, Reuse]
    _seen: dict[Arm, tuple[int, int]] = attrs.field(init=False, factory=dict)

    @hookimpl
    def legion_observe(self, plan: str, arm: Arm) -> dict[str, Count | float]:
        """Answer with the look-ups of *arm* and how many of them hit."""
        reuse = self.versions[arm]
        hits, lookups = self._seen.get(arm, (0, 0))
        self._seen[arm] = (reuse.hits, reuse.lookups)
        return {"cache_hit_rate": Count(reuse.hits - hits, reuse.lookups - lookups)}
