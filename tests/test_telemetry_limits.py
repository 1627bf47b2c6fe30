"""Limits of memory and CPU: the smallest of all that bind this process."""

from __future__ import annotations

import os

from pathlib import Path

import psutil
import pytest

from legion.telemetry import cpu_limit, memory_limit
from legion.telemetry.limits import _usable_cpus


MB = 1 << 20
HOST = 16_000 * MB
NONE_V1 = 9223372036854771712


def tree(root: Path, cgroup: str) -> Path:
    """Write the kernel's files of a host and of a process in *cgroup*."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/meminfo").write_text(f"MemTotal:  {HOST // 1024} kB\nMemFree: 1 kB\n")
    (root / "proc/self/cgroup").write_text(cgroup)
    return root


def put(root: Path, path: str, text: object) -> None:
    file = root / "sys/fs/cgroup" / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"{text}\n")


@pytest.fixture
def cpus(monkeypatch):
    """A process that may run on 8 CPUs."""
    monkeypatch.setattr("legion.telemetry.limits._usable_cpus", lambda: 8)


def test_without_a_cgroup_the_host_is_the_limit(tmp_path, cpus):
    """A cgroup without limits changes nothing."""
    root = tree(tmp_path, "0::/user.slice\n")
    put(root, "user.slice/memory.max", "max")
    put(root, "user.slice/cpu.max", "max 100000")

    assert memory_limit(root) == HOST
    assert cpu_limit(root) == 8


def test_the_own_limit_of_version_2_binds(tmp_path, cpus):
    """memory.max and cpu.max of the own cgroup count."""
    root = tree(tmp_path, "0::/a.slice/b.scope\n")
    put(root, "a.slice/b.scope/memory.max", 512 * MB)
    put(root, "a.slice/b.scope/cpu.max", "150000 100000")

    assert memory_limit(root) == 512 * MB
    assert cpu_limit(root) == 1.5


def test_a_limit_above_binds_too(tmp_path, cpus):
    """The smallest over the whole ancestry wins, wherever it is."""
    root = tree(tmp_path, "0::/a.slice/b.slice/c.scope\n")
    put(root, "a.slice/memory.max", 256 * MB)
    put(root, "a.slice/b.slice/memory.max", "max")
    put(root, "a.slice/b.slice/c.scope/memory.max", 512 * MB)
    put(root, "a.slice/cpu.max", "400000 100000")
    put(root, "a.slice/b.slice/cpu.max", "50000 100000")

    assert memory_limit(root) == 256 * MB
    assert cpu_limit(root) == 0.5


def test_another_s_limit_does_not_bind(tmp_path, cpus):
    """Only cgroups on the way up count."""
    root = tree(tmp_path, "0::/mine\n")
    put(root, "yours/memory.max", 1 * MB)
    put(root, "mine/child/memory.max", 1 * MB)

    assert memory_limit(root) == HOST


def test_in_a_container_the_mount_is_the_own_cgroup(tmp_path, cpus):
    """With a namespace of its own the path is / and the files lie in the mount."""
    root = tree(tmp_path, "0::/\n")
    put(root, "memory.max", 128 * MB)
    put(root, "cpu.max", "20000 100000")

    assert memory_limit(root) == 128 * MB
    assert cpu_limit(root) == 0.2


@pytest.mark.parametrize("path", ["/docker/0123abcd", "/../../docker/0123abcd"])
def test_a_path_of_the_host_leads_to_the_mount(tmp_path, cpus, path):
    """Where the path is not there, or outside the namespace, the mount is looked at."""
    root = tree(tmp_path, f"5:memory:{path}\n4:cpu,cpuacct:{path}\n0::{path}\n")
    put(root, "memory/memory.limit_in_bytes", 64 * MB)
    put(root, "cpu/cpu.cfs_quota_us", 30000)
    put(root, "cpu/cpu.cfs_period_us", 100000)

    assert memory_limit(root) == 64 * MB
    assert cpu_limit(root) == 0.3


def test_a_path_outside_the_namespace_is_not_followed_back_in(tmp_path, cpus):
    """A cgroup that only looks like the path belongs to somebody else."""
    root = tree(tmp_path, "0::/../other\n")
    put(root, "other/memory.max", 1 * MB)

    assert memory_limit(root) == HOST


def test_version_1_binds(tmp_path, cpus):
    """memory.limit_in_bytes and the quota count, with each controller's own path."""
    root = tree(tmp_path, "3:memory:/m/n\n2:cpu,cpuacct:/c\n1:name=systemd:/x\n")
    put(root, "memory/m/n/memory.limit_in_bytes", NONE_V1)
    put(root, "memory/m/memory.limit_in_bytes", 300 * MB)
    put(root, "cpu,cpuacct/c/cpu.cfs_quota_us", 250000)
    put(root, "cpu,cpuacct/c/cpu.cfs_period_us", 100000)

    assert memory_limit(root) == 300 * MB
    assert cpu_limit(root) == 2.5


def test_version_1_without_limits_is_the_host(tmp_path, cpus):
    """Its way to say "none" is no limit of 8 exabytes, and -1 is no quota."""
    root = tree(tmp_path, "3:memory:/\n2:cpu:/\n")
    put(root, "memory/memory.limit_in_bytes", NONE_V1)
    put(root, "cpu/cpu.cfs_quota_us", -1)
    put(root, "cpu/cpu.cfs_period_us", 100000)

    assert memory_limit(root) == HOST
    assert cpu_limit(root) == 8


def test_the_hybrid_layout_is_read(tmp_path, cpus):
    """Version 2 beside version 1 lies in "unified"."""
    root = tree(tmp_path, "3:pids:/\n0::/h\n")
    put(root, "unified/h/memory.max", 100 * MB)

    assert memory_limit(root) == 100 * MB


def test_a_limit_larger_than_the_host_does_not_help(tmp_path, cpus):
    """More than there is cannot be used."""
    root = tree(tmp_path, "0::/big\n")
    put(root, "big/memory.max", 10 * HOST)
    put(root, "big/cpu.max", "6400000 100000")

    assert memory_limit(root) == HOST
    assert cpu_limit(root) == 8


@pytest.mark.parametrize(
    ("memory", "cpu"),
    [("", ""), ("0", "0 100000"), ("words", "5 words"), ("-1", "100000 0"), ("é", "é")],
)
def test_what_makes_no_sense_is_no_limit(tmp_path, cpus, memory, cpu):
    """A limit of nothing, or a file that cannot be read, is passed over."""
    root = tree(tmp_path, "broken\n\n0::/odd\n")
    put(root, "odd/memory.max", memory)
    put(root, "odd/cpu.max", cpu)

    assert memory_limit(root) == HOST
    assert cpu_limit(root) == 8


def test_without_proc_psutil_and_python_are_asked(tmp_path):
    """As on macOS: the machine's memory, and the CPUs that Python knows of."""
    assert memory_limit(tmp_path) == psutil.virtual_memory().total
    assert cpu_limit(tmp_path) == _usable_cpus()


def test_without_an_affinity_all_cpus_count(monkeypatch):
    """Where the system has no affinity, the count of CPUs stands in."""
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 3)

    assert _usable_cpus() == 3


def test_this_process_has_limits():
    """The real machine gives figures that can be true."""
    assert 0 < memory_limit() <= psutil.virtual_memory().total
    assert 0 < cpu_limit() <= (os.cpu_count() or 1)
