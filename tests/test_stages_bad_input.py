"""Bad input counts as missing or is said at once; it never promotes, nor takes back."""

from __future__ import annotations

import math
import re

from fractions import Fraction

import pytest

from hypothesis import given, settings
from hypothesis import strategies as st

import legion

from legion.model import Arm, Count, Move
from legion.store import Database
from legion.telemetry import Telemetry
from legion.testing import ManualClock


PLAN = legion.Plan.from_dict(
    {
        "plan": "bad-input",
        "candidate": "2",
        "baseline": "1",
        "check_interval": "1m",
        "rollback": {"to": "v1", "within": "1m"},
        "metrics": {"good": {"kind": "share", "higher_is_better": True}},
        "triggers": {
            "immediate": [{"metric": "unauthorized_actions", "above": 0}],
            "within 5m": [
                {"metric": "error_rate", "versus": "baseline", "worse_by": "50%"},
                {"metric": "latency_p95", "versus": "baseline", "worse_by": "50%"},
                {"metric": "memory_usage", "above": "95%"},
            ],
        },
        "stages": [
            {
                "name": "canary",
                "traffic": "50%",
                "dwell": "3m",
                "validate": [
                    {"metric": "error_rate", "below": "20%"},
                    {"metric": "latency_p95", "below": "1 s"},
                    {"metric": "good", "at_least": "50%"},
                    {"metric": "memory_usage", "below": "90%"},
                    {"metric": "crashes", "equals": 0},
                ],
            },
            {"name": "everyone", "traffic": "100%", "dwell": "3m"},
        ],
    }
)
METRICS = (
    "error_rate",
    "latency",
    "good",
    "memory_usage",
    "crashes",
    "made up",
    "\ud800",
)
NO_NUMBERS = st.sampled_from(
    [
        *(math.nan, math.inf, -math.inf, -1.0, -1, 1e308, 10**400, -(10**400)),
        *(None, "0.5", b"1", [], {}, object(), 1j, Fraction(-1, 3)),
        *(
            Count(-1),
            Count(-3, 5),
            Count(3, -5),
            Count(7, 5),
            Count(1.5, 2),
            Count(True),
        ),
    ]
)


class Source:
    """A plugin that supplies whatever it is told to."""

    def __init__(self):
        self.found = {}

    @legion.hookimpl
    def legion_observe(self):
        return self.found


def hosted(clock, source=None):
    """Return a host of the plan in its canary, with nothing on disk."""
    plugins = legion.Plugins(*([source] if source else []))
    host = legion.Host.wired(
        PLAN,
        database=Database(":memory:"),
        registry=None,
        telemetry=Telemetry(clock, metrics=PLAN.metrics),
        plugins=plugins,
        clock=clock,
        probe=False,
    )
    host.tick()
    assert host.engine.state.stage == "canary"
    return host


def stays(host, turns=5, seconds=60.0):
    """Turn the wheel; nothing goes forward, and nothing goes back."""
    for _ in range(turns):
        host.clock.advance(seconds)
        turn = host.tick()
        assert turn.decision.move in {Move.HOLD, Move.FREEZE}, turn.decision.reason
    assert host.engine.state.stage == "canary"
    return turn


@settings(max_examples=25, deadline=None)
@given(st.dictionaries(st.sampled_from(METRICS), NO_NUMBERS, max_size=5))
def test_what_a_source_supplies_that_is_no_measurement_is_missing(found):
    """A plugin's nonsense is named, the wheel turns on, and the stage holds."""
    source = Source()
    with hosted(ManualClock(1e9), source) as host:
        source.found = found
        turn = stays(host, turns=4)

        assert turn.decision.missing


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(METRICS),
            st.sampled_from(["candidate", "control", Arm.CANDIDATE, "third", 3, None]),
            st.one_of(st.integers(0, 2**64 - 1), st.just(-1), st.just("unit")),
            st.sampled_from([0.0, -1e9, 1e12, math.inf, math.nan, None]),
            NO_NUMBERS,
        ),
        max_size=20,
    )
)
def test_events_that_are_none_are_left_out(events):
    """From an arm never seen, from the future, of no unit, or no value at all."""
    with hosted(ManualClock(1e9)) as host:
        digest = host.engine.exposure.digest
        for metric, arm, unit, at_s, value in events:
            host.telemetry.record((metric, arm, unit, digest, at_s, value))
        stays(host, turns=3)


@pytest.mark.parametrize(
    ("unit", "kind", "said"),
    [
        ("", ValueError, "empty unit"),
        ("x" * 10_000_000, ValueError, "10,000,000 characters; write a hash"),
        (None, TypeError, "write a str"),
        (b"user", TypeError, "write a str"),
        (3.5, TypeError, "write a str"),
        ("\ud800", ValueError, "UTF-8"),
    ],
)
@pytest.mark.parametrize("call", ["assign", "trial", "feature"])
def test_what_is_no_unit_is_said_where_it_is_given(call, unit, kind, said):
    """Nobody gets an arm by accident."""
    engine = legion.StageEngine(PLAN, clock=ManualClock())
    ask = {"feature": lambda given: engine.feature("new", given)}
    with pytest.raises(kind, match=said):
        ask.get(call, getattr(engine, call))(unit)


def healthy(host, units=400):
    """Let units of both arms come, all of them well."""
    for index in range(units):
        with host.engine.trial(f"{host.clock.plan()}-{index}") as trial:
            host.clock.advance(0.0, machine_s=0.01)
            trial.event("good", True)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.sampled_from([1e-3, 1.0, 3600.0, 86_400.0, 1e8]), min_size=3, max_size=3
    )
)
def test_a_clock_that_jumps_makes_no_stage_pass(jumps):
    """A suspended laptop's week counts for two checks, whatever else is in order."""
    source = Source()
    with hosted(ManualClock(1e9), source) as host:
        source.found = {"memory_usage": 0.5, "crashes": Count(0)}
        observed_s = 0.0
        for jump_s in jumps:
            healthy(host)
            host.clock.advance(jump_s, machine_s=jump_s)
            turn = host.tick()
            observed_s += min(jump_s, 120.0)
            if turn.decision.move is Move.ADVANCE:
                assert observed_s >= 180.0
            assert turn.decision.move is not Move.ROLL_BACK


class Backwards(ManualClock):
    """A clock whose plan time and date may be set back."""

    def set_back(self, seconds):
        self.start_s -= seconds


def test_a_clock_that_goes_back_counts_no_time_twice():
    """Set back by a day, the rollout goes on in its own time; the step is none."""
    source, clock = Source(), Backwards(1e9)
    with hosted(clock, source) as host:
        source.found = {"memory_usage": 0.5, "crashes": Count(0)}
        for back_s in (0.0, 86_400.0, 86_400.0):
            healthy(host)
            clock.set_back(back_s)
            clock.advance(30.0)
            turn = host.tick()
            assert turn.decision.move is Move.HOLD, turn.decision.reason
        assert 0.0 <= host.engine.state.observed_s <= 90.0


def test_a_counter_that_goes_backwards_is_no_measurement():
    """A source whose count is less than nothing is missing, and named."""
    source = Source()
    with hosted(ManualClock(1e9), source) as host:
        source.found = {"crashes": Count(-4)}
        turn = stays(host)

        assert any(
            "whole numbers from 0" in e
            for e in turn.observation.candidate.errors.values()
        )


@pytest.mark.parametrize("most", [Count(2**60), Count(0, 2**60)])
def test_a_count_too_large_to_write_down_is_no_measurement(most):
    """It is missing and named, and harm still goes back meanwhile."""
    source = Source()
    with hosted(ManualClock(1e9), source) as host:
        source.found = {"crashes": most}
        turn = stays(host, turns=1)
        assert any("2**43" in e for e in turn.observation.candidate.errors.values())

        for i in range(200):
            failed = host.engine.assign(f"task-{i}") is Arm.CANDIDATE
            with host.engine.trial(f"task-{i}") as trial:
                if failed:
                    trial.fail("broken")
        host.clock.advance(60.0)
        assert host.tick().decision.move is Move.ROLL_BACK


@pytest.mark.parametrize(
    ("metric", "value", "write"),
    [
        ("storage_efficiency", 35.0, "a share from 0 to 1"),
        ("storage_efficiency", -0.5, "a share from 0 to 1"),
        ("memory_usage", -0.5, "a share from 0 to 1"),
        ("memory_usage", Count(1), "a share from 0 to 1"),
        ("crashes", 0.0, r"legion\.Count\(n\)"),
        ("good", 0.9, r"legion\.Count\(n, of\)"),
        ("good", Count(9), r"legion\.Count\(n, of\)"),
        ("latency_p95", 0.1, r"trial\.score"),
    ],
)
def test_what_does_not_fit_its_metric_is_missing_and_says_what_to_write(
    metric, value, write
):
    """A hit rate of 35, or a number for a count, promotes nothing and is named."""
    source = Source()
    with hosted(ManualClock(1e9), source) as host:
        source.found = {metric: value}
        window = stays(host, turns=1).observation.candidate
    assert re.search(f"supplied as .*; write .*{write}", window.errors[metric])
    assert not window.measures(metric)


def test_a_level_above_one_is_kept_where_it_is_the_worse():
    """Memory beyond its limit is harm, and not missing."""
    source = Source()
    with hosted(ManualClock(1e9), source) as host:
        source.found = {"memory_usage": 1.05}
        host.clock.advance(60.0)
        assert host.tick().observation.candidate.gauge("memory_usage") == 1.05
