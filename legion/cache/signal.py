"""What speaks for an answer: how near, how alone, and how many neighbours share it."""

from __future__ import annotations

import math

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from .hit import V


if TYPE_CHECKING:
    from .entry import Entry


NEIGHBOURS = 16
"""Entries that are looked at."""
LEAST = 0.5
"""Cosine from which entries are looked at; so far out sketches say little."""
VOTERS = 8
"""Entries whose agreement is counted."""
_SHARPNESS = 10.0
"""A vote's weight falls by a factor e with every tenth of a cosine."""
_DOUBT = 0.01
"""Keeps the odds of a unanimous vote finite."""

Neighbours: TypeAlias = "Sequence[tuple[Entry[V], float]]"
"""The nearest entries of a scope and their cosines, best first."""


class Signal(NamedTuple):
    """
    What speaks for one entry's answer; more of each never speaks against it.

    Attributes:
        similarity: Cosine of both questions.
        margin: By how much it is nearer than the nearest entry with another value.
        agreement: Share of the nearest eight that have its value, 0..1.
        vote: Log odds of its value among all neighbours, weighted by nearness.
    """

    similarity: float
    margin: float
    agreement: float
    vote: float


def signal(candidate: int, neighbours: Neighbours[V]) -> Signal:
    """Return what speaks for the *candidate*-th of the *neighbours*."""
    entry, similarity = neighbours[candidate]
    group, best = entry.group, neighbours[0][1]
    # Without another value among them, it is at least as far as who is left out.
    left_out = neighbours[-1][1] if len(neighbours) == NEIGHBOURS else LEAST
    other = next((s for e, s in neighbours if e.group != group), left_out)
    same = every = 0.0
    for each, cosine in neighbours:
        weight = math.exp(_SHARPNESS * (cosine - best))
        every += weight
        same += weight if each.group == group else 0.0
    voters = neighbours[:VOTERS]
    return Signal(
        similarity,
        similarity - other,
        sum(each.group == group for each, _ in voters) / VOTERS,
        _log_odds(same / every),
    )


def alone(similarity: float) -> Signal:
    """Return what speaks for an entry without any other near."""
    return Signal(similarity, similarity - LEAST, 1 / VOTERS, _log_odds(1.0))


def _log_odds(share: float) -> float:
    return math.log((share + _DOUBT) / (1 + _DOUBT - share))
