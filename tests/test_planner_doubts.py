"""What is hardly meant is said of a plan, and does not keep it from being rolled out."""

from __future__ import annotations

import pathlib

import pytest

from planner_plans import canary, plan_of

from legion.planner.doubts import doubts
from legion.stages.plan import Plan


RAW = plan_of(margin="25%").to_dict()
PLANS = pathlib.Path(__file__).parents[1] / "benchmarks" / "plans"


def asked(rule):
    return {**RAW, "stages": [{**RAW["stages"][0], "validate": [rule]}]}


def triggered(rule):
    return {**RAW, "triggers": {"within 15m": [rule]}}


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        ({**RAW, "candidate": "1"}, "candidate and baseline are both 1"),
        ({**RAW, "triggers": {}}, "it has no triggers"),
        (plan_of().to_dict(), "s0 has nothing to validate, and is left once"),
        (asked({"metric": "error_rate", "below": "0%"}), "it can never hold"),
        (asked({"metric": "cache_hit_rate", "above": "100%"}), "it can never hold"),
        (asked({"metric": "error_rate", "above": "5%"}), "Write at_most"),
        (asked({"metric": "cache_hit_rate", "below": "5%"}), "Write at_least"),
        (triggered({"metric": "error_rate", "above": "100%"}), "it can never fire"),
        (triggered({"metric": "error_rate", "below": "1%"}), "Write above"),
        (triggered({"metric": "cache_hit_rate", "above": "1%"}), "Write below"),
    ],
)
def test_what_is_hardly_meant_is_said(raw, says):
    """One sentence: which rule, why, and what to write."""
    (found,) = doubts(Plan.from_dict(raw))

    assert says in found


@pytest.mark.parametrize(
    "plan",
    [
        Plan.load(PLANS / "rollout-4.1.yaml"),
        Plan.from_dict(RAW),
        canary(),
        Plan.from_dict(triggered({"metric": "cache_hit_rate", "below": "80%"})),
        Plan.from_dict(asked({"metric": "critical_errors", "equals": 0})),
    ],
    ids=["4.1", "margin", "canary", "hits", "none"],
)
def test_of_a_plan_that_means_what_it_says_there_is_no_doubt(plan):
    """Nobody reads warnings that are always there."""
    assert not list(doubts(plan))
