"""A semantic cache: an answer already given, for a question that means the same."""

from .cache import Scope, SemanticCache
from .entries import CacheStats, Explanation, Hit
from .source import CacheSource


__all__ = [
    "CacheSource",
    "CacheStats",
    "Explanation",
    "Hit",
    "Scope",
    "SemanticCache",
]
