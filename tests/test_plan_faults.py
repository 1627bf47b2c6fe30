"""Every fault of a plan, with its line, its key, what was given and what to write."""

from __future__ import annotations

import textwrap

import pytest

from legion.exceptions import PlanError
from legion.stages.plan import Plan


GOOD = """\
plan: p
candidate: 2.0.0
baseline: 1.0.0
rollback: {to: v1, within: 5m}
triggers:
  immediate:
    - {metric: crashes, above: 0}
  within 15m:
    - {metric: error_rate, versus: baseline, worse_by: 50%}
stages:
  - name: shadow
    traffic: 0%
    mirror: 100%
    dwell: 1h
    features:
      l4_cache: {enabled: true, capacity: 10}
    validate:
      - {metric: error_rate, below: 2%}
      - {rehearsal: rollback, within: 5m}
    success: {unbroken_for: 1h}
  - name: canary
    traffic: 5%
    dwell: 1h
  - name: all
    traffic: 100%
"""


def faults_of(text):
    with pytest.raises(PlanError) as caught:
        Plan.from_text(textwrap.dedent(text), source="plan")
    return caught.value.faults


def the_fault(old, new):
    """Return the only fault of the good plan with *old* replaced by *new*."""
    assert GOOD.count(old) >= 1, old
    (fault,) = faults_of(GOOD.replace(old, new, 1))
    return fault


def test_the_good_plan_is_good():
    """The plan that is spoilt below has no fault of its own."""
    assert Plan.from_text(GOOD).name == "p"


RULE = "{metric: error_rate, below: 2%}"
TRIGGER = "{metric: error_rate, versus: baseline, worse_by: 50%}"
CACHE = "l4_cache: {enabled: true, capacity: 10}"
HEAD = "plan: p\n"

CASES = {
    "unknown key": (
        "plan: p",
        "plan: p\nuint: task",
        (2, "uint", "the unknown key 'uint'", "unit"),
    ),
    "unknown key of a stage": (
        "dwell: 1h",
        "dwel: 2h\n    dwell: 1h",
        (14, "stages[0].dwel", "the unknown key 'dwel'", "dwell"),
    ),
    "unknown key like no other": (
        "success: {unbroken_for: 1h}",
        "success: {unbroken_for: 1h, zzz: 1}",
        (20, "stages[0].success.zzz", "the unknown key 'zzz'", "unbroken_for"),
    ),
    "unknown metric": (
        RULE,
        "{metric: eror_rate, below: 2%}",
        (18, "stages[0].validate[0].metric", "'eror_rate'", "error_rate"),
    ),
    "unknown metric like no other": (
        RULE,
        "{metric: zzz, below: 2%}",
        (18, "stages[0].validate[0].metric", "'zzz'", "declare it"),
    ),
    "percentage over 100": (
        "traffic: 5%",
        "traffic: 105%",
        (22, "stages[1].traffic", "'105%'", "from 0% to 100%"),
    ),
    "negative percentage": (
        "mirror: 100%",
        "mirror: -1%",
        (13, "stages[0].mirror", "'-1%'", "from 0% to 100%"),
    ),
    "bare percentage": (
        "traffic: 5%",
        "traffic: 5",
        (22, "stages[1].traffic", "5", "5% or 0.05"),
    ),
    "not a number": (
        "traffic: 5%",
        "traffic: .nan",
        (22, "stages[1].traffic", ".nan", "from 0% to 100%"),
    ),
    "stages that shrink": (
        "traffic: 100%",
        "traffic: 4%",
        (25, "stages[2].traffic", "'4%'", "at least 5%, as the stage before has"),
    ),
    "two stages of one name": (
        "name: all",
        "name: canary",
        (24, "stages[2].name", "'canary'", "another name"),
    ),
    "trigger without deadline": (
        "within 15m:",
        "soon:",
        (8, "triggers.soon", "'soon', which is no deadline", "`within 15m`"),
    ),
    "trigger with a broken deadline": (
        "within 15m:",
        "within a moment:",
        (8, "triggers.within a moment", "no deadline", "90s, 5m"),
    ),
    "trigger list without deadlines": (
        "within 15m:\n    - {metric: error_rate, versus: baseline, worse_by: 50%}",
        "within 15m: {metric: error_rate, above: 5%}",
        (8, "triggers.within 15m", "a mapping of 2", "a list of rules"),
    ),
    "rollback slower than a trigger": (
        "within 15m:",
        "within 2m:",
        (4, "rollback.within", "'5m'", "at most 2m"),
    ),
    "rehearsal slower than the rollback": (
        "within: 5m}\n    success",
        "within: 6m}\n    success",
        (19, "stages[0].validate[1].within", "'6m'", "at most 5m"),
    ),
    "rehearsal where users are exposed": (
        "traffic: 0%\n    mirror: 100%",
        "traffic: 1%\n    mirror: 0%",
        (19, "stages[0].validate[1]", "where users are exposed", "traffic 0%"),
    ),
    "a mirror where users are exposed": (
        "traffic: 5%",
        "traffic: 5%\n    mirror: 50%",
        (23, "stages[1].mirror", "'50%'", "traffic is 0%"),
    ),
    "rehearsal as a trigger": (
        TRIGGER,
        "{rehearsal: rollback, within: 5m}",
        (9, "triggers.within 15m[0]", "a rehearsal", "validate"),
    ),
    "rehearsal without a time": (
        "{rehearsal: rollback, within: 5m}",
        "{rehearsal: rollback}",
        (19, "stages[0].validate[1].within", "nothing", "5m"),
    ),
    "rehearsal of something else": (
        "{rehearsal: rollback, within: 5m}",
        "{rehearsal: fire, within: 5m}",
        (19, "stages[0].validate[1].rehearsal", "'fire'", "rollback"),
    ),
    "missing name": (
        "plan: p\n",
        "",
        (1, "plan", "nothing", "the name of this rollout"),
    ),
    "empty baseline": (
        "baseline: 1.0.0",
        "baseline:",
        (3, "baseline", "nothing", '"4.0.0"'),
    ),
    "missing rollback": (
        "rollback: {to: v1, within: 5m}\n",
        "",
        (1, "rollback", "nothing", "{to: v4.0.0-stable, within: 5m}"),
    ),
    "rollback to nowhere": (
        "to: v1, ",
        "",
        (4, "rollback.to", "nothing", "the snapshot to go back to"),
    ),
    "rollback in the wrong order": (
        "within: 5m}\ntriggers",
        "within: 5m, steps: [validate, route_to_baseline]}\ntriggers",
        (
            4,
            "rollback.steps",
            "[validate, route_to_baseline]",
            "[route_to_baseline, validate]",
        ),
    ),
    "rollback that leaves users where they are": (
        "within: 5m}\ntriggers",
        "within: 5m, steps: [validate]}\ntriggers",
        (4, "rollback.steps", "[validate]", "[route_to_baseline, validate]"),
    ),
    "unknown step": (
        "within: 5m}\ntriggers",
        "within: 5m, steps: [route_to_baseline, pray]}\ntriggers",
        (4, "rollback.steps[1]", "'pray'", "restore_registry"),
    ),
    "missing stage name": (
        "name: all\n    traffic",
        "traffic",
        (24, "stages[2].name", "nothing", "a name"),
    ),
    "missing traffic": (
        "    traffic: 5%\n",
        "",
        (21, "stages[1].traffic", "nothing", "5%"),
    ),
    "middle stage without dwell": (
        "traffic: 5%\n    dwell: 1h",
        "traffic: 5%",
        (21, "stages[1].dwell", "nothing", "24h"),
    ),
    "unbroken longer than the dwell": (
        "{unbroken_for: 1h}",
        "{unbroken_for: 2h}",
        (20, "stages[0].success.unbroken_for", "'2h'", "at most 1h"),
    ),
    "success without a time": (
        "{unbroken_for: 1h}",
        "{}",
        (20, "stages[0].success.unbroken_for", "nothing", "48h"),
    ),
    "bare duration": (
        "dwell: 1h",
        "dwell: 24",
        (14, "stages[0].dwell", "24", "24s, 24m or 24h"),
    ),
    "version that is a number": (
        "candidate: 2.0.0",
        "candidate: 4.10",
        (2, "candidate", "4.10", 'in quotes: "4.10"'),
    ),
    "name of two lines": (
        "plan: p",
        'plan: "p\\nq"',
        (1, "plan", "'p\\nq'", "on one line"),
    ),
    "name without end": (
        "plan: p",
        f"plan: {'p' * 101}",
        (1, "plan", "ppp...", "at most 100 characters"),
    ),
    "wrong unit of randomisation": (
        "plan: p",
        "plan: p\nunit: request",
        (2, "unit", "'request'", "task, session or user"),
    ),
    "a budget of nothing": (
        "plan: p",
        "plan: p\nfalse_rollback: 0%",
        (2, "false_rollback", "'0%'", "above 0% and below 100%"),
    ),
    "stages that are no list": (
        GOOD[GOOD.index("stages:") :],
        "stages: {shadow: 5%}\n",
        (10, "stages", "a mapping of 1", "a list of stages"),
    ),
    "no stages": (
        GOOD[GOOD.index("stages:") :],
        "stages: []\n",
        (10, "stages", "a list of 0", "at least one stage"),
    ),
    "stage that is no mapping": (
        "- name: all\n    traffic: 100%",
        "- all",
        (24, "stages[2]", "'all'", "a stage"),
    ),
    "feature without a flag": (
        CACHE,
        "l4_cache: {capacity: 10}",
        (16, "stages[0].features.l4_cache.enabled", "nothing", "true or false"),
    ),
    "feature with a wrong flag": (
        CACHE,
        "l4_cache: {enabled: 1}",
        (16, "stages[0].features.l4_cache.enabled", "1", "true or false"),
    ),
    "feature that is a word": (
        CACHE,
        "l4_cache: big",
        (16, "stages[0].features.l4_cache", "'big'", "{enabled: true, ...}"),
    ),
    "setting that JSON cannot say": (
        CACHE,
        "l4_cache: {enabled: true, capacity: [.inf]}",
        (16, "stages[0].features.l4_cache.capacity[0]", ".inf", "finite"),
    ),
    "setting with both names": (
        CACHE,
        "l4_cache: {enabled: true, capacity: 10, max_size: 20}",
        (16, "stages[0].features.l4_cache.max_size", "together", "capacity once"),
    ),
    "check interval that is no number": (
        CACHE,
        "watchdog_v4_1: {enabled: true, check_interval_seconds: 5m}",
        (
            16,
            "stages[0].features.watchdog_v4_1.check_interval_seconds",
            "'5m'",
            "300",
        ),
    ),
    "rule without a metric": (
        RULE,
        "{below: 2%}",
        (18, "stages[0].validate[0].metric", "nothing", "the name of a metric"),
    ),
    "rule without a test": (
        RULE,
        "{metric: error_rate}",
        (18, "stages[0].validate[0]", "without a test", "below, at_most"),
    ),
    "rule with two tests": (
        RULE,
        "{metric: memory_leak, below: 5 MB/h, above: 1 MB/h}",
        (18, "stages[0].validate[0]", "below and above", "two rules"),
    ),
    "rule that is a word": (
        RULE,
        "error_rate",
        (
            18,
            "stages[0].validate[0]",
            "'error_rate'",
            "{metric: error_rate, below: 2%}",
        ),
    ),
    "unit that does not fit": (
        RULE,
        "{metric: error_rate, below: 100 ms}",
        (18, "stages[0].validate[0].below", "'100 ms'", "a percentage"),
    ),
    "time without unit": (
        RULE,
        "{metric: latency_p95, below: 100}",
        (18, "stages[0].validate[0].below", "100", "100s, 100m"),
    ),
    "growth without unit": (
        RULE,
        "{metric: memory_leak, below: 50}",
        (18, "stages[0].validate[0].below", "50", "50 MB/h"),
    ),
    "count with a unit": (
        RULE,
        "{metric: crashes, equals: 0%}",
        (18, "stages[0].validate[0].equals", "'0%'", "a number"),
    ),
    "margin in a trigger": (
        "worse_by: 50%",
        "margin: 50%",
        (9, "triggers.within 15m[0].margin", "the test margin", "worse_by"),
    ),
    "worse_by in validate": (
        RULE,
        "{metric: error_rate, versus: baseline, worse_by: 5%}",
        (18, "stages[0].validate[0].worse_by", "the test worse_by", "margin"),
    ),
    "versus without margin": (
        RULE,
        "{metric: error_rate, versus: baseline}",
        (18, "stages[0].validate[0]", "without a test", "margin: 10%"),
    ),
    "margin without versus": (
        RULE,
        "{metric: error_rate, margin: 5%}",
        (18, "stages[0].validate[0].versus", "nothing", "baseline"),
    ),
    "versus something else": (
        RULE,
        "{metric: error_rate, versus: last_week, margin: 5%}",
        (18, "stages[0].validate[0].versus", "'last_week'", "baseline"),
    ),
    "counts compared": (
        RULE,
        "{metric: crashes, versus: baseline, margin: 5%}",
        (18, "stages[0].validate[0].margin", "'5%'", "do not compare"),
    ),
    "versus beside a limit": (
        RULE,
        "{metric: error_rate, versus: baseline, below: 5%}",
        (18, "stages[0].validate[0].versus", "'baseline'", "only together with margin"),
    ),
    "or_below where higher is better": (
        RULE,
        "{metric: cache_hit_rate, versus: baseline, margin: 5%, or_below: 5%}",
        (18, "stages[0].validate[0].or_below", "'5%'", "lower is not better"),
    ),
    "a trigger on anything at all": (
        "worse_by: 50%",
        "worse_by: 0%",
        (9, "triggers.within 15m[0].worse_by", "'0%'", "more than 0%"),
    ),
    "rate of a share": (
        RULE,
        "{metric: error_rate, below: 2%, per: day}",
        (18, "stages[0].validate[0].per", "'day'", "a count"),
    ),
    "rate per fortnight": (
        RULE,
        "{metric: crashes, below: 2, per: fortnight}",
        (18, "stages[0].validate[0].per", "'fortnight'", "day or hour"),
    ),
    "a count that is stable": (
        RULE,
        "{metric: crashes, below: 2, stable: true}",
        (18, "stages[0].validate[0].stable", "true", "memory_usage"),
    ),
    "failures of something else": (
        TRIGGER,
        "{metric: crashes, failures_in_a_row: 3}",
        (9, "triggers.within 15m[0].metric", "'crashes'", "health_check"),
    ),
    "half a failure": (
        TRIGGER,
        "{metric: health_check, failures_in_a_row: 2.5}",
        (9, "triggers.within 15m[0].failures_in_a_row", "2.5", "a whole number"),
    ),
    "longer than a share": (
        TRIGGER,
        "{metric: error_rate, longer_than: 60s}",
        (9, "triggers.within 15m[0].longer_than", "'60s'", "no time"),
    ),
    "not detected": (
        TRIGGER,
        "{metric: infinite_loop, detected: false}",
        (9, "triggers.within 15m[0].detected", "false", "true, or no rule"),
    ),
    "detected share": (
        TRIGGER,
        "{metric: error_rate, detected: true}",
        (9, "triggers.within 15m[0].detected", "true", "above"),
    ),
    "detected in validate": (
        RULE,
        "{metric: infinite_loop, detected: true}",
        (18, "stages[0].validate[0].detected", "the test detected", "equals: 0"),
    ),
    "deadline inside a trigger": (
        "worse_by: 50%}",
        "worse_by: 50%, within: 5m}",
        (9, "triggers.within 15m[0].within", "'5m'", "above the rule"),
    ),
    "unknown criterion": (
        HEAD,
        "plan: p\ncriteria: {cpu_usag: off}\n",
        (2, "criteria.cpu_usag", "'cpu_usag'", "cpu_usage"),
    ),
    "criterion that is on": (
        HEAD,
        "plan: p\ncriteria: {cpu_usage: on}\n",
        (2, "criteria.cpu_usage", "on", "off, or limits"),
    ),
    "criterion twice": (
        HEAD,
        "plan: p\ncriteria: {mobile_success: off, mobile_success_rate: off}\n",
        (2, "criteria.mobile_success_rate", "again", "once"),
    ),
    "limits upside down": (
        HEAD,
        "plan: p\ncriteria: {error_rate: {warning: 5%, alert: off, critical: 1%}}\n",
        (2, "criteria.error_rate", "a mapping of 3", "rise from warning to critical"),
    ),
    "limits of a floor upside down": (
        HEAD,
        "plan: p\ncriteria: {cache_hit_rate: {warning: 5%, critical: 10%}}\n",
        (2, "criteria.cache_hit_rate", "a mapping of 2", "fall from warning"),
    ),
    "unknown level": (
        HEAD,
        "plan: p\ncriteria: {error_rate: {warnin: 5%}}\n",
        (2, "criteria.error_rate.warnin", "'warnin'", "warning"),
    ),
    "metric that there is": (
        HEAD,
        "plan: p\nmetrics: {error_rate: share}\n",
        (2, "metrics.error_rate", "'error_rate'", "another name"),
    ),
    "metric of no kind": (
        HEAD,
        "plan: p\nmetrics: {toxicity: {unit: share}}\n",
        (2, "metrics.toxicity.kind", "nothing", "share, count, time or gauge"),
    ),
    "metric of another kind": (
        HEAD,
        "plan: p\nmetrics: {toxicity: ratio}\n",
        (2, "metrics.toxicity", "'ratio'", "share, count, time or gauge"),
    ),
    "metric with a wrong unit": (
        HEAD,
        "plan: p\nmetrics: {toxicity: {kind: share, unit: s}}\n",
        (2, "metrics.toxicity.unit", "'s'", "share"),
    ),
    "metric with a wrong name": (
        HEAD,
        "plan: p\nmetrics: {very toxic: share}\n",
        (2, "metrics.very toxic", "'very toxic'", "letters, digits"),
    ),
    "quantile of a share": (
        HEAD,
        "plan: p\nmetrics: {toxicity: {kind: share, quantile: 50%}}\n",
        (2, "metrics.toxicity.quantile", "'50%'", "only a time"),
    ),
    "collected thing that is no metric": (
        HEAD,
        "plan: p\ncollect: [error_rate, weather]\n",
        (2, "collect[1]", "'weather'", "metrics:"),
    ),
    "duplicate key": (
        "traffic: 5%",
        "traffic: 5%\n    traffic: 6%",
        (23, "stages[1].traffic", "a second time", "line 22"),
    ),
    "tag": (
        "plan: p",
        "plan: !!python/object/apply:os.system [ls]",
        (1, "plan", "python/object/apply:os.system", "without a tag"),
    ),
    "date": (
        CACHE,
        "l4_cache: {enabled: true, since: {2020-01-01: .nan}}",
        (16, "stages[0].features.l4_cache.since.2020-01-01", ".nan", "finite"),
    ),
}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.replace(" ", "-"))
def test_a_fault_says_where_what_and_what_instead(case):
    """One thing is wrong, and one fault says so: line, key, given, write."""
    old, new, (line, key, given, write) = CASES[case]

    fault = the_fault(old, new)

    assert (fault.line, fault.key) == (line, key)
    assert given in fault.given
    assert write in fault.write
    assert str(fault) == f"line {line}: {key}: got {fault.given}; write {fault.write}"


def test_ten_faults_are_listed_at_once_in_the_order_of_the_file():
    """A plan is mended in one go, not one fault at a time."""
    faults = faults_of(
        """\
        plan: p
        candidate: 4.1
        baseline: 1.0.0
        matures: 10
        rollback: {to: v1, within: 5 parsecs}
        triggers:
          immediate:
            - {metric: crashs, above: 0}
          eventually:
            - {metric: crashes, above: 0}
        colect: [error_rate]
        stages:
          - name: a
            traffic: 120%
            dwell: 1h
          - name: a
            traffic: 50%
            traffic: 60%
            dwell: 1h
          - name: c
            traffic: 10%
        """
    )

    assert [(fault.line, fault.key) for fault in faults] == [
        (2, "candidate"),
        (4, "matures"),
        (5, "rollback.within"),
        (8, "triggers.immediate[0].metric"),
        (9, "triggers.eventually"),
        (11, "colect"),
        (14, "stages[0].traffic"),
        (16, "stages[1].name"),
        (18, "stages[1].traffic"),
        (21, "stages[2].traffic"),
    ]


def test_the_message_is_the_list():
    """What a person sees has one line for each fault."""
    with pytest.raises(PlanError) as caught:
        Plan.from_text(GOOD.replace("1h", "1"), source="rollout.yaml")

    head, *lines = str(caught.value).splitlines()
    assert head == "rollout.yaml: 3 faults in the plan"
    assert lines[0] == (
        "  line 14: stages[0].dwell: got 1;"
        " write a time with its unit, such as 1s, 1m or 1h"
    )
    assert len(lines) == 3


def test_a_fault_in_a_declared_metric_is_told_once():
    """Rules that name a metric declared wrongly are not faulty for it."""
    text = GOOD.replace(RULE, "{metric: toxicity, below: 2%}")

    (fault,) = faults_of(f"{text}metrics: {{toxicity: ratio}}\n")

    assert fault.key == "metrics.toxicity"


@pytest.mark.parametrize("value", [{}, None, [], "plan", 5, {"plan": None}])
def test_an_empty_plan_is_refused(value):
    """There is no plan in nothing."""
    with pytest.raises(PlanError):
        Plan.from_dict(value)


def test_a_mapping_has_no_lines():
    """Faults of a dict name the key, and no line."""
    with pytest.raises(PlanError) as caught:
        Plan.from_dict({"plan": "p", 5: 6})

    assert caught.value.source == "<dict>"
    assert caught.value.faults[0].line is None


def test_what_both_arms_share_is_not_compared():
    """A rule that compares it is a fault; one with a limit of its own is none."""
    shared = GOOD.replace("stages:", "shared: [error_rate]\nstages:", 1)
    (fault,) = faults_of(shared)
    assert fault.key == "shared"
    assert "a limit of its own for error_rate" in fault.write

    cached = GOOD.replace("stages:", "shared: [cache_hit_rate]\nstages:", 1)
    plan = Plan.from_text(cached)
    assert plan.shared == ("cache_hit_rate",)
    assert Plan.from_dict(plan.to_dict()) == plan
