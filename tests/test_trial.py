"""A unit's turn: what it records, and what it leaves behind."""

from __future__ import annotations

import contextvars
import gc
import threading

import numpy as np
import pytest

from stages_rig import plan

from legion.model import Arm, Count
from legion.stages import StageEngine, current_trial
from legion.stages.exposure import Exposure
from legion.stages.mirror import Mirror
from legion.stages.splitter import Splitter
from legion.stages.traffic import Traffic
from legion.telemetry import Telemetry
from legion.testing import ManualClock


@pytest.fixture
def telemetry():
    return Telemetry(ManualClock())


@pytest.fixture
def traffic(telemetry):
    return Traffic(
        Exposure(plan="plan", stage="canary", share=0.5),
        Mirror(ManualClock()),
        splitter=Splitter("plan"),
        telemetry=telemetry,
        clock=ManualClock(),
    )


def close(traffic, telemetry):
    return telemetry.close(exposure=traffic.exposure.digest)


def test_a_trial_is_recorded_for_the_arm_that_assign_names(traffic, telemetry):
    """Each unit's latency and outcome are counted in its arm's window."""
    units = [f"user-{i}" for i in range(100)]
    for unit in units:
        with traffic.trial(unit) as trial:
            assert trial.arm is traffic.assign(unit)
            assert current_trial() is trial
    seen, inside = close(traffic, telemetry), sum(traffic.assign_many(units))

    assert seen.window(Arm.CANDIDATE).events("error_rate") == inside
    assert seen.window(Arm.CONTROL).events("latency") == len(units) - inside
    assert current_trial() is None


def test_what_a_trial_records_is_no_work_for_the_garbage_collector(traffic, telemetry):
    """After one look none of its events is tracked, those of the block included."""
    with traffic.trial("user-1") as trial:
        trial.event("toxic", flag=False)
        trial.score("quality", 0.5)
        trial.add("crashes")
    gc.collect()

    assert len(telemetry._events) == 6
    assert not any(gc.is_tracked(event) for event in telemetry._events)


def test_a_generator_closed_in_another_context_raises_nothing(traffic, telemetry):
    """Its arm cannot be reset there; it is an interruption, and nothing is recorded."""

    def answer():
        with traffic.trial("user-1"):
            yield "a part of the answer"

    parts = answer()
    contextvars.copy_context().run(next, parts)
    parts.close()

    window = close(traffic, telemetry).candidate
    assert not window.counts
    assert not window.histograms


class Nasty:
    """Raises at whatever is done to it."""

    def __float__(self) -> float:
        raise RuntimeError("no number")

    def __index__(self) -> int:
        raise RuntimeError("no index")


def test_a_flag_is_a_flag_whatever_stands_for_true(traffic, telemetry):
    """1, numpy's True and True are one opportunity each, as for telemetry itself."""
    unit = next(u for u in map(str, range(99)) if traffic.assign(u) is Arm.CANDIDATE)
    with traffic.trial(unit) as trial:
        for flag in (1, np.True_, True, 0, np.False_, False):
            trial.event("toxic", flag)
        trial.score("quality", np.float32(0.5))
        trial.add("crashes", np.int64(2))
    window = close(traffic, telemetry).candidate

    assert window.counts["toxic"] == Count(3, 6)
    assert window.counts["crashes"] == Count(2)
    assert window.histograms["quality"].total == 0.5
    assert not window.errors


@pytest.mark.parametrize("value", [None, "good", [1], Nasty(), object()])
def test_what_a_trial_cannot_record_does_not_raise(traffic, telemetry, value):
    """The request goes on; the window names the metric, the type and what to write."""
    unit = next(u for u in map(str, range(99)) if traffic.assign(u) is Arm.CANDIDATE)
    with traffic.trial(unit) as trial:
        trial.event("toxic", value)
        trial.score("quality", value)
        trial.add("crashes", value)
    window = close(traffic, telemetry).candidate

    for metric, write in (
        ("toxic", "True or False"),
        ("quality", "a number"),
        ("crashes", "an int"),
    ):
        assert not window.measures(metric)
        assert f"got {type(value)}; write {write}" in window.errors[metric]


def test_a_flag_that_is_no_flag_is_no_counter(traffic, telemetry):
    """Two is neither True nor False."""
    with traffic.trial("user-1") as trial:
        trial.event("toxic", 2)
    window = close(traffic, telemetry).window(trial.arm)

    assert "toxic" not in window.counts
    assert "write True or False" in window.errors["toxic"]


def test_a_trial_that_is_open_is_a_unit_that_waits(traffic, telemetry):
    """Its exposure is recorded when it begins, its outcome when it ends."""
    with traffic.trial("user-1") as trial:
        assert not close(traffic, telemetry).window(trial.arm).units
        trial.fail("empty answer")
    window = close(traffic, telemetry).window(trial.arm)

    assert window.units == {"error_rate": 1}
    assert window.bad_units == {"error_rate": {trial.place}}


def test_a_trial_outlasting_a_move_is_stale(traffic, telemetry):
    """What began under the exposure before counts in no window of the next."""
    with traffic.trial("user-1") as trial:
        close(traffic, telemetry)
        traffic.exposure = Exposure(plan="plan", stage="next", share=0.5)
        with traffic.trial("user-2"):
            pass
    seen = close(traffic, telemetry)

    assert seen.window(trial.arm).stale == 2
    assert sum(seen.window(arm).events("error_rate") for arm in Arm) == 1


def test_trials_lose_nothing_where_nobody_folds():
    """From three quarters of the capacity on, they fold for themselves."""
    telemetry = Telemetry(ManualClock(), capacity=4_000)
    traffic = Traffic(
        Exposure(plan="plan", stage="canary", share=0.5),
        Mirror(ManualClock()),
        splitter=Splitter("plan"),
        telemetry=telemetry,
        clock=ManualClock(),
    )
    for unit in range(5_000):
        with traffic.trial(f"{unit}"):
            pass
    assert len(telemetry._events) <= 3_003
    seen = close(traffic, telemetry)

    assert sum(seen.window(arm).events("error_rate") for arm in Arm) == 5_000
    assert sum(seen.window(arm).units["error_rate"] for arm in Arm) == 5_000
    assert not any(seen.window(arm).dropped for arm in Arm)


def test_a_trial_does_not_wait_for_whoever_folds():
    """Where somebody folds for ever, what does not fit is lost, and said by arm."""
    telemetry = Telemetry(ManualClock(), capacity=100)
    traffic = Traffic(
        Exposure(plan="plan", stage="canary", share=1.0),
        Mirror(ManualClock()),
        splitter=Splitter("plan"),
        telemetry=telemetry,
        clock=ManualClock(),
    )

    def serve():
        for unit in range(50):
            with traffic.trial(f"{unit}"):
                pass

    with telemetry._folding:
        worker = threading.Thread(target=serve)
        worker.start()
        worker.join(timeout=10)
        assert not worker.is_alive()
    seen = close(traffic, telemetry)

    assert seen.candidate.dropped == 50
    assert seen.control.dropped == 0
    assert "at least 50 events were lost" in seen.candidate.errors["telemetry"]


@pytest.mark.parametrize("exposure", ["", "now"])
def test_a_unit_whose_end_was_lost_is_not_bad(exposure):
    """Missing evidence does not roll back: its trial is closed without an outcome."""
    clock = ManualClock()
    telemetry = Telemetry(clock, capacity=10, default_s=60.0)
    telemetry.begin(Arm.CANDIDATE, 1, exposure=exposure)
    telemetry.drain()
    for _ in range(20):
        telemetry.record(("crashes", "candidate", 2, "", 0.0, 1))
    telemetry.drain()
    clock.advance(60)

    assert not telemetry.close(exposure=exposure).candidate.bad_units


def test_a_trial_that_a_generator_left_behind_is_nobodys():
    """Streams that are interleaved reset their contexts out of turn."""
    engine = StageEngine(plan(), clock=ManualClock())

    def stream(unit):
        with engine.trial(unit):
            yield 1

    one, other = stream("one"), stream("other")
    next(one)
    next(other)
    one.close()
    assert current_trial() is None or current_trial().unit == "other"
    other.close()

    assert current_trial() is None


def test_a_trial_is_entered_once(traffic, telemetry):
    """To enter it again says what to write, and leaves the one that is under way."""
    trial = traffic.trial("user-1")
    again = pytest.raises(RuntimeError, match=r"'user-1' again; write engine\.trial")
    with trial:
        with again, trial:
            pass
        assert current_trial() is trial
        assert trial.outer is not trial
    with again, trial:
        pass

    assert current_trial() is None
    seen = close(traffic, telemetry).window(trial.arm)
    assert (seen.events("error_rate"), seen.count("error_rate")) == (1, 0)
