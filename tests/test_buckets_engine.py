"""An order of somebody else's in the engine: who was in stays in."""

from __future__ import annotations

import attrs
import numpy as np
import pytest

import legion

from legion.integrations import GrowthBookBuckets, Sticky, UnleashBuckets
from legion.integrations.growthbook import place_of
from legion.integrations.unleash import enabled
from legion.model import Arm
from legion.stages import Exposure
from legion.stages.splitter import Splitter
from legion.testing import ManualClock


PLAN = legion.Plan.from_dict(
    {
        "plan": "new-answers",
        "candidate": "2.0.0",
        "baseline": "1.0.0",
        "unit": "user",
        "rollback": {"to": "v1", "within": "5m"},
        "triggers": {"immediate": [{"metric": "safety_gate_bypasses", "above": 0}]},
        "stages": [
            {"name": "shadow", "traffic": "0%", "mirror": "40%", "dwell": "1h"},
            {"name": "canary", "traffic": "5%", "dwell": "1h"},
            {"name": "quarter", "traffic": "25%", "dwell": "1h"},
            {"name": "everyone", "traffic": "100%", "dwell": "1d"},
        ],
    }
)
UNITS = [f"user-{i}" for i in range(4_000)]
ORDERS = [
    GrowthBookBuckets("new-answers", hash_version=2),
    GrowthBookBuckets("new-answers", start=0.5),
    UnleashBuckets("new-answers"),
    Sticky(UnleashBuckets("new-answers"), inside=UNITS[:9], outside=UNITS[9:20]),
]


def at(stage: str, splitter: object) -> legion.StageEngine:
    """Return an engine that exposes a stage of the plan."""
    engine = legion.StageEngine(PLAN, splitter=splitter, clock=ManualClock())
    engine.traffic.exposure = Exposure.of(PLAN, stage, code={})
    return engine


def inside(engine: legion.StageEngine) -> set[str]:
    return {unit for unit in UNITS if engine.assign(unit) is Arm.CANDIDATE}


def test_whoever_unleash_had_in_is_in():
    """A team at 25 % in Unleash goes on at 25 % in legion with the same people."""
    theirs = {unit for unit in UNITS if enabled(unit, "new-answers", 25)}

    assert inside(at("quarter", UnleashBuckets("new-answers"))) == theirs


def test_whoever_growthbook_had_in_is_in():
    """The same for a rollout rule at a coverage of 5 %."""
    theirs = {u for u in UNITS if place_of("new-answers", u, 2) <= 0.05}
    splitter = GrowthBookBuckets("new-answers", hash_version=2)

    assert inside(at("canary", splitter)) == theirs


@pytest.mark.parametrize("splitter", ORDERS, ids=lambda s: type(s).__name__)
def test_growing_takes_nobody_out(splitter):
    """The ramp is nested, whatever the order."""
    canary, quarter, everyone = (
        inside(at(stage, splitter)) for stage in ("canary", "quarter", "everyone")
    )

    assert canary < quarter < everyone == set(UNITS)


@pytest.mark.parametrize("splitter", ORDERS, ids=lambda s: type(s).__name__)
def test_one_and_many_agree(splitter):
    """The batch says of each unit what the single call says."""
    engine = at("quarter", splitter)
    single = np.array([engine.assign(unit) is Arm.CANDIDATE for unit in UNITS])

    assert np.array_equal(engine.assign_many(UNITS), single)


@pytest.mark.parametrize("splitter", ORDERS, ids=lambda s: type(s).__name__)
def test_mirroring_is_independent_of_the_bucket(splitter):
    """Of all units two in five are mirrored, to four sigma, few buckets or not."""
    engine = at("shadow", splitter)
    trials = [engine.trial(unit) for unit in UNITS]
    mirrored = sum(engine.traffic._mirrors(trial) for trial in trials)
    sigma = (len(trials) * 0.4 * 0.6) ** 0.5

    assert abs(mirrored - 0.4 * len(trials)) < 4 * sigma


def test_who_was_settled_elsewhere_stays_where_they_were():
    """Inside at every share but 0, outside at every share but all."""
    settled = Sticky(Splitter("new-answers"), inside=UNITS[:9], outside=UNITS[9:20])
    canary, everyone = inside(at("canary", settled)), inside(at("everyone", settled))

    assert canary >= set(UNITS[:9])
    assert not inside(at("quarter", settled)) & set(UNITS[9:20])
    assert everyone == set(UNITS)
    assert inside(at("", settled)) == set()


def test_nobody_is_settled_twice():
    """Inside and outside at once is refused, with the name."""
    with pytest.raises(ValueError, match="'a' is both inside and outside"):
        Sticky(Splitter("x"), inside={"a"}, outside={"a", "b"})


def test_a_host_passes_its_order_on(tmp_path):
    """`Host.open(splitter=)` is the engine's, and again after a restart."""
    splitter = UnleashBuckets("new-answers")
    for _ in range(2):
        with legion.Host.open(PLAN, state=tmp_path, splitter=splitter) as host:
            engine = host.engine
            engine.traffic.exposure = Exposure.of(PLAN, "quarter", code={})
            assert [u for u in UNITS[:200] if engine.assign(u) is Arm.CANDIDATE] == [
                u for u in UNITS[:200] if enabled(u, "new-answers", 25)
            ]


def test_an_order_of_one_s_own_needs_two_methods():
    """Whatever has `hash` and `hash_many` will do."""

    @attrs.frozen
    class ByLength:
        def hash(self, unit):
            return min(len(unit) << 59, 2**64 - 1)

        def hash_many(self, units):
            return np.array([self.hash(u) for u in units], dtype=np.uint64)

    engine = at("quarter", ByLength())

    assert engine.assign("abc") is Arm.CANDIDATE
    assert engine.assign("abcdefghijkl") is Arm.CONTROL
