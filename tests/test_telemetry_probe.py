"""Memory and CPU of this process, measured in real processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import psutil
import pytest

from legion import Plugins
from legion.model import Arm
from legion.telemetry import Probe
from legion.telemetry import probe as room
from legion.testing import ManualClock


CONTROL, CANDIDATE = Arm.CONTROL, Arm.CANDIDATE
MB = 1 << 20


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def used(monkeypatch):
    """The CPU time of this process, moved by hand."""
    now = {"s": 10.0}
    monkeypatch.setattr("time.process_time", lambda: now["s"])
    monkeypatch.setattr(room, "cpu_limit", lambda: 2.0)
    return now


def child(code: str) -> dict[str, float]:
    """Run *code* in a process of its own and return the JSON it prints."""
    head = (
        "import json, time\n"
        "from legion.model import Arm\n"
        "from legion.telemetry import Probe, SystemClock, cpu_limit, memory_limit\n"
        "probe = Probe(SystemClock())\n"
        "look = lambda: probe.legion_observe('', Arm.CANDIDATE)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", head + code], capture_output=True, text=True, check=True
    )
    return json.loads(run.stdout)


def test_the_first_look_has_no_cpu_figure(clock, used):
    """There is nothing to compare with yet, so it is left out and not 0."""
    assert set(Probe(clock).legion_observe("", CANDIDATE)) == {"memory_usage"}


def test_cpu_usage_is_time_used_over_time_there_was(clock, used):
    """One second of CPU in one second on two CPUs is one half."""
    probe = Probe(clock)
    probe.legion_observe("", CANDIDATE)
    clock.advance(3600, machine_s=1)
    used["s"] += 1

    assert probe.legion_observe("", CANDIDATE)["cpu_usage"] == 0.5


def test_both_arms_get_the_same_sample(clock, used):
    """Asked for each arm in turn, it samples once; asked again, it samples anew."""
    probe = Probe(clock)
    first = [probe.legion_observe("", arm) for arm in (CONTROL, CANDIDATE)]
    clock.advance(1)
    used["s"] += 0.5
    second = [probe.legion_observe("", CONTROL)]
    clock.advance(1)
    second.append(probe.legion_observe("", CANDIDATE))

    assert first[0] == first[1]
    assert second[0] == second[1]
    assert second[0]["cpu_usage"] == 0.25


def test_two_looks_in_quick_succession_reach_further_back(clock, used):
    """A figure is never that of the millisecond in which legion itself was busy."""
    probe = Probe(clock)
    probe.legion_observe("", CANDIDATE)
    clock.advance(10)
    used["s"] += 2
    probe.legion_observe("", CANDIDATE)
    clock.advance(0.001)
    used["s"] += 0.001

    figure = probe.legion_observe("", CANDIDATE)["cpu_usage"]
    assert figure == pytest.approx(0.1, rel=0.01)


def test_looking_often_does_not_pile_up(clock, used):
    """However often it is asked, it keeps a quarter of a second of marks."""
    probe = Probe(clock)
    for _ in range(1000):
        probe.legion_observe("", CANDIDATE)
        clock.advance(0.01)
    standing = len(probe._marks)
    for _ in range(1000):
        probe.legion_observe("", CANDIDATE)

    assert standing < 40
    assert len(probe._marks) <= standing + 1


def test_a_fork_starts_anew(clock, used, monkeypatch):
    """A child has its own CPU time; compared with its parent's it would be negative."""
    probe = Probe(clock)
    probe.legion_observe("", CANDIDATE)
    clock.advance(1)
    used["s"] = 0.0
    monkeypatch.setattr(os, "getpid", lambda: 1)

    assert "cpu_usage" not in probe.legion_observe("", CANDIDATE)


def test_what_cannot_be_read_is_missing_with_its_reason(clock, monkeypatch):
    """The source raises, the hook's isolation says why, and nothing is made up."""

    def unreadable() -> int:
        raise PermissionError("statm")

    monkeypatch.setattr(room, "resident_bytes", unreadable)
    plugins = Plugins()
    plugins.register(Probe(clock), name="my-probe")
    observed = plugins.observe("", CANDIDATE)

    assert "memory_usage" not in observed.metrics
    assert "PermissionError" in observed.errors["my-probe"]


def test_a_failed_look_is_not_answered_from_the_last_one(clock, monkeypatch):
    """After a failure the other arm does not get the old figures either."""
    probe = Probe(clock)
    probe.legion_observe("", CANDIDATE)

    def unreadable() -> int:
        raise PermissionError("statm")

    monkeypatch.setattr(room, "resident_bytes", unreadable)
    for arm in (CANDIDATE, CONTROL):
        with pytest.raises(PermissionError):
            probe.legion_observe("", arm)


def test_memory_is_what_psutil_says_too():
    """With or without /proc the resident memory is that of this process."""
    assert room.resident_bytes() == pytest.approx(
        psutil.Process().memory_info().rss, rel=0.1
    )


def test_without_proc_psutil_is_asked(monkeypatch, tmp_path):
    """As on macOS."""
    monkeypatch.setattr(room, "_STATM", tmp_path / "statm")

    assert room.resident_bytes() == pytest.approx(
        psutil.Process().memory_info().rss, rel=0.1
    )


def test_a_process_that_burns_cpu_shows_it():
    """A child that computes for as long as it takes uses most of one CPU's time."""
    # The busy CPU time is what ends it, so that a loaded machine changes nothing but
    # the share; and that is compared with what the system itself says of the child.
    figures = child(
        "look()\n"
        "began, used = time.perf_counter(), time.process_time()\n"
        "while time.process_time() - used < .4: sum(range(1000))\n"
        "seen = look()['cpu_usage'] * cpu_limit()\n"
        "true = (time.process_time() - used) / (time.perf_counter() - began)\n"
        "print(json.dumps({'seen': seen, 'true': true}))"
    )

    assert figures["seen"] == pytest.approx(figures["true"], rel=0.1)
    if figures["true"] < 0.6:
        pytest.skip(f"the machine gave a busy process {figures['true']:.0%} of a CPU")
    assert figures["seen"] > 0.5


def test_a_process_that_did_little_in_a_long_time_shows_that(clock):
    """This very process, in what the clock says were 1,000 s, used next to nothing."""
    probe = Probe(clock)
    probe.legion_observe("", CANDIDATE)
    clock.advance(1000)

    assert 0 <= probe.legion_observe("", CANDIDATE)["cpu_usage"] < 0.01


def test_a_hundred_megabytes_show():
    """Memory that is really touched raises the figure by as much."""
    figures = child(
        "before = look()['memory_usage']\n"
        "block = bytearray(b'x') * (100 << 20)\n"
        "after = look()['memory_usage']\n"
        "print(json.dumps({'rise': (after - before) * memory_limit()}))"
    )

    assert figures["rise"] == pytest.approx(100 * MB, rel=0.1)
