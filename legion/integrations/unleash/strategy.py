"""Who is in at a percentage, and which variant they get, as in Unleash."""

from __future__ import annotations

from collections.abc import Mapping

from .murmur import murmur3


BUCKETS = 100

_VARIANT_SEED = 86_028_157


def normalized(unit: str, group: str, *, of: int = BUCKETS, seed: int = 0) -> int:
    """
    Return the unit's bucket, 1 to *of*.

    Args:
        unit: What is sticky: a user's id, a session's.
        group: The strategy's groupId.
        of: How many buckets there are.
        seed: Of the hash.
    """
    return murmur3(f"{group}:{unit}".encode(), seed) % of + 1


def enabled(unit: str, group: str, percentage: float) -> bool:
    """Tell whether a gradual rollout is on for *unit*; nobody's id is never in."""
    return bool(unit) and normalized(unit, group) <= percentage


def variant(unit: str, group: str, weights: Mapping[str, int]) -> str | None:
    """
    Return the variant that *unit* gets, or None where all weights are 0.

    Args:
        unit: What is sticky.
        group: The feature's name, or of a strategy's variants the groupId.
        weights: By variant, in the order of the feature; they need not add up to 1,000.
    """
    total = sum(weights.values())
    if total <= 0:
        return None
    bucket = normalized(unit, group, of=total, seed=_VARIANT_SEED)
    upto = 0
    for name, weight in weights.items():
        upto += weight
        if weight and bucket <= upto:
            return name
    return None  # pragma: no cover - the buckets end where the weights do


def sticky_id(context: Mapping[str, object], stickiness: str = "default") -> str:
    """
    Return what *stickiness* says is hashed, or "" where the context has none.

    Args:
        context: Unleash's: ``userId``, ``sessionId``, ``properties`` and so on.
        stickiness: ``default`` is the user, else the session; else a field's name, of
            the context or its properties.
    """
    properties = context.get("properties")
    fields = {**properties, **context} if isinstance(properties, Mapping) else context
    names = ("userId", "sessionId") if stickiness == "default" else (stickiness,)
    found = (fields.get(name) for name in names)
    return next((str(value) for value in found if value not in {None, ""}), "")
