"""
Embedders ready-made, and what any callable gains as an `Embedder`.

Those with weights find them in a package: nothing is fetched at run time.
"""

from .embedder import Embedder
from .minilm import minilm
from .openai_compatible import openai_compatible
from .wordllama import wordllama


__all__ = ["Embedder", "minilm", "openai_compatible", "wordllama"]
