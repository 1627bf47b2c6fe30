"""What a cache counts, under the names that monitoring systems are given."""

from __future__ import annotations

from typing import Protocol

import attrs

from ..cache import CacheStats, Meter, SemanticCache


class Counted(Protocol):
    """A cache or a scope of it, whatever it holds."""

    def stats(self) -> CacheStats:
        """Return what happened so far."""
        ...


@attrs.frozen(kw_only=True)
class Figure:
    """
    One thing that is counted.

    Attributes:
        name: Its last part, as in ``legion_cache_<name>``.
        field: Of `CacheStats`, or several by the outcome they stand for.
        help: What it is, for people.
    """

    name: str
    field: str | dict[str, str]
    help: str

    def of(self, stats: CacheStats) -> list[tuple[dict[str, str], float]]:
        """Return its values, each with what tells it from the others."""
        if isinstance(self.field, str):
            return [({}, getattr(stats, self.field))]
        return [
            ({"outcome": outcome}, getattr(stats, field))
            for outcome, field in self.field.items()
        ]


COUNTERS = (
    Figure(
        name="lookups",
        field={
            "exact_hit": "exact_hits",
            "semantic_hit": "semantic_hits",
            "miss": "misses",
        },
        help="Questions asked, by what came of them.",
    ),
    Figure(
        name="coalesced",
        field="coalesced",
        help="Look-ups that waited for another one's answer.",
    ),
    Figure(name="puts", field="puts", help="Answers stored."),
    Figure(
        name="refused", field="refused", help="Answers that were put and not stored."
    ),
    Figure(
        name="evictions",
        field="evictions",
        help="Entries that made room for others.",
    ),
    Figure(
        name="disk_hits",
        field="disk_hits",
        help="Exact hits that were on disk alone.",
    ),
    Figure(
        name="shared_hits",
        field="shared_hits",
        help="Exact hits from the shared tier.",
    ),
    Figure(
        name="shared_failures",
        field="shared_failures",
        help="How often the shared tier raised.",
    ),
    Figure(
        name="unusable",
        field="unusable",
        help="Misses whose row was damaged or another question's.",
    ),
    Figure(name="saved_tokens", field="saved_tokens", help="Tokens that hits saved."),
    Figure(name="saved_money", field="saved_money", help="Money that hits saved."),
)
GAUGES = (
    Figure(name="entries", field="entries", help="Entries there are now."),
    Figure(name="capacity", field="capacity", help="Entries the whole cache may hold."),
)


def meter_of(cache: Counted) -> Meter[object] | None:
    """Return what measures the look-ups of a whole cache; nothing does of a scope."""
    return cache.meter if isinstance(cache, SemanticCache) else None
