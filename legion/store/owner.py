"""Which process began something, and whether it still lives."""

from __future__ import annotations

import functools
import os
import socket


_SLACK_S = 2.0
"""Two looks at one start differ by what the kernel rounds off; a new process by more."""


@functools.cache
def _born(pid: int) -> float:
    import psutil

    return _since_boot_s(psutil.Process(pid).create_time())


def _since_boot_s(created_s: float) -> float:
    """Return a start in seconds after the machine's: a date moves when it is set."""
    import psutil

    return float(created_s - psutil.boot_time())


def this_process() -> str:
    """Name this process so that no later one can be taken for it."""
    pid = os.getpid()
    return f"{socket.gethostname()}:{pid}:{_born(pid):.2f}"


def is_alive(name: str) -> bool | None:
    """
    Tell whether the process that `this_process` named still runs.

    Returns:
        None where that cannot be told, since it is, or was, another machine's.
    """
    import psutil

    host, pid, born = name.rsplit(":", 2)
    if host != socket.gethostname():
        return None
    try:
        there = psutil.Process(int(pid))
        same = abs(_since_boot_s(there.create_time()) - float(born)) < _SLACK_S
        # A zombie has died; it only waits for a parent that may never look.
        return same and there.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True
