"""How a scope finds an answer: in memory, below it, by what is near, with the judge."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Generic, ParamSpec, TypeVar, cast

import attrs

from .accept import Asked, Ticket
from .admission import Admission
from .aloft import Near
from .embedding import UnitVectors
from .hit import Hit, V
from .judge import Judge
from .meter import Meter
from .partition import Partition
from .shelf import Shelf
from .signal import Neighbours


if TYPE_CHECKING:
    import numpy as np

    from numpy.typing import NDArray


P = ParamSpec("P")
R = TypeVar("R")


@attrs.define(eq=False)
class Lookup(Generic[V]):
    """
    How a scope finds an answer.

    Attributes:
        shelf: Where all scopes of the cache lie.
        partition: The entries of this one.
        embed: What makes vectors.
        plugins: Who says what may be stored, or None.
        judge: Who says whether an answer is right, or None.
        meter: Who measures look-ups, or None.
    """

    shelf: Shelf[V]
    partition: Partition[V]
    embed: UnitVectors
    plugins: Admission | None
    judge: Judge[V] | None
    meter: Meter[V] | None

    def within(self, partition: Partition[V]) -> Lookup[V]:
        """Return the same for another scope."""
        return Lookup(
            self.shelf, partition, self.embed, self.plugins, self.judge, self.meter
        )

    def below(self, question: str, key: str) -> Hit[V] | None:
        """Return what a tier below memory has for the same question."""
        tiers = self.shelf.tiers
        if tiers is None:
            return None
        return tiers.find(self.partition, [(key, question)], self.admits)[0]

    async def abelow(self, question: str, key: str) -> Hit[V] | None:
        """Do as `below` does, for asyncio."""
        if self.shelf.tiers is None:
            return None
        return await self.aside(self.below, question, key)

    async def aside(
        self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Return what *function* does; the loop goes on if that may have to wait."""
        if not self.shelf.waits:
            return function(*args, **kwargs)
        return await self.embed.in_thread(function, *args, **kwargs)

    def vectors(self, keys: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """Return the vector of each of *keys*, with one call of the embedder."""
        distinct = list(dict.fromkeys(keys))
        return dict(zip(distinct, self.embed(distinct), strict=True))

    def admits(self, question: str, answer: V) -> bool:
        """Say whether plugins let an answer be stored, and count it if they do not."""
        if self.may_store(question, answer):
            return True
        self.shelf.count(self.partition, "refused")
        return False

    def may_store(self, question: str, answer: V) -> bool:
        """Say whether plugins let an answer be stored."""
        return self.plugins is None or self.plugins.admit(question, answer)

    def seen(self, hit: Hit[V] | None, *, took_s: float | None) -> Hit[V] | None:
        """Have the meter, if there is one, take note of a look-up; return its hit."""
        if self.meter is not None:
            saved = self.meter.looked_up(hit, took_s=took_s)
            if saved is not None:
                self.shelf.save(self.partition, saved)
        return hit

    def found(self, hit: Hit[V], begun_s: float) -> V:
        """Return the answer of *hit*, which somebody looked up since *begun_s*."""
        if self.meter is not None:
            self.seen(hit, took_s=self.shelf.clock.machine() - begun_s)
        return hit.value

    def asked(
        self,
        question: str,
        key: str,
        vector: NDArray[np.float32],
        *,
        later: bool = False,
    ) -> Asked[V]:
        """Return what is asked; what the coin takes may be judged *later*."""
        first = self.judge is not None and not later
        return Asked(key, question, vector, first, self.may_store, {})

    def embedded(self, question: str, key: str) -> Asked[V]:
        """Embed a question, and return what is asked."""
        return self.asked(question, key, self.embed([key])[0])

    async def aasked(self, question: str, key: str) -> Asked[V]:
        """Do as `asked` does, for asyncio; it embeds in a thread."""
        vector = (await self.embed.aside(self.embed, [key]))[0]
        return self.asked(question, key, vector, later=True)

    def refuse_async_judge(self, method: str) -> None:
        """Raise a `TypeError` where *method* cannot ask the judge."""
        if self.judge is not None:
            self.judge.refuse_async(method)

    def find(
        self, asked: Asked[V], found: Neighbours[V] | None = None
    ) -> Hit[V] | None:
        """Look up, and have the judge asked before anybody gets what the coin took."""
        hit = self.shelf.similar(self.partition, asked, found)
        if hit is None or not hit.audit or self.judge is None:
            return hit
        ticket = cast("Ticket[V]", hit._ticket)
        right = None
        try:
            right = self.judge.ask(asked.question, hit.value)
        finally:
            served = self.shelf.settle(ticket, right)
        return hit if served else None

    def afind(self, asked: Asked[V]) -> Hit[V] | None:
        """Look up, and have the judge asked behind the answer's back."""
        hit = self.shelf.similar(self.partition, asked)
        if hit is not None and hit.audit and self.judge is not None:
            self.judge.later(self._settle_later(self.judge, asked, hit))
        return hit

    async def _settle_later(
        self, judge: Judge[V], asked: Asked[V], hit: Hit[V]
    ) -> None:
        right = await judge.aask(asked.question, hit.value)
        if right is not None:
            self.shelf.judged(cast("Ticket[V]", hit._ticket), right)

    def near(self, asked: Asked[V]) -> Near:
        """Return what others, who ask nearly the same, know of *asked*."""
        return Near(
            scope=self.partition.scope,
            question=asked.key,
            vector=asked.vector,
            least=self.shelf.least(asked),
            vetoed=partial(self.shelf.rule.vetoed, asked.key),
            served=partial(self.shelf.serves, self.partition, asked),
        )
