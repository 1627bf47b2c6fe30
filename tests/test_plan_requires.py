"""What a stage requires, and what a plan answers when it is asked."""

from __future__ import annotations

import attrs
import pytest

from legion.exceptions import MetricError
from legion.stages.plan import Plan


HEAD = {
    "plan": "p",
    "candidate": "2.0.0",
    "baseline": "1.0.0",
    "rollback": {"to": "v1"},
}


def made(*, features=None, validate=(), **more):
    stage = {
        "name": "all",
        "traffic": "100%",
        "features": features or {},
        "validate": list(validate),
    }
    return Plan.from_dict({**HEAD, **more, "stages": [stage]})


def required(plan, *criteria):
    return set(plan.requires(plan.stages[0], criteria))


CACHE = {"within 5m": [{"metric": "cache_hit_rate", "below": "10%"}]}
HITS = {"metric": "cache_hit_rate", "at_least": "50%"}


def test_what_validate_names_is_required_even_if_nothing_brings_it():
    """To name a metric is to require it, whatever its features are."""
    assert required(made(validate=[HITS])) == {"cache_hit_rate"}


def test_a_trigger_on_a_feature_that_is_off_does_not_apply():
    """It is required once the feature is on, and listed until then."""
    off = made(triggers=CACHE, features={"l4_cache": False})
    on = made(triggers=CACHE, features={"l4_cache": True})

    assert required(off) == set()
    assert off.not_applicable(off.stages[0], ()) == ("cache_hit_rate",)
    assert off.metrics_of(off.stages[0]) == ("cache_hit_rate",)
    assert required(on) == {"cache_hit_rate"}


def test_an_enabled_feature_brings_its_criteria_only():
    """What no criterion judges is not required by a feature alone."""
    plan = made(features={"l4_cache": True})

    assert required(plan, "cache_hit_rate", "cpu_usage") == {"cache_hit_rate"}
    assert required(plan) == set()


def test_a_criterion_that_is_off_is_not_brought():
    """To switch a criterion off is to say that nobody needs it."""
    plan = made(features={"l4_cache": True}, criteria={"cache_hit_rate": False})

    assert required(plan, "cache_hit_rate") == set()


def test_a_plans_own_metric_can_be_brought_by_a_feature():
    """A declared metric with features follows the same rule as the table's."""
    own = {"toxicity": {"kind": "share", "features": ["writer"]}}
    on = made(metrics=own, features={"writer": True})
    off = made(metrics=own, features={"writer": False})

    assert required(on, "toxicity") == {"toxicity"}
    assert required(off, "toxicity") == set()
    assert on.metric("toxicity").unit == "share"


def test_a_rehearsal_is_no_metric():
    """It is in validate, and no evidence of a window can be asked for it."""
    shadow = {
        "name": "shadow",
        "traffic": 0,
        "mirror": "100%",
        "validate": [{"rehearsal": "rollback", "within": "1m"}],
    }
    plan = Plan.from_dict({**HEAD, "stages": [shadow]})

    assert required(plan) == set()
    assert plan.stages[0].validate[0].rehearsal == "rollback"


def test_asking_for_what_is_not_there_names_what_is():
    """A wrong stage or metric is answered with the right ones."""
    plan = made()

    with pytest.raises(KeyError, match="write one of all"):
        plan.stage("some")
    with pytest.raises(MetricError, match="error_rate"):
        plan.metric("eror_rate")


def test_a_metric_that_nobody_supplies_loads():
    """A known metric needs no source to stand in a plan."""
    plan = made(validate=[{"metric": "contradictions", "equals": 0}])

    assert required(plan) == {"contradictions"}


def test_a_plan_cannot_be_changed():
    """Not its fields, and not what its fields hold."""
    plan = made(features={"l4_cache": {"enabled": True, "tags": ["a", {"b": [1]}]}})
    settings = plan.stages[0].features["l4_cache"].settings

    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        plan.name = "q"
    with pytest.raises(TypeError):
        settings["tags"] = ()
    with pytest.raises(TypeError):
        plan.stages[0].features["x"] = None
    assert settings["tags"] == ("a", {"b": (1,)})


def test_criteria_keep_the_unit_of_their_metric():
    """Times of the table are judged as rises; others as what they are."""
    plan = made(
        metrics={"think_time": "time"},
        criteria={
            "cache_hit_rate": "off",
            "mobile_success_rate": {"warning": "80%", "alert": "70%"},
            "latency_p95": {"warning": "30%", "alert": 0.5},
            "deadlock": {"alert": "30s", "critical": "1m"},
            "memory_leak": {"warning": "10 MB/h", "alert": False},
            "learning_loop_stall": {"alert": "2d"},
            "think_time": {"warning": "2s"},
        },
    )

    assert plan.criteria == {
        "cache_hit_rate": None,
        "mobile_success": {"warning": 0.8, "alert": 0.7},
        "latency_p95": {"warning": 0.3, "alert": 0.5},
        "deadlock": {"alert": 30.0, "critical": 60.0},
        "memory_leak": {"warning": 10.0, "alert": None},
        "learning_loop_stall": {"alert": 48.0},
        "think_time": {"warning": 2.0},
    }
    assert Plan.from_dict(plan.to_dict()) == plan


def test_the_way_back_is_no_slower_than_its_triggers():
    """Left out, the rollback's time is five minutes or the shortest deadline."""
    rule = [{"metric": "error_rate", "above": "5%"}]

    assert made().rollback.within_s == 300
    assert made(triggers={"within 1m": rule}).rollback.within_s == 60
    assert made(triggers={"immediate": rule}).rollback.within_s == 300


def test_triggers_stand_in_the_order_of_their_deadlines():
    """However the file sorts them, the most urgent come first."""
    rule = {"metric": "error_rate", "above": "5%"}
    plan = made(
        triggers={
            "within 1h": [rule],
            "within 30m": [{"metric": "crashes", "above": 1}],
            "immediate": [{"metric": "crashes", "above": 9}],
            "within 60m": [{"metric": "crashes", "above": 2}],
        }
    )

    assert [trigger.within_s for trigger in plan.triggers] == [0, 1800, 3600, 3600]
    assert Plan.from_dict(plan.to_dict()) == plan


def test_a_check_interval_holds_where_a_stage_has_none():
    """The watchdog's own setting of a stage comes before the plan's."""
    watchdog = {"watchdog_v4_1": {"enabled": True, "check_interval_seconds": 60}}

    assert made().stages[0].check_interval_s == 300
    assert made(check_interval="10s").stages[0].check_interval_s == 10
    assert (
        made(check_interval="10s", features=watchdog).stages[0].check_interval_s == 60
    )


def test_only_the_caches_settings_have_old_names():
    """Another feature may call a setting as it likes."""
    features = {
        "l4_cache": {"enabled": True, "max_size": 5},
        "images": {"enabled": True, "max_size": 5},
    }
    stage = made(features=features).stages[0]

    assert stage.features["l4_cache"].settings == {"capacity": 5}
    assert stage.features["images"].settings == {"max_size": 5}
