"""The semantic cache."""

from __future__ import annotations

import os

from collections.abc import Callable
from random import Random, SystemRandom
from typing import TYPE_CHECKING

from ..canonical import JSON
from .accept import AcceptRule, Threshold
from .admission import Admission
from .budget import ErrorBudget
from .embedding import Embed, UnitVectors, given_name
from .eviction import ORDERS, Eviction
from .flight import SingleFlight
from .given import (
    cosine,
    error_share,
    file_path,
    judged_share,
    refuse_embed,
    refuse_judging,
    refuse_threshold,
    refuse_unable,
    refuse_unknown,
    refuse_view,
    refuse_without_file,
    shared_by,
    whole_number,
)
from .hit import Hit, V
from .judge import Judge, Judging
from .key import DEFAULT_SCOPE, scope_key
from .lifetime import Lifetime
from .lookup import Lookup
from .meter import Meter
from .removal import clear, expire, forget, invalidate
from .scope import Scope
from .serializer import Serialization, Serializer, serializer_of
from .shelf import Shelf
from .size import deep_size
from .stats import CacheStats
from .stock import Stock
from .summary import summary


if TYPE_CHECKING:
    from typing import Self

    from ..model import Clock
    from .disk import Disk, Sync
    from .shared import SharedTier
    from .sharing import Sharing


class SemanticCache(Scope[V]):
    """
    Answers already given, found again by meaning.

    A question is looked up exactly first, without embedding it, then by the cosine of
    its embedding. Threads and tasks may share it; neither embedding nor computing
    happens under its lock. Entries live in memory and, with *path*, on disk as well.

    Used as it is, it is its own default scope. What it says of itself is said of all
    scopes: `stats`, `clear`, `forget`, `invalidate` and ``len``; those of `default` are
    of the default scope alone.

    Args:
        embed: From a list of n texts to an array of shape (n, dim), dim at most 4096;
            it need not return unit vectors.
        threshold: Cosine from which an answer is reused, above 0 and at most 1; .85 by
            default. 1 is for the same vector, and takes what 4e-6 below may be rounding.
            Instead of *max_error*.
        max_error: Wrong answers per request, above 0 and below 1, that are not exceeded
            at any moment with probability .99, over all scopes together, and over the
            whole life of the file at *path*: of requests, not of hits. It holds if the
            judge is right. Instead of *threshold*.
        judge: From a question and the value found for it to whether that is right;
            plain, or async for `aget` and `aget_or_compute`. One that raises has not
            judged, and the answer counts as wrong.
        judged: Share of the possible hits that is judged, chosen by a coin; .3 with a
            judge. Without one, those hits wait for `Hit.right` or `Hit.wrong`, which
            only `get`, `aget` and `get_many` return. With neither, nothing is judged, and at most *max_error* of the requests are hits.
        random: Where coins come from; the system's randomness by default, which nobody
            can foresee. With a *path*, no two processes may have the same coins.
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
        path: The file where entries are kept, and what was learned and spent; it is made
            if it is not there. One process writes it at a time.
        serializer: Of answers: ``json`` takes text, bytes and what JSON gives back as it
            is; ``pickle`` takes almost anything, but whoever can write the file can run
            code in this process; or an object with ``dumps`` and ``loads``.
        sync: ``batch``: a put returns when the system has it, which outlives this
            process; the disk has it a megabyte later at most, or after `flush`.
            ``always``: when the disk has it, which outlives the machine.
        overflow_bytes: What may stay in the file when it leaves memory for others, each
            answer with its question and vector, before they are packed; it answers the
            same question still. By default nothing does.
        shared: What is asked for the same question that memory cannot answer, before
            any other is looked for, and is given what is put: other processes' answers.
            Your embedder must have a ``name``, which changes with its model. What it
            raises is counted, and else a miss.
        readonly: Whether another process writes the file. What it saved last is mapped
            into memory, which all who read it share; nothing is stored, and what is
            promised is promised of this process alone.
        repair: Whether to go on with what is whole of a damaged file, which is put
            aside. Of the error budget, what may be lost counts as spent.

    Raises:
        ValueError: A number is out of range, *eviction* or *sync* is not known, or what
            is given excludes each other.
        TypeError: *embed* or *judge* cannot be called, *embed* is async, or another
            object lacks what the cache would call.
        StateError: *path* is written by another process, or was filled by another
            embedder or serializer; `StateCorruptError` if it is damaged.

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
        path: str | os.PathLike[str] | None = None,
        serializer: Serialization = "json",
        sync: Sync = "batch",
        overflow_bytes: int | None = None,
        shared: SharedTier | None = None,
        readonly: bool = False,
        repair: bool = False,
    ) -> None:
        # All that a look-up needs is loaded here: a child that is forked while a thread
        # loads it would wait for that thread's import for ever.
        import numpy.random  # noqa: F401

        from . import index  # noqa: F401

        refuse_embed(embed)
        whole_number("cache", "capacity", capacity)
        if capacity_bytes is not None:
            whole_number("cache", "capacity_bytes", capacity_bytes)
        refuse_unknown("eviction", eviction, ORDERS)
        refuse_unknown("sync", sync, ("always", "batch"))
        refuse_unable("clock", clock, "machine")
        refuse_unable("plugins", plugins, "admit")
        refuse_unable("meter", meter, "looked_up")
        refuse_unable("random", random, "random")
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
        stock: Stock[V] = Stock(
            rule, clock, capacity, lifetime, eviction, capacity_bytes, size_of
        )
        shelf: Shelf[V] = Shelf(stock, threshold, judges=judge is not None)
        lookup: Lookup[V] = Lookup(
            shelf,
            shelf.partition(DEFAULT_SCOPE),
            UnitVectors(embed),
            plugins,
            None if judge is None else Judge(judge),
            meter,
        )
        super().__init__(lookup, SingleFlight())
        refuse_without_file(
            path, readonly=readonly, repair=repair, overflow_bytes=overflow_bytes
        )
        if path is not None:
            refuse_unable("clock", clock, "wall")
        by = serializer_of(serializer)
        sharing = None if shared is None else self._sharing(shared, by)
        if path is not None:
            from .disk import Disk
            from .file import real
            from .keeping import keep

            disk: Disk[V] = Disk(
                real(file_path(path)), by, given_name(embed), clock, sync, readonly
            )
            if overflow_bytes is not None:
                from .overflow import Overflow

                disk.overflow = Overflow(overflow_bytes)
            self._embed.dim = keep(shelf, disk, repair=repair)
        if sharing is not None or overflow_bytes is not None:
            from .tiers import Tiers

            shelf.tiers = Tiers(shelf, shelf.disk, sharing, self._embed)

    def _sharing(self, shared: SharedTier, by: Serializer) -> Sharing[V]:
        name = shared_by(shared, self._embed.embed)
        from .sharing import Sharing

        return Sharing(shared, by, name)

    @property
    def meter(self) -> Meter[V] | None:
        """What measures its look-ups, or None."""
        return self._meter

    @property
    def default(self) -> Scope[V]:
        """The view of the default scope, which `clear` of it empties, and no other."""
        return self._view(DEFAULT_SCOPE)

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
            TypeError: *scope* is no view.
        """
        if capacity is not None:
            whole_number("limit", "capacity", capacity)
        if capacity_bytes is not None:
            whole_number("limit", "capacity_bytes", capacity_bytes)
            if self._shelf.stock.capacity_bytes is None:
                msg = (
                    f"limit: got capacity_bytes={capacity_bytes} for a cache that does "
                    f"not count bytes; give SemanticCache capacity_bytes, too"
                )
                raise ValueError(msg)
        refuse_view(scope)
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
        return expire(self._shelf)

    def invalidate(self, tag: str) -> int:
        """Take out the entries with *tag*, of whatever scope, and return how many."""
        return invalidate(self._shelf, tag, within=None)

    def forget(self, hit: Hit[V]) -> bool:
        """
        Take out the entry of *hit*, of whatever scope; False if it is gone.

        Its aliases go with it, and what was learned from judgements of it. What it has
        cost of the error budget stays spent.
        """
        return forget(self._shelf, hit, within=None)

    def clear(self) -> None:
        """Take out every entry of every scope."""
        clear(self._shelf, within=None)

    def stats(self) -> CacheStats:
        """Return what happened in all scopes."""
        return summary(self._shelf, within=None)

    def __len__(self) -> int:
        return self._shelf.size()

    def flush(self) -> None:
        """
        Wait until everything that was put is on the disk.

        Raises:
            StateError: It cannot be written.
        """
        disk = self._disk()
        disk.refuse_closed()
        with self._shelf.lock:
            disk.commit()
        disk.settle(must=True)

    def save(self) -> None:
        """
        Write everything anew, packed, where others can map it; wait until it is there.

        It is done now and then by itself, in a thread, and by `close`.

        Raises:
            StateError: It cannot be written, or this cache only reads.
        """
        disk = self._disk()
        self._shelf.refuse_readonly("save it")
        disk.saver.save()

    def refresh(self) -> bool:
        """
        Read the file again if another process saved it, and say whether one did.

        That is for a cache with ``readonly=True``. Where nothing was saved since, it
        takes microseconds.

        Raises:
            StateError: It cannot be read; what was read before stays.
        """
        from .following import refresh

        return refresh(self._shelf, self._disk(), self._embed)

    def close(self) -> None:
        """
        Write what is left, and let others write the file; without one, do nothing.

        A cache that was closed has no answers any more, and takes none.

        Raises:
            StateError: It could not be written; the file is closed all the same.
        """
        if self._shelf.disk is not None:
            from .keeping import close

            close(self._shelf, self._shelf.disk)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def _disk(self) -> Disk[V]:
        if self._shelf.disk is None:
            msg = "cache: it is in memory alone; give SemanticCache a path"
            raise ValueError(msg)
        return self._shelf.disk
