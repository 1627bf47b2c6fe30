"""
Sketches: 512 bits that say on which side of 512 random hyperplanes a vector lies.

Two vectors at the angle theta differ in each bit with probability theta / pi (Goemans and
Williamson, 1995; Charikar, 2002, section 3), so the sketches of two that are similar
enough differ in few. That holds of any two, however vectors are spread and whatever else
is stored, unlike the signs of the components themselves: those are alike of vectors
without negative ones, and say little where a few components outweigh the rest.
"""

from __future__ import annotations

import math

from typing import TYPE_CHECKING

import attrs
import numpy as np

from .accept import MISSED


if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


BITS = 512
"""Bits of a sketch; faiss has a kernel made for this many."""
NARROW = {128: 2.5, 256: 2.25}
"""
As many first bits are looked through before the rest, the fewest that suffice: there,
vectors that have nothing in common differ in so many standard deviations more bits than
the radius, so few lie within it by chance.
"""
MISSED_LAST = 1e-3
"""The same of the last of several that are wanted, once nearer ones are found."""
_SEED = 2002
_AT_ONCE = 64
_LEAST = 1e-300
_STEPS = 64
"""Into so many steps the cosines from 0 to 1 are divided that radii are known for."""


@attrs.frozen(eq=False)
class Sketcher:
    """
    Vectors into sketches.

    The hyperplanes are rows of H D' H D, with Hadamard matrices H and random signs D:
    spread like independent ones for dense vectors and for sparse ones, and without a
    large matrix to read (Ailon and Chazelle, 2006, have one round).

    Attributes:
        dim: Length of the vectors.
        floor: Cosine below which no neighbour matters.
        radius: In how many bits the sketches of two vectors differ at most, if their
            cosine is the floor; all but a share *missed* of the time.
        narrow_bits: How many first bits suffice to tell most vectors apart; 0 if none do.
        narrow_radius: The same as *radius*, of these.
    """

    dim: int
    floor: float
    radius: int
    narrow_bits: int
    narrow_radius: int
    _nearest: list[int]
    _last: list[int]
    _signs: NDArray[np.float32]
    _more_signs: NDArray[np.float32]
    _left: NDArray[np.float32]
    _right: NDArray[np.float32]

    @classmethod
    def of(cls, dim: int, floor: float, missed: float = MISSED) -> Sketcher:
        """Make the sketcher of vectors of length *dim*, with a fixed seed."""
        size = max(BITS, 1 << (dim - 1).bit_length())
        left = 1 << (size.bit_length() - 1) // 2
        shape = (left, size // left)
        random = np.random.default_rng(_SEED)
        either = np.array([-1, 1], np.float32)
        (radius,) = radii([floor], BITS, missed)
        narrow_bits, narrow_radius = _narrow(floor, missed)
        cosines = [max(floor, step / _STEPS) for step in range(_STEPS)]
        return cls(
            dim,
            floor,
            radius,
            narrow_bits,
            narrow_radius,
            radii(cosines, BITS, missed),
            radii(cosines, BITS, MISSED_LAST),
            random.choice(either, dim),
            random.choice(either, shape),
            _hadamard(shape[0]),
            _hadamard(shape[1]),
        )

    def reach(self, nearest: float, last: float) -> int:
        """
        Return in how many bits the sketches of those wanted differ at most.

        Args:
            nearest: Cosine that the nearest has, or more.
            last: Cosine that the last of those wanted has, or more.
        """
        step, last_step = (
            min(max(int(cosine * _STEPS), 0), _STEPS - 1) for cosine in (nearest, last)
        )
        return max(self._nearest[step], self._last[last_step])

    def sketch(self, vector: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Return the sketch of *vector*, shape (dim,), in BITS / 8 bytes."""
        spread = np.zeros(self._more_signs.shape, np.float32)
        np.multiply(vector, self._signs, out=spread.ravel()[: self.dim])
        # The Kronecker product of two Hadamard matrices is one, so a product from
        # each side is the whole transform.
        turned = self._left.dot(spread).dot(self._right)
        turned *= self._more_signs
        turned = self._left.dot(turned).dot(self._right)
        return np.packbits(turned.ravel()[:BITS] > 0)

    def sketch_many(self, vectors: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Return the sketches of *vectors*, shape (n, dim), in rows of BITS / 8 bytes."""
        sketches = np.empty((len(vectors), BITS // 8), np.uint8)
        for at in range(0, len(vectors), _AT_ONCE):
            some = vectors[at : at + _AT_ONCE]
            flat = np.zeros((len(some), self._more_signs.size), np.float32)
            np.multiply(some, self._signs, out=flat[:, : self.dim])
            spread = flat.reshape(-1, *self._more_signs.shape)
            # Of many small products each stays in one thread, unlike one large one.
            turned = self._left @ (spread @ self._right)
            turned *= self._more_signs
            turned = self._left @ (turned @ self._right)
            bits = turned.reshape(len(some), -1)[:, :BITS] > 0
            sketches[at : at + _AT_ONCE] = np.packbits(bits, axis=1)
        return sketches


def _hadamard(size: int) -> NDArray[np.float32]:
    matrix = np.ones((1, 1), np.float32)
    while len(matrix) < size:
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])
    return np.ascontiguousarray(matrix)


def _narrow(floor: float, missed: float) -> tuple[int, int]:
    """Return how many first bits suffice, and their radius; 0 and 0 if none do."""
    for bits, apart in NARROW.items():
        (radius,) = radii([floor], bits, missed)
        if radius < bits / 2 - apart * math.sqrt(bits) / 2:
            return bits, radius
    return 0, 0


def radii(cosines: Sequence[float], bits: int, missed: float) -> list[int]:
    """Return for each cosine the upper *missed* quantile of Binomial(bits, theta / pi)."""
    p = np.maximum(np.arccos(cosines), _LEAST)[:, None] / math.pi
    k = np.arange(bits + 1)
    of_k = np.array([math.lgamma(n + 1) for n in k])
    ways = of_k[-1] - of_k - of_k[::-1]
    chances = np.exp(ways + k * np.log(p) + (bits - k) * np.log1p(-p))
    beyond = chances[:, ::-1].cumsum(axis=1)
    # Where k of the most bits together are rare enough, one of the rest is the radius.
    radius: list[int] = (bits - (beyond <= missed).sum(axis=1)).tolist()
    return radius
