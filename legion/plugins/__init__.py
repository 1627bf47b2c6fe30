"""Plugins: who takes part, and how each is called without harming the others."""

from .answers import Answer, Observed, Timing
from .facade import Plugins


__all__ = ["Answer", "Observed", "Plugins", "Timing"]
