"""A view of a cache: one scope's entries, and no others."""

from __future__ import annotations

import asyncio

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Generic, NamedTuple, Protocol

import attrs

from .embedding import UnitVectors
from .flight import SingleFlight
from .given import pair, plain, refuse_async, refuse_plain
from .hit import Explanation, Hit, V
from .key import normalised
from .lifetime import Terms
from .partition import Partition
from .shelf import Item, Outcome, Shelf
from .stats import CacheStats


if TYPE_CHECKING:
    import numpy as np

    from numpy.typing import NDArray


class Admission(Protocol):
    """What the cache asks of plugins; `legion.Plugins` has it."""

    def admit(self, query: str, value: object) -> bool:
        """Say whether an answer may be stored."""
        ...


class Answered(NamedTuple, Generic[V]):
    """An answer, and how it came about."""

    value: V
    outcome: Outcome


@attrs.define(eq=False)
class Scope(Generic[V]):
    """
    A view of a cache: one scope's entries, and no others.

    Made by `SemanticCache.scope`. Views of the same scope see the same entries; the
    capacity is the whole cache's. A scope's counts last as long as it has entries or
    somebody holds a view of it.
    """

    _shelf: Shelf[V]
    _embed: UnitVectors
    _plugins: Admission | None
    _flights: SingleFlight[Answered[V]]
    _partition: Partition[V]

    @property
    def name(self) -> str:
        """Key of the scope: canonical JSON of tenant and settings, "" by default."""
        return self._partition.scope

    def get(self, question: str) -> Hit[V] | None:
        """
        Return the answer to this question, or to one that is near enough, or None.

        The same question is found without embedding it.

        Raises:
            EmbeddingError: The embedder did not return one usable vector.
        """
        key = normalised(question)
        hit = self._shelf.exact(self._partition, key)
        if hit is not None:
            return hit
        if not len(self._partition):
            self._shelf.count(self._partition, "misses")
            return None
        return self._shelf.similar(self._partition, key, self._embed([key])[0])

    def get_many(self, questions: Iterable[str]) -> list[Hit[V] | None]:
        """
        Look several questions up, with one call of the embedder at most.

        Returns:
            What `get` would for each, in order.

        Raises:
            EmbeddingError: The embedder did not return one usable vector a question.
        """
        keys = [normalised(question) for question in questions]
        hits = [self._shelf.exact(self._partition, key) for key in keys]
        rest = [i for i, hit in enumerate(hits) if hit is None]
        if not len(self._partition):
            for _ in rest:
                self._shelf.count(self._partition, "misses")
        elif rest:
            asked = [keys[i] for i in rest]
            vectors = self._vectors(asked)
            found = self._shelf.similar_many(
                self._partition, asked, [vectors[key] for key in asked]
            )
            for i, hit in zip(rest, found, strict=True):
                hits[i] = hit
        return hits

    def put(
        self,
        question: str,
        answer: V,
        *,
        ttl_s: float | None = None,
        sliding: bool | None = None,
        tags: Iterable[str] = (),
        cost: float = 1.0,
    ) -> bool:
        """
        Store an answer; it replaces that of the same question.

        An answer of None is a negative entry: it is known that there is no answer.

        Args:
            question: What was asked.
            answer: What was answered.
            ttl_s: How long it lasts, in seconds; the cache's own by default, and
                `math.inf` for no end.
            sliding: Whether each hit lets it last that long once more; the cache's own
                by default.
            tags: What `invalidate` may take it out by.
            cost: What the answer cost to make, in any unit that is the same for all, as
                the seconds that `get_or_compute` measures; the eviction ``cost`` keeps
                what was expensive.

        Returns:
            False if a plugin keeps it out, or it takes more bytes than there may be.

        Raises:
            EmbeddingError: The embedder did not return one usable vector; nothing is
                stored.
            ValueError: *ttl_s* or *cost* is out of range; nothing is stored.
            TypeError: *tags* is one string; nothing is stored.
        """
        key = normalised(question)
        terms = Terms.of(ttl_s=ttl_s, sliding=sliding, tags=tags, cost=cost)
        if not self._admits(question, answer):
            return False
        item = Item(key, question, answer, self._embed([key])[0], terms)
        return self._shelf.store(self._partition, [item]) == 1

    def put_many(
        self,
        pairs: Iterable[tuple[str, V]],
        *,
        ttl_s: float | None = None,
        sliding: bool | None = None,
        tags: Iterable[str] = (),
        cost: float = 1.0,
    ) -> int:
        """
        Store several answers, with one call of the embedder.

        Each is stored as `put` would, on the same terms.

        Returns:
            How many were stored.

        Raises:
            EmbeddingError: The embedder did not return one usable vector a question;
                none is stored.
            TypeError: One is no pair, or its question no text; none is stored.
        """
        given = [pair(one) for one in pairs]
        keyed = [(normalised(question), question, answer) for question, answer in given]
        terms = Terms.of(ttl_s=ttl_s, sliding=sliding, tags=tags, cost=cost)
        admitted = [each for each in keyed if self._admits(each[1], each[2])]
        if not admitted:
            return 0
        vectors = self._vectors([key for key, _, _ in admitted])
        return self._shelf.store(
            self._partition,
            (Item(key, q, answer, vectors[key], terms) for key, q, answer in admitted),
        )

    def _vectors(self, keys: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        distinct = list(dict.fromkeys(keys))
        return dict(zip(distinct, self._embed(distinct), strict=True))

    def _admits(self, question: str, answer: V) -> bool:
        if self._plugins is None or self._plugins.admit(question, answer):
            return True
        self._shelf.count(self._partition, "refused")
        return False

    def get_or_compute(self, question: str, compute: Callable[[str], V]) -> V:
        """
        Return the answer that is stored, or compute and store it.

        Who asks the same question meanwhile, from whatever thread or loop, waits for
        it. An exception goes to all of them, and nothing is stored. What the answer
        cost, for the eviction ``cost``, is the time it took, in seconds.

        Raises:
            EmbeddingError: The embedder did not return one usable vector; nothing was
                computed.
            RuntimeError: *compute* asks for the very answer it computes, or for one
                whose computation waits for this one.
            TypeError: *compute* is async; `aget_or_compute` takes it.
        """
        key = normalised(question)
        hit = self._shelf.exact(self._partition, key)
        if hit is not None:
            return hit.value
        refuse_async(compute)

        first = False

        def answer() -> Answered[V]:
            nonlocal first
            first = True
            vector = self._embed([key])[0]
            hit = self._shelf.similar(self._partition, key, vector)
            if hit is not None:
                return _found(hit)
            began = self._shelf.clock.machine()
            computed = plain(compute(question))
            return self._keep(question, key, computed, vector, began)

        outcome: Outcome = "misses"
        try:
            answered = self._flights.run((self.name, key), answer)
            outcome = answered.outcome
        finally:
            if not first:
                self._count_waiter(outcome)
        return answered.value

    async def aget_or_compute(
        self, question: str, compute: Callable[[str], Awaitable[V]]
    ) -> V:
        """
        Do as `get_or_compute` does, for asyncio; the embedder runs in a thread.

        Cancelling one who waits leaves the computation to the others.

        Raises:
            TypeError: What *compute* returns cannot be awaited; nothing is stored. A
                plain function would hold the loop up, so none is taken.
        """
        key = normalised(question)
        hit = self._shelf.exact(self._partition, key)
        if hit is not None:
            return hit.value

        first = False

        async def answer() -> Answered[V]:
            nonlocal first
            first = True
            vector = (await asyncio.to_thread(self._embed, [key]))[0]
            hit = self._shelf.similar(self._partition, key, vector)
            if hit is not None:
                return _found(hit)
            began = self._shelf.clock.machine()
            computed = compute(question)
            refuse_plain(computed)
            return self._keep(question, key, await computed, vector, began)

        outcome: Outcome = "misses"
        try:
            answered = await self._flights.arun((self.name, key), answer)
            outcome = answered.outcome
        finally:
            if not first:
                self._count_waiter(outcome)
        return answered.value

    def _keep(
        self,
        question: str,
        key: str,
        value: V,
        vector: NDArray[np.float32],
        began_s: float,
    ) -> Answered[V]:
        if self._admits(question, value):
            terms = Terms(cost=self._shelf.clock.machine() - began_s)
            item = Item(key, question, value, vector, terms)
            self._shelf.store(self._partition, [item])
        return Answered(value, "misses")

    def _count_waiter(self, outcome: Outcome) -> None:
        self._shelf.count(self._partition, outcome)
        self._shelf.count(self._partition, "coalesced")

    def explain(self, question: str) -> Explanation:
        """
        Say what `get` would find, and why; it counts nothing and refreshes nothing.

        It compares the question with every entry of the scope.

        Raises:
            EmbeddingError: The embedder did not return one usable vector.
        """
        key = normalised(question)
        known = not len(self._partition) or key in self._partition.exact
        vector = None if known else self._embed([key])[0]
        return self._shelf.explain(self._partition, key, vector)

    def forget(self, hit: Hit[V]) -> bool:
        """Take out the entry of *hit*; False if it is gone, or another scope's."""
        return self._shelf.forget(hit, within=self._partition)

    def invalidate(self, tag: str) -> int:
        """Take out the entries of this scope that have *tag*, and return how many."""
        return self._shelf.invalidate(tag, within=self._partition)

    def clear(self) -> None:
        """Take out every entry of this scope."""
        self._shelf.clear(within=self._partition)

    def stats(self) -> CacheStats:
        """Return what happened in this scope."""
        return self._shelf.stats(within=self._partition)

    def __len__(self) -> int:
        return len(self._partition)


def _found(hit: Hit[V]) -> Answered[V]:
    return Answered(hit.value, "exact_hits" if hit.exact else "semantic_hits")
