"""The only file that touches faiss: plain functions over numpy arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import faiss
import numpy as np


if TYPE_CHECKING:
    from numpy.typing import NDArray


_kernels: Any = faiss  # its type stubs leave out the plain functions
_ptr = _kernels.swig_ptr

SHORT = 32_768
"""Up to so many sketches it is as quick to write all distances down."""
_BUFFER = 16_384
"""Finds of one buffer; by default it is 3 MB, which the system maps for each search."""


class OneThread:
    """
    faiss works in the calling thread alone, for the length of a ``with``.

    It starts a team of threads even for one query. OpenMP keeps the number for each
    calling thread, so nobody else notices that it was 1 for a moment.
    """

    def __enter__(self) -> None:
        self._threads = _kernels.omp_get_max_threads()
        _kernels.omp_set_num_threads(1)

    def __exit__(self, *raised: object) -> None:
        _kernels.omp_set_num_threads(self._threads)


def within(
    asked: Sequence[NDArray[np.uint8]],
    sketches: NDArray[np.uint8],
    n: int,
    radius: int,
) -> list[tuple[NDArray[np.int64], NDArray[np.int32]]]:
    """
    Return which sketches differ from each of those asked in at most *radius* bits.

    Args:
        asked: Sketches, each of shape (bytes,).
        sketches: Those to search, shape (at least n, bytes).
        n: How many of them, from the first.
        radius: In bits.

    Returns:
        For each of those asked, the rows in rising order, and in how many bits each
        differs.
    """
    if len(asked) == 1 and n <= SHORT:
        differ = distances(asked[0], sketches, n)
        (rows,) = (differ <= radius).nonzero()
        return [(rows, differ[rows])]
    together = np.concatenate(asked)
    found = _kernels.RangeSearchResult(len(asked))
    found.buffer_size = _BUFFER
    # faiss compares with "less than".
    _kernels.hamming_range_search(
        _ptr(together),
        _ptr(sketches),
        len(asked),
        n,
        radius + 1,
        sketches.shape[1],
        found,
    )
    limits = _kernels.rev_swig_ptr(found.lims, len(asked) + 1).tolist()
    n = limits[-1]
    if not n:
        return [(np.empty(0, np.int64), np.empty(0, np.int32))] * len(asked)
    rows = _kernels.rev_swig_ptr(found.labels, n).copy()
    differ = _kernels.rev_swig_ptr(found.distances, n).astype(np.int32)
    parts = [slice(*limits[i : i + 2]) for i in range(len(asked))]
    return [(rows[part], differ[part]) for part in parts]


def distances(
    asked: NDArray[np.uint8], sketches: NDArray[np.uint8], n: int
) -> NDArray[np.int32]:
    """Return in how many bits each of the first *n* sketches differs from one."""
    differ = np.empty(n, np.int32)
    _kernels.hammings(_ptr(asked), _ptr(sketches), 1, n, len(asked), _ptr(differ))
    return differ


def products(
    vector: NDArray[np.float32], rows: NDArray[np.float32], n: int
) -> NDArray[np.float32]:
    """Return the inner products with the first *n* rows; in one thread, unlike BLAS."""
    found = np.empty(n, np.float32)
    _kernels.fvec_inner_products_ny(
        _ptr(found), _ptr(vector), _ptr(rows), rows.shape[1], n
    )
    return found


def products_of(
    vector: NDArray[np.float32], rows: NDArray[np.float32], chosen: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Return the inner products with the rows *chosen*, without copying them."""
    found = np.empty(len(chosen), np.float32)
    _kernels.fvec_inner_products_by_idx(
        _ptr(found),
        _ptr(vector),
        _ptr(rows),
        _ptr(chosen),
        rows.shape[1],
        1,
        len(chosen),
    )
    return found
