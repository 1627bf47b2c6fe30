"""
Vectors in slots, and who of their owners is nearest.

A slot never moves while its arrays last, and is overwritten in place. So whoever
searches needs no lock: it reads what is there, and then looks at the generation of each
slot that it would return. One that was written meanwhile is read again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeAlias, TypeVar

import attrs
import numpy as np

from .kernels import SHORT, OneThread, distances, products, products_of, within
from .sketch import BITS, Sketcher


if TYPE_CHECKING:
    from numpy.typing import NDArray


FEW = 512
"""Up to so many slots it is as quick to compare all vectors."""
_GATHERED = 64
"""So many candidates are compared at once; of more, those with the nearest sketches."""
_FIRST = 8
"""Of more candidates by their first bits, the rest of their sketches is read as well."""
_SAMPLED = 512
"""By so many sketches or more it is told how near those of that many are."""
_WIDE_FROM = 1 / 16
"""Where the first bits let through a larger share, whole sketches are quicker to scan."""
_ROUNDS = 16
"""So often a slot is read again that is written while it is read."""
_LATE = 32
"""So many vectors are sketched at once, which is a quarter of the work for each."""


_Differing: TypeAlias = "tuple[NDArray[np.int64] | None, NDArray[np.int32]]"
"""Slots, or None for all, and in how many bits the sketch of each differs."""


class Owner(Protocol):
    """Whose vectors they are; it may have several."""

    slots: list[int]


T = TypeVar("T", bound=Owner)


@attrs.define(eq=False)
class Block(Generic[T]):
    """
    Arrays of a fixed number of slots.

    Attributes:
        vectors: Unit vectors, shape (slots, dim).
        wide: Their sketches, or None where few are compared.
        narrow: The first bits of each, one after the other, or None.
        generations: How often each slot was written, twice; odd while it is.
        owners: Whose each is; None if it is free.
        late: The slots written last, which are to be sketched; shape (_LATE,).
        n: Slots that were ever written; the first ones.
        n_late: How many of *late* there are; the first ones.
    """

    vectors: NDArray[np.float32]
    wide: NDArray[np.uint8] | None
    narrow: NDArray[np.uint8] | None
    generations: NDArray[np.int64]
    owners: list[T | None]
    late: NDArray[np.int64]
    n: int = 0
    n_late: int = 0

    @classmethod
    def of(cls, slots: int, sketcher: Sketcher) -> Block[T]:
        """Make an empty block."""
        sketched = slots > FEW
        narrow = sketcher.narrow_bits // 8 if sketched else 0
        return cls(
            np.empty((slots, sketcher.dim), np.float32),
            np.empty((slots, BITS // 8), np.uint8) if sketched else None,
            np.empty((slots, narrow), np.uint8) if narrow else None,
            np.zeros(slots, np.int64),
            [None] * slots,
            np.empty(_LATE, np.int64),
        )

    def __len__(self) -> int:
        return len(self.owners)

    def write(
        self, slot: int, owner: T, vector: NDArray[np.float32], sketcher: Sketcher
    ) -> None:
        """Overwrite *slot*."""
        was = self.generations.item(slot)
        self.generations[slot] = was + 1
        self.vectors[slot] = vector
        self.owners[slot] = owner
        if self.wide is not None:
            # Whoever searches from now on compares it, whatever its sketch says yet.
            self.late[self.n_late] = slot
            self.n_late += 1
            if self.n_late == _LATE:
                self.catch_up(sketcher)
        self.generations[slot] = was + 2
        if slot >= self.n:
            self.n = slot + 1

    def catch_up(self, sketcher: Sketcher) -> None:
        """Sketch what was written last."""
        if self.wide is not None and self.n_late:
            late = self.late[: self.n_late]
            sketches = sketcher.sketch_many(self.vectors[late])
            self.wide[late] = sketches
            if self.narrow is not None:
                self.narrow[late] = sketches[:, : sketcher.narrow_bits // 8]
            self.n_late = 0

    def free(self, slots: Sequence[int]) -> None:
        """Leave *slots* as they are, but nobody's."""
        for slot in slots:
            self.owners[slot] = None
            self.generations[slot] = self.generations.item(slot) + 2


@attrs.define(eq=False)
class VectorSlots(Generic[T]):
    """
    Unit vectors in slots; their number doubles and halves as needed.

    Who writes holds a lock of its own; who searches needs none.

    Attributes:
        sketcher: How to sketch the vectors.
    """

    sketcher: Sketcher
    _block: Block[T] = attrs.field(init=False)
    _free: list[int] = attrs.field(init=False, factory=list)
    _let_through: float = attrs.field(init=False, default=0.0)
    # Slots that one owner had at most.
    _most: int = attrs.field(init=False, default=1)

    def __attrs_post_init__(self) -> None:
        self._block = Block.of(1, self.sketcher)

    def __len__(self) -> int:
        return self._block.n - len(self._free)

    def put(self, owner: T, vector: NDArray[np.float32]) -> None:
        """Store *vector*, shape (dim,), as one more of *owner*'s."""
        if self._free:
            slot = self._free.pop()
        else:
            slot = self._block.n
            if slot == len(self._block.owners):
                self._move(range(slot), 2 * slot)
        self._block.write(slot, owner, vector, self.sketcher)
        owner.slots.append(slot)
        if len(owner.slots) > 1:
            self._most = max(self._most, len(owner.slots))

    def replace(self, old: T, new: T, vector: NDArray[np.float32]) -> None:
        """
        Store *vector* as *new*'s, where the first one of *old* was, and free the rest.

        A search that goes on meanwhile finds one or the other.
        """
        first, *rest = old.slots
        self._block.write(first, new, vector, self.sketcher)
        old.slots, new.slots = rest, [first]
        self.remove(old)

    def fill(
        self,
        owners: Sequence[T],
        vectors: NDArray[np.float32],
        sketches: NDArray[np.uint8],
    ) -> None:
        """
        Take *vectors* over, without a copy, into slots where none are yet.

        Args:
            owners: Whose each is; the first of one's is that of its own question.
            vectors: Unit vectors, shape (n, dim), C order; not written by others.
            sketches: Theirs, shape (n, BITS / 8), likewise.
        """
        block = Block[T].of(len(owners), self.sketcher)
        block.vectors, block.owners, block.n = vectors, list(owners), len(owners)
        if block.wide is not None:
            block.wide = sketches
            if block.narrow is not None:
                block.narrow[:] = sketches[:, : self.sketcher.narrow_bits // 8]
        for slot, owner in enumerate(owners):
            owner.slots.append(slot)
        self._most = max((len(owner.slots) for owner in owners), default=1)
        self._block = block

    def vectors_of(self, owner: T) -> NDArray[np.float32]:
        """Return a copy of *owner*'s vectors, shape (slots, dim)."""
        return self._block.vectors[owner.slots]

    def remove(self, owner: T) -> None:
        """Free the slots of *owner*."""
        block = self._block
        block.free(owner.slots)
        self._free += owner.slots
        owner.slots = []
        if 4 * (block.n - len(self._free)) <= len(block.owners) > 4:
            self._shrink()

    def _shrink(self) -> None:
        owners = self._block.owners
        taken = [slot for slot, owner in enumerate(owners) if owner is not None]
        self._move(taken, len(self._block) // 2)
        row_of = {slot: row for row, slot in enumerate(taken)}
        for owner in {
            id(one): one for one in self._block.owners if one is not None
        }.values():
            owner.slots = [row_of[slot] for slot in owner.slots]
        self._free = []

    def _move(self, taken: Sequence[int], slots: int) -> None:
        """Copy what is *taken* to a new block; the old one stays whole for searches."""
        old, new = self._block, Block[T].of(slots, self.sketcher)
        old.catch_up(self.sketcher)
        n, rows = len(taken), np.array(taken, np.int64)
        np.take(old.vectors, rows, axis=0, out=new.vectors[:n])
        if new.wide is not None:
            if old.wide is not None:
                np.take(old.wide, rows, axis=0, out=new.wide[:n])
            else:
                new.wide[:n] = self.sketcher.sketch_many(new.vectors[:n])
            if new.narrow is not None:
                new.narrow[:n] = new.wide[:n, : self.sketcher.narrow_bits // 8]
        new.owners[:n] = [old.owners[slot] for slot in taken]
        new.n = n
        self._block, self._let_through = new, 0.0

    def top(
        self, vectors: Sequence[NDArray[np.float32]], k: int
    ) -> list[list[tuple[T, float]]]:
        """
        Return who is nearest to each of *vectors*.

        Returns:
            For each, at most *k* owners and their cosines, best first: the best of those
            whose cosine reaches the floor, as far as the sketcher overlooks none. Each
            pair was stored at some moment of the search.
        """
        block, floor = self._block, self.sketcher.floor
        for vector in vectors:
            self._refuse_other(vector)
        with OneThread():
            if block.wide is None:
                return [self._best(block, v, None, k, floor) for v in vectors]
            # Before sketches are read: what is not late any more has one by then.
            late = block.late[: block.n_late].copy()
            found = self._candidates(block, vectors, k)
            if len(late):
                found = [np.concatenate((rows, late)) for rows in found]
            return [
                self._best(block, vector, rows, k, floor)
                for vector, rows in zip(vectors, found, strict=True)
            ]

    def _candidates(
        self, block: Block[T], vectors: Sequence[NDArray[np.float32]], k: int
    ) -> list[NDArray[np.int64]]:
        """Return among which slots the *k* nearest to each of *vectors* are."""
        assert block.wide is not None
        sketches = [self.sketcher.sketch(vector) for vector in vectors]
        found: list[_Differing]
        if block.narrow is not None and self._let_through <= _WIDE_FROM:
            found = self._within_narrow(block, block.narrow, sketches)
        elif len(sketches) == 1 and block.n <= SHORT:
            found = [(None, distances(sketches[0], block.wide, block.n))]
        else:
            found = [*within(sketches, block.wide, block.n, self.sketcher.radius)]
        return [
            self._nearest_of(block, vector, k, *each)
            for vector, each in zip(vectors, found, strict=True)
        ]

    def _within_narrow(
        self,
        block: Block[T],
        narrow: NDArray[np.uint8],
        sketches: Sequence[NDArray[np.uint8]],
    ) -> list[_Differing]:
        """Do as `within` does, by the first bits; of few candidates by these alone."""
        assert block.wide is not None
        n = block.n
        asked = [sketch[: self.sketcher.narrow_bits // 8] for sketch in sketches]
        found: list[_Differing] = []
        for sketch, (rows, differ) in zip(
            sketches, within(asked, narrow, n, self.sketcher.narrow_radius), strict=True
        ):
            # A lost update by another thread does no harm.
            self._let_through += (len(rows) / n - self._let_through) / 64
            if len(rows) > _FIRST:
                wide = distances(sketch, block.wide.take(rows, axis=0), len(rows))
                (near,) = (wide <= self.sketcher.radius).nonzero()
                found.append((rows[near], wide[near]))
            else:
                found.append((rows, differ))
        return found

    def _nearest_of(
        self,
        block: Block[T],
        vector: NDArray[np.float32],
        k: int,
        rows: NDArray[np.int64] | None,
        differ: NDArray[np.int32],
    ) -> NDArray[np.int64]:
        """
        Return among which of *rows*, or of all, the *k* nearest are.

        Those that differ least are compared first. How near they are says how far the
        sketches of nearer ones can be, if there are any.

        Args:
            block: Where they are.
            vector: To which they are near.
            k: How many are wanted.
            rows: Candidates, or None for all slots.
            differ: In how many bits the sketch of each differs.
        """
        if len(differ) <= _GATHERED:
            return np.arange(len(differ)) if rows is None else rows
        radius, step = self.sketcher.radius, max(len(differ) // _SAMPLED, 1)
        sample, at = differ[::step].copy(), _GATHERED // step
        sample.partition(at)
        if sample[at] < radius:
            some = _chosen(rows, differ, sample[at])
            cosines = products_of(vector, block.vectors, some)
            if self._free:
                owned = [block.owners[slot] is not None for slot in some.tolist()]
                cosines = cosines[owned]
            cosines.sort()
            # So many slots have k owners at least.
            enough = (k - 1) * self._most + 1
            last = cosines[-enough] if enough <= len(cosines) else -1.0
            nearest = cosines[-1] if len(cosines) else -1.0
            radius = min(radius, self.sketcher.reach(nearest, last))
        return _chosen(rows, differ, radius)

    def _best(
        self,
        block: Block[T],
        vector: NDArray[np.float32],
        rows: NDArray[np.int64] | None,
        k: int,
        floor: float,
    ) -> list[tuple[T, float]]:
        """Return the *k* best of *rows*, or of all, read again until all are whole."""
        best: dict[int, tuple[T, float]] = {}
        every = rows is None
        rows = np.arange(block.n) if rows is None else rows
        whole = not len(rows)
        rounds = 0
        while not whole and rounds < _ROUNDS:
            rounds += 1
            before = block.generations[rows]
            if every:
                cosines = products(vector, block.vectors, len(rows))
            else:
                cosines = products_of(vector, block.vectors, rows)
            (near,) = (cosines >= floor).nonzero()
            if len(near) > 1:
                near = near[(-cosines[near]).argsort(kind="stable")]
            best, whole = {}, True
            for i in near.tolist():
                slot, was = rows.item(i), before.item(i)
                owner = block.owners[slot]
                if was % 2 or block.generations.item(slot) != was:
                    whole = False
                elif owner is not None and id(owner) not in best:
                    best[id(owner)] = owner, cosines.item(i)
                    if len(best) == k:
                        break
        return list(best.values())

    def nearest(self, vector: NDArray[np.float32], k: int) -> list[tuple[T, float]]:
        """Return the *k* who are nearest, however far, and their cosines."""
        block = self._block
        self._refuse_other(vector)
        return self._best(block, vector, None, k, -2.0)

    def _refuse_other(self, vector: NDArray[np.float32]) -> None:
        # The kernels would read on behind a shorter one.
        if vector.shape != (self.sketcher.dim,):
            msg = f"got a vector of shape {vector.shape}, not ({self.sketcher.dim},)"
            raise ValueError(msg)


def _chosen(
    rows: NDArray[np.int64] | None,
    differ: NDArray[np.int32],
    radius: int | np.signedinteger[Any],
) -> NDArray[np.int64]:
    """Return those of *rows*, or of all, that differ in at most *radius* bits."""
    (at,) = (differ <= radius).nonzero()
    return at if rows is None else rows[at]
