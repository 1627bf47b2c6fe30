"""An experiment as GrowthBook defines it: who gets which variation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from .buckets import GrowthBookBuckets
from .ranges import BUCKETS, Filter, Range, chosen, place_of, ranges_of


_ROUNDING = 1e-9
_NUDGE = 2e-7
"""A share beyond what legion leaves free at the edges of buckets."""


@attrs.frozen(kw_only=True)
class Assigned:
    """
    Which variation somebody gets.

    Attributes:
        variation: Its index.
        place: Where the value stands, 0 to below 1.
        attribute: Which attribute was hashed.
        value: The attribute's value.
        sticky: Whether it was remembered rather than computed.
        document: Key of the sticky document of that value.
        assignments: What that document says from now on.
    """

    variation: int
    place: float
    attribute: str
    value: str
    sticky: bool
    document: str
    assignments: Mapping[str, str]


@attrs.frozen
class GrowthBookExperiment:
    """
    The part of an experiment's definition that decides about buckets.

        GrowthBookExperiment("new-answers", coverage=0.2, hash_version=2)

    Attributes:
        key: Its key.
        variations: How many there are, or the keys that sticky documents have for them.
        coverage: Share of each variation's range that is used.
        weights: Share of each variation; equal by default.
        ranges: The ranges themselves, in place of coverage and weights.
        seed: What is hashed with the value; the key by default.
        hash_version: 1 or 2.
        filters: Who may take part.
        hash_attribute: Which attribute is hashed.
        fallback_attribute: Which one where the first is empty; with sticky documents.
        sticky: Whether sticky documents count.
        bucket_version: Version of the buckets, which a sticky document must have.
        min_bucket_version: Whoever has an older version does not take part.

    .. versionadded:: 0.1
    """

    key: str
    variations: int | Sequence[str] = attrs.field(default=2, kw_only=True)
    coverage: float = attrs.field(default=1.0, kw_only=True)
    weights: Sequence[float] | None = attrs.field(default=None, kw_only=True)
    ranges: Sequence[Range] = attrs.field(kw_only=True)
    seed: str = attrs.field(kw_only=True)
    hash_version: int = attrs.field(default=1, kw_only=True)
    filters: tuple[Filter, ...] = attrs.field(default=(), kw_only=True)
    hash_attribute: str = attrs.field(default="id", kw_only=True)
    fallback_attribute: str = attrs.field(default="", kw_only=True)
    sticky: bool = attrs.field(default=True, kw_only=True)
    bucket_version: int = attrs.field(default=0, kw_only=True)
    min_bucket_version: int = attrs.field(default=0, kw_only=True)

    @ranges.default
    def _by_weight(self) -> Sequence[Range]:
        return ranges_of(len(self.keys), self.coverage, self.weights)

    @seed.default
    def _key(self) -> str:
        return self.key

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of the variations."""
        if isinstance(self.variations, int):
            return tuple(str(index) for index in range(self.variations))
        return tuple(self.variations)

    def splitter(self, variation: int = 1) -> GrowthBookBuckets:
        """Return the order of units in which this variation's come first."""
        return GrowthBookBuckets(
            self.seed,
            hash_version=self.hash_version,
            start=self._edge(self.ranges[variation][0]),
            filters=self.filters,
        )

    def share(self, variation: int = 1) -> float:
        """Return how much of the line this variation has: a stage's traffic."""
        start, end = self.ranges[variation]
        return self._edge(end) - self._edge(start)

    def _edge(self, edge: float) -> float:
        """
        Return *edge* where legion puts the same buckets before it as floats do.

        Weights add up to a little more than a bucket's place at times; GrowthBook then
        has that bucket before the edge.
        """
        of = BUCKETS.get(self.hash_version, 1)
        place = round(edge * of) / of
        return edge + _NUDGE if 0 < edge - place < _ROUNDING else edge

    def assign(
        self,
        attributes: Mapping[str, object],
        documents: Mapping[str, Mapping[str, str]] | None = None,
    ) -> Assigned | None:
        """
        Return which variation somebody gets, or None outside the experiment.

        Args:
            attributes: Theirs, by name.
            documents: Sticky documents, by ``attribute||value``: the variation's key by
                ``experiment__version``.
        """
        attribute, value = self._hashed(attributes)
        if len(self.keys) < 2 or not value:
            return None
        document = f"{attribute}||{value}"
        stored = self._stored(attributes, documents or {})
        if self._blocked(stored):
            return None
        kept = stored.get(self._version)
        sticky = kept in self.keys
        if not sticky and not self._admits(attributes, value):
            return None
        place = place_of(self.seed, value, self.hash_version)
        if place is None:
            return None
        variation = self.keys.index(kept) if kept in self.keys else None
        if variation is None:
            variation = chosen(place, self.ranges)
        if variation is None:
            return None
        own = {} if documents is None else documents.get(document, {})
        return Assigned(
            variation=variation,
            place=place,
            attribute=attribute,
            value=value,
            sticky=sticky,
            document=document,
            assignments={**own, self._version: self.keys[variation]},
        )

    @property
    def _version(self) -> str:
        return f"{self.key}__{self.bucket_version}"

    def _hashed(self, attributes: Mapping[str, object]) -> tuple[str, str]:
        value = _text(attributes, self.hash_attribute)
        if value or not self.fallback_attribute or not self.sticky:
            return self.hash_attribute, value
        return self.fallback_attribute, _text(attributes, self.fallback_attribute)

    def _stored(
        self,
        attributes: Mapping[str, object],
        documents: Mapping[str, Mapping[str, str]],
    ) -> dict[str, str]:
        """Return what is remembered; the hash attribute's document wins."""
        stored: dict[str, str] = {}
        if self.sticky:
            for name in (self.fallback_attribute, self.hash_attribute):
                stored |= documents.get(f"{name}||{_text(attributes, name)}", {})
        return stored

    def _blocked(self, stored: Mapping[str, str]) -> bool:
        old = range(self.min_bucket_version)
        return any(f"{self.key}__{version}" in stored for version in old)

    def _admits(self, attributes: Mapping[str, object], value: str) -> bool:
        for each in self.filters:
            own = each.attribute == self.hash_attribute
            if not each.admits(value if own else _text(attributes, each.attribute)):
                return False
        return True


def _text(attributes: Mapping[str, object], name: str) -> str:
    value = attributes.get(name)
    return "" if value is None else str(value)
