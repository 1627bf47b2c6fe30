"""A team's own rule in a rollout: beside legion's, or required by a stage."""

from __future__ import annotations

import pytest

import legion

from legion.integrations import ArgoRule, KayentaJudge
from legion.testing import Rollout


PLAN = {
    "plan": "answers-2",
    "candidate": "2.0.0",
    "baseline": "1.0.0",
    "unit": "task",
    "check_interval": "5m",
    "rollback": {"to": "v1", "within": "5m"},
    "metrics": {"errors_mine": {"kind": "share", "features": ["answers"]}},
    "triggers": {"immediate": [{"metric": "safety_gate_bypasses", "above": 0}]},
    "stages": [
        {
            "name": "canary",
            "traffic": "20%",
            "dwell": "1h",
            "features": {"answers": True},
            "validate": [{"metric": "error_rate", "below": "50%"}],
        },
        {"name": "everyone", "traffic": "100%", "dwell": "1h"},
    ],
}


def rule(**limits) -> ArgoRule:
    return ArgoRule("errors_mine", metric="error_rate", min_events=50, **limits)


def judge(**limits) -> KayentaJudge:
    return KayentaJudge(
        "errors_mine",
        metric="error_rate",
        of="share",
        direction="increase",
        min_points=5,
        **limits,
    )


def told(criterion: legion.Criterion, errors: str | None = None):
    plugins = legion.Plugins()
    plugins.register(criterion)
    rollout = Rollout(legion.Plan.from_dict(PLAN), plugins)
    return (rollout if errors is None else rollout.feed(errors=errors)).run()


@pytest.mark.parametrize(
    "criterion",
    [rule(alert=0.05), rule(critical=0.05, count=8), judge(), judge(critical=1.0)],
    ids=["alert", "count", "judge", "critical judge"],
)
def test_a_healthy_candidate_passes_it(criterion):
    """With a rule of the team's own, a good rollout still completes."""
    assert told(criterion).decision == "complete"


def test_a_run_that_failed_critically_takes_the_rollout_back():
    """Whether a stage requires it or not: critical is critical."""
    back = told(rule(critical=0.02, failure_limit=1), errors="3x")

    assert back.decision == "roll_back"
    assert "errors_mine: failed after 2 measurements, 2 failed" in back.story


def test_a_judge_that_is_critical_takes_the_rollout_back():
    """As the canary of a critical metric fails there."""
    back = told(judge(critical=1.0), errors="3x")

    assert back.decision == "roll_back"
    assert "errors_mine: classified as high" in back.story


@pytest.mark.parametrize(
    ("criterion", "code"),
    [
        (rule(alert=0.02), "alert:errors_mine"),
        (judge(), "alert:errors_mine"),
    ],
    ids=["rule", "judge"],
)
def test_an_alert_stops_the_stage_that_requires_it(criterion, code):
    """It freezes where it is, and nothing is taken back."""
    stopped = told(criterion, errors="3x")

    assert stopped.stage == "canary"
    assert stopped.decision != "roll_back"
    assert code in stopped.story


def test_a_run_that_is_not_over_holds_the_stage_that_requires_it():
    """Running is no success: a stage waits for the count, however healthy."""
    waiting = told(rule(alert=0.05, count=1_000))

    assert waiting.stage == "canary"
    assert "errors_mine: no verdict yet" in waiting.story
