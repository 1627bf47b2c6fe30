"""The system under change: it answers customers' questions."""

from __future__ import annotations

import functools

from collections.abc import Mapping
from typing import Protocol, cast

import attrs

from cachetools import LRUCache

from ..cache import SemanticCache
from ..cache.embedders import wordllama
from ..canonical import JSON
from .retrieval import Retrieval
from .trace import Trace


SETTINGS_400: Mapping[str, JSON] = {
    "reuse": "exact",
    "capacity": 200,
    "shortlist": 24,
    "rounds": 1,
    "strict_punctuation": False,
}
"""Settings of 4.0.0: an answer is reused for the identical question."""

SETTINGS_410: Mapping[str, JSON] = {
    **SETTINGS_400,
    "reuse": "semantic",
    "threshold": 0.85,
}
"""Settings of 4.1.0: also for a question that means nearly the same."""


@attrs.frozen
class Answer:
    """
    What a customer is told.

    Attributes:
        article: Which help article it is from.
        text: The words.
    """

    article: str
    text: str


class Reuse(Protocol):
    """Answers already given."""

    hits: int
    lookups: int

    @property
    def size(self) -> int:
        """How many answers are kept."""
        ...

    def get(self, question: str) -> Answer | None:
        """Return an answer that can be reused."""
        ...

    def put(self, question: str, answer: Answer) -> None:
        """Keep an answer."""
        ...


@attrs.define(eq=False)
class ExactReuse:
    """Reuses an answer for the identical question."""

    capacity: int
    hits: int = attrs.field(init=False, default=0)
    lookups: int = attrs.field(init=False, default=0)
    _answers: LRUCache[str, Answer] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._answers = LRUCache(self.capacity)

    @property
    def size(self) -> int:
        """How many answers are kept."""
        return len(self._answers)

    def get(self, question: str) -> Answer | None:
        """Return the answer to this very question."""
        self.lookups += 1
        found = self._answers.get(question)
        self.hits += found is not None
        return found

    def put(self, question: str, answer: Answer) -> None:
        """Keep an answer."""
        self._answers[question] = answer


@attrs.define(eq=False)
class SemanticReuse:
    """Reuses an answer for a question that means nearly the same."""

    cache: SemanticCache[Answer]
    hits: int = attrs.field(init=False, default=0)
    lookups: int = attrs.field(init=False, default=0)

    @property
    def size(self) -> int:
        """How many answers are kept."""
        return len(self.cache)

    def get(self, question: str) -> Answer | None:
        """Return the answer to the nearest question, if it is near enough."""
        self.lookups += 1
        hit = self.cache.get(question)
        self.hits += hit is not None
        return None if hit is None else hit.value

    def put(self, question: str, answer: Answer) -> None:
        """Keep an answer."""
        self.cache.put(question, answer)


@attrs.define(eq=False)
class Answering:
    """
    One version of the system.

    Attributes:
        reuse: Answers already given.
    """

    reuse: Reuse
    _retrieval: Retrieval = attrs.field(alias="retrieval")
    _shortlist: int = attrs.field(alias="shortlist")
    _rounds: int = attrs.field(alias="rounds")
    _strict: bool = attrs.field(alias="strict")

    def answer(self, question: str) -> Answer:
        """
        Answer *question*, from an earlier answer if one can be reused.

        Raises:
            ValueError: Only a version with a bug in its parser.
        """
        found = self.reuse.get(question)
        if found is not None:
            return found
        if self._strict:
            _parse(question)
        known = self._retrieval.best(
            question, shortlist=self._shortlist, rounds=self._rounds
        )
        article = known.category or known.text
        answer = Answer(article, f"See {article}: {known.text}")
        self.reuse.put(question, answer)
        return answer


def _parse(question: str) -> None:
    """Take the question apart as the faulty version does: it trips over apostrophes."""
    for word in question.split():
        stem, _, rest = word.partition("'")
        if rest:
            msg = f"cannot parse {word!r} after {stem!r}"
            raise ValueError(msg)


@functools.lru_cache(maxsize=4)
def _retrieval(trace: Trace) -> Retrieval:
    """Build the index once for all versions; it never changes."""
    return Retrieval(trace.corpus)


def build(trace: Trace, settings: Mapping[str, JSON]) -> Answering:
    """
    Build a version from its settings, which are what the registry holds.

    Args:
        trace: The questions; its corpus is what is known.
        settings: As `SETTINGS_400` has them.
    """
    chosen = cast("Mapping[str, int]", settings)
    capacity = chosen["capacity"]
    reuse: Reuse
    if settings["reuse"] == "exact":
        reuse = ExactReuse(capacity)
    else:
        threshold = float(chosen["threshold"])
        cache = SemanticCache[Answer](
            wordllama(), threshold=threshold, capacity=capacity
        )
        reuse = SemanticReuse(cache)
    return Answering(
        reuse,
        retrieval=_retrieval(trace),
        shortlist=chosen["shortlist"],
        rounds=chosen["rounds"],
        strict=bool(settings["strict_punctuation"]),
    )
