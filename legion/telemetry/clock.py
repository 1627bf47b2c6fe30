"""The system's clocks: plan time, which may be scaled, and machine time."""

from __future__ import annotations

import math
import time

import attrs


@attrs.define(eq=False)
class SystemClock:
    """
    Plan time and machine time of this machine.

    Plan time begins with the date and then follows the monotonic clock, so that a step
    of the system's date does not move it.

    Args:
        scale: Seconds of plan time in a second of machine time.
        plan_epoch_s: Where plan time begins; the date by default.

    Raises:
        ValueError: *scale* is not a finite number above 0.
    """

    scale: float = attrs.field(default=1.0)
    plan_epoch_s: float = attrs.field(kw_only=True, factory=time.time)
    _began_s: float = attrs.field(init=False, factory=time.perf_counter)

    @scale.validator
    def _positive(self, _: object, scale: float) -> None:
        if not (math.isfinite(scale) and scale > 0):
            msg = f"clock: got scale={scale}; write a finite number above 0"
            raise ValueError(msg)

    def plan(self) -> float:
        """Return plan time, in seconds since the epoch."""
        passed_s = time.perf_counter() - self._began_s
        return self.plan_epoch_s + passed_s * self.scale

    def machine(self) -> float:
        """Return machine time, in seconds from an arbitrary instant."""
        return time.perf_counter()

    def wall(self) -> float:
        """Return the date, in seconds since the epoch."""
        return time.time()
