"""The semantic cache."""

from __future__ import annotations

from collections.abc import Callable
from random import Random, SystemRandom
from typing import TYPE_CHECKING

from ..canonical import JSON
from .accept import AcceptRule, Threshold
from .budget import ErrorBudget
from .embedding import Embed, UnitVectors
from .eviction import ORDERS, Eviction
from .flight import SingleFlight
from .given import (
    cosine,
    error_share,
    judged_share,
    refuse_embed,
    refuse_judging,
    refuse_threshold,
    whole_number,
)
from .hit import Hit, V
from .judge import Judge, Judging
from .key import DEFAULT_SCOPE, scope_key
from .lifetime import Lifetime
from .meter import Meter
from .scope import Admission, Scope
from .shelf import Shelf
from .size import deep_size
from .stats import CacheStats


if TYPE_CHECKING:
    from ..model import Clock


class SemanticCache(Scope[V]):
    """
    Answers already given, found again by meaning.

    A question is looked up exactly first, without embedding it, then by the cosine of
    its embedding. Threads and tasks may share it; neither embedding nor computing
    happens under its lock. Entries live in memory.

    Used as it is, it is its own default scope. What it says of itself is said of all
    scopes: `stats`, `clear`, `forget`, `invalidate` and ``len``.

    Args:
        embed: From a list of n texts to an array of shape (n, dim), dim at most 4096;
            it need not return unit vectors.
        threshold: Cosine from which an answer is reused, above 0 and at most 1; .85 by
            default. Instead of *max_error*.
        max_error: Wrong answers per request, above 0 and below 1, that are not exceeded
            at any moment with probability .99, over all scopes together: of requests,
            not of hits. It holds if the judge is right. Instead of *threshold*.
        judge: From a question and the value found for it to whether that is right;
            plain, or async for `aget` and `aget_or_compute`. One that raises has not
            judged, and the answer counts as wrong.
        judged: Share of the possible hits that is judged, chosen by a coin; .3 with a
            judge. Without one, those hits wait for `Hit.right` or `Hit.wrong`. With
            neither, nothing is judged, and at most *max_error* of the requests are hits.
        random: Where coins come from; the system's randomness by default, which nobody
            can foresee.
        veto: Whether near questions are refused that are opposites, or differ in a
            number, a date, a name or a negation: with *max_error* by default, while a
            threshold takes what reaches it.
        capacity: Entries over all scopes; who goes for more says *eviction*.
        plugins: Whose `legion_admit` may keep answers out; nobody by default.
        clock: Its machine time gives entries their age; the system's by default.
        ttl_s: How long an answer lasts, in seconds; without end by default.
        sliding: Whether each hit lets it last that long once more.
        max_age_s: After which an answer goes, whatever hits there were and whatever its
            put said; never by default.
        negative_ttl_s: The *ttl_s* of answers that are None; that of all by default.
        eviction: Who makes room: ``lru``, the least recently used; ``lfu``, the least
            frequently used; ``cost``, what is worth least by its uses, its cost, its
            size and how near its nearest neighbour is.
        capacity_bytes: Bytes over all scopes, vectors and overhead included; by default
            nobody counts them.
        size_of: How many bytes an answer takes; by default an estimate that follows
            containers and attributes.
        meter: Measures look-ups and what they save; nothing is measured by default.

    Raises:
        ValueError: A number is out of range, *eviction* is not known, or what is given
            excludes each other.
        TypeError: *embed* or *judge* cannot be called, or *embed* is async.

    .. versionadded:: 0.1
    """

    def __init__(
        self,
        embed: Embed,
        *,
        threshold: float | None = None,
        max_error: float | None = None,
        judge: Judging[V] | None = None,
        judged: float | None = None,
        random: Random | None = None,
        veto: bool | None = None,
        capacity: int = 10_000,
        plugins: Admission | None = None,
        clock: Clock | None = None,
        ttl_s: float | None = None,
        sliding: bool = False,
        max_age_s: float | None = None,
        negative_ttl_s: float | None = None,
        eviction: Eviction = "lru",
        capacity_bytes: int | None = None,
        size_of: Callable[[V], int] = deep_size,
        meter: Meter[V] | None = None,
    ) -> None:
        refuse_embed(embed)
        whole_number("cache", "capacity", capacity)
        if capacity_bytes is not None:
            whole_number("cache", "capacity_bytes", capacity_bytes)
        if eviction not in ORDERS:
            msg = f"cache: got eviction={eviction!r}; write one of {sorted(ORDERS)}"
            raise ValueError(msg)
        lifetime = Lifetime(
            ttl_s=ttl_s,
            sliding=sliding,
            max_age_s=max_age_s,
            negative_ttl_s=negative_ttl_s,
        )
        if clock is None:
            from ..telemetry import SystemClock

            clock = SystemClock()
        rule: AcceptRule[V]
        if max_error is None:
            refuse_judging(judge=judge, judged=judged, random=random)
            threshold = cosine(threshold)
            rule = Threshold(threshold, bool(veto))
        else:
            refuse_threshold(threshold)
            share = judged_share(judge, judged)
            from .promise import Promise

            budget = ErrorBudget(max_error=error_share(max_error), judged=share)
            rule = Promise(budget, random or SystemRandom(), veto is not False)
        shelf: Shelf[V] = Shelf(
            rule,
            threshold,
            capacity,
            clock,
            lifetime,
            eviction,
            capacity_bytes,
            size_of,
        )
        super().__init__(
            shelf=shelf,
            embed=UnitVectors(embed),
            plugins=plugins,
            judge=None if judge is None else Judge(judge),
            flights=SingleFlight(),
            partition=shelf.partition(DEFAULT_SCOPE),
            meter=meter,
        )

    @property
    def meter(self) -> Meter[V] | None:
        """What measures its look-ups, or None."""
        return self._meter

    def scope(self, tenant: str, /, **settings: JSON) -> Scope[V]:
        """
        Return the view of one tenant, model, prompt version or whatever must not mix.

        No look-up crosses scopes. The order of *settings* does not matter.

        Args:
            tenant: Whose questions they are.
            **settings: What else an answer depends on, such as ``model="m1"``.

        Raises:
            ValueError: *tenant* is empty: that would be the default scope.
            TypeError: A setting is not a JSON value.
        """
        return self._view(scope_key(tenant, settings))

    def limit(
        self,
        scope: Scope[V],
        *,
        capacity: int | None = None,
        capacity_bytes: int | None = None,
    ) -> None:
        """
        Give *scope* a quota within the whole, or take it away.

        What makes room for more than the quota is the scope's own; what was used before
        there was one does not count. A view cannot do this, so who holds one cannot
        take more than it was given.

        Args:
            scope: A view of this cache; the cache itself stands for its default scope.
            capacity: Entries, or None for as many as the cache holds.
            capacity_bytes: Bytes, or None likewise.

        Raises:
            ValueError: A number is out of range, *scope* is of another cache, or bytes
                are not counted, as the cache has no *capacity_bytes*.
        """
        if capacity is not None:
            whole_number("limit", "capacity", capacity)
        if capacity_bytes is not None:
            whole_number("limit", "capacity_bytes", capacity_bytes)
            if self._shelf.capacity_bytes is None:
                msg = (
                    f"limit: got capacity_bytes={capacity_bytes} for a cache that does "
                    f"not count bytes; give SemanticCache capacity_bytes, too"
                )
                raise ValueError(msg)
        if scope._shelf is not self._shelf:
            msg = "limit: got a view of another cache; write one that scope() made"
            raise ValueError(msg)
        self._shelf.limit(
            scope._partition, capacity=capacity, capacity_bytes=capacity_bytes
        )

    def expire(self) -> int:
        """
        Take out every entry whose time is over, and return how many.

        Nobody has to: an expired entry answers nothing, and each put takes a few out.
        """
        return self._shelf.expire()

    def invalidate(self, tag: str) -> int:
        """Take out the entries with *tag*, of whatever scope, and return how many."""
        return self._shelf.invalidate(tag, within=None)

    def forget(self, hit: Hit[V]) -> bool:
        """
        Take out the entry of *hit*, of whatever scope; False if it is gone.

        Its aliases go with it, and what was learned from judgements of it. What it has
        cost of the error budget stays spent.
        """
        return self._shelf.forget(hit, within=None)

    def clear(self) -> None:
        """Take out every entry of every scope."""
        self._shelf.clear(within=None)

    def stats(self) -> CacheStats:
        """Return what happened in all scopes."""
        return self._shelf.stats(within=None)

    def __len__(self) -> int:
        return self._shelf.size()
