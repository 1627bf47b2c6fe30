"""A unit's turn: what it records, and what it leaves behind."""

from __future__ import annotations

import contextvars
import gc

import pytest

from legion.model import Arm
from legion.stages.exposure import Exposure
from legion.stages.mirror import Mirror
from legion.stages.splitter import Splitter
from legion.stages.traffic import Traffic
from legion.stages.trial import current_trial
from legion.telemetry import Telemetry
from legion.testing import ManualClock


@pytest.fixture
def telemetry():
    return Telemetry(ManualClock())


@pytest.fixture
def traffic(telemetry):
    return Traffic(
        Exposure(plan="plan", stage="canary", share=0.5),
        Mirror(),
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
            assert current_trial.get() is trial
    seen, inside = close(traffic, telemetry), sum(traffic.assign_many(units))

    assert seen.window(Arm.CANDIDATE).events("error_rate") == inside
    assert seen.window(Arm.CONTROL).events("latency") == len(units) - inside
    assert current_trial.get() is None


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
