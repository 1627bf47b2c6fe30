"""A view of a cache: one scope's entries, and no others."""

from __future__ import annotations

import logging

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from reprlib import repr as brief
from typing import (
    TYPE_CHECKING,
    Generic,
    NamedTuple,
    Never,
    NoReturn,
    ParamSpec,
    Protocol,
    TypeVar,
    cast,
)

import attrs

from .. import canonical
from .accept import Asked, Ticket
from .aloft import Near
from .counts import Outcome
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
from .meter import Meter
from .partition import Partition
from .shelf import Shelf
from .signal import Neighbours
from .stats import CacheStats
from .waiting import Flight


if TYPE_CHECKING:
    import numpy as np

    from numpy.typing import NDArray


P = ParamSpec("P")
R = TypeVar("R")
logger = logging.getLogger("legion")


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
    _meter: Meter[V] | None

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
            hit = self._below(question, key)
        if hit is None:
            if partition.exact:
                hit = self._find(self._asked(question, key, self._embed([key])[0]))
            else:
                shelf.count(partition, "misses")
        if meter is None:
            return hit
        return self._seen(hit, took_s=shelf.clock.machine() - begun_s)

    async def aget(self, question: str) -> Hit[V] | None:
        """
        Do as `get` does, for asyncio; the embedder runs in a thread.

        What the coin takes is served at once and judged afterwards.
        """
        begun_s = self._shelf.clock.machine()
        hit = await self._aget(question)
        return self._seen(hit, took_s=self._shelf.clock.machine() - begun_s)

    async def _aget(self, question: str) -> Hit[V] | None:
        key = normalised(question)
        hit = self._shelf.exact(self._partition, key)
        if hit is None:
            hit = await self._abelow(question, key)
        if hit is not None:
            return hit
        if not len(self._partition):
            self._shelf.count(self._partition, "misses")
            return None
        return self._afind(await self._aasked(question, key))

    def get_many(self, questions: Iterable[str]) -> list[Hit[V] | None]:
        """
        Look several questions up, with one call of the embedder at most.

        Returns:
            What `get` would for each, in order.

        Raises:
            EmbeddingError: The embedder did not return one usable vector a question.
            TypeError: *questions* is one string.
        """
        self._refuse_async_judge("get_many")
        questions = several(questions)
        keys = [normalised(question) for question in questions]
        hits = [self._shelf.exact(self._partition, key) for key in keys]
        rest = [i for i, hit in enumerate(hits) if hit is None]
        tiers = self._shelf.tiers
        if tiers is not None and rest:
            asked = [(keys[i], questions[i]) for i in rest]
            lower = tiers.find(self._partition, asked, self._admits)
            for i, hit in zip(rest, lower, strict=True):
                hits[i] = hit
            rest = [i for i in rest if hits[i] is None]
        if not len(self._partition):
            for _ in rest:
                self._shelf.count(self._partition, "misses")
        elif rest:
            of = self._vectors([keys[i] for i in rest])
            vectors = [of[keys[i]] for i in rest]
            near = self._shelf.search(self._partition, vectors)
            for i, vector, found in zip(rest, vectors, near, strict=True):
                hits[i] = self._find(self._asked(questions[i], keys[i], vector), found)
        return [self._seen(hit, took_s=None) for hit in hits]

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
        if not self._admits(question, lasting(answer)):
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
            TypeError: One is no pair, its question no text, or its answer can be read
                only once; none is stored.
        """
        given = [pair(one) for one in pairs]
        keyed = [(normalised(q), q, lasting(answer)) for q, answer in given]
        terms = Terms.of(ttl_s=ttl_s, sliding=sliding, tags=tags, cost=cost)
        admitted = [each for each in keyed if self._admits(each[1], each[2])]
        if not admitted:
            return 0
        vectors = self._vectors([key for key, _, _ in admitted])
        return self._shelf.store(
            self._partition,
            (Item(key, q, answer, vectors[key], terms) for key, q, answer in admitted),
        )

    def _below(self, question: str, key: str) -> Hit[V] | None:
        """Return what a tier below memory has for the same question."""
        tiers = self._shelf.tiers
        if tiers is None:
            return None
        return tiers.find(self._partition, [(key, question)], self._admits)[0]

    async def _abelow(self, question: str, key: str) -> Hit[V] | None:
        """Do as `_below` does, for asyncio."""
        if self._shelf.tiers is None:
            return None
        return await self._aside(self._below, question, key)

    async def _aside(
        self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Return what *function* does; the loop goes on if that may have to wait."""
        if not self._shelf.waits:
            return function(*args, **kwargs)
        return await self._embed.in_thread(function, *args, **kwargs)

    async def _aput_answered(self, question: str, answer: V) -> None:
        """Do as `_put_answered` does, for asyncio."""
        embed = self._embed
        aside = embed.in_thread if self._shelf.waits else embed.aside
        await aside(self._put_answered, question, answer)

    def _vectors(self, keys: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        distinct = list(dict.fromkeys(keys))
        return dict(zip(distinct, self._embed(distinct), strict=True))

    def _admits(self, question: str, answer: V) -> bool:
        if self._may_store(question, answer):
            return True
        self._shelf.count(self._partition, "refused")
        return False

    def _may_store(self, question: str, answer: V) -> bool:
        return self._plugins is None or self._plugins.admit(question, answer)

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
            return self._found(hit, begun_s).value
        self._refuse_async_judge("get_or_compute")
        if not key:
            self._shelf.count(self._partition, "misses")
            return plain(compute(question))
        return self._computed(question, key, compute, begun_s)

    def _computed(
        self, question: str, key: str, compute: Callable[[str], V], begun_s: float
    ) -> V:
        first = looked = False

        def answer(flight: Flight[Answered[V]]) -> Answered[V]:
            nonlocal first, looked
            first = True
            again, looked = looked, True
            near = self._first(flight, question, key, again=again)
            if isinstance(near, Hit):
                return self._found(near, begun_s)
            self._flights.announce(flight, near)
            began_s = self._shelf.clock.machine()
            computed = plain(compute(question))
            return self._keep(question, key, computed, near.vector, began_s)

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
                hit = self._find(self._asked(question, key, self._embed([key])[0]))
                if hit is not None:
                    return self._found(hit, begun_s).value

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
            return self._found(hit, begun_s).value
        if not key:
            self._shelf.count(self._partition, "misses")
            computed = compute(question)
            refuse_plain(computed)
            return await computed
        return await self._acomputed(question, key, compute, begun_s)

    async def _acomputed(
        self,
        question: str,
        key: str,
        compute: Callable[[str], Awaitable[V]],
        begun_s: float,
    ) -> V:
        first = looked = False

        async def answer(flight: Flight[Answered[V]]) -> Answered[V]:
            nonlocal first, looked
            first = True
            again, looked = looked, True
            near = await self._afirst(flight, question, key, again=again)
            if isinstance(near, Hit):
                return self._found(near, begun_s)
            self._flights.announce(flight, near)
            began_s = self._shelf.clock.machine()
            computed = compute(question)
            refuse_plain(computed)
            value = lasting(await computed)
            return await self._aside(
                self._keep, question, key, value, near.vector, began_s
            )

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
                hit = self._afind(await self._aasked(question, key))
                if hit is not None:
                    return self._found(hit, begun_s).value

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
        return Scope(
            shelf=self._shelf,
            embed=self._embed,
            plugins=self._plugins,
            judge=self._judge,
            flights=self._flights,
            partition=self._shelf.partition(key),
            meter=self._meter,
        )

    def _keep(
        self,
        question: str,
        key: str,
        value: V,
        vector: NDArray[np.float32],
        began_s: float,
    ) -> Answered[V]:
        terms = Terms(cost=self._shelf.clock.machine() - began_s)
        with self._answering(question):
            if self._admits(question, value):
                item = Item(key, question, value, vector, terms)
                self._shelf.store(self._partition, [item])
        return Answered(value, "misses")

    def _put_answered(
        self, question: str, answer: V, *, tags: Iterable[str] = ()
    ) -> None:
        """Put an answer that whoever asked for it has, whether it can be stored or not."""
        with self._answering(question):
            self.put(question, answer, tags=tags)

    @contextmanager
    def _answering(self, question: str) -> Iterator[None]:
        """Log why an answer cannot be stored, as who asked for it has it all the same."""
        try:
            yield
        except Exception as error:
            logger.warning(
                "cache: the answer to %s cannot be stored: %s",
                brief(question),
                error,
                exc_info=True,
            )
            if normalised(question) not in self._partition.exact:
                self._shelf.count(self._partition, "refused")

    def _found(self, hit: Hit[V], begun_s: float) -> Answered[V]:
        if self._meter is not None:
            self._seen(hit, took_s=self._shelf.clock.machine() - begun_s)
        return Answered(hit.value, "exact_hits" if hit.exact else "semantic_hits")

    def _seen(self, hit: Hit[V] | None, *, took_s: float | None) -> Hit[V] | None:
        if self._meter is not None:
            saved = self._meter.looked_up(hit, took_s=took_s)
            if saved is not None:
                self._shelf.save(self._partition, saved)
        return hit

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
        return Asked(key, question, vector, first, self._may_store, {})

    async def _aasked(self, question: str, key: str) -> Asked[V]:
        vector = (await self._embed.aside(self._embed, [key]))[0]
        return self._asked(question, key, vector, later=True)

    def _refuse_async_judge(self, method: str) -> None:
        if self._judge is not None:
            self._judge.refuse_async(method)

    def _find(
        self, asked: Asked[V], found: Neighbours[V] | None = None
    ) -> Hit[V] | None:
        """Look up, and have the judge asked before anybody gets what the coin took."""
        hit = self._shelf.similar(self._partition, asked, found)
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
            self._shelf.judged(cast("Ticket[V]", hit._ticket), right)

    def _near(self, asked: Asked[V]) -> Near:
        return Near(
            scope=self.name,
            question=asked.key,
            vector=asked.vector,
            least=self._shelf.least(asked),
            vetoed=partial(self._shelf.rule.vetoed, asked.key),
            served=partial(self._shelf.serves, self._partition, asked),
        )

    def _first(
        self, flight: Flight[Answered[V]], question: str, key: str, *, again: bool
    ) -> Hit[V] | Near:
        """
        Look up, for whoever asks alike, and return what was found or is near.

        Args:
            flight: Theirs.
            question: As it was put.
            key: As it is normalised.
            again: Whether nothing near was found before.
        """
        hit = self._below(question, key)
        if hit is not None:
            return hit
        asked = self._asked(question, key, self._embed([key])[0])
        near = self._near(asked)
        if not again:
            hit = self._follow(flight, near, asked)
        return near if hit is None else hit

    def _follow(
        self, flight: Flight[Answered[V]], near: Near, asked: Asked[V]
    ) -> Hit[V] | None:
        """Look up, once the answer is there that is under way for nearly the same."""
        with self._missing_where_it_raises():
            followed = self._flights.follow(flight, near)
        if followed:
            self._shelf.count(self._partition, "coalesced")
        return self._find(asked)

    async def _afirst(
        self, flight: Flight[Answered[V]], question: str, key: str, *, again: bool
    ) -> Hit[V] | Near:
        """Do as `_first` does, for asyncio."""
        hit = await self._abelow(question, key)
        if hit is not None:
            return hit
        asked = await self._aasked(question, key)
        near = self._near(asked)
        if not again:
            hit = await self._afollow(flight, near, asked)
        return near if hit is None else hit

    async def _afollow(
        self, flight: Flight[Answered[V]], near: Near, asked: Asked[V]
    ) -> Hit[V] | None:
        """Do as `_follow` does, for asyncio."""
        with self._missing_where_it_raises():
            followed = await self._flights.afollow(flight, near)
        if followed:
            self._shelf.count(self._partition, "coalesced")
        return self._afind(asked)

    @contextmanager
    def _missing_where_it_raises(self) -> Iterator[None]:
        """Count who waited for an answer that never came."""
        try:
            yield
        except BaseException:
            self._count_waiter("misses")
            raise

    def _count_waiter(self, outcome: Outcome) -> None:
        self._shelf.count(self._partition, outcome)
        self._shelf.count(self._partition, "coalesced")

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
            lambda: self._asked(question, key, self._embed([key])[0]),
        )

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
