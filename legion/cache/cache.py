"""The semantic cache."""

from __future__ import annotations

from random import Random, SystemRandom
from typing import TYPE_CHECKING

from ..canonical import JSON
from .accept import AcceptRule, Threshold
from .budget import ErrorBudget
from .embedding import Embed, UnitVectors
from .flight import SingleFlight
from .given import (
    cosine,
    error_share,
    judged_share,
    refuse_embed,
    refuse_judging,
    refuse_threshold,
)
from .hit import Hit, V
from .judge import Judge, Judging
from .key import DEFAULT_SCOPE, scope_key
from .scope import Admission, Scope
from .shelf import Shelf
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
    scopes: `stats`, `clear`, `forget` and ``len``.

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
        capacity: Entries over all scopes; the least recently used makes room.
        plugins: Whose `legion_admit` may keep answers out; nobody by default.
        clock: Its machine time gives entries their age; the system's by default.

    Raises:
        ValueError: A number is out of range, or what is given excludes each other.
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
    ) -> None:
        refuse_embed(embed)
        if isinstance(capacity, bool) or not isinstance(capacity, int) or capacity < 1:
            msg = f"cache: got capacity={capacity}; write a whole number from 1 up"
            raise ValueError(msg)
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
        shelf: Shelf[V] = Shelf(rule, threshold, capacity, clock)
        super().__init__(
            shelf=shelf,
            embed=UnitVectors(embed),
            plugins=plugins,
            judge=None if judge is None else Judge(judge),
            flights=SingleFlight(),
            partition=shelf.partition(DEFAULT_SCOPE),
        )

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
        return Scope(
            shelf=self._shelf,
            embed=self._embed,
            plugins=self._plugins,
            judge=self._judge,
            flights=self._flights,
            partition=self._shelf.partition(scope_key(tenant, settings)),
        )

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
