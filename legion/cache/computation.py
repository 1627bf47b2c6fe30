"""An answer that is found, or computed by one of those who ask for it."""

from __future__ import annotations

import logging

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from reprlib import repr as brief
from typing import TYPE_CHECKING, Generic, Literal, NamedTuple

import attrs

from .accept import Asked
from .aloft import Near
from .counts import Outcome
from .flight import SingleFlight
from .given import lasting, plain, refuse_plain
from .hit import Hit, V
from .item import Item
from .key import normalised
from .lifetime import Terms
from .lookup import Lookup
from .storing import store
from .waiting import Flight


if TYPE_CHECKING:
    import numpy as np

    from numpy.typing import NDArray


logger = logging.getLogger("legion")


class Answered(NamedTuple, Generic[V]):
    """An answer, and how it came about."""

    value: V
    outcome: Outcome


@attrs.define(eq=False)
class Computation(Generic[V]):
    """
    One who asks for an answer, and computes it unless it is found or another one does.

    Attributes:
        lookup: How it is found.
        flights: Who computes what meanwhile.
        question: As it was put.
        key: As it is normalised.
        begun_s: When it was asked, in machine time.
    """

    lookup: Lookup[V]
    flights: SingleFlight[Answered[V]]
    question: str
    key: str
    begun_s: float
    _led: bool = attrs.field(init=False, default=False)
    _looked: bool = attrs.field(init=False, default=False)

    @property
    def _name(self) -> tuple[str, str]:
        return self.lookup.partition.scope, self.key

    def run(self, compute: Callable[[str], V]) -> V:
        """Return the answer, which *compute* makes if need be."""
        lead = partial(self._lead, compute)
        while True:
            outcome: Outcome = "misses"
            try:
                answered = self.flights.run(self._name, lead)
                outcome = answered.outcome
                if self._led or not self._is_others(outcome):
                    return answered.value
            finally:
                self._waited(outcome)
            if not self._looked:
                self._looked = True
                hit = self.lookup.find(self.lookup.embedded(self.question, self.key))
                if hit is not None:
                    return self.lookup.found(hit, self.begun_s)

    async def arun(self, compute: Callable[[str], Awaitable[V]]) -> V:
        """Do as `run` does, for asyncio."""
        lead = partial(self._alead, compute)
        while True:
            outcome: Outcome = "misses"
            try:
                answered = await self.flights.arun(self._name, lead)
                outcome = answered.outcome
                if self._led or not self._is_others(outcome):
                    return answered.value
            finally:
                self._waited(outcome)
            if not self._looked:
                self._looked = True
                asked = await self.lookup.aasked(self.question, self.key)
                hit = self.lookup.afind(asked)
                if hit is not None:
                    return self.lookup.found(hit, self.begun_s)

    def _lead(
        self, compute: Callable[[str], V], flight: Flight[Answered[V]]
    ) -> Answered[V]:
        near = self._look(flight)
        if isinstance(near, Hit):
            return self._found(near)
        self.flights.announce(flight, near)
        began_s = self.lookup.shelf.clock.machine()
        computed = plain(compute(self.question))
        return self._keep(computed, near.vector, began_s)

    async def _alead(
        self, compute: Callable[[str], Awaitable[V]], flight: Flight[Answered[V]]
    ) -> Answered[V]:
        near = await self._alook(flight)
        if isinstance(near, Hit):
            return self._found(near)
        self.flights.announce(flight, near)
        began_s = self.lookup.shelf.clock.machine()
        computed = compute(self.question)
        refuse_plain(computed)
        value = lasting(await computed)
        return await self.lookup.aside(self._keep, value, near.vector, began_s)

    def _look(self, flight: Flight[Answered[V]]) -> Hit[V] | Near:
        """Look up, for whoever asks alike, and return what was found or is near."""
        again = self._again()
        lookup = self.lookup
        hit = lookup.below(self.question, self.key)
        if hit is not None:
            return hit
        asked = lookup.embedded(self.question, self.key)
        near = lookup.near(asked)
        if not again:
            hit = self._follow(flight, near, asked)
        return near if hit is None else hit

    async def _alook(self, flight: Flight[Answered[V]]) -> Hit[V] | Near:
        """Do as `_look` does, for asyncio."""
        again = self._again()
        lookup = self.lookup
        hit = await lookup.abelow(self.question, self.key)
        if hit is not None:
            return hit
        asked = await lookup.aasked(self.question, self.key)
        near = lookup.near(asked)
        if not again:
            hit = await self._afollow(flight, near, asked)
        return near if hit is None else hit

    def _again(self) -> bool:
        """Lead from now on, and say whether nothing near was found before."""
        self._led = True
        again, self._looked = self._looked, True
        return again

    def _follow(
        self, flight: Flight[Answered[V]], near: Near, asked: Asked[V]
    ) -> Hit[V] | None:
        """Look up, once the answer is there that is under way for nearly the same."""
        with self._missing_where_it_raises():
            followed = self.flights.follow(flight, near)
        if followed:
            self._count("coalesced")
        return self.lookup.find(asked)

    async def _afollow(
        self, flight: Flight[Answered[V]], near: Near, asked: Asked[V]
    ) -> Hit[V] | None:
        """Do as `_follow` does, for asyncio."""
        with self._missing_where_it_raises():
            followed = await self.flights.afollow(flight, near)
        if followed:
            self._count("coalesced")
        return self.lookup.afind(asked)

    def _found(self, hit: Hit[V]) -> Answered[V]:
        value = self.lookup.found(hit, self.begun_s)
        return Answered(value, "exact_hits" if hit.exact else "semantic_hits")

    def _keep(
        self, value: V, vector: NDArray[np.float32], began_s: float
    ) -> Answered[V]:
        lookup, question = self.lookup, self.question
        terms = Terms(cost=lookup.shelf.clock.machine() - began_s)
        with answering(lookup, question):
            if lookup.admits(question, value):
                item = Item(self.key, question, value, vector, terms)
                store(lookup.shelf, lookup.partition, [item])
        return Answered(value, "misses")

    def _is_others(self, outcome: Outcome) -> bool:
        """
        Say whether an answer may be had only by who looked it up.

        Where wrong answers are counted, one that is shared would count for several and
        be charged for one. So who waited for it looks for itself.
        """
        return outcome == "semantic_hits" and self.lookup.shelf.threshold is None

    @contextmanager
    def _missing_where_it_raises(self) -> Iterator[None]:
        """Count who waited for an answer that never came."""
        try:
            yield
        except BaseException:
            self._count("misses")
            self._count("coalesced")
            raise

    def _waited(self, outcome: Outcome) -> None:
        """Count who waited for another one's answer, and neither led nor looked."""
        if not (self._led or self._looked or self._is_others(outcome)):
            self._count(outcome)
            self._count("coalesced")

    def _count(self, what: Outcome | Literal["coalesced"]) -> None:
        self.lookup.shelf.count(self.lookup.partition, what)


@contextmanager
def answering(lookup: Lookup[V], question: str) -> Iterator[None]:
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
        if normalised(question) not in lookup.partition.exact:
            lookup.shelf.count(lookup.partition, "refused")
