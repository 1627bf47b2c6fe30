"""A view of a cache: one scope's entries, and no others."""

from __future__ import annotations

import asyncio

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Generic, NamedTuple, Protocol, cast

import attrs

from .accept import Asked, Ticket
from .embedding import UnitVectors
from .flight import SingleFlight
from .given import pair, plain, refuse_async, refuse_plain
from .hit import Explanation, Hit, V
from .judge import Judge
from .key import normalised
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
    _judge: Judge[V] | None
    _flights: SingleFlight[Answered[V]]
    _partition: Partition[V]

    @property
    def name(self) -> str:
        """Key of the scope: canonical JSON of tenant and settings, "" by default."""
        return self._partition.scope

    def get(self, question: str) -> Hit[V] | None:
        """
        Return the answer to this question, or to one that is near enough, or None.

        The same question is found without embedding it. Where the cache has a judge,
        what the coin takes is judged before it is returned, and is a miss if it is
        wrong: only these answers are late by the judge's time.

        Raises:
            EmbeddingError: The embedder did not return one usable vector.
        """
        self._refuse_async_judge("get")
        key = normalised(question)
        hit = self._shelf.exact(self._partition, key)
        if hit is not None:
            return hit
        if not len(self._partition):
            self._shelf.count(self._partition, "misses")
            return None
        return self._find(self._asked(question, key, self._embed([key])[0]))

    def get_many(self, questions: Iterable[str]) -> list[Hit[V] | None]:
        """
        Look several questions up, with one call of the embedder at most.

        Returns:
            What `get` would for each, in order.

        Raises:
            EmbeddingError: The embedder did not return one usable vector a question.
        """
        self._refuse_async_judge("get_many")
        questions = list(questions)
        keys = [normalised(question) for question in questions]
        hits = [self._shelf.exact(self._partition, key) for key in keys]
        rest = [i for i, hit in enumerate(hits) if hit is None]
        if not len(self._partition):
            for _ in rest:
                self._shelf.count(self._partition, "misses")
        elif rest:
            vectors = self._vectors([keys[i] for i in rest])
            for i in rest:
                key = keys[i]
                hits[i] = self._find(self._asked(questions[i], key, vectors[key]))
        return hits

    async def aget(self, question: str) -> Hit[V] | None:
        """
        Do as `get` does, for asyncio; the embedder runs in a thread.

        What the coin takes is served at once and judged afterwards.
        """
        key = normalised(question)
        hit = self._shelf.exact(self._partition, key)
        if hit is not None:
            return hit
        if not len(self._partition):
            self._shelf.count(self._partition, "misses")
            return None
        vector = (await asyncio.to_thread(self._embed, [key]))[0]
        return self._afind(self._asked(question, key, vector, later=True))

    def put(self, question: str, answer: V) -> bool:
        """
        Store an answer; it replaces that of the same question.

        Returns:
            False if a plugin keeps it out.

        Raises:
            EmbeddingError: The embedder did not return one usable vector; nothing is
                stored.
        """
        return self.put_many([(question, answer)]) == 1

    def put_many(self, pairs: Iterable[tuple[str, V]]) -> int:
        """
        Store several answers, with one call of the embedder.

        Returns:
            How many were stored; plugins keep out the others.

        Raises:
            EmbeddingError: The embedder did not return one usable vector a question;
                none is stored.
            TypeError: One is no pair, or its question no text; none is stored.
        """
        given = [pair(one) for one in pairs]
        keyed = [(normalised(question), question, answer) for question, answer in given]
        admitted = [each for each in keyed if self._admits(each[1], each[2])]
        if admitted:
            vectors = self._vectors([key for key, _, _ in admitted])
            self._shelf.store(
                self._partition,
                (Item(key, q, answer, vectors[key]) for key, q, answer in admitted),
            )
        return len(admitted)

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
        it. An exception goes to all of them, and nothing is stored.

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
        self._refuse_async_judge("get_or_compute")

        first = looked = False

        def answer() -> Answered[V]:
            nonlocal first, looked
            first = True
            vector = self._embed([key])[0]
            if not looked:
                looked = True
                hit = self._find(self._asked(question, key, vector))
                if hit is not None:
                    return _found(hit)
            return self._keep(question, key, plain(compute(question)), vector)

        while True:
            outcome: Outcome = "misses"
            try:
                answered = self._flights.run((self.name, key), answer)
                outcome = answered.outcome
                if first or not self._is_others(outcome):
                    return answered.value
            finally:
                if not (first or looked or self._is_others(outcome)):
                    self._count_waiter(outcome)
            if not looked:
                looked = True
                vector = self._embed([key])[0]
                hit = self._find(self._asked(question, key, vector))
                if hit is not None:
                    return hit.value

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

        first = looked = False

        async def answer() -> Answered[V]:
            nonlocal first, looked
            first = True
            vector = (await asyncio.to_thread(self._embed, [key]))[0]
            if not looked:
                looked = True
                hit = self._afind(self._asked(question, key, vector, later=True))
                if hit is not None:
                    return _found(hit)
            computed = compute(question)
            refuse_plain(computed)
            return self._keep(question, key, await computed, vector)

        while True:
            outcome: Outcome = "misses"
            try:
                answered = await self._flights.arun((self.name, key), answer)
                outcome = answered.outcome
                if first or not self._is_others(outcome):
                    return answered.value
            finally:
                if not (first or looked or self._is_others(outcome)):
                    self._count_waiter(outcome)
            if not looked:
                looked = True
                vector = (await asyncio.to_thread(self._embed, [key]))[0]
                hit = self._afind(self._asked(question, key, vector, later=True))
                if hit is not None:
                    return hit.value

    def _is_others(self, outcome: Outcome) -> bool:
        """
        Say whether an answer may be had only by who looked it up.

        Where wrong answers are counted, one that is shared would count for several and
        be charged for one. So who waited for it looks for itself.
        """
        return outcome == "semantic_hits" and self._shelf.threshold is None

    def _asked(
        self,
        question: str,
        key: str,
        vector: NDArray[np.float32],
        *,
        later: bool = False,
    ) -> Asked[V]:
        first = self._judge is not None and not later
        return Asked(key, question, vector, first, self._admits)

    def _refuse_async_judge(self, method: str) -> None:
        if self._judge is not None:
            self._judge.refuse_async(method)

    def _find(self, asked: Asked[V]) -> Hit[V] | None:
        """Look up, and have the judge asked before anybody gets what the coin took."""
        hit = self._shelf.similar(self._partition, asked)
        if hit is None or not hit.audit or self._judge is None:
            return hit
        ticket = cast("Ticket[V]", hit._ticket)
        right = None
        try:
            right = self._judge.ask(asked.question, hit.value)
        finally:
            served = self._shelf.settle(ticket, right)
        return hit if served else None

    def _afind(self, asked: Asked[V]) -> Hit[V] | None:
        """Look up, and have the judge asked behind the answer's back."""
        hit = self._shelf.similar(self._partition, asked)
        if hit is not None and hit.audit and self._judge is not None:
            self._judge.later(self._settle_later(self._judge, asked, hit))
        return hit

    async def _settle_later(
        self, judge: Judge[V], asked: Asked[V], hit: Hit[V]
    ) -> None:
        right = await judge.aask(asked.question, hit.value)
        if right is not None:
            self._shelf.told(cast("Ticket[V]", hit._ticket), right)

    def _keep(
        self, question: str, key: str, value: V, vector: NDArray[np.float32]
    ) -> Answered[V]:
        if self._admits(question, value):
            self._shelf.store(self._partition, [Item(key, question, value, vector)])
        return Answered(value, "misses")

    def _count_waiter(self, outcome: Outcome) -> None:
        self._shelf.count(self._partition, outcome)
        self._shelf.count(self._partition, "coalesced")

    def explain(self, question: str) -> Explanation:
        """
        Say what `get` would find, and why; it counts nothing and refreshes nothing.

        Raises:
            EmbeddingError: The embedder did not return one usable vector.
        """
        key = normalised(question)
        if not len(self._partition) or key in self._partition.exact:
            return self._shelf.explain(self._partition, key, None)
        asked = self._asked(question, key, self._embed([key])[0])
        return self._shelf.explain(self._partition, key, asked)

    def forget(self, hit: Hit[V]) -> bool:
        """Take out the entry of *hit*; False if it is gone, or another scope's."""
        return self._shelf.forget(hit, within=self._partition)

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
