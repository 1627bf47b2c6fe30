"""Events that were lost since the last close."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from ..model import Arm
from .event import NAMES, Event


_ARMS = {name: arm for arm, name in NAMES.items()}


@attrs.define(eq=False)
class Loss:
    """
    Events that were lost, by arm.

    Attributes:
        capacity: How many may wait.
    """

    capacity: int
    _of: dict[Arm | None, int] = attrs.field(init=False, factory=dict)

    def count(self, events: Iterable[Event]) -> None:
        """Count *events*; one whose arm cannot be read is lost to both."""
        for event in events:
            try:
                arm = _ARMS.get(event[1])
            except Exception:  # noqa: BLE001 - it may be anything
                arm = None
            self._of[arm] = self._of.get(arm, 0) + 1

    def of(self, arm: Arm) -> int:
        """Return how many events of *arm* were lost."""
        return self._of.get(arm, 0) + self._of.get(None, 0)

    def said(self, arm: Arm) -> str:
        """Return what happened and what to do, or "" if nothing was lost."""
        if not self.of(arm):
            return ""
        return (
            f"at least {self.of(arm)} events were lost: more than {self.capacity} came "
            "between two folds; drain more often or raise the capacity"
        )

    def clear(self) -> None:
        """Begin anew."""
        self._of = {}
