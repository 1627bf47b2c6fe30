"""
The only file that touches faiss: rows of vectors, and the nearest of them.

A few rows are compared one by one. Of many, a sketch of 512 bits is kept beside each
vector: on which side of 512 random hyperplanes it lies. Two vectors at the angle theta
differ in each bit with probability theta / pi (Goemans and Williamson, 1995; Charikar,
2002, section 3), so the sketches of two that are similar enough differ in few. Those
within that distance are found by a scan of the sketches, which are a twentieth of the
bytes, and compared one by one.
"""

from __future__ import annotations

import math

from typing import TYPE_CHECKING, Any

import attrs
import faiss
import numpy as np


if TYPE_CHECKING:
    from numpy.typing import NDArray


_kernels: Any = faiss  # its type stubs leave out the plain functions

BITS = 512
"""Bits of a sketch; faiss has a kernel made for this many."""
FEW = 512
"""Up to so many rows it is as quick to compare them all."""
SHORTLIST = 8
"""How many are compared one by one, at least, for each that is wanted."""
MISSED = 1e-7
"""How often, about, a vector that is just similar enough is overlooked."""
_SEED = 2002


@attrs.frozen(eq=False)
class Sketcher:
    """
    Vectors into sketches.

    The hyperplanes are rows of H D' H D, with Hadamard matrices H and random signs D:
    spread like independent ones for dense vectors and for sparse ones, and without a
    large matrix to read (Ailon and Chazelle, 2006, have one round).

    Attributes:
        dim: Length of the vectors.
        radius: In how many bits the sketches of two vectors differ at most, if their
            cosine is the threshold; all but `MISSED` of the time.
        selective: Whether few vectors lie within the radius by chance.
    """

    dim: int
    radius: int
    selective: bool
    _signs: NDArray[np.float32]
    _places: NDArray[np.int64]
    _more_signs: NDArray[np.float32]
    _left: NDArray[np.float32]
    _right: NDArray[np.float32]

    @classmethod
    def of(cls, dim: int, threshold: float) -> Sketcher:
        """Make the sketcher of vectors of length *dim*, with a fixed seed."""
        size = max(BITS, 1 << (dim - 1).bit_length())
        left = 1 << (size.bit_length() - 1) // 2
        shape = (left, size // left)
        random = np.random.default_rng(_SEED)
        either = np.array([-1, 1], np.float32)
        radius = _radius(threshold)
        return cls(
            dim,
            radius,
            radius < BITS / 2 - 3 * math.sqrt(BITS) / 2,
            random.choice(either, dim),
            random.permutation(size)[:dim],
            random.choice(either, shape),
            _hadamard(shape[0]),
            _hadamard(shape[1]),
        )

    def sketch(self, vector: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Return the sketch of *vector*, shape (dim,), in BITS / 8 bytes."""
        spread = np.zeros(self._more_signs.size, np.float32)
        spread[self._places] = vector * self._signs
        # The Kronecker product of two Hadamard matrices is one, so a product from
        # each side is the whole transform.
        turned = self._left @ spread.reshape(self._more_signs.shape) @ self._right
        turned *= self._more_signs
        turned = self._left @ turned @ self._right
        return np.packbits(turned.ravel()[:BITS] > 0)


def _hadamard(size: int) -> NDArray[np.float32]:
    matrix = np.ones((1, 1), np.float32)
    while len(matrix) < size:
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])
    return np.ascontiguousarray(matrix)


def _radius(threshold: float) -> int:
    """Return the upper `MISSED` quantile of Binomial(BITS, theta / pi)."""
    p = math.acos(threshold) / math.pi
    tail = 0.0
    for k in range(BITS, -1, -1):
        tail += math.comb(BITS, k) * p**k * (1 - p) ** (BITS - k)
        if tail > MISSED:
            return k
    return 0


@attrs.define(eq=False)
class VectorRows:
    """
    Unit vectors in rows without gaps; their number doubles and halves as needed.

    A faiss index takes milliseconds to remove a vector, since every later one moves.
    Here the last row is copied over the one that goes.

    Attributes:
        sketcher: How to sketch the vectors.
    """

    sketcher: Sketcher
    _n: int = attrs.field(init=False, default=0)
    _vectors: NDArray[np.float32] = attrs.field(init=False)
    _sketches: NDArray[np.uint8] | None = attrs.field(init=False, default=None)

    def __attrs_post_init__(self) -> None:
        self._vectors = np.empty((4, self.sketcher.dim), np.float32)

    def __len__(self) -> int:
        return self._n

    def append(self, vector: NDArray[np.float32]) -> int:
        """Store *vector*, shape (dim,), and return its row."""
        if self._n == len(self._vectors):
            self._resize(2 * self._n)
        row = self._n
        self._vectors[row] = vector
        if self._sketches is not None:
            self._sketches[row] = self.sketcher.sketch(vector)
        self._n += 1
        return row

    def remove(self, row: int) -> None:
        """Overwrite *row* with the last one, which is then gone from its place."""
        last = self._n - 1
        if row != last:
            self._vectors[row] = self._vectors[last]
            if self._sketches is not None:
                self._sketches[row] = self._sketches[last]
        self._n = last
        if 4 < 4 * last <= len(self._vectors):
            self._resize(len(self._vectors) // 2)

    def _resize(self, rows: int) -> None:
        vectors = np.empty((rows, self.sketcher.dim), np.float32)
        vectors[: self._n] = self._vectors[: self._n]
        sketches = None
        if rows > FEW and self.sketcher.selective:
            sketches = np.empty((rows, BITS // 8), np.uint8)
            if self._sketches is not None:
                sketches[: self._n] = self._sketches[: self._n]
            else:
                for row in range(self._n):
                    sketches[row] = self.sketcher.sketch(vectors[row])
        self._vectors, self._sketches = vectors, sketches

    def top(self, vector: NDArray[np.float32], k: int) -> list[tuple[int, float]]:
        """
        Return (row, cosine) of the nearest *k* rows, best first.

        Returns:
            As many as there are, at most *k*. None is missing that is similar enough,
            all but `MISSED` of the time.
        """
        if self._sketches is None:
            cosines = _products(vector, self._vectors, self._n)
            best = _largest(cosines, k)
            return [(int(row), float(cosines[row])) for row in best]
        sketch = self.sketcher.sketch(vector)
        # faiss starts a team of threads even for one query. OpenMP keeps the number
        # for each calling thread, so nobody else notices that it was 1 for a moment.
        threads = _kernels.omp_get_max_threads()
        _kernels.omp_set_num_threads(1)
        try:
            distances = _distances(sketch, self._sketches, self._n)
            last = min(SHORTLIST * k, self._n) - 1
            near = np.partition(distances, last)[last]
            (rows,) = (distances <= max(self.sketcher.radius, near)).nonzero()
            cosines = _products_of(vector, self._vectors, rows)
        finally:
            _kernels.omp_set_num_threads(threads)
        return [(int(rows[i]), float(cosines[i])) for i in _largest(cosines, k)]


def _largest(cosines: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """Return where the *k* largest are, largest first."""
    if len(cosines) > k:
        among = np.argpartition(cosines, -k)[-k:]
    else:
        among = np.arange(len(cosines))
    best: NDArray[np.int64] = among[np.argsort(-cosines[among], kind="stable")]
    return best


def _distances(
    sketch: NDArray[np.uint8], sketches: NDArray[np.uint8], n: int
) -> NDArray[np.int32]:
    """Return in how many bits each of the first *n* sketches differs."""
    distances = np.empty(n, np.int32)
    _kernels.hammings(
        _kernels.swig_ptr(sketch),
        _kernels.swig_ptr(sketches),
        1,
        n,
        BITS // 8,
        _kernels.swig_ptr(distances),
    )
    return distances


def _products(
    vector: NDArray[np.float32], rows: NDArray[np.float32], n: int
) -> NDArray[np.float32]:
    """Return the inner products with the first *n* rows; in one thread, unlike BLAS."""
    products = np.empty(n, np.float32)
    _kernels.fvec_inner_products_ny(
        _kernels.swig_ptr(products),
        _kernels.swig_ptr(vector),
        _kernels.swig_ptr(rows),
        rows.shape[1],
        n,
    )
    return products


def _products_of(
    vector: NDArray[np.float32], rows: NDArray[np.float32], chosen: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Return the inner products with the rows *chosen*, without copying them."""
    products = np.empty(len(chosen), np.float32)
    _kernels.fvec_inner_products_by_idx(
        _kernels.swig_ptr(products),
        _kernels.swig_ptr(vector),
        _kernels.swig_ptr(rows),
        _kernels.swig_ptr(chosen),
        rows.shape[1],
        1,
        len(chosen),
    )
    return products
