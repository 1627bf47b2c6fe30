"""What a look-up would find, and why, without one being counted."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from .accept import Asked, Decision
from .entry import Entry
from .hit import Explanation, V


if TYPE_CHECKING:
    from .partition import Partition
    from .shelf import Shelf


_WHERE = {
    "memory": "stored",
    "disk": "on disk alone",
    "shared": "in the shared tier",
}


def explain(
    shelf: Shelf[V], partition: Partition[V], key: str, ask: Callable[[], Asked[V]]
) -> Explanation:
    """Say what a look-up would find; it calls *ask* if it has to embed for that."""
    entry = partition.exact.get(key)
    if entry is not None and entry.alive(shelf.clock.machine()):
        return _same(shelf, partition, entry.question, "memory")
    lying = None if shelf.tiers is None else shelf.tiers.lying(partition, key)
    if lying is not None and lying.tier is not None:
        return _same(shelf, partition, lying.question, lying.tier)
    found = Decision[V](why="empty")
    if partition.exact:
        found = _decision(shelf, partition, ask())
    reason = found.reason(shelf.threshold)
    if lying is not None and lying.trouble is not None:
        reason += f"; nothing was taken from the shared tier: {lying.trouble}"
    return Explanation(
        outcome="semantic_hit" if found.why == "accepted" else "miss",
        reason=reason,
        nearest=found.entry.question if found.entry else None,
        similarity=min(found.similarity, 1.0) if found.entry else None,
        threshold=shelf.threshold,
        scope=partition.scope,
        veto=None if found.veto is None else str(found.veto),
        wrong=found.chance if found.signal else None,
        tier="memory" if found.why == "accepted" else None,
    )


def _same(
    shelf: Shelf[V], partition: Partition[V], question: str | None, tier: str
) -> Explanation:
    return Explanation(
        outcome="exact_hit",
        reason=f"the same question is {_WHERE[tier]}: {question!r}",
        nearest=question,
        similarity=1.0,
        threshold=shelf.threshold,
        scope=partition.scope,
        tier=tier,
    )


def _decision(shelf: Shelf[V], partition: Partition[V], asked: Asked[V]) -> Decision[V]:
    now, k = shelf.clock.machine(), shelf.rule.neighbours
    near = _living(partial(partition.top, asked.vector), k, now)
    if not near:
        near = _living(partial(partition.nearest, asked.vector), 1, now)
    return shelf.decided(asked, near)


def _living(
    search: Callable[[int], list[tuple[Entry[V], float]]], k: int, now_s: float
) -> list[tuple[Entry[V], float]]:
    """Return the *k* best that have not expired of those that *search* finds."""
    n = k
    while True:
        found = search(n)
        living = [each for each in found if each[0].alive(now_s)]
        if len(living) >= k or len(found) < n:
            return living[:k]
        n *= 2
