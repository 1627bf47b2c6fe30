"""The semantic cache."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..canonical import JSON
from .embedding import Embed, UnitVectors
from .flight import SingleFlight
from .given import refuse_embed
from .hit import Hit, V
from .key import DEFAULT_SCOPE, scope_key
from .meter import Meter
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
        threshold: Cosine from which an answer is reused, above 0 and at most 1.
        capacity: Entries over all scopes; the least recently used makes room.
        plugins: Whose `legion_admit` may keep answers out; nobody by default.
        clock: Its machine time gives entries their age; the system's by default.
        meter: Measures look-ups and what they save; nothing is measured by default.

    Raises:
        ValueError: *threshold* or *capacity* is out of range.
        TypeError: *embed* cannot be called, or is async.

    .. versionadded:: 0.1
    """

    def __init__(
        self,
        embed: Embed,
        *,
        threshold: float = 0.85,
        capacity: int = 10_000,
        plugins: Admission | None = None,
        clock: Clock | None = None,
        meter: Meter[V] | None = None,
    ) -> None:
        refuse_embed(embed)
        if not 0 < threshold <= 1:
            msg = f"cache: got threshold={threshold}; write a cosine above 0, at most 1"
            raise ValueError(msg)
        if isinstance(capacity, bool) or not isinstance(capacity, int) or capacity < 1:
            msg = f"cache: got capacity={capacity}; write a whole number from 1 up"
            raise ValueError(msg)
        if clock is None:
            from ..telemetry import SystemClock

            clock = SystemClock()
        shelf: Shelf[V] = Shelf(threshold, capacity, clock)
        super().__init__(
            shelf=shelf,
            embed=UnitVectors(embed),
            plugins=plugins,
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

    def forget(self, hit: Hit[V]) -> bool:
        """Take out the entry of *hit*, of whatever scope; False if it is gone."""
        return self._shelf.forget(hit, within=None)

    def clear(self) -> None:
        """Take out every entry of every scope."""
        self._shelf.clear(within=None)

    def stats(self) -> CacheStats:
        """Return what happened in all scopes."""
        return self._shelf.stats(within=None)

    def __len__(self) -> int:
        return self._shelf.size()
