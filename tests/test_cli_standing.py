"""What ``legion status`` says beyond the rules: estimates, outlooks, splits, run lengths."""

from __future__ import annotations

import pytest

from cli_session import PLAN, legion_says, open_host

import legion

from legion.model import Arm
from legion.testing import ManualClock


STAGES = [
    {
        "name": "canary",
        "traffic": "25%",
        "dwell": "30m",
        "validate": [{"metric": "error_rate", "versus": "baseline", "margin": "25%"}],
    },
    {"name": "everyone", "traffic": "100%", "success": {"unbroken_for": "7d"}},
]
RULES = {
    **PLAN,
    "triggers": {
        "within 1m": [{"metric": "error_rate", "versus": "baseline", "worse_by": "50%"}]
    },
    "stages": STAGES,
}


@pytest.fixture
def host(folder):
    clock = ManualClock(1e9)
    with open_host(folder, RULES, clock=clock) as host:
        host.tick()
        yield host


@pytest.fixture
def folder(tmp_path):
    registry = legion.Registry(tmp_path / "registry")
    registry.put({"greet.txt": b"hello"}, version="1.0.0")
    registry.tag("v1", "1.0.0")
    registry.put({"greet.txt": b"good day"}, version="2.0.0")
    return tmp_path


def serve(host, *, first, n=400, crashes=0):
    """Answer *n* units as the engine assigns them; the candidate crashes for some."""
    for number in range(first, first + n):
        unit = f"task {number}"
        if host.engine.assign(unit) is Arm.CANDIDATE and number % 10 < crashes:
            continue  # It is gone before anything of it is recorded.
        with host.engine.trial(unit) as trial:
            if number % 50 == 0:
                trial.fail("empty")
    host.clock.advance(60.0)
    return host.tick()


def test_status_shows_estimates_and_when_a_proof_could_be_there(host, folder):
    """While the host runs; for programs under ``estimates`` and in the findings."""
    for look in range(5):
        serve(host, first=400 * look)
    said = legion_says("status", "--state", folder)

    assert said.code == 0
    assert "estimate error_rate, by unit: candidate " in said.out
    assert "could be proven in about" in said.out
    document = legion_says("status", "--state", folder, "--json").document
    (estimate,) = [e for e in document["estimates"] if e["metric"] == "error_rate"]
    assert estimate["candidate"]["low"] <= estimate["candidate"]["value"]
    assert document["budget"]["run_length_s"] is None


def test_a_candidate_that_crashes_before_it_records_is_held(host, folder):
    """Its survivors look well, and are too few: half are missing."""
    for look in range(12):
        turn = serve(host, first=400 * look, crashes=5)

    assert turn.decision.code == "ratio_mismatch"
    assert host.engine.exposure.stage == "canary"
    assert "had the candidate" in legion_says("status", "--state", folder).out


def test_status_says_the_run_length_where_nobody_has_the_control(host, folder):
    """Seven days at 1 %: on average no false alarm in 700 days."""
    first = 0
    while host.engine.exposure.stage != "everyone":
        serve(host, first=first, n=1_500)
        first += 1_500
        assert first < 120_000
    serve(host, first=first)
    said = legion_says("status", "--state", folder)

    assert "no control: on average no false alarm in 700 days" in said.out
    document = legion_says("status", "--state", folder, "--json").document
    assert document["budget"]["run_length_s"] == pytest.approx(700 * 86_400)
