"""The only file that touches faiss: slots of vectors, and the nearest of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import faiss
import numpy as np


if TYPE_CHECKING:
    from numpy.typing import NDArray


@attrs.define(eq=False)
class VectorSlots:
    """
    Unit vectors in numbered slots.

    A slot that is emptied is overwritten in place: removing from a faiss index moves
    every row behind it, which takes milliseconds and renumbers them.

    Args:
        dim: Length of the vectors.
    """

    dim: int
    _index: faiss.IndexFlatIP = attrs.field(init=False)
    _free: list[int] = attrs.field(init=False, factory=list)

    def __attrs_post_init__(self) -> None:
        self._index = faiss.IndexFlatIP(self.dim)

    def add(self, vector: NDArray[np.float32]) -> int:
        """Store *vector*, shape (dim,), and return its slot."""
        if not self._free:
            self._index.add(vector[None, :])
            return int(self._index.ntotal) - 1
        slot = self._free.pop()
        self._rows()[slot] = vector
        return slot

    def remove(self, slot: int) -> None:
        """Empty *slot*; a zero vector is similar to nothing."""
        self._rows()[slot] = 0.0
        self._free.append(slot)

    def nearest(self, vectors: NDArray[np.float32]) -> list[tuple[int, float]]:
        """
        Return (slot, cosine) of the nearest stored vector for each of *vectors*.

        Args:
            vectors: Unit vectors, shape (n, dim).

        Returns:
            One pair a vector; slot -1 where nothing is stored.
        """
        if not self._index.ntotal:
            return [(-1, -1.0)] * len(vectors)
        cosines, slots = self._index.search(vectors, 1)
        return [
            (int(slot), float(cosine))
            for slot, cosine in zip(slots[:, 0], cosines[:, 0], strict=True)
        ]

    def _rows(self) -> NDArray[np.float32]:
        """Return the index's own memory as an array, shape (slots, dim)."""
        size = self._index.ntotal * self.dim
        flat = faiss.rev_swig_ptr(self._index.get_xb(), size)
        rows: NDArray[np.float32] = flat.reshape(self._index.ntotal, self.dim)
        return rows
