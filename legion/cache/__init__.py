"""A semantic cache: an answer already given, for a question that means the same."""

from .cache import SemanticCache
from .embedding import Identity
from .hit import Explanation, Hit
from .meter import Cost, Meter
from .scope import Scope
from .source import CacheSource
from .stats import CacheStats


__all__ = [
    "CacheSource",
    "CacheStats",
    "Cost",
    "Explanation",
    "Hit",
    "Identity",
    "Meter",
    "Scope",
    "SemanticCache",
]
