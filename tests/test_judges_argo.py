"""The measurement rule: Argo's own cases, and what a verdict may honestly say."""

from __future__ import annotations

import json

from pathlib import Path

import pytest

from hypothesis import given
from hypothesis import strategies as st

import legion

from legion.exceptions import CriterionError
from legion.integrations import ArgoRule
from legion.integrations.argo import Phase, Tally
from legion.model import Count, Level, Missing, Observation, Window
from legion.testing import check_criterion


VECTORS = Path(__file__).parents[1] / "../shared/vectors/stages/argo_assess_metric.json"


def rule_of(metric: dict) -> ArgoRule:
    """Return the rule that a metric of Argo's describes; without interval, one look."""
    failures = metric.get("FailureLimit", 0)
    looks = metric.get("Count") or (None if metric.get("Interval") else 1)
    return ArgoRule(
        "errors",
        critical=0.05,
        failure_limit=None if failures < 0 else failures,
        inconclusive_limit=metric.get("InconclusiveLimit", 0),
        consecutive_error_limit=metric.get("ConsecutiveErrorLimit", 4),
        consecutive_success_limit=metric.get("ConsecutiveSuccessLimit"),
        count=looks,
    )


def tally_of(result: dict) -> Tally:
    last = result.get("LastPhase")
    return Tally(
        successful=result.get("Successful", 0),
        failed=result.get("Failed", 0),
        inconclusive=result.get("Inconclusive", 0),
        count=result.get("Count", 0),
        consecutive_success=result.get("ConsecutiveSuccess", 0),
        consecutive_error=result.get("ConsecutiveError", 0),
        newest=None if last is None else Phase(last.lower()),
    )


@pytest.mark.skipif(
    not VECTORS.exists(),
    reason="Argo's cases are not at ../shared/vectors/stages/argo_assess_metric.json",
)
def test_every_case_of_argo_s_ends_as_it_does_there():
    """54 cases of argo-rollouts: limits, counts, rows, and being told to stop."""
    cases = json.loads(VECTORS.read_text())["cases"]
    wrong = {}
    for case in cases:
        bounds = rule_of(case["metric"]).bounds
        found = bounds.phase(tally_of(case["result"]), terminating=case["terminating"])
        if found != case["expect"].lower():
            wrong[case["id"]] = found

    assert len(cases) == 54
    assert wrong == {}


def errors(n: int, of: int = 100) -> Window:
    return Window.of(shares={"error_rate": (n, of)})


def judged(rule: ArgoRule, *windows: Window) -> list[legion.Verdict]:
    verdicts, memory = [], None
    for window in windows:
        verdict, memory = rule.judge(window, memory)
        verdicts.append(verdict)
    return verdicts


GOOD, BETWEEN, BAD = errors(1), errors(4), errors(9)
NOTHING = Window(counts={"error_rate": Count(0, 0)}, closed_s=60)
BROKEN = Window(errors={"error_rate": "the source raised"}, closed_s=60)


def test_failures_are_borne_up_to_the_limit_and_remembered():
    """A borne failure is a warning; one too many has the level of its limit, for good."""
    rule = ArgoRule("e", metric="error_rate", critical=0.05, failure_limit=2)
    verdicts = judged(rule, BAD, GOOD, BAD, BAD, GOOD, NOTHING)

    assert [v.level for v in verdicts] == [
        Level.WARNING,
        Level.OK,
        Level.WARNING,
        Level.CRITICAL,
        Level.CRITICAL,
        Level.CRITICAL,
    ]
    assert verdicts[3].code == "failed"
    assert verdicts[3].reason == "e: failed after 4 measurements, 3 failed"
    assert verdicts[-1].value is None


def test_the_level_of_a_failure_is_the_one_whose_limit_is_written():
    """Alert stops the ramp, critical takes it back; the team says which."""
    alert = ArgoRule("e", metric="error_rate", alert=0.05)

    assert judged(alert, BAD)[0].level is Level.ALERT


def test_between_success_and_failure_is_inconclusive():
    """With both conditions written, a measurement may meet neither: no level."""
    rule = ArgoRule(
        "e", metric="error_rate", warning=0.03, critical=0.05, inconclusive_limit=1
    )
    verdicts = judged(rule, GOOD, BETWEEN, GOOD, BETWEEN, GOOD)

    assert [v.level for v in verdicts] == [Level.OK, None, Level.OK, None, None]
    assert verdicts[1].missing is verdicts[-1].missing is Missing.INCONCLUSIVE
    assert [v.code for v in verdicts[-2:]] == ["inconclusive", "inconclusive"]


def test_errors_in_a_row_end_the_run_without_a_level():
    """What could not be measured is neither failed nor healthy, however often."""
    rule = ArgoRule("e", metric="error_rate", critical=0.05, consecutive_error_limit=1)
    verdicts = judged(rule, BROKEN, GOOD, BROKEN, NOTHING, GOOD)

    assert [v.level for v in verdicts] == [None, Level.OK, None, None, None]
    assert [v.missing for v in verdicts if v.level is None] == [
        Missing.ERROR,
        Missing.ERROR,
        Missing.ERROR,
        Missing.ERROR,
    ]
    assert verdicts[-1].code == "error"


def test_a_run_that_ends_has_no_level_until_it_has():
    """With a count or a row to reach, a stage that requires the rule waits for it."""
    rule = ArgoRule("e", metric="error_rate", critical=0.05, count=3, failure_limit=1)
    verdicts = judged(rule, GOOD, BAD, GOOD, BAD)

    assert [v.level for v in verdicts] == [None, None, Level.OK, Level.OK]
    assert verdicts[0].missing is Missing.INCONCLUSIVE
    assert verdicts[0].code == "running"
    row = ArgoRule("e", metric="error_rate", critical=0.05, consecutive_success_limit=2)
    assert [v.level for v in judged(row, GOOD, GOOD)] == [None, Level.OK]


def test_what_is_over_says_nothing_of_a_window_without_data():
    """A run that went well is no evidence about a window that holds none."""
    rule = ArgoRule("e", metric="error_rate", critical=0.05, count=1)
    verdict = judged(rule, GOOD, NOTHING)[-1]

    assert verdict.level is None
    assert verdict.missing is Missing.NO_DATA


def test_another_name_starts_another_run():
    """A retry with the same rule begins with an empty tally."""
    _, memory = ArgoRule("e", metric="error_rate", critical=0.05).judge(BAD, None)
    again = ArgoRule("e", metric="error_rate", critical=0.05, run="4.1.1")

    assert again.judge(GOOD, memory)[0].level is Level.OK


def test_a_figure_may_be_one_of_which_less_is_worse():
    """A floor's rule fails at its limit and below."""
    rule = ArgoRule("hits", alert=0.6, lower_is_worse=True)

    assert judged(rule, Window.of(shares={"hits": (60, 100)}))[0].level is Level.ALERT


def test_a_gauge_that_is_no_number_could_not_be_measured():
    """NaN is an error of the measurement, and no reason to raise."""
    rule = ArgoRule("load", of="gauge", alert=2.0)
    verdict = judged(rule, Window.of(gauges={"load": float("nan")}))[0]

    assert verdict.level is None
    assert verdict.missing is Missing.NO_DATA


phases = st.sampled_from([p for p in Phase if p.over])


@given(st.lists(phases, max_size=30))
def test_a_tally_survives_its_json(measured):
    """What is remembered reads back to the same tally."""
    tally = Tally()
    for phase in measured:
        tally = tally.add(phase)

    assert Tally.from_json(json.loads(json.dumps(tally.to_json()))) == tally
    assert tally.count + tally.error == len(measured)


@given(st.lists(st.sampled_from([GOOD, BETWEEN, BAD, NOTHING, BROKEN]), max_size=12))
def test_only_a_measured_window_has_a_mild_level(windows):
    """No sequence of windows makes OK or a warning of one that was not measured."""
    rule = ArgoRule(
        "e", metric="error_rate", warning=0.03, critical=0.05, failure_limit=3
    )
    for window, verdict in zip(windows, judged(rule, *windows), strict=True):
        if verdict.level in {Level.OK, Level.WARNING}:
            assert window.share("error_rate") is not None


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "no limit"),
        ({"alert": 0.05, "critical": 0.1}, "write one of them"),
        ({"warning": 0.05}, "write one of them"),
        ({"critical": 0.1, "failure_limit": None}, "nothing fails it"),
        ({"critical": 0.1, "count": 0}, "count=0; write a whole number, 1 or up"),
        ({"critical": 0.1, "failure_limit": -1}, "0 or up"),
    ],
)
def test_a_malformed_rule_says_what_to_write(given, says):
    """A rule that means nothing is refused where it is made."""
    with pytest.raises(CriterionError, match=says):
        ArgoRule("e", **given)


@pytest.mark.parametrize(
    "rule",
    [
        ArgoRule("e", metric="error_rate", critical=0.05, min_events=100),
        ArgoRule("e", metric="error_rate", warning=0.02, alert=0.05, failure_limit=2),
        ArgoRule("e", metric="error_rate", critical=0.05, count=5),
        ArgoRule("hits", alert=0.6, lower_is_worse=True, consecutive_success_limit=3),
        ArgoRule("slow", of="p95", metric="latency_p95", alert=2.0, min_events=50),
        ArgoRule("crashes", of="count", critical=3),
    ],
    ids=lambda rule: rule.name,
)
def test_the_rule_keeps_the_contract(rule):
    """It is a criterion like any other."""
    check_criterion(rule)


def test_a_watchdog_remembers_the_run_across_a_restart():
    """Failures counted before a restart count after it."""
    rule = ArgoRule("e", metric="error_rate", critical=0.05, failure_limit=1)
    plugins = legion.Plugins()
    plugins.register(rule)
    before = legion.Watchdog(plugins, interval_s=60)
    first = before.judge(Observation(at_s=60, candidate=BAD))
    after = legion.Watchdog(plugins, interval_s=60)
    after.restore(before.to_json())
    again = Window.of(shares={"error_rate": (9, 100)}, opened_s=60, closed_s=120)
    second = after.judge(Observation(at_s=120, candidate=again))

    assert first.verdict("e").level is Level.WARNING
    assert second.verdict("e").level is Level.CRITICAL
