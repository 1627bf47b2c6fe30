"""How much memory and CPU this process may use: the smallest of all that bind it."""

from __future__ import annotations

import os

from collections.abc import Iterator
from pathlib import Path


_UNLIMITED = 1 << 60


def memory_limit(root: Path = Path("/")) -> int:
    """
    Return the smallest memory limit, in bytes.

    The host's memory, and the limits of this process's cgroup (v1 and v2) and of every
    cgroup above it.

    Args:
        root: Where ``proc`` and ``sys`` are.
    """
    limits = [_host_memory(root)]
    for directory in _groups(root, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            limit = _number(directory / name)
            if limit is not None and limit < _UNLIMITED:
                limits.append(limit)
    return min(limits)


def cpu_limit(root: Path = Path("/")) -> float:
    """
    Return how many CPUs this process may use, as a number that need not be whole.

    Args:
        root: Where ``proc`` and ``sys`` are.
    """
    limits = [float(_usable_cpus())]
    for directory in _groups(root, "cpu"):
        quota, period = _cpu_quota(directory)
        if quota is not None and period and quota > 0:
            limits.append(quota / period)
    return min(limits)


def _usable_cpus() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _host_memory(root: Path) -> int:
    for line in _lines(root / "proc/meminfo"):
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    import psutil

    return int(psutil.virtual_memory().total)


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Yield the directories of this process's cgroups, the mount's own included."""
    for line in _lines(root / "proc/self/cgroup"):
        _, names, path = line.split(":", 2)
        if not names:
            mount = root / "sys/fs/cgroup"
        elif controller in names.split(","):
            mount = root / "sys/fs/cgroup" / controller
        else:
            continue
        parts = [part for part in path.split("/") if part and part != ".."]
        for depth in range(len(parts), -1, -1):
            yield mount.joinpath(*parts[:depth])


def _cpu_quota(directory: Path) -> tuple[int | None, int | None]:
    words = " ".join(_lines(directory / "cpu.max")).split()
    if len(words) == 2:
        return (None if words[0] == "max" else int(words[0])), int(words[1])
    return (
        _number(directory / "cpu.cfs_quota_us"),
        _number(directory / "cpu.cfs_period_us"),
    )


def _number(path: Path) -> int | None:
    text = " ".join(_lines(path)).strip()
    return int(text) if text.lstrip("-").isdigit() else None


def _lines(path: Path) -> list[str]:
    """Return the lines of a file of the kernel, or none where it is not there."""
    try:
        return path.read_text("ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
