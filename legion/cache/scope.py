"""A view of a cache: one scope's entries, and no others."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Generic, Never, NoReturn

import attrs

from .. import canonical
from .computation import Answered, Computation, answering
from .decorator import F, cached, name_of
from .embedding import Identity, UnitVectors
from .explanation import explain
from .flight import SingleFlight
from .given import (
    lasting,
    pair,
    plain,
    refuse_async,
    refuse_plain,
    refuse_uncallable,
    several,
)
from .hit import Explanation, Hit, V
from .item import Item
from .judge import Judge
from .key import normalised
from .lifetime import Terms
from .lookup import Lookup
from .meter import Meter
from .partition import Partition
from .removal import clear, forget, invalidate
from .shelf import Shelf
from .stats import CacheStats
from .storing import store
from .summary import summary


@attrs.define(eq=False)
class Scope(Generic[V]):
    """
    A view of a cache: one scope's entries, and no others.

    Made by `SemanticCache.scope`. Views of the same scope see the same entries; the
    capacity is the whole cache's. A scope's counts last as long as it has entries or
    somebody holds a view of it.
    """

    _lookup: Lookup[V]
    _flights: SingleFlight[Answered[V]]
    # Those of the look-up, which `get` has at hand here.
    _shelf: Shelf[V] = attrs.field(init=False)
    _partition: Partition[V] = attrs.field(init=False)
    _embed: UnitVectors = attrs.field(init=False)
    _judge: Judge[V] | None = attrs.field(init=False)
    _meter: Meter[V] | None = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        lookup = self._lookup
        self._shelf, self._partition = lookup.shelf, lookup.partition
        self._embed, self._judge = lookup.embed, lookup.judge
        self._meter = lookup.meter

    @property
    def name(self) -> str:
        """Key of the scope: canonical JSON of tenant and settings, "" by default."""
        return self._partition.scope

    @property
    def embedder(self) -> Identity | None:
        """Which embedder made the vectors of all scopes, or None before the first."""
        return self._embed.identity

    def get(self, question: str) -> Hit[V] | None:
        """
        Return the answer to this question, or to one that is near enough, or None.

        The same question is found without embedding it. Where the cache has a judge,
        what the coin takes is judged before it is returned, and is a miss if it is
        wrong: only these answers are late by the judge's time.

        Raises:
            EmbeddingError: The embedder did not return one usable vector.
            TypeError: The judge is async; `aget` can ask it.
        """
        if self._judge is not None:
            self._judge.refuse_async("get")
        meter, shelf, partition = self._meter, self._shelf, self._partition
        begun_s = 0.0 if meter is None else shelf.clock.machine()
        key = partition.key(question)
        hit = shelf.exact(partition, key)
        if hit is None and shelf.tiers is not None:
            hit = self._lookup.below(question, key)
        if hit is None:
            if partition.exact:
                hit = self._lookup.find(self._lookup.embedded(question, key))
            else:
                shelf.count(partition, "misses")
        if meter is None:
            return hit
        return self._lookup.seen(hit, took_s=shelf.clock.machine() - begun_s)

    async def aget(self, question: str) -> Hit[V] | None:
        """
        Do as `get` does, for asyncio; the embedder runs in a thread.

        What the coin takes is served at once and judged afterwards.
        """
        begun_s = self._shelf.clock.machine()
        hit = await self._aget(question)
        return self._lookup.seen(hit, took_s=self._shelf.clock.machine() - begun_s)

    async def _aget(self, question: str) -> Hit[V] | None:
        key = normalised(question)
        hit = self._shelf.exact(self._partition, key)
        if hit is None:
            hit = await self._lookup.abelow(question, key)
        if hit is not None:
            return hit
        if not len(self._partition):
            self._shelf.count(self._partition, "misses")
            return None
        return self._lookup.afind(await self._lookup.aasked(question, key))

    def get_many(self, questions: Iterable[str]) -> list[Hit[V] | None]:
        """
        Look several questions up, with one call of the embedder at most.

        Returns:
            What `get` would for each, in order.

        Raises:
            EmbeddingError: The embedder did not return one usable vector a question.
            TypeError: *questions* is one string.
        """
        self._lookup.refuse_async_judge("get_many")
        questions = several(questions)
        keys = [normalised(question) for question in questions]
        hits = [self._shelf.exact(self._partition, key) for key in keys]
        rest = [i for i, hit in enumerate(hits) if hit is None]
        tiers = self._shelf.tiers
        if tiers is not None and rest:
            asked = [(keys[i], questions[i]) for i in rest]
            lower = tiers.find(self._partition, asked, self._lookup.admits)
            for i, hit in zip(rest, lower, strict=True):
                hits[i] = hit
            rest = [i for i in rest if hits[i] is None]
        if not len(self._partition):
            for _ in rest:
                self._shelf.count(self._partition, "misses")
        elif rest:
            of = self._lookup.vectors([keys[i] for i in rest])
            vectors = [of[keys[i]] for i in rest]
            near = self._shelf.search(self._partition, vectors)
            for i, vector, found in zip(rest, vectors, near, strict=True):
                hits[i] = self._lookup.find(
                    self._lookup.asked(questions[i], keys[i], vector), found
                )
        return [self._lookup.seen(hit, took_s=None) for hit in hits]

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
            TypeError: *tags* is one string, or *answer* can be read only once, as an
                iterator, or is not taken by the serializer; nothing is stored.
        """
        key = normalised(question)
        terms = Terms.of(ttl_s=ttl_s, sliding=sliding, tags=tags, cost=cost)
        if not self._lookup.admits(question, lasting(answer)):
            return False
        item = Item(key, question, answer, self._embed([key])[0], terms)
        return store(self._shelf, self._partition, [item]) == 1

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
            TypeError: One is no pair, its question no text, or its answer can be read
                only once; none is stored.
        """
        given = [pair(one) for one in pairs]
        keyed = [(normalised(q), q, lasting(answer)) for q, answer in given]
        terms = Terms.of(ttl_s=ttl_s, sliding=sliding, tags=tags, cost=cost)
        admitted = [each for each in keyed if self._lookup.admits(each[1], each[2])]
        if not admitted:
            return 0
        vectors = self._lookup.vectors([key for key, _, _ in admitted])
        return store(
            self._shelf,
            self._partition,
            (Item(key, q, answer, vectors[key], terms) for key, q, answer in admitted),
        )

    async def _aput_answered(self, question: str, answer: V) -> None:
        """Do as `_put_answered` does, for asyncio."""
        embed = self._embed
        aside = embed.in_thread if self._shelf.waits else embed.aside
        await aside(self._put_answered, question, answer)

    def get_or_compute(self, question: str, compute: Callable[[str], V]) -> V:
        """
        Return the answer that is stored, or compute and store it.

        Who asks the same question meanwhile, from whatever thread or loop, waits for
        it. An exception goes to all of them, and nothing is stored. After two minutes
        one of them computes it, too, and all have what is there first. Who asks nearly
        the same waits too, up to half a minute, and is served if the answer is stored
        and does for that question, else computes. An answer that cannot be stored is
        returned all the same, and the log says why. What the answer cost, for the
        eviction ``cost``, is the time it took, in seconds. A question of nothing but
        white space has no meaning to be found by, and is computed each time.

        Raises:
            EmbeddingError: The embedder did not return one usable vector; nothing was
                computed.
            RuntimeError: *compute* asks for the very answer it computes, or for one
                whose computation waits for this one.
            TypeError: *compute* is async; `aget_or_compute` takes it. Or its answer can
                be read only once, as an iterator; nothing is stored.
        """
        refuse_async(compute)
        key = normalised(question)
        begun_s = self._shelf.clock.machine()
        hit = self._shelf.exact(self._partition, key)
        if hit is not None:
            return self._lookup.found(hit, begun_s)
        self._lookup.refuse_async_judge("get_or_compute")
        if not key:
            self._shelf.count(self._partition, "misses")
            return plain(compute(question))
        return self._computation(question, key, begun_s).run(compute)

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
        refuse_uncallable("aget_or_compute", compute)
        key = normalised(question)
        begun_s = self._shelf.clock.machine()
        hit = self._shelf.exact(self._partition, key)
        if hit is not None:
            return self._lookup.found(hit, begun_s)
        if not key:
            self._shelf.count(self._partition, "misses")
            computed = compute(question)
            refuse_plain(computed)
            return await computed
        return await self._computation(question, key, begun_s).arun(compute)

    def of(self, function: Callable[..., object]) -> Scope[V]:
        """
        Return the part of this scope that holds the answers of a `cached` function.

        Raises:
            TypeError: *function* has no name.
        """
        name = canonical.dumps(["function", name_of(function), self.name]).decode()
        return self._view(name)

    def cached(
        self,
        *functions: Never,
        question: str | Callable[..., str] | None = None,
        scope: Callable[..., Scope[V]] | None = None,
    ) -> Callable[[F], F]:
        """
        Return a decorator that finds a function's answers in this scope.

        A plain or async function becomes a call of `get_or_compute` or
        `aget_or_compute`. The chunks of a generator, async or not, are kept while it
        runs and are replayed as a stream; what was not read to its end, or raised, is
        not stored. Whoever asks meanwhile has a stream of their own, as nobody can be
        made to wait for how fast another one reads.

        Answers of a function are its own: another one's in the same scope are not
        mixed with them. They lie in ``scope.of(function)``.

        Args:
            *functions: None: it is written with brackets, ``@cache.cached()``.
            question: Name of the parameter that holds the question, or a function of
                the arguments; not needed where there is one parameter.
            scope: From the arguments to the scope whose answers they may share, such
                as ``lambda question, tenant: cache.scope(tenant)``; needed where there
                are several parameters, and where the function is bound to an object
                or uses variables of a function around it.

        Raises:
            TypeError: The function has no name, or no parameter for the question.
            ValueError: It depends on more than a question, and *scope* is not given.
        """
        if functions:
            msg = f"cached: got {functions[0]!r}; write @cache.cached(), with brackets"
            raise TypeError(msg)
        return partial(cached, scope=self, question=question, scope_of=scope)

    def _view(self, key: str) -> Scope[V]:
        return Scope(self._lookup.within(self._shelf.partition(key)), self._flights)

    def _computation(self, question: str, key: str, begun_s: float) -> Computation[V]:
        return Computation(self._lookup, self._flights, question, key, begun_s)

    def _put_answered(
        self, question: str, answer: V, *, tags: Iterable[str] = ()
    ) -> None:
        """Put an answer that whoever asked for it has, whether it can be stored or not."""
        with answering(self._lookup, question):
            self.put(question, answer, tags=tags)

    def explain(self, question: str) -> Explanation:
        """
        Say what `get` would find, and why; it counts nothing and refreshes nothing.

        Where nothing near is found, it compares every entry of the scope.

        Raises:
            EmbeddingError: The embedder did not return one usable vector.
        """
        key = normalised(question)
        return explain(
            self._shelf,
            self._partition,
            key,
            partial(self._lookup.embedded, question, key),
        )

    def forget(self, hit: Hit[V]) -> bool:
        """Take out the entry of *hit*; False if it is gone, or another scope's."""
        return forget(self._shelf, hit, within=self._partition)

    def invalidate(self, tag: str) -> int:
        """Take out the entries of this scope that have *tag*, and return how many."""
        return invalidate(self._shelf, tag, within=self._partition)

    def clear(self) -> None:
        """Take out every entry of this scope."""
        clear(self._shelf, within=self._partition)

    def stats(self) -> CacheStats:
        """Return what happened in this scope."""
        return summary(self._shelf, within=self._partition)

    def __len__(self) -> int:
        return len(self._partition)

    def __bool__(self) -> bool:
        """Be true though empty: ``cache or SemanticCache(...)`` keeps the cache."""
        return True

    def __reduce__(self) -> NoReturn:
        msg = (
            "cache: got pickle or copy of a cache, which would be another one with the "
            "same answers; make one in each process, with the same path and, in all "
            "but one, readonly=True"
        )
        raise TypeError(msg)
