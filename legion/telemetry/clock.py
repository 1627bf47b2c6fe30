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
        plan_epoch_s: Where plan time begins, in seconds since the epoch; with the date
            by default.

    Raises:
        ValueError: *scale* is not a finite number above 0, or *plan_epoch_s* is not
            finite.
    """

    scale: float = attrs.field(default=1.0)
    plan_epoch_s: float | None = attrs.field(default=None, kw_only=True)
    _epoch_s: float = attrs.field(init=False)
    _began_s: float = attrs.field(init=False)

    @_epoch_s.default
    def _epoch(self) -> float:
        return time.time() if self.plan_epoch_s is None else self.plan_epoch_s

    @_began_s.default
    def _now(self) -> float:
        return time.perf_counter()

    @scale.validator
    def _positive(self, _: object, scale: float) -> None:
        if not (math.isfinite(scale) and scale > 0):
            msg = f"clock: got scale={scale}; write a finite number above 0"
            raise ValueError(msg)

    @plan_epoch_s.validator
    def _finite(self, _: object, plan_epoch_s: float | None) -> None:
        if plan_epoch_s is not None and not math.isfinite(plan_epoch_s):
            msg = f"clock: got plan_epoch_s={plan_epoch_s}; write a finite number"
            raise ValueError(msg)

    def plan(self) -> float:
        """Return plan time, in seconds since the epoch."""
        passed_s = time.perf_counter() - self._began_s
        return self._epoch_s + passed_s * self.scale

    def machine(self) -> float:
        """Return machine time, in seconds from an arbitrary instant."""
        return time.perf_counter()

    def wall(self) -> float:
        """Return the date, in seconds since the epoch."""
        return time.time()
