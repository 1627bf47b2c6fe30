"""Buckets, stickiness and variants in the manner of Unleash."""

from .buckets import UnleashBuckets
from .murmur import murmur3
from .strategy import enabled, normalized, sticky_id, variant


__all__ = [
    "UnleashBuckets",
    "enabled",
    "murmur3",
    "normalized",
    "sticky_id",
    "variant",
]
