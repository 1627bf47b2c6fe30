"""How much memory and CPU this process may use: the smallest of all that bind it."""

from __future__ import annotations

import os

from collections.abc import Iterator
from pathlib import Path


_HOST = Path("/")


def memory_limit(root: Path = _HOST) -> int:
    """
    Return the smallest memory limit, in bytes.

    The host's memory, and the limits of this process's cgroup (v1 and v2) and of every
    cgroup above it. Version 1 says "no limit" by a number larger than any memory.

    Args:
        root: Where ``proc`` and ``sys`` are.
    """
    limits = [_host_memory(root)]
    for directory in _groups(root, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            limit = _number(_text(directory / name))
            if limit:
                limits.append(limit)
    return min(limits)


def cpu_limit(root: Path = _HOST) -> float:
    """
    Return how many CPUs this process may use, as a number that need not be whole.

    The CPUs it may run on, and the quotas of its cgroup (v1 and v2) and of every cgroup
    above it.

    Args:
        root: Where ``proc`` and ``sys`` are.
    """
    limits = [float(_usable_cpus())]
    for directory in _groups(root, "cpu"):
        quota, period = _cpu_quota(directory)
        if quota and period:
            limits.append(quota / period)
    return min(limits)


def _usable_cpus() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _host_memory(root: Path) -> int:
    for line in _text(root / "proc/meminfo").splitlines():
        words = line.split()
        if len(words) > 1 and words[0] == "MemTotal:":
            kilobytes = _number(words[1])
            if kilobytes:
                return kilobytes * 1024
    import psutil

    return int(psutil.virtual_memory().total)


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """
    Yield the directories that may hold limits of this process, nearest first.

    The path in ``/proc/self/cgroup`` is followed up to the mount. In a container the
    mount often shows the process's own cgroup as its root, and the path, which is the
    host's, leads nowhere below it; the mount itself is looked at in any case.
    """
    mounts = root / "sys/fs/cgroup"
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        if not names:
            # Beside version 1, the hybrid layout mounts version 2 in "unified".
            places = [mounts, mounts / "unified"]
        elif controller in names.split(","):
            places = list(dict.fromkeys([mounts / controller, mounts / names]))
        else:
            continue
        for mount in places:
            yield from _upwards(mount, path)


def _upwards(mount: Path, path: str) -> Iterator[Path]:
    parts = [part for part in path.split("/") if part]
    if ".." in parts:
        # Outside of what this namespace shows: a directory below would be another's.
        parts = []
    for depth in range(len(parts), -1, -1):
        yield mount.joinpath(*parts[:depth])


def _cpu_quota(directory: Path) -> tuple[int | None, int | None]:
    """Return quota and period in microseconds; no quota is None."""
    words = _text(directory / "cpu.max").split()
    if len(words) == 2:
        return _number(words[0]), _number(words[1])
    return (
        _number(_text(directory / "cpu.cfs_quota_us")),
        _number(_text(directory / "cpu.cfs_period_us")),
    )


def _number(text: str) -> int | None:
    """Return a number from 0, or None for ``max``, ``-1`` and what is no number."""
    text = text.strip()
    return int(text) if text.isdecimal() else None


def _text(path: Path) -> str:
    """Return the text of a file of the kernel, or "" where it is not there."""
    try:
        return path.read_text("ascii")
    except (OSError, UnicodeDecodeError):
        return ""
