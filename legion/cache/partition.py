"""The entries of one scope: an exact dictionary and the vectors beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic

import attrs

from .hit import V
from .stats import Tally


if TYPE_CHECKING:
    import numpy as np

    from numpy.typing import NDArray

    from .groups import Group
    from .index import Sketcher, VectorRows


@attrs.define(eq=False)
class Entry(Generic[V]):
    """
    One question and its answer.

    Attributes:
        id: Number of the entry; a row is used again, an id never is.
        key: The normalised question.
        question: The question as it was put.
        value: The answer.
        stored_s: When, in seconds of machine time.
        partition: Where it lies.
        row: In which row its vector lies; changes when another entry goes.
        group: Entries with the same value, where values are compared.
        origin: Number of the entry that it is an alias of: a question that was judged
            to have the same answer.
    """

    id: int
    key: str
    question: str
    value: V
    stored_s: float
    partition: Partition[V] = attrs.field(repr=False)
    row: int = -1
    group: Group | None = None
    origin: int | None = None

    @property
    def family(self) -> int:
        """Number of the entry that it stands or falls with."""
        return self.id if self.origin is None else self.origin


@attrs.define(eq=False)
class Partition(Generic[V]):
    """
    One scope's entries; no look-up ever sees another's.

    It has no lock: the `Shelf` it stands on has one for all.

    Attributes:
        scope: Key of the scope.
        tally: What happened in it.
        exact: Entries by normalised question.
    """

    scope: str
    tally: Tally = attrs.field(init=False, factory=Tally)
    exact: dict[str, Entry[V]] = attrs.field(init=False, factory=dict)
    _by_row: list[Entry[V]] = attrs.field(init=False, factory=list)
    _rows: VectorRows | None = attrs.field(init=False, default=None)

    def __len__(self) -> int:
        return len(self._by_row)

    def add(
        self, entry: Entry[V], vector: NDArray[np.float32], *, sketcher: Sketcher
    ) -> None:
        """Store *entry*, whose question is not stored yet."""
        if self._rows is None:
            from .index import VectorRows

            self._rows = VectorRows(sketcher)
        entry.row = self._rows.append(vector)
        self._by_row.append(entry)
        self.exact[entry.key] = entry

    def remove(self, entry: Entry[V]) -> None:
        """Take out *entry*, which is stored here."""
        assert self._rows is not None
        self._rows.remove(entry.row)
        last = self._by_row.pop()
        if last is not entry:
            self._by_row[entry.row] = last
            last.row = entry.row
        del self.exact[entry.key]
        if not self._by_row:
            self._rows = None

    def top(self, vector: NDArray[np.float32], k: int) -> list[tuple[Entry[V], float]]:
        """Return the nearest *k* entries and their cosines, best first."""
        found = [] if self._rows is None else self._rows.top(vector, k)
        return [(self._by_row[row], min(cosine, 1.0)) for row, cosine in found]
