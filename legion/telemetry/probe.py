"""What this process uses of what it may: memory and CPU."""

from __future__ import annotations

import os
import time

from collections import deque
from pathlib import Path
from threading import Lock

import attrs

from ..hookspecs import hookimpl
from ..model import Arm, Clock, Count
from .limits import cpu_limit, memory_limit


_STATM = Path("/proc/self/statm")
_SHORTEST_S = 0.25


@attrs.frozen(kw_only=True)
class _Mark:
    """How much CPU time a process had used at an instant of machine time."""

    at_s: float
    used_s: float
    pid: int


@attrs.define(eq=False)
class Probe:
    """
    A source of ``memory_usage`` and ``cpu_usage``.

    Both arms run in one process, so both get the same figures, from one sample. CPU
    usage is that since the last sample, or over the last quarter of a second of machine
    time if that is longer: two looks in quick succession would otherwise measure little
    but the looking. The first look has no CPU figure, as there is nothing to compare
    with; nor has the first one after a fork. Child processes are not counted.

    Where a figure cannot be read it raises: the source is then missing, and the window
    says why.

    Args:
        clock: Machine time, for the CPU time that could have been used.
    """

    clock: Clock
    _marks: deque[_Mark] = attrs.field(init=False, factory=deque)
    _figures: dict[str, Count | float] = attrs.field(init=False, factory=dict)
    _told: set[Arm] = attrs.field(init=False, factory=set)
    _sampling: Lock = attrs.field(init=False, factory=Lock)

    @hookimpl
    def legion_observe(self, plan: str, arm: Arm) -> dict[str, Count | float]:
        """Return the same sample to each arm, and a new one to who asks again."""
        with self._sampling:
            if not self._figures or arm in self._told:
                self._figures = {}
                self._figures = self._sample()
                self._told.clear()
            self._told.add(arm)
            return dict(self._figures)

    def _sample(self) -> dict[str, Count | float]:
        figures: dict[str, Count | float] = {
            "memory_usage": resident_bytes() / memory_limit()
        }
        now = _Mark(
            at_s=self.clock.machine(), used_s=time.process_time(), pid=os.getpid()
        )
        before = self._compared_with(now)
        if before is not None and now.at_s > before.at_s:
            used = (now.used_s - before.used_s) / (now.at_s - before.at_s)
            figures["cpu_usage"] = used / cpu_limit()
        if not self._marks or now.at_s > self._marks[-1].at_s:
            self._marks.append(now)
        return figures

    def _compared_with(self, now: _Mark) -> _Mark | None:
        """Return the newest mark that is old enough, else the oldest there is."""
        if self._marks and self._marks[-1].pid != now.pid:
            self._marks.clear()
        old_enough_s = now.at_s - _SHORTEST_S
        while len(self._marks) > 1 and self._marks[1].at_s <= old_enough_s:
            self._marks.popleft()
        return self._marks[0] if self._marks else None


def resident_bytes() -> int:
    """
    Return the memory this process holds, in bytes.

    Raises:
        OSError: It cannot be read.
    """
    if _STATM.exists():
        pages = int(_STATM.read_text("ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    import psutil

    return int(psutil.Process().memory_info().rss)
