"""What happened, in each scope and in the whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import attrs

from .meter import Cost
from .stats import Tally


if TYPE_CHECKING:
    from .partition import Partition


Outcome: TypeAlias = Literal["exact_hits", "semantic_hits", "misses"]
Counted: TypeAlias = Literal[
    "puts",
    "refused",
    "evictions",
    "expired",
    "coalesced",
    "vetoed",
    "over_budget",
    "judged",
    "wrong",
    "disk_hits",
    "shared_hits",
    "unusable",
]


@attrs.define(eq=False)
class Counts:
    """
    What happened, in each scope and in the whole.

    It has no lock; the shelf's is held.

    Attributes:
        whole: What happened in all scopes.
    """

    whole: Tally = attrs.field(init=False, factory=Tally)

    def add(self, partition: Partition[Any], what: Outcome | Counted) -> None:
        """Count *what* once."""
        for tally in (partition.tally, self.whole):
            setattr(tally, what, getattr(tally, what) + 1)

    def save(self, partition: Partition[Any], cost: Cost) -> None:
        """Count what a hit saved."""
        for tally in (partition.tally, self.whole):
            tally.saved_tokens += cost.tokens
            tally.saved_money += cost.money
