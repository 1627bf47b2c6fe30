"""
What a team brings along: its rule as a criterion, its buckets as a splitter.

Written with public names only, as a stranger's package would be. None of the programs
they stand in for is imported.
"""

from .argo import ArgoRule
from .growthbook import GrowthBookBuckets, GrowthBookExperiment
from .kayenta import KayentaJudge
from .murmur3 import Murmur3
from .sticky import Sticky
from .unleash import UnleashBuckets


__all__ = [
    "ArgoRule",
    "GrowthBookBuckets",
    "GrowthBookExperiment",
    "KayentaJudge",
    "Murmur3",
    "Sticky",
    "UnleashBuckets",
]
