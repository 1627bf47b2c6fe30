"""wordllama: word vectors, averaged."""

from __future__ import annotations

import logging

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ...exceptions import MissingExtraError
from .embedder import Embedder


if TYPE_CHECKING:
    import numpy as np

    from numpy.typing import NDArray


def wordllama() -> Embedder:
    """
    Return the embedder of the package wordllama: 256 dimensions, about 60 µs a text.

    Raises:
        MissingExtraError: The package is not installed.
    """
    extra = "wordllama"
    with _logging_as_it_was():
        try:
            import wordllama as package
        except ModuleNotFoundError as error:
            raise MissingExtraError(extra, extra) from error
        # Its wheel holds the weights; by default it would look for them elsewhere.
        folder = Path(package.__file__).parent
        model = package.WordLlama.load(cache_dir=folder, disable_download=True)

    def embed(texts: list[str]) -> NDArray[np.float32]:
        vectors: NDArray[np.float32] = model.embed(texts)
        return vectors

    return Embedder(embed, name="wordllama-l2-supercat-256", quick=True)


@contextmanager
def _logging_as_it_was() -> Iterator[None]:
    """Take back what wordllama does to the host's root logger when imported."""
    level, handlers = logging.root.level, list(logging.root.handlers)
    try:
        yield
    finally:
        logging.root.setLevel(level)
        logging.root.handlers[:] = handlers
