"""Which arm a unit gets: one hash, compared with one threshold."""

from __future__ import annotations

import hashlib

from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

import attrs


if TYPE_CHECKING:
    import numpy as np

    from numpy.typing import NDArray


_WHOLE = 2**64


def threshold_of(share: float) -> int:
    """Return the threshold below which hashes are in, for a share of 0..1."""
    return _WHOLE if share >= 1 else int(share * _WHOLE)


class Order(Protocol):
    """
    One fixed order of all units; a share is cut off at its front.

    A place is a promise to running rollouts and must never change. It also tells units
    apart, so two of them should not have the same.
    """

    def hash(self, unit: str) -> int:
        """Return the unit's place, 0 to 2**64 - 1."""
        ...

    def hash_many(self, units: Iterable[str]) -> NDArray[np.uint64]:
        """Return the places of many units, shape (n,), dtype uint64."""
        ...


def before(places: NDArray[np.uint64], share: float) -> NDArray[np.bool_]:
    """Return which *places* are among the first *share*, shape (n,), dtype bool."""
    import numpy as np

    threshold = threshold_of(share)
    if threshold >= _WHOLE:
        return np.ones(places.shape, dtype=np.bool_)
    return np.less(places, np.uint64(threshold))


@attrs.define(eq=False)
class Splitter:
    """
    One fixed order of all units, from which a share is cut off at the front.

    Who is in at 5 % is therefore in at 25 %. Plans with different salts order the units
    independently. The hash is BLAKE2b with 8 bytes, so that any machine, Python and
    restart orders them alike.

    Args:
        salt: Name of the plan.
    """

    salt: str
    _start: hashlib.blake2b = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._start = hashlib.blake2b(self.salt.encode() + b"\x00", digest_size=8)

    def hash(self, unit: str) -> int:
        """Return the unit's place, 0 to 2**64 - 1."""
        state = self._start.copy()
        state.update(unit.encode())
        return int.from_bytes(state.digest(), "big")

    def hash_many(self, units: Iterable[str]) -> NDArray[np.uint64]:
        """Return the places of many units, shape (n,), dtype uint64."""
        import numpy as np

        places = [self.hash(unit) for unit in units]
        return np.array(places, dtype=np.uint64)

    def within(self, units: Iterable[str], share: float) -> NDArray[np.bool_]:
        """Return which of *units* are among the first *share*, shape (n,), bool."""
        return before(self.hash_many(units), share)
