"""Two clocks: plan time may run faster, machine time never does."""

from __future__ import annotations

import math
import time

import pytest

from legion.telemetry import SystemClock


@pytest.fixture
def times(monkeypatch):
    """The system's time, moved by hand."""
    now = {"wall": 5000.0, "monotonic": 70.0}
    monkeypatch.setattr(time, "time", lambda: now["wall"])
    monkeypatch.setattr(time, "perf_counter", lambda: now["monotonic"])
    return now


def test_plan_time_begins_with_the_date_and_runs_scaled(times):
    """An hour of plan time passes in a second at a scale of 3600."""
    clock = SystemClock(3600)
    assert clock.plan() == 5000
    times["monotonic"] += 2

    assert clock.plan() == 5000 + 7200
    assert clock.machine() == 72


def test_plan_time_begins_where_it_is_told_to(times):
    """A rollout that goes on gets the plan time at which it was left; 0 is one."""
    assert SystemClock(plan_epoch_s=0.0).plan() == 0
    assert SystemClock(plan_epoch_s=123.5).plan() == 123.5
    assert SystemClock(plan_epoch_s=None).plan() == 5000


def test_a_step_of_the_date_does_not_move_plan_time(times):
    """Only the wall clock sees that somebody set the date."""
    clock = SystemClock()
    times["wall"] -= 4000
    times["monotonic"] += 1

    assert clock.plan() == 5001
    assert clock.wall() == 1000


@pytest.mark.parametrize("scale", [0, -1, math.nan, math.inf])
def test_a_scale_that_is_none_is_refused(scale):
    """The message says what to write."""
    with pytest.raises(ValueError, match="write a finite number above 0"):
        SystemClock(scale)


@pytest.mark.parametrize("epoch_s", [math.nan, math.inf])
def test_a_beginning_that_is_none_is_refused(epoch_s):
    """The message says what to write."""
    with pytest.raises(ValueError, match="write a finite number"):
        SystemClock(plan_epoch_s=epoch_s)


def test_the_real_clocks_do_not_go_back():
    """Read again and again, plan and machine time never fall."""
    clock = SystemClock(1000)
    plan = [clock.plan() for _ in range(1000)]
    machine = [clock.machine() for _ in range(1000)]

    assert plan == sorted(plan)
    assert machine == sorted(machine)
