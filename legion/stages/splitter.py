"""Which arm a unit gets: one hash, compared with one threshold."""

from __future__ import annotations

import hashlib

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Protocol

import attrs

from ..exceptions import StateError


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

    An order may have a ``name``, which says by which hash and which salt. A rollout
    remembers it, or the name of the class where there is none, and goes on with no
    other.
    """

    def hash(self, unit: str) -> int:
        """Return the unit's place, 0 to 2**64 - 1."""
        ...

    def hash_many(self, units: Iterable[str]) -> NDArray[np.uint64]:
        """Return the places of many units, shape (n,), dtype uint64."""
        ...


def name_of(order: Order) -> str:
    """Return what a rollout remembers of the order its units were split by."""
    kind = type(order)
    return str(getattr(order, "name", f"{kind.__module__}.{kind.__qualname__}"))


@attrs.frozen
class Absent:
    """
    Stands for an order that is not in this process: it may look and go back.

    Attributes:
        name: Of the order that is not here.
    """

    name: str

    def hash(self, unit: str) -> int:
        """Refuse: nobody here knows which arm *unit* has."""
        raise self._error(unit)

    def hash_many(self, units: Iterable[str]) -> NDArray[np.uint64]:
        """Refuse, as `hash` does."""
        raise self._error(next(iter(units), ""))

    def _error(self, unit: str) -> StateError:
        msg = f"units are split by {self.name!r}; write splitter= with that"
        return StateError(repr(unit), msg)


def before(places: NDArray[np.uint64], share: float) -> NDArray[np.bool_]:
    """Return which *places* are among the first *share*, shape (n,), dtype bool."""
    import numpy as np

    threshold = threshold_of(share)
    if threshold >= _WHOLE:
        return np.ones(places.shape, dtype=np.bool_)
    return np.less(places, np.uint64(threshold))


@attrs.frozen(eq=False)
class Splitter:
    """
    One fixed order of all units, from which a share is cut off at the front.

    Who is in at 5 % is therefore in at 25 %. Plans with different salts order the units
    independently. The hash is BLAKE2b with 8 bytes, so that any machine, Python and
    restart orders them alike.

    Args:
        salt: Name of the plan.

    Attributes:
        hash: Takes a unit; returns its place, 0 to 2**64 - 1.
    """

    salt: str
    hash: Callable[[str], int] = attrs.field(
        init=False,
        default=attrs.Factory(lambda self: _hash_of(self.salt), takes_self=True),
    )

    @property
    def name(self) -> str:
        """The algorithm and the salt, for the rollout to remember."""
        return f"blake2b-64 {self.salt}"

    def hash_many(self, units: Iterable[str]) -> NDArray[np.uint64]:
        """Return the places of many units, shape (n,), dtype uint64."""
        import numpy as np

        copy = _start(self.salt).copy
        digests = bytearray()
        for unit in units:
            state = copy()
            state.update(unit.encode())
            digests += state.digest()
        return np.frombuffer(digests, dtype=">u8").astype(np.uint64)

    def within(self, units: Iterable[str], share: float) -> NDArray[np.bool_]:
        """Return which of *units* are among the first *share*, shape (n,), bool."""
        return before(self.hash_many(units), share)


def _start(salt: str) -> hashlib.blake2b:
    return hashlib.blake2b(salt.encode() + b"\x00", digest_size=8)


def _hash_of(salt: str) -> Callable[[str], int]:
    # Each request pays for this: a closure looks no attribute up, and what a state has
    # read of the salt is copied and not read again.
    copy = _start(salt).copy
    from_bytes = int.from_bytes

    def place(unit: str) -> int:
        state = copy()
        state.update(unit.encode())
        return from_bytes(state.digest())

    return place
