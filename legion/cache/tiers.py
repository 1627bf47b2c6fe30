"""The tiers below memory, asked for the same question where memory has no answer."""

from __future__ import annotations

import logging
import math
import weakref

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeAlias, cast

import attrs

from ..exceptions import EmbeddingError
from .accept import Ticket
from .embedding import UnitVectors
from .hit import V
from .item import Item
from .rise import from_disk, on_disk
from .sharing import Received, Sharing
from .snapshot import FOREVER_MS, Row


if TYPE_CHECKING:
    from .disk import Disk
    from .hit import Hit
    from .partition import Partition
    from .shelf import Shelf


Admits: TypeAlias = Callable[[str, V], bool]

_logger = logging.getLogger("legion")


class Lying(NamedTuple):
    """What a tier below memory would answer with."""

    tier: str | None
    question: str | None
    trouble: str | None


def _weakly(shelf: Shelf[V]) -> weakref.ref[Shelf[V]]:
    return weakref.ref(shelf)


@attrs.define(eq=False)
class Tiers(Generic[V]):
    """
    The tiers below memory: what is on disk alone, and what is shared with others.

    Attributes:
        disk: The file, or None.
        sharing: What is shared, or None.
        embed: Whose dimension all vectors have.
    """

    # Its shelf has it, so that it does not keep that alive.
    _shelf: weakref.ref[Shelf[V]] = attrs.field(alias="shelf", converter=_weakly)
    disk: Disk[V] | None
    sharing: Sharing[V] | None
    embed: UnitVectors

    @property
    def shelf(self) -> Shelf[V]:
        """Memory, to which rises what is found."""
        return cast("Shelf[V]", self._shelf())

    def find(
        self,
        partition: Partition[V],
        asked: Sequence[tuple[str, str]],
        admits: Admits[V],
    ) -> list[Hit[V] | None]:
        """
        Return the hits for the same questions, counted, and in memory from now on.

        Args:
            partition: Where to look.
            asked: Each question as it is normalised, and as it was put.
            admits: Whether an answer may be stored for a question.
        """
        hits: list[Hit[V] | None] = [None] * len(asked)
        if self.disk is not None:
            hits = [
                from_disk(self.shelf, self.disk, partition, key) for key, _ in asked
            ]
        rest = [n for n, hit in enumerate(hits) if hit is None]
        if self.sharing is None or not rest:
            return hits
        since = self.shelf.removals
        found = self.sharing.get(partition.scope, [asked[n][0] for n in rest])
        for n, data in zip(rest, found, strict=True):
            if data is not None:
                received = self._received(partition, asked[n], data, admits)
                if received is not None:
                    hits[n] = self._enter(partition, received, since)
        self.shelf.written(must=False, put=False)
        return hits

    def _received(
        self,
        partition: Partition[V],
        asked: tuple[str, str],
        data: bytes,
        admits: Admits[V],
    ) -> Received[V] | None:
        """Return what came from the shared tier, if it may be taken."""
        assert self.sharing is not None
        key, question = asked
        got = self.sharing.opened(partition.scope, key, data)
        if not isinstance(got, str):
            got = self._checked(got)
        if isinstance(got, str):
            self.shelf.count(partition, "unusable")
            _logger.warning("cache: took no row of the shared tier: %s", got)
            return None
        if self._over(got):
            return None
        return got if admits(question, got.value) else None

    def _over(self, got: Received[V]) -> bool:
        return self._ends(got) <= self.shelf.clock.machine()

    def _checked(self, got: Received[V]) -> Received[V] | str:
        dim = len(got.vector)
        try:
            self.embed.settle(dim)
        except EmbeddingError as error:
            return str(error)
        return got

    def _enter(
        self, partition: Partition[V], got: Received[V], since: int
    ) -> Hit[V] | None:
        shelf, row = self.shelf, got.row
        item = Item(row.key, row.question, got.value, got.vector, row.terms)
        size, group = shelf.stock.weigh(item), shelf.rule.group(got.value)
        with shelf.lock:
            if row.key in partition.exact:
                return shelf.exact(partition, row.key)
            if shelf.removals != since:  # it may be what was removed
                return None
            now = shelf.clock.machine()
            entry = shelf.stock.make(
                partition, item, self._stored(row), size, row.redundancy
            )
            entry.expires_s = self._ends(got)
            if not shelf.stock.enter(entry, got.vector, group):
                shelf.count(partition, "refused")
                return None
            if self.disk is not None:
                self.disk.put(entry, got.raw, got.vector)
            shelf.count(partition, "exact_hits")
            shelf.count(partition, "shared_hits")
            return shelf.hit(Ticket(entry), 1.0, now)

    def _stored(self, row: Row) -> float:
        """Return when *row* was stored, in machine time; not later than now."""
        age_ms = self.shelf.clock.wall() * 1_000 - row.stored_ms
        return self.shelf.clock.machine() - max(age_ms, 0) / 1_000

    def _ends(self, got: Received[V]) -> float:
        """Return when it is over: as its row says, or before, as this cache does."""
        row, now = got.row, self.shelf.clock.machine()
        own = self.shelf.stock.lifetime.expiry(
            row.terms,
            negative=got.value is None,
            stored_s=self._stored(row),
            used_s=now,
        )
        if row.expires_ms >= FOREVER_MS:
            return own
        lasts_s = row.expires_ms / 1_000 - self.shelf.clock.wall()
        return min(own, now + lasts_s)

    def share(
        self,
        partition: Partition[V],
        items: Sequence[tuple[Item[V], bytes]],
        since: int,
    ) -> None:
        """
        Let others have *items*, which were just stored, and their answers in bytes.

        Args:
            partition: Where they were stored.
            items: The items.
            since: How many removals there were before.
        """
        if self.sharing is None or not items:
            return
        date_ms = round(self.shelf.clock.wall() * 1_000)
        rows = [
            (self._row(partition, item, raw, date_ms), item.vector)
            for item, raw in items
        ]
        self.sharing.put(rows, date_ms)
        if self.shelf.removals != since:  # they may be what was removed
            self.sharing.forget(partition.scope, [item.key for item, _ in items])

    def _row(
        self, partition: Partition[V], item: Item[V], raw: bytes, date_ms: int
    ) -> Row:
        lasts_s = self.shelf.stock.lifetime.expiry(
            item.terms, negative=item.value is None, stored_s=0.0, used_s=0.0
        )
        return Row(
            0,
            partition.scope,
            item.key,
            item.question,
            raw,
            date_ms,
            FOREVER_MS if lasts_s == math.inf else date_ms + round(lasts_s * 1_000),
            item.terms,
            0,
            0.0,
            1,
        )

    def forget(self, scope: str, key: str) -> None:
        """Remove the answer of a question from what is shared."""
        if self.sharing is not None:
            self._removing()
            self.sharing.forget(scope, [key])

    def invalidate(self, within: Partition[V] | None, tag: str | None = None) -> None:
        """Remove what has *tag*, or everything, from what is shared."""
        if self.sharing is not None:
            self._removing()
            self.sharing.invalidate(None if within is None else within.scope, tag)

    def _removing(self) -> None:
        # Once now, and once when memory has it no more: whoever takes a row in between
        # sees that it may be what is removed.
        with self.shelf.lock:
            self.shelf.removals += 1

    def lying(self, partition: Partition[V], key: str) -> Lying:
        """Return what would answer the same question; it counts nothing."""
        if self.disk is not None:
            question = on_disk(self.shelf, self.disk, partition, key)
            if question is not None:
                return Lying("disk", question, None)
        if self.sharing is None:
            return Lying(None, None, None)
        (data,) = self.sharing.get(partition.scope, [key])
        if data is None:
            trouble = self.sharing.trouble
            return Lying(None, None, None if trouble is None else repr(trouble))
        got = self.sharing.opened(partition.scope, key, data)
        if isinstance(got, str):
            return Lying(None, None, got)
        if self._over(got):
            return Lying(None, None, None)
        return Lying("shared", got.row.question, None)
