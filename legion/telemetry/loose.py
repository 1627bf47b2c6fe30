"""What happened to units while it is not known under which exposure."""

from __future__ import annotations

import attrs

from .units import KEPT, Units
from .visiting import Followed


# No metrics: their names would not pass for any.
_BEGAN, _ENDED, _FORGOTTEN = "\x00began", "\x00ended", "\x00forgotten"
_WITHIN = "\x00within "


@attrs.define(eq=False)
class Loose:
    """
    Takes what `Units` takes, and hands it on once the exposure is known.

    Attributes:
        left_out: What was not kept, as too much waited.
    """

    left_out: int = attrs.field(init=False, default=0)
    _notes: list[tuple[int, str, float, bool | None]] = attrs.field(
        init=False, factory=list
    )

    def began(self, unit: int, at_s: float) -> None:
        """Keep it."""
        self._keep(unit, _BEGAN, at_s, None)

    def ended(self, unit: int, at_s: float, *, failed: bool | None) -> None:
        """Keep it."""
        self._keep(unit, _ENDED, at_s, failed)

    def note(self, unit: int, metric: str, at_s: float, bad: bool) -> None:  # noqa: FBT001
        """Keep it."""
        self._keep(unit, metric, at_s, bad)

    def within(self, unit: int, slice: str) -> None:  # noqa: A002 - what it is
        """Keep it."""
        self._keep(unit, f"{_WITHIN}{slice}", 0.0, None)

    def forget_open(self) -> None:
        """Keep it."""
        self._keep(0, _FORGOTTEN, 0.0, None)

    def _keep(self, unit: int, what: str, at_s: float, value: bool | None) -> None:  # noqa: FBT001
        if len(self._notes) < KEPT:
            self._notes.append((unit, what, at_s, value))
        else:
            self.left_out += 1

    def hand_on(self, units: Units | Followed) -> int:
        """Give all that was kept to *units*; return how much was not kept."""
        notes, self._notes = self._notes, []
        for unit, what, at_s, value in notes:
            if what == _BEGAN:
                units.began(unit, at_s)
            elif what == _FORGOTTEN:
                units.forget_open()
            elif what == _ENDED:
                units.ended(unit, at_s, failed=value)
            elif what.startswith(_WITHIN):
                units.within(unit, what.removeprefix(_WITHIN))
            else:
                units.note(unit, what, at_s, bool(value))
        left_out, self.left_out = self.left_out, 0
        return left_out
