"""Questions into unit vectors, or an error that says what the embedder returned."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from ..exceptions import EmbeddingError


if TYPE_CHECKING:
    import numpy as np

    from numpy.typing import ArrayLike, NDArray


Embed: TypeAlias = "Callable[[list[str]], ArrayLike]"
"""Any callable from n texts to an array of shape (n, dim)."""

LEAST, MOST = 2, 4096
"""Lengths of vectors that make sense."""


def embedded(
    embed: Embed, texts: Sequence[str], dim: int | None
) -> NDArray[np.float32]:
    """
    Embed *texts* and bring the vectors to unit length.

    Args:
        embed: The embedder.
        texts: The texts.
        dim: What its vectors had before, or None the first time.

    Returns:
        Unit vectors, shape (n, dim), float32, a copy.

    Raises:
        EmbeddingError: Not one finite, non-zero vector of the same length a text.
    """
    import numpy as np

    raw = np.array(embed(list(texts)), dtype=np.float32)
    if raw.ndim != 2 or raw.shape[0] != len(texts):
        msg = (
            f"embedder: got shape {raw.shape} for {len(texts)} texts;"
            f" return ({len(texts)}, dim)"
        )
        raise EmbeddingError(msg)
    if not LEAST <= raw.shape[1] <= MOST or dim not in {None, raw.shape[1]}:
        wanted = f"{dim} as before" if dim else f"between {LEAST} and {MOST}"
        msg = f"embedder: got vectors of length {raw.shape[1]}; return {wanted}"
        raise EmbeddingError(msg)
    lengths = np.linalg.norm(raw, axis=1, keepdims=True)
    bad = ~(np.isfinite(lengths) & (lengths > 0)).ravel()
    if bad.any():
        text = texts[int(np.argmax(bad))]
        msg = f"embedder: got a zero or infinite vector for {text[:60]!r}"
        raise EmbeddingError(msg)
    unit: NDArray[np.float32] = np.ascontiguousarray(raw / lengths)
    return unit
