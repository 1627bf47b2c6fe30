"""Ages by metric: in the plan, in telemetry, in the evidence and in the linter."""

from __future__ import annotations

import pytest

from stages_rig import RULES, plan

import legion

from legion.exceptions import PlanError
from legion.model import Arm
from legion.planner import forecast
from legion.stages import StageEngine
from legion.testing import ManualClock


AGES = {"error_rate": "10m", "default": "0s"}
TIME = {"metric": "latency_p95", "versus": "baseline", "worse_by": "50%"}


def test_a_plan_holds_an_age_a_metric():
    """It reads what it writes, and any name of a metric will do."""
    rules = {"matures": {**AGES, "quality": "1h"}, "metrics": {"quality": "share"}}
    found = plan(**rules)

    assert (found.matures("error_rate"), found.matures("latency_p95")) == (600, 0)
    assert found.longest_s == 3600
    assert legion.Plan.from_dict(found.to_dict()) == found
    assert found.digest != plan(matures="10m").digest


def test_one_age_is_written_as_before():
    """A plan without ages of single metrics keeps its digest."""
    assert plan(matures="10m").to_dict()["matures"] == "10m"


@pytest.mark.parametrize(
    ("matures", "said"),
    [
        ({"eror_rate": "10m"}, "error_rate"),
        ({"error_rate": "10"}, "matures.error_rate"),
        ({"default": -1}, "matures.default"),
    ],
)
def test_a_wrong_age_is_a_fault(matures, said):
    """It is named by its key, with what to write."""
    with pytest.raises(PlanError, match=said):
        plan(matures=matures)


@pytest.mark.parametrize("alone", [True, False])
def test_units_come_of_age_metric_by_metric(tmp_path, alone):
    """Errors count after ten minutes, slow answers at the next look."""
    clock = ManualClock(1e9)
    rules = plan(matures=AGES, triggers={"within 1m": [TIME]})
    if alone:
        owner = engine = StageEngine(rules, clock=clock)
    else:
        owner = legion.Host.open(rules, state=tmp_path, clock=clock)
        engine = owner.engine
    telemetry = engine.telemetry
    telemetry.watch("latency_p95 harm 0", "latency", candidate=0.1, control=0.1)
    telemetry.begin(Arm.CONTROL, 1, exposure="now")
    telemetry.latency(Arm.CONTROL, 1, 0.2, exposure="now")
    telemetry.end(Arm.CONTROL, 1, failed=True, exposure="now")
    first = telemetry.close(exposure="now").control
    clock.advance(600)
    second = telemetry.close(exposure="now").control
    owner.close()

    assert first.bad_units == {"latency_p95 harm 0": {1}}
    assert second.bad_units == {"error_rate": {1}}


def test_a_metric_that_matures_late_is_not_stale_before(tmp_path):
    """Evidence of one metric may be as old as that metric takes, and no other's."""
    from legion.stages.evidence import Paths

    rules = plan(matures=AGES)
    paths = Paths(plan=rules, stage=rules.stage("canary"), required=(), criteria={})

    assert paths._stale_s("error_rate") == 1800
    assert paths._stale_s("latency_p95") == 180


def test_the_linter_asks_for_twice_the_age_of_what_is_asked():
    """A slow metric that no rule of the stage names asks for no longer dwell."""
    slow = {"quality": "2m", "default": "0s"}
    late = plan(matures={"error_rate": "2m"})
    idle = plan(matures=slow, metrics={"quality": "share"})

    def said(rules):
        found = forecast(rules, traffic_per_s=100)
        return [line for stage in found.stages for line in stage.suggestions]

    assert any(
        "4 min, twice what outcomes of error_rate" in line for line in said(late)
    )
    assert not any("twice what" in line for line in said(idle))
    assert RULES["stages"][1]["dwell"] == "3m"
