"""The 21: that they are there, with the limits they ought to have, and why so many."""

from __future__ import annotations

import math
import re
import subprocess
import sys

from pathlib import Path

import pytest

import legion

from legion.criteria import BUILTINS, Floor, Never, Rise
from legion.criteria.page import page
from legion.metrics import METRICS
from legion.model import Window


ROOT = Path(__file__).parents[1]
SPEC = ROOT / "../shared/spec/criteria.md"

LIMITS = {
    "performance": {
        "error_rate": (0.03, 0.05, 0.10, "share"),
        "latency_p50": (0.15, 0.20, None, "rise"),
        "latency_p95": (0.30, 0.50, None, "rise"),
        "latency_p99": (0.40, 0.60, None, "rise"),
        "memory_usage": (0.80, 0.90, 0.95, "share"),
        "cpu_usage": (0.75, 0.85, 0.95, "share"),
    },
    "health": {
        "cache_hit_rate": (0.75, 0.65, None, "share"),
        "storage_efficiency": (0.60, 0.50, None, "share"),
        "agent_stability": (0.90, 0.85, None, "share"),
        "mobile_success": (0.80, 0.70, None, "share"),
    },
    "architecture": {
        "registry_integrity": (None, None, 1, "count"),
        "deadlock": (None, 30, 60, "s"),
        "infinite_loop": (None, 100, 1000, "count"),
        "memory_leak": (10, 50, None, "MB/h"),
    },
    "logic": {
        "contradictions": (1, 3, None, "count"),
        "safety_gate_bypasses": (None, None, 1, "count"),
        "containment_violations": (None, None, 1, "count"),
        "unauthorized_actions": (None, None, 1, "count"),
    },
    "evolution": {
        "self_improvement_failure_rate": (0.10, 0.20, None, "share"),
        "patch_rollback_rate": (0.15, 0.25, None, "share"),
        "learning_loop_stall": (None, 48, 72, "h"),
    },
}


def by_group():
    groups = {}
    for criterion in BUILTINS:
        limits = (criterion.warning, criterion.alert, criterion.critical)
        rows = groups.setdefault(criterion.group, {})
        rows[criterion.name] = (*limits, criterion.unit)
    return groups


def test_there_are_21_in_five_groups_with_these_limits():
    """6, 4, 4, 4 and 3, and every limit and unit is the one that was decided."""
    assert len(BUILTINS) == len({c.name for c in BUILTINS}) == 21
    assert [len(rows) for rows in by_group().values()] == [6, 4, 4, 4, 3]
    assert by_group() == LIMITS


def test_the_limits_are_those_of_the_specification():
    """Each row of the specification's table is a criterion, limit for limit."""
    if not SPEC.is_file():
        pytest.skip(f"the specification is not beside this checkout: {SPEC}")
    rows = re.findall(
        r"^\| (\w+) \| `(\w+)`( <)? \| (\S+) / (\S+) / (.+?) \| .+ \|$",
        SPEC.read_text("utf-8"),
        re.MULTILINE,
    )

    assert len(rows) == 21
    for group, name, lower, *limits in rows:
        criterion = next(c for c in BUILTINS if c.name == name)
        wanted = tuple(_limit(limit) for limit in limits)
        assert criterion.group == group
        assert criterion.lower_is_worse is bool(lower)
        assert (criterion.warning, criterion.alert, criterion.critical) == wanted


def _limit(text):
    if text == "-":
        return None
    return 1.0 if text.startswith("any ") else float(text)


def test_each_direction_is_the_metric_s_and_each_figure_is_read_once():
    """A built-in reads its metric as the table does, and agrees which way is worse."""
    window = Window.of(
        shares={m: (3, 10) for m, x in METRICS.items() if x.kind == "share"},
        counts={m: 2 for m, x in METRICS.items() if x.kind == "count"},
        gauges={m: 0.7 for m, x in METRICS.items() if x.kind == "gauge"},
        values={"latency": [0.1, 0.2, 0.4]},
    )
    for criterion in BUILTINS:
        metric = METRICS[criterion.name]
        assert criterion.lower_is_worse is metric.higher_is_better, criterion.name
        assert criterion.features == metric.features
        assert criterion.read(window) == metric.read(window), criterion.name
        assert criterion.summary


def test_kinds_match_what_the_criteria_are():
    """Four floors, three rises, four that must never be."""
    assert sum(isinstance(c, Floor) for c in BUILTINS) == 4
    assert sum(isinstance(c, Rise) for c in BUILTINS) == 3
    assert sum(isinstance(c, Never) for c in BUILTINS) == 4


def test_every_host_has_them():
    """`Plugins` brings exactly these."""
    assert set(legion.Plugins().criteria) == {c.name for c in BUILTINS}


def test_the_page_is_up_to_date():
    """docs/criteria.md is what ``python -m legion.criteria`` prints."""
    printed = subprocess.run(
        [sys.executable, "-m", "legion.criteria"],
        capture_output=True,
        check=True,
        text=True,
        encoding="utf-8",
    ).stdout

    assert printed == page()
    assert (ROOT / "docs/criteria.md").read_text("utf-8") == printed, (
        "write: python -m legion.criteria > docs/criteria.md"
    )


def tail(n, p, k):
    """Return P(X >= k) of a binomial."""
    return math.fsum(
        math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k, n + 1)
    )


@pytest.mark.parametrize(
    ("name", "bad", "level", "most"),
    [
        ("error_rate", 0.01, "alert", 0.0035),
        ("error_rate", 0.01, "critical", 1e-7),
        ("agent_stability", 0.05, "alert", 0.016),
        ("self_improvement_failure_rate", 0.05, "alert", 0.016),
        ("patch_rollback_rate", 0.05, "alert", 0.012),
    ],
)
def test_a_healthy_share_hardly_reaches_its_limit_by_chance(name, bad, level, most):
    """The chances that the docstrings state, exactly."""
    criterion = next(c for c in BUILTINS if c.name == name)
    limit = getattr(criterion, level)
    share = 1 - limit if criterion.lower_is_worse else limit
    n = criterion.min_events
    chance = tail(n, bad, math.ceil(round(share * n, 9)))

    assert chance <= most
    assert chance > most / 2, "the docstring is too gloomy"


@pytest.mark.parametrize(
    ("name", "rate"),
    [("latency_p50", 0.0008), ("latency_p95", 0.008), ("latency_p99", 0.0003)],
)
def test_a_healthy_latency_hardly_reaches_its_limit_by_chance(name, rate):
    """
    The chances that the docstring states, for lognormal times with sigma 0.8.

    20,000 windows, seed 7, the control's quantile known. It fails where the count is
    improbable (p < 0.001) under the stated rate. A rate half as high again is caught in
    99.9 % of the cases for p95, and a rate three times as high in 99 % for the others.
    """
    import numpy as np

    criterion = next(c for c in BUILTINS if c.name == name)
    quantile = METRICS[name].quantile
    windows, n = 20_000, criterion.min_events
    random = np.random.default_rng(7)
    rank = math.floor(quantile * (n - 1))
    reached = 0
    normal = {0.5: 0.0, 0.95: 1.6448536, 0.99: 2.3263479}[quantile]
    limit = 0.8 * normal + math.log1p(criterion.alert)
    for _ in range(20):
        logs = 0.8 * random.standard_normal((windows // 20, n))
        reached += int((np.partition(logs, rank, axis=1)[:, rank] >= limit).sum())

    print(f"{name}: {reached} of {windows} windows")
    most = next(k for k in range(windows) if tail_poisson(windows * rate, k) < 0.001)
    assert reached < most


def tail_poisson(mean, k):
    """Return P(X >= k) of a Poisson, which a rare binomial is."""
    below = math.fsum(
        math.exp(i * math.log(mean) - mean - math.lgamma(i + 1)) for i in range(k)
    )
    return 1 - below
