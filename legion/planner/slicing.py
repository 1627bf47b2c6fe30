"""Slices of simulated units, and when they get their places in the budget."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import attrs
import numpy as np

from ..stages.slices import LEAST, MOST
from .workload import WorkloadError


if TYPE_CHECKING:
    import numpy.typing as npt

    Bools = npt.NDArray[np.bool_]
    Counts = npt.NDArray[np.int64]
    Floats = npt.NDArray[np.float64]

_NEVER = np.iinfo(np.int64).max


@attrs.frozen(kw_only=True, eq=False)
class Slicing:
    """
    How units are spread over slices.

    Each name that a plan tells units apart by has as many values; the k-th of them,
    ``tenant=3``, has a share of the units as 1 / k. The names are independent.

    Attributes:
        names: What units are told apart by.
        values: How many values each name has.
    """

    names: tuple[str, ...]
    values: int

    @property
    def labels(self) -> tuple[str, ...]:
        """The slices: by name, the largest first."""
        ranks = range(1, self.values + 1)
        return tuple(f"{name}={rank}" for name in self.names for rank in ranks)

    @property
    def shares(self) -> Floats:
        """The share of each slice; those of a name sum to 1. Shape (slices,)."""
        sizes = 1 / np.arange(1.0, self.values + 1)
        return np.tile(sizes / sizes.sum(), len(self.names))

    @property
    def groups(self) -> tuple[slice, ...]:
        """Where the slices of each name are."""
        firsts = range(0, len(self.names) * self.values, self.values)
        return tuple(slice(first, first + self.values) for first in firsts)

    def place(self, label: str) -> int:
        """
        Return where a slice is among all.

        Raises:
            WorkloadError: There is no such slice.
        """
        if label in self.labels:
            return self.labels.index(label)
        if not self.names:
            msg = f"fault: got the slice {label!r}; write slices in the plan, first"
            raise WorkloadError(msg)
        there = " or ".join(f"{name}=1 to {name}={self.values}" for name in self.names)
        msg = f"fault: got the slice {label!r}; write one of {there}, the largest first"
        raise WorkloadError(msg)

    def drawn(self, shape: tuple[int, int], rng: np.random.Generator) -> Counts:
        """Draw the slices of units: by name, where theirs is; shape (names, *shape)."""
        found = [
            group.start + rng.choice(self.values, shape, p=self.shares[group])
            for group in self.groups
        ]
        return np.array(found, dtype=np.int64).reshape(len(self.names), *shape)


@attrs.frozen(eq=False)
class Places:
    """
    Which slices are judged in a stage, as `legion.stages.slices.admitted` has it.

    Attributes:
        entered: At which look each got its place, shape (runs, slices): -1 before the
            stage, and a look that never comes where it has none.
    """

    entered: Counts

    @classmethod
    def given(cls, known: Bools, units: Floats) -> Places:
        """
        Give the largest slices the places that are free.

        Args:
            known: Which have one already, shape (runs, slices).
            units: Control's units of each up to each look, shape (runs or 1, slices,
                looks).
        """
        enough = units >= LEAST
        first = np.where(enough.any(axis=-1), enough.argmax(axis=-1), _NEVER)
        first = np.broadcast_to(first, known.shape)
        entered = np.where(known, -1, _NEVER)
        for run, row in enumerate(entered):
            new = np.where(known[run], _NEVER, first[run])
            large = list(_in_order(new, units[run if len(units) > 1 else 0]))
            large = large[: MOST - int(known[run].sum())]
            row[large] = new[large]
        return cls(entered)

    def open(self, first: int, last: int) -> Bools:
        """Return which have a place at each look; shape (runs, slices, looks)."""
        return np.asarray(self.entered[..., None] <= np.arange(first, last))

    def at(self, looks: Counts) -> Bools:
        """Return which have a place at a look of each run; shape (runs, slices)."""
        return np.asarray(self.entered <= looks[:, None])

    def of(self, runs: Bools) -> Places:
        """Return those of these runs only."""
        return Places(self.entered[runs])


def _in_order(first: Counts, units: Floats) -> Iterator[int]:
    """Yield the slices that grow large, as they come, the larger first."""
    large: Sequence[int] = np.flatnonzero(first < _NEVER).tolist()
    yield from sorted(large, key=lambda one: (first[one], -units[one, first[one]], one))
