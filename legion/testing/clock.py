"""A clock that stands until it is moved."""

from __future__ import annotations

import attrs


@attrs.define(eq=False)
class ManualClock:
    """
    Plan time, machine time and date, moved by hand.

    Args:
        start_s: Plan time and date at the start, in seconds since the epoch.
    """

    start_s: float = 0.0
    _plan_s: float = attrs.field(init=False, default=0.0)
    _machine_s: float = attrs.field(init=False, default=0.0)

    def plan(self) -> float:
        """Return plan time, in seconds since the epoch."""
        return self.start_s + self._plan_s

    def machine(self) -> float:
        """Return machine time, in seconds."""
        return self._machine_s

    def wall(self) -> float:
        """Return the date, in seconds since the epoch."""
        return self.start_s + self._machine_s

    def advance(self, seconds: float, *, machine_s: float | None = None) -> None:
        """
        Move on.

        Args:
            seconds: Plan time, in seconds.
            machine_s: Machine time, in seconds; as much by default.

        Raises:
            ValueError: Time would go back.
        """
        machine_s = seconds if machine_s is None else machine_s
        if seconds < 0 or machine_s < 0:
            msg = f"clock: got {seconds}, {machine_s}; time does not go back"
            raise ValueError(msg)
        self._plan_s += seconds
        self._machine_s += machine_s
