"""A turn put together again from what refers to what."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import attrs

from ..model import Record
from . import entry
from .tables import IS, REFERS_TO, Tables


MOST = 1000
"""How many records a story has at most: the nearest ones."""

_TURN = ("observation", "report", "change", "decision", "ruling", "intent", "outcome")
_RANK = {kind: rank for rank, kind in enumerate(_TURN)}


@attrs.define(eq=False)
class Story:
    """
    Everything one record rests on, and everything that rests on that.

    What is not itself part of a turn, such as a policy that every ruling names, is told
    but not followed any further: it would lead to every other turn.
    """

    tables: Tables
    _known: dict[int, tuple[Record, bytes]] = attrs.field(factory=dict)

    def around(self, seq: int) -> tuple[int, ...]:
        """Return the positions of the story of entry *seq*, oldest first."""
        told = {seq: True}
        waiting = deque([(seq, True)])
        while waiting:
            here, upwards = waiting.popleft()
            found = [(above, True) for above in self._above(here)] if upwards else []
            found += [(below, False) for below in self._below(here)]
            for there, up in found:
                if len(told) >= MOST:
                    break
                if there not in told:
                    told[there] = True
                    if not up or self._record(there).kind in _RANK:
                        waiting.append((there, up))
        return tuple(sorted(told))

    def _above(self, seq: int) -> list[int]:
        """Return what an entry refers to, and an earlier form of the same noun."""
        record = self._record(seq)
        own = self._names(seq)
        found = [self._meant(ref, seq) for ref in record.refs if ref not in own]
        found += [self._earlier_form(name, seq) for name in own]
        return [above for above in found if above is not None]

    def _below(self, seq: int) -> Iterable[int]:
        """Return what refers to an entry, and later forms of the same noun."""
        record = self._record(seq)
        for name in (*self._names(seq), record.id):
            for below in self.tables.linked(name, REFERS_TO):
                by_another = name not in self._names(below)
                if by_another and self._meant(name, below) == seq:
                    yield below
            for below in self.tables.linked(name, IS):
                if below > seq and self._earlier_form(name, below) == seq:
                    yield below

    def _meant(self, ref: str, by: int) -> int | None:
        """
        Return the entry that *by* means with *ref*.

        That is the newest one before it; where the noun was recorded only afterwards,
        the first one after it.
        """
        if (seq := seq_in(ref)) is not None:
            exists = self.tables.rows(seq, seq + 1)
            return seq if exists and self._record(seq).id == ref else None
        called = self.tables.linked(ref, IS)
        before = [seq for seq in called if seq < by]
        after = [seq for seq in called if seq > by]
        return before[-1] if before else after[0] if after else None

    def _earlier_form(self, name: str, by: int) -> int | None:
        """Return the change that a decision took up, the decision behind an intent."""
        rank = _RANK.get(self._record(by).kind)
        before = [seq for seq in self.tables.linked(name, IS) if seq < by]
        if rank is None or not before:
            return None
        return before[-1] if self._rank(before[-1]) < rank else None

    def _rank(self, seq: int) -> int:
        return _RANK.get(self._record(seq).kind, len(_RANK))

    def _record(self, seq: int) -> Record:
        return self._entry(seq)[0]

    def _names(self, seq: int) -> tuple[str, ...]:
        return entry.names(*self._entry(seq))

    def _entry(self, seq: int) -> tuple[Record, bytes]:
        if seq not in self._known:
            data = self.tables.rows(seq, seq + 1)[0].data
            self._known[seq] = entry.decode(data), data
        return self._known[seq]


def seq_in(record_id: str) -> int | None:
    """Return the position that a record's id names, or None if it is no id."""
    digits, dash, mark = record_id.partition("-")
    valid = dash and mark and digits.isascii() and digits.isdecimal()
    return int(digits) if valid and len(digits) < 19 else None
