"""Who began an act, and whether that process still lives."""

from __future__ import annotations

import functools
import os
import platform

from collections.abc import Mapping
from typing import Any, cast

import attrs

from ..canonical import JSON


_NAMESPACE = "/proc/self/ns/pid"
_SLACK_S = 2.0
"""Two looks at one start differ by what the kernel rounds off; a new process by more."""


@attrs.frozen(kw_only=True)
class Owner:
    """
    A process, told apart from all others.

    Attributes:
        host: Name of the machine.
        space: Where its number counts: the container's namespace, "" where there is
            none.
        pid: Its number, which another process may get once it has ended.
        started_s: When it began, in seconds after the machine did; no clock that is
            set anew changes that.
    """

    host: str
    space: str
    pid: int
    started_s: float

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"

    def lives(self) -> bool | None:
        """Tell whether it runs, or None where that cannot be seen from here."""
        me = here()
        if (self.host, self.space) != (me.host, me.space):
            return None
        if self.pid == me.pid:
            return self == me
        started_s = _started_s(self.pid)
        return started_s is not None and abs(started_s - self.started_s) < _SLACK_S

    def to_json(self) -> dict[str, JSON]:
        """Return what `from_json` reads back."""
        return attrs.asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, JSON]) -> Owner:
        """Read what `to_json` wrote."""
        return cls(**cast("dict[str, Any]", dict(value)))


def here() -> Owner:
    """Return this process."""
    return _process(os.getpid())


@functools.lru_cache(maxsize=1)
def _process(pid: int) -> Owner:
    """Look once a process: after a fork it is another one."""
    space = ""
    if os.path.islink(_NAMESPACE):  # noqa: PTH114 - one line for both
        space = os.readlink(_NAMESPACE)  # noqa: PTH115
    started_s = _started_s(pid)
    return Owner(host=platform.node(), space=space, pid=pid, started_s=started_s or 0.0)


def _started_s(pid: int) -> float | None:
    """Return when a process began, after the machine did; None where it has ended."""
    import psutil

    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        # Both are dates, and shift together when the clock is set.
        booted_s = psutil.boot_time()
        return round(process.create_time() - booted_s, 2)
    except psutil.NoSuchProcess:
        return None
