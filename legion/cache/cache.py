"""The cache and its scopes."""

from __future__ import annotations

import asyncio
import time
import unicodedata

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from threading import RLock
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import attrs

from .embedding import Embed, embedded
from .entries import CacheStats, Entry, Explanation, Hit
from .flight import SingleFlight
from .partition import Partition


if TYPE_CHECKING:
    import numpy as np

    from numpy.typing import NDArray


V = TypeVar("V")


class Admission(Protocol):
    """What the cache needs of `legion.Plugins`."""

    def admit(self, query: str, value: object) -> bool:
        """Say whether an answer may enter."""
        ...


def normalised(question: str) -> str:
    """
    Return what two questions must share to be the same one.

    Unicode is composed and white space folded. Case is kept: "US" is not "us".
    """
    return " ".join(unicodedata.normalize("NFC", question).split())


class Scope(Generic[V]):
    """
    A view of a cache: its own entries, no look-up across.

    Made by `SemanticCache.scope`; has every method of a cache.
    """

    def __init__(self, store: _Store[V], name: str) -> None:
        self._store = store
        self._name = name

    def get(self, question: str) -> Hit[V] | None:
        """
        Return the answer to this question or to one that is near enough, or None.

        Raises:
            EmbeddingError: The embedder did not return one vector.
        """
        return self.get_many([question])[0]

    def get_many(self, questions: Sequence[str]) -> list[Hit[V] | None]:
        """Look several questions up, with one call of the embedder for all."""
        return self._store.find(self._name, questions)

    def put(self, question: str, answer: V) -> bool:
        """
        Store an answer; the same question's earlier one is replaced.

        Returns:
            False if a plugin keeps it out.

        Raises:
            EmbeddingError: The embedder did not return one vector; nothing is stored.
        """
        return self.put_many([(question, answer)]) == 1

    def put_many(self, pairs: Iterable[tuple[str, V]]) -> int:
        """Store several answers with one call of the embedder; return how many."""
        return self._store.put(self._name, list(pairs))

    def get_or_compute(self, question: str, compute: Callable[[str], V]) -> V:
        """
        Return the stored answer, or compute and store it.

        Who asks the same question meanwhile waits for that computation. An exception
        goes to all of them, and nothing is stored.
        """
        hit = self.get(question)
        if hit is not None:
            return hit.value

        def once() -> V:
            # Whoever waited for the lock, not for the answer, may find it there now.
            stored = self._store.stored(self._name, question)
            if stored is not None:
                return stored.value
            answer = compute(question)
            self.put(question, answer)
            return answer

        return self._store.flight.run((self._name, normalised(question)), once)

    async def aget_or_compute(
        self, question: str, compute: Callable[[str], Awaitable[V]]
    ) -> V:
        """
        Do as `get_or_compute` does; the embedder runs in a thread.

        Cancelling one who waits leaves the computation to the others.
        """
        hit = await asyncio.to_thread(self.get, question)
        if hit is not None:
            return hit.value

        async def once() -> V:
            stored = self._store.stored(self._name, question)
            if stored is not None:
                return stored.value
            answer = await compute(question)
            await asyncio.to_thread(self.put, question, answer)
            return answer

        return await self._store.flight.arun((self._name, normalised(question)), once)

    def explain(self, question: str) -> Explanation:
        """Say what a look-up would find and why; it counts and moves nothing."""
        return self._store.explain(self._name, question)

    def stats(self) -> CacheStats:
        """Return what happened in this scope."""
        return self._store.stats(self._name)

    def forget(self, hit: Hit[V]) -> bool:
        """Take the entry of *hit* out; False if it is gone already."""
        return self._store.forget(hit)

    def __len__(self) -> int:
        return self._store.size(self._name)


class SemanticCache(Scope[V]):
    """
    Answers already given, found again by meaning.

    A question is looked up exactly first, without embedding it, then by the cosine of
    its embedding. It is safe to use from threads and from asyncio; neither embedding
    nor computing happens under its lock. Entries live in memory.

    Args:
        embed: From a list of n texts to an array of shape (n, dim).
        threshold: Cosine from which an answer is reused, above 0 and at most 1.
        capacity: Entries over all scopes; the least recently used makes room.
        plugins: Whose `legion_admit` may keep answers out; none by default.
        timer: Seconds, for the age of entries.

    Raises:
        ValueError: *threshold* or *capacity* is out of range.
    """

    def __init__(
        self,
        embed: Embed,
        *,
        threshold: float = 0.85,
        capacity: int = 10_000,
        plugins: Admission | None = None,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        if not 0 < threshold <= 1:
            msg = f"cache: got threshold={threshold}; write a cosine above 0, at most 1"
            raise ValueError(msg)
        if isinstance(capacity, bool) or capacity < 1:
            msg = (
                f"cache: got capacity={capacity}; write a number of entries, 1 or more"
            )
            raise ValueError(msg)
        super().__init__(_Store(embed, threshold, capacity, plugins, timer), "")

    def scope(self, name: str, **settings: str) -> Scope[V]:
        """
        Return the view of one tenant, model, prompt version or whatever must not mix.

        Args:
            name: Such as the tenant.
            **settings: Whatever else an answer depends on.
        """
        parts = [f"{key}={settings[key]!r}" for key in sorted(settings)]
        return Scope(self._store, "\x1f".join([repr(name), *parts]))

    def stats(self) -> CacheStats:
        """Return what happened in all scopes."""
        return self._store.stats(None)

    def clear(self) -> None:
        """Take every entry out, of all scopes."""
        self._store.clear()

    def __len__(self) -> int:
        return self._store.size(None)


@attrs.define(eq=False)
class _Store(Generic[V]):
    """What all scopes of a cache share."""

    embed: Embed
    threshold: float
    capacity: int
    plugins: Admission | None
    timer: Callable[[], float]
    flight: SingleFlight[V] = attrs.field(init=False, factory=SingleFlight)
    _partitions: dict[str, Partition[V]] = attrs.field(init=False, factory=dict)
    _recency: OrderedDict[int, Entry[V]] = attrs.field(init=False, factory=OrderedDict)
    _lock: RLock = attrs.field(init=False, factory=RLock)
    _number: int = attrs.field(init=False, default=0)
    _dim: int | None = attrs.field(init=False, default=None)

    def _partition(self, scope: str) -> Partition[V]:
        found = self._partitions.get(scope)
        if found is None:
            found = self._partitions[scope] = Partition()
        return found

    def _embedded(self, texts: Sequence[str]) -> NDArray[np.float32]:
        vectors = embedded(self.embed, texts, self._dim)
        self._dim = vectors.shape[1]
        return vectors

    def find(self, scope: str, questions: Sequence[str]) -> list[Hit[V] | None]:
        keys = [normalised(question) for question in questions]
        hits: list[Hit[V] | None] = [None] * len(keys)
        with self._lock:
            partition = self._partition(scope)
            for i, key in enumerate(keys):
                entry = partition.exact(key)
                if entry is not None:
                    hits[i] = self._hit(entry, 1.0, exact=True)
                    partition.stats.exact_hits += 1
            partition.stats.lookups += len(keys)
            rest = [i for i, hit in enumerate(hits) if hit is None]
            if not rest or not len(partition):
                return hits
        vectors = self._embedded([questions[i] for i in rest])
        with self._lock:
            for i, (entry, cosine) in zip(
                rest, partition.nearest(vectors), strict=True
            ):
                if entry is not None and cosine >= self.threshold:
                    hits[i] = self._hit(entry, cosine, exact=False)
                    partition.stats.semantic_hits += 1
        return hits

    def stored(self, scope: str, question: str) -> Entry[V] | None:
        with self._lock:
            return self._partition(scope).exact(normalised(question))

    def _hit(self, entry: Entry[V], similarity: float, *, exact: bool) -> Hit[V]:
        self._recency.move_to_end(entry.number)
        return Hit(
            value=entry.value,
            question=entry.question,
            similarity=similarity,
            exact=exact,
            age_s=self.timer() - entry.put_s,
            scope=entry.scope,
            id=entry.number,
        )

    def put(self, scope: str, pairs: Sequence[tuple[str, V]]) -> int:
        admitted = [pair for pair in pairs if self._admits(*pair)]
        vectors = self._embedded([q for q, _ in admitted]) if admitted else ()
        with self._lock:
            partition = self._partition(scope)
            partition.stats.refused += len(pairs) - len(admitted)
            partition.stats.puts += len(admitted)
            for (question, answer), vector in zip(admitted, vectors, strict=True):
                self._insert(scope, partition, question, answer, vector)
        return len(admitted)

    def _admits(self, question: str, answer: V) -> bool:
        return self.plugins is None or self.plugins.admit(question, answer)

    def _insert(
        self,
        scope: str,
        partition: Partition[V],
        question: str,
        answer: V,
        vector: NDArray[np.float32],
    ) -> None:
        key = normalised(question)
        replaced = partition.remove(key)
        if replaced is not None:
            del self._recency[replaced.number]
        elif len(self._recency) >= self.capacity:
            self._evict()
        self._number += 1
        entry = Entry(self._number, scope, key, question, answer, self.timer())
        partition.put(entry, vector)
        self._recency[entry.number] = entry

    def _evict(self) -> None:
        _, oldest = self._recency.popitem(last=False)
        partition = self._partitions[oldest.scope]
        partition.remove(oldest.key)
        partition.stats.evictions += 1

    def forget(self, hit: Hit[V]) -> bool:
        with self._lock:
            entry = self._recency.pop(hit.id, None)
            if entry is None:
                return False
            self._partitions[entry.scope].remove(entry.key)
            return True

    def explain(self, scope: str, question: str) -> Explanation:
        with self._lock:
            partition = self._partition(scope)
            same = partition.exact(normalised(question))
            empty = not len(partition)
        if same is not None or empty:
            return Explanation(
                outcome="miss" if same is None else "exact_hit",
                reason=(
                    "the scope is empty"
                    if same is None
                    else "the same question is stored"
                ),
                nearest=None if same is None else same.question,
                similarity=None if same is None else 1.0,
                threshold=self.threshold,
            )
        vectors = self._embedded([question])
        with self._lock:
            entry, cosine = partition.nearest(vectors)[0]
        near = entry is not None and cosine >= self.threshold
        return Explanation(
            outcome="semantic_hit" if near else "miss",
            reason=(
                f"the nearest question is {'within' if near else 'outside'} the"
                f" threshold: {cosine:.3f} against {self.threshold:g}"
            ),
            nearest=None if entry is None else entry.question,
            similarity=None if entry is None else cosine,
            threshold=self.threshold,
        )

    def stats(self, scope: str | None) -> CacheStats:
        with self._lock:
            chosen = (
                list(self._partitions.values())
                if scope is None
                else [self._partition(scope)]
            )
            total = CacheStats(entries=self.size(scope), capacity=self.capacity)
            for partition in chosen:
                one = partition.stats
                total.lookups += one.lookups
                total.exact_hits += one.exact_hits
                total.semantic_hits += one.semantic_hits
                total.puts += one.puts
                total.refused += one.refused
                total.evictions += one.evictions
            return total

    def size(self, scope: str | None) -> int:
        with self._lock:
            if scope is None:
                return len(self._recency)
            return len(self._partition(scope))

    def clear(self) -> None:
        with self._lock:
            for entry in self._recency.values():
                self._partitions[entry.scope].remove(entry.key)
            self._recency.clear()
