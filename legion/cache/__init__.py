"""A semantic cache: an answer already given, for a question that means the same."""

from .cache import SemanticCache
from .hit import Explanation, Hit
from .scope import Scope
from .source import CacheSource
from .stats import CacheStats


__all__ = [
    "CacheSource",
    "CacheStats",
    "Explanation",
    "Hit",
    "Scope",
    "SemanticCache",
]
