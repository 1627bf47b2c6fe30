"""Content-addressed versions, and which one is live."""

from .refs import Swing
from .registry import Registry


__all__ = ["Registry", "Swing"]
