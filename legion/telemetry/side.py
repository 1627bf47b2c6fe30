"""One arm under one exposure: what was recorded of it, and of whom."""

from __future__ import annotations

import operator

from typing import Protocol

import attrs

from .event import (
    BEGAN,
    CANCELLED,
    ERROR_RATE,
    FAILED,
    INTERRUPTED,
    LARGEST,
    SUCCEEDED,
    UNMIRRORED,
    WITHIN,
)
from .tally import Tallies, Tally


_OUTCOMES = {SUCCEEDED: False, FAILED: True, INTERRUPTED: None, CANCELLED: None}


_MOST = 200_000
"""How many cancelled units are told apart, of both arms; then no further one counts."""


class Following(Protocol):
    """What happens to the units of an arm: `Units`, or `Loose`."""

    def began(self, unit: int, at_s: float) -> None: ...

    def ended(self, unit: int, at_s: float, *, failed: bool | None) -> None: ...

    def note(self, unit: int, metric: str, at_s: float, bad: bool) -> None: ...  # noqa: FBT001

    def within(self, unit: int, slice: str) -> None: ...  # noqa: A002

    def forget_open(self) -> None: ...


@attrs.define(eq=False)
class Side:
    """
    One arm under one exposure.

    Attributes:
        tallies: What was recorded since the last close.
        units: What happened to its units.
        n: How many events that was.
        unmirrored: Mirrored runs that were dropped.
        cancelled: Units of both arms that were cut off; each counts once.
        new_cancelled: How many of them since the last close.
    """

    tallies: Tallies
    units: Following
    n: int = 0
    unmirrored: int = 0
    cancelled: set[int] = attrs.field(factory=set)
    new_cancelled: int = 0

    def renew(self, tallies: Tallies) -> None:
        """Begin anew with empty *tallies*; the units go on."""
        self.tallies, self.n, self.unmirrored = tallies, 0, 0
        self.new_cancelled = 0

    def unusual(self, tally: Tally, unit: int, at_s: float, value: object) -> None:
        """Add what is no plain float, no mark and no flag of a unit's hash."""
        if value is True or value is False:
            try:
                self.units.note(
                    operator.index(unit), tally.stream, at_s, value is tally.bad
                )
            except TypeError:
                tally.refuse(type(unit), "the 64-bit hash of the unit")
            self._flag(tally, value)
        else:
            tally.take(value)

    def _flag(self, tally: Tally, value: object) -> None:
        if value is tally.bad:
            tally.n_bad += 1
        else:
            tally.n_good += 1

    def mark(self, unit: int, at_s: float, mark: str) -> None:
        """Take what `TRIAL` says of a unit."""
        if type(unit) is not int:
            unit = operator.index(unit)
        if mark == BEGAN:
            self.units.began(unit, at_s)
        elif mark == UNMIRRORED:
            self.unmirrored += 1
        elif mark.startswith(WITHIN):
            self.units.within(unit, mark.removeprefix(WITHIN))
        else:
            failed = _OUTCOMES[mark]
            if mark == CANCELLED and len(self.cancelled) < _MOST:
                self.new_cancelled += unit not in self.cancelled
                self.cancelled.add(unit)
            self.units.ended(unit, at_s, failed=failed)
            if failed is not None:
                self._flag(self.tallies[ERROR_RATE], failed)

    def watch(self, tally: Tally, unit: int, at_s: float, value: float) -> None:
        """Note which limits *value* exceeds."""
        if type(unit) is int and -LARGEST <= value <= LARGEST:
            for name, limit in tally.watched:
                self.units.note(unit, name, at_s, value > limit)
