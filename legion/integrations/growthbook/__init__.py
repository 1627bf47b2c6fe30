"""Buckets, ranges and experiments in the manner of GrowthBook."""

from .buckets import GrowthBookBuckets
from .experiment import Assigned, GrowthBookExperiment
from .ranges import (
    Filter,
    bucket_of,
    chosen,
    equal_weights,
    place_of,
    ranges_of,
)


__all__ = [
    "Assigned",
    "Filter",
    "GrowthBookBuckets",
    "GrowthBookExperiment",
    "bucket_of",
    "chosen",
    "equal_weights",
    "place_of",
    "ranges_of",
]
