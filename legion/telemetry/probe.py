"""What this process uses of what it may: memory and CPU."""

from __future__ import annotations

import os
import time

from pathlib import Path

import attrs

from ..hookspecs import hookimpl
from ..model import Arm, Clock, Count
from .limits import cpu_limit, memory_limit


_STATM = Path("/proc/self/statm")


@attrs.define(eq=False)
class Probe:
    """
    A source of ``memory_usage`` and ``cpu_usage``.

    Both arms run in one process, so both get the same figures. The first look has no
    CPU figure: there is nothing to compare with yet.

    Args:
        clock: Machine time, for the CPU time that could have been used.
    """

    clock: Clock
    _before: tuple[float, float] | None = attrs.field(init=False, default=None)
    _figures: dict[str, Count | float] = attrs.field(init=False, factory=dict)
    _told: set[Arm] = attrs.field(init=False, factory=set)

    @hookimpl
    def legion_observe(self, plan: str, arm: Arm) -> dict[str, Count | float]:
        """Return the same sample to each arm, and a new one to who asks again."""
        if not self._figures or arm in self._told:
            self._figures = self._sample()
            self._told = set()
        self._told.add(arm)
        return self._figures

    def _sample(self) -> dict[str, Count | float]:
        figures: dict[str, Count | float] = {
            "memory_usage": resident_bytes() / memory_limit()
        }
        now_s, used_s = self.clock.machine(), time.process_time()
        if self._before is not None and now_s > self._before[0]:
            passed_s = now_s - self._before[0]
            figures["cpu_usage"] = (used_s - self._before[1]) / passed_s / cpu_limit()
        self._before = (now_s, used_s)
        return figures


def resident_bytes() -> int:
    """Return the memory this process holds, in bytes."""
    if _STATM.exists():
        pages = int(_STATM.read_text("ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    import psutil

    return int(psutil.Process().memory_info().rss)
