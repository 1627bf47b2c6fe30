"""The plan of the 4.1.0 rollout, fact by fact."""

from __future__ import annotations

import copy
import pickle

from pathlib import Path

import pytest
import yaml

from legion.stages.plan import Plan


SPEC = Path(__file__).parents[1] / "../shared/spec/rollout-v4.1.yaml"

pytestmark = pytest.mark.skipif(
    not SPEC.exists(), reason="the plan of the 4.1.0 rollout is not on this machine"
)


@pytest.fixture(scope="module")
def plan():
    return Plan.load(SPEC)


def test_the_head_says_what_is_rolled_out(plan):
    """Name, versions, unit, budget, maturity and the way back."""
    assert plan.name == "legion-4.1.0"
    assert (plan.candidate, plan.baseline) == ("4.1.0", "4.0.0")
    assert plan.unit == "task"
    assert plan.false_rollback == 0.01
    assert plan.matures_s == 600
    assert plan.check_interval_s == 300
    assert plan.rollback.to == "v4.0.0-stable"
    assert plan.rollback.within_s == 300
    assert plan.rollback.steps == (
        "route_to_baseline",
        "restore_registry",
        "deactivate_features",
        "validate",
    )
    assert plan.criteria == {}
    assert plan.metrics == ()
    assert plan.collect == (
        "error_rate",
        "latency_p50",
        "latency_p95",
        "latency_p99",
        "memory_usage",
        "cpu_usage",
        "cache_hit_rate",
        "watchdog_alerts",
    )


TRIGGERS = [
    (0, "safety_gate_bypasses", "above", 0, ""),
    (0, "containment_violations", "above", 0, ""),
    (0, "unauthorized_actions", "above", 0, ""),
    (0, "registry_integrity", "above", 0, "registry_checksum_failures"),
    (900, "error_rate", "worse_by", 0.5, ""),
    (900, "latency_p95", "worse_by", 1.0, ""),
    (900, "memory_usage", "above", 0.95, ""),
    (900, "health_check", "failures_in_a_row", 3, ""),
    (1800, "deadlock", "longer_than", 60, ""),
    (1800, "infinite_loop", "detected", True, ""),
    (1800, "memory_leak", "above", 50, ""),
    (1800, "self_improvement_failure_rate", "above", 0.2, ""),
]


def test_the_triggers_are_those_of_the_three_classes(plan):
    """Twelve triggers: four at once, four within 15 and four within 30 minutes."""
    assert len(plan.triggers) == len(TRIGGERS)
    for trigger, (within, metric, test, limit, given) in zip(
        plan.triggers, TRIGGERS, strict=True
    ):
        assert trigger.within_s == within
        assert trigger.rule.metric == metric
        assert getattr(trigger.rule, test) == limit
        assert trigger.rule.given == (given or metric)
        assert trigger.rule.versus == ("baseline" if test == "worse_by" else "")


H = 3600
STAGES = [
    ("shadow", 0.0, 1.0, 24 * H, 24 * H, 300),
    ("canary_5", 0.05, 0.0, 48 * H, 48 * H, 60),
    ("canary_25", 0.25, 0.0, 72 * H, 72 * H, 300),
    ("production", 1.0, 0.0, None, 168 * H, 300),
]


def test_the_ladder_has_its_four_rungs(plan):
    """Share, mirror, dwell, unbroken time and check interval of each stage."""
    assert [
        (s.name, s.traffic, s.mirror, s.dwell_s, s.unbroken_for_s, s.check_interval_s)
        for s in plan.stages
    ] == STAGES
    assert plan.stages[0].shadow
    assert not plan.stages[1].shadow
    assert plan.stage("canary_25") is plan.stages[plan.index("canary_25")]


LOOP = "neuro_learning_loop"
FEATURES = {
    "shadow": {
        LOOP: (False, {"cycle_interval_hours": 12, "auto_apply": False}),
        "l4_cache": (True, {"capacity": 1000, "threshold": 0.85}),
        "mobile_agent_v4_1": (False, {}),
    },
    "canary_5": {
        LOOP: (
            True,
            {"cycle_interval_hours": 24, "auto_apply": False, "risk_threshold": 0.3},
        ),
        "l4_cache": (True, {"capacity": 5000, "adaptive_cleanup": True}),
        "mobile_agent_v4_1": (True, {"max_retries": 3, "lookahead_depth": 2}),
        "self_improver": (True, {"auto_apply": False, "min_quality_score": 80.0}),
    },
    "canary_25": {
        LOOP: (
            True,
            {"cycle_interval_hours": 12, "auto_apply": True, "risk_threshold": 0.5},
        ),
        "l4_cache": (
            True,
            {
                "capacity": 10000,
                "adaptive_cleanup": True,
                "cleanup_interval_hours": 24,
            },
        ),
        "mobile_agent_v4_1": (True, {"max_retries": 5, "lookahead_depth": 3}),
        "self_improver": (True, {"auto_apply": True, "min_quality_score": 75.0}),
        "adaptive_refactor": (True, {"preserve_compatibility": True}),
    },
    "production": {
        LOOP: (
            True,
            {"cycle_interval_hours": 12, "auto_apply": True, "risk_threshold": 0.6},
        ),
        "l4_cache": (True, {"capacity": 10000, "adaptive_cleanup": True}),
        "mobile_agent_v4_1": (True, {"max_retries": 5, "lookahead_depth": 3}),
        "self_improver": (True, {"auto_apply": True, "min_quality_score": 70.0}),
        "adaptive_refactor": (True, {}),
    },
}
WATCHDOG = {
    "shadow": {
        "check_interval_seconds": 300,
        "alert_on": ("warning", "alert", "critical"),
    },
    "canary_5": {"check_interval_seconds": 60, "rollback_on_critical": True},
    "canary_25": {
        "check_interval_seconds": 300,
        "rollback_on_critical": True,
        "auto_create_tasks": True,
    },
    "production": {
        "check_interval_seconds": 300,
        "rollback_on_critical": True,
        "auto_create_tasks": True,
    },
}


@pytest.mark.parametrize("name", list(FEATURES))
def test_features_and_what_sets_the_judge_are_kept_apart(plan, name):
    """The candidate's features, and those of the host, with their settings."""
    stage = plan.stage(name)

    assert {
        key: (feature.enabled, dict(feature.settings))
        for key, feature in stage.features.items()
    } == FEATURES[name]
    assert dict(stage.host["watchdog_v4_1"].settings) == WATCHDOG[name]
    assert stage.host["watchdog_v4_1"].enabled
    strict = stage.host.get("safety_gates_v4_1")
    if name == "production":
        assert strict is not None
        assert strict.enabled
        assert strict.settings == {"strict_mode": True}
    else:
        assert strict is None


VALIDATE = {
    "shadow": [
        ("critical_errors", {"equals": 0}),
        ("error_rate", {"below": 0.02}),
        ("latency_p95", {"below": 0.1}),
        ("latency_p95", {"versus": "baseline", "margin": 0.10}),
        ("memory_usage", {"below": 0.85, "stable": True}),
        ("crashes", {"equals": 0}),
        ("deadlocks", {"equals": 0}),
        ("watchdog_critical_alerts", {"equals": 0}),
        ("", {"rehearsal": "rollback", "within_s": 300}),
    ],
    "canary_5": [
        ("error_rate", {"versus": "baseline", "margin": 0.25, "or_below": 0.005}),
        ("latency_p95", {"versus": "baseline", "margin": 0.05}),
        ("cache_hit_rate", {"at_least": 0.80}),
        ("mobile_success", {"at_least": 0.70}),
        ("learning_cycles_succeeded", {"at_least": 1}),
    ],
    "canary_25": [
        ("error_rate", {"versus": "baseline", "margin": 0.25, "or_below": 0.005}),
        ("patches_applied", {"at_least": 1}),
        ("watchdog_warnings", {"below": 5, "per": "day"}),
        ("cache_hit_rate", {"at_least": 0.85}),
        ("mobile_success", {"at_least": 0.80}),
        ("rollbacks", {"equals": 0}),
        ("architecture_proposals", {"at_least": 12, "per": "hour"}),
        ("evaluation_time", {"at_most": 240}),
        ("storage_savings", {"at_least": 0.72}),
        ("learning_cycles_succeeded", {"at_least": 4}),
    ],
    "production": [
        ("architecture_proposals", {"at_least": 15, "per": "hour"}),
        ("evaluation_time", {"below": 180}),
        ("cache_hit_rate", {"at_least": 0.92}),
        ("storage_savings", {"at_least": 0.75}),
        ("self_healing_success", {"at_least": 0.85}),
        ("health_check_pass", {"at_least": 0.995}),
        ("auto_improvement_success", {"at_least": 0.80}),
        ("patch_rollback_rate", {"below": 0.15}),
        ("critical_incidents", {"equals": 0}),
        ("unplanned_rollbacks", {"equals": 0}),
    ],
}
TESTS = (
    "equals",
    "below",
    "at_most",
    "above",
    "at_least",
    "margin",
    "worse_by",
    "or_below",
    "failures_in_a_row",
    "longer_than",
    "per",
    "rehearsal",
    "within_s",
)


@pytest.mark.parametrize("name", list(VALIDATE))
def test_a_stage_proves_what_the_report_asks_for(plan, name):
    """Every rule of every stage: metric, test, limit, and nothing else."""
    rules = plan.stage(name).validate

    assert [rule.metric for rule in rules] == [metric for metric, _ in VALIDATE[name]]
    for rule, (_, facts) in zip(rules, VALIDATE[name], strict=True):
        said = {key: getattr(rule, key) for key in TESTS}
        said = {key: value for key, value in said.items() if value is not None}
        said |= {"versus": rule.versus} if rule.versus else {}
        said |= {"stable": True} if rule.stable else {}
        assert said == facts
        assert not rule.detected


def test_rules_read_as_sentences(plan):
    """A rule can be shown to a person as it stands."""
    assert [str(rule) for rule in plan.stage("canary_5").validate] == [
        "error_rate at most 25 % above baseline, or below 0.5 %",
        "latency_p95 at most 5 % above baseline",
        "cache_hit_rate at least 80 %",
        "mobile_success at least 70 %",
        "learning_cycles_succeeded at least 1",
    ]
    said = [str(trigger.rule) for trigger in plan.triggers]
    assert said[4] == "error_rate more than 50 % above baseline"
    assert said[7] == "health_check failed 3 times in a row"
    assert said[8] == "deadlock longer than 1 min"
    assert said[9] == "infinite_loop detected"
    assert said[10] == "memory_leak above 50 MB/h"
    shadow = [str(rule) for rule in plan.stage("shadow").validate]
    assert shadow[4] == "memory_usage below 85 %, and stable"
    assert shadow[8] == "rollback rehearsed within 5 min"
    assert (
        str(plan.stage("canary_25").validate[2]) == "watchdog_warnings below 5 per day"
    )


def test_it_round_trips(plan):
    """As a mapping, as YAML, pickled and copied it is the same plan."""
    again = Plan.from_dict(plan.to_dict())

    assert again == plan
    assert again.digest == plan.digest
    assert Plan.from_text(yaml.safe_dump(plan.to_dict())) == plan
    assert pickle.loads(pickle.dumps(plan)) == plan
    assert copy.deepcopy(plan) == plan
    assert again.to_dict() == plan.to_dict()


def test_both_spellings_of_a_setting_are_one_plan(plan):
    """The old names of the cache's settings mean the new ones, to the digest."""
    text = SPEC.read_text("utf-8")
    new = text.replace("similarity_threshold", "threshold").replace(
        "max_size", "capacity"
    )

    assert new != text
    assert Plan.from_text(new) == plan
    assert Plan.from_text(new).digest == plan.digest


def test_a_stage_requires_what_it_names_and_what_its_features_bring(plan):
    """A feature that is off brings nothing, and its trigger does not apply."""
    criteria = {"cache_hit_rate", "cpu_usage", "mobile_success", "patch_rollback_rate"}
    shadow = plan.requires(plan.stage("shadow"), criteria)
    canary = plan.requires(plan.stage("canary_5"), criteria)

    assert "self_improvement_failure_rate" not in shadow
    assert "self_improvement_failure_rate" in canary
    assert "cache_hit_rate" in shadow
    assert "mobile_success" not in shadow
    assert "patch_rollback_rate" in canary
    assert "cpu_usage" not in canary
    assert plan.not_applicable(plan.stage("shadow"), criteria) == (
        "self_improvement_failure_rate",
        "cpu_usage",
        "mobile_success",
        "patch_rollback_rate",
    )
