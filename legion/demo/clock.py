"""The two clocks of a demo: days that are counted in requests, and seconds that are not."""

from __future__ import annotations

import time

import attrs


EPOCH_S = 1_764_547_200.0
"""Day 0 of the demo's calendar: the first of December 2025."""


@attrs.define(eq=False)
class RequestClock:
    """
    Plan time that passes with the requests; machine time as it is.

    A day is so many requests, so the same seed sees the same traffic in every stage
    whatever the speed of the machine.

    Args:
        requests_per_day: How many requests make a day of plan time.
    """

    requests_per_day: int = 900
    served: int = 0

    def plan(self) -> float:
        """Return plan time, in seconds since the epoch."""
        return EPOCH_S + self.served * 86_400 / self.requests_per_day

    def machine(self) -> float:
        """Return machine time, in seconds."""
        return time.perf_counter()

    def wall(self) -> float:
        """Return the date, in seconds since the epoch."""
        return time.time()
