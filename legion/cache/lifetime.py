"""How long answers last, and what else is agreed of one when it is stored."""

from __future__ import annotations

import math
import sys

from collections.abc import Iterable
from reprlib import repr as brief

import attrs


ENDLESS_S = 1e12
"""Whatever lasts longer, 30,000 years, has no end."""


def _number(given: object) -> bool:
    return isinstance(given, int | float) and not isinstance(given, bool)


def _ending(given: float | None) -> float | None:
    """Return a time, infinite if nobody will see its end."""
    return math.inf if _number(given) and given > ENDLESS_S else given  # type: ignore[operator]


@attrs.frozen(kw_only=True)
class Terms:
    """
    What a put says of the answer; None leaves it to the cache.

    Attributes:
        ttl_s: How long it lasts, in seconds of machine time.
        sliding: Whether each hit lets it last that long once more.
        tags: What it can be invalidated by.
        cost: What it cost to make, in any unit that is the same for all.

    """

    ttl_s: float | None = attrs.field(default=None, converter=_ending)
    sliding: bool | None = None
    tags: frozenset[str] = frozenset()
    cost: float = 1.0

    @classmethod
    def of(
        cls,
        *,
        ttl_s: float | None,
        sliding: bool | None,
        tags: Iterable[str],
        cost: float,
    ) -> Terms:
        """
        Check what a put was given, and return the terms.

        Raises:
            ValueError: *ttl_s* or *cost* is out of range.
            TypeError: *tags* is one string, or not of strings.
        """
        if ttl_s is None and sliding is None and tags == () and cost == 1:
            return NOTHING_SAID
        check_seconds("put", "ttl_s", ttl_s)
        if not _number(cost) or not 0 <= cost <= sys.float_info.max:
            msg = f"put: got cost={brief(cost)}; write a number from 0 up"
            raise ValueError(msg)
        return cls(ttl_s=ttl_s, sliding=sliding, tags=_tags(tags), cost=cost)


NOTHING_SAID = Terms()
"""The terms of most puts."""


@attrs.frozen(kw_only=True)
class Lifetime:
    """
    How long the answers of a cache last, where a put says nothing else.

    Attributes:
        ttl_s: How long an answer lasts, in seconds of machine time, or None for no end.
        sliding: Whether each hit lets it last that long once more.
        max_age_s: After which it goes, whatever its terms and its hits, or None.
        negative_ttl_s: The ttl_s of negative entries, or None for that of all others.

    Raises:
        ValueError: A time is not above 0.
    """

    ttl_s: float | None = attrs.field(default=None, converter=_ending)
    sliding: bool = False
    max_age_s: float | None = attrs.field(default=None, converter=_ending)
    negative_ttl_s: float | None = attrs.field(default=None, converter=_ending)

    def __attrs_post_init__(self) -> None:
        for name in ("ttl_s", "max_age_s", "negative_ttl_s"):
            check_seconds("cache", name, getattr(self, name))

    def slides(self, terms: Terms) -> bool:
        """Whether a hit prolongs the life of an entry on these *terms*."""
        return self.sliding if terms.sliding is None else terms.sliding

    def expiry(
        self, terms: Terms, *, negative: bool, stored_s: float, used_s: float
    ) -> float:
        """Return when an entry expires; infinite for never."""
        ttl_s = terms.ttl_s
        if ttl_s is None and negative:
            ttl_s = self.negative_ttl_s
        if ttl_s is None:
            ttl_s = self.ttl_s
        if ttl_s is None and self.max_age_s is None:
            return math.inf
        began = used_s if self.slides(terms) else stored_s
        end = math.inf if ttl_s is None else began + ttl_s
        return end if self.max_age_s is None else min(end, stored_s + self.max_age_s)


def check_seconds(who: str, name: str, given: object) -> None:
    """
    Raise if *given* is neither None nor a time above 0.

    Raises:
        ValueError: It is not; the message names *who* and *name*.
    """
    if given is not None and not (_number(given) and given > 0):  # type: ignore[operator]
        msg = f"{who}: got {name}={brief(given)}; write seconds above 0"
        raise ValueError(msg)


def _tags(tags: Iterable[str]) -> frozenset[str]:
    several = isinstance(tags, Iterable) and not isinstance(tags, str)
    given = frozenset(tags) if several else None
    if given is None or not all(isinstance(tag, str) for tag in given):
        msg = f"put: got tags={brief(tags)}; write several strings, as in {{'cards'}}"
        raise TypeError(msg)
    return given
