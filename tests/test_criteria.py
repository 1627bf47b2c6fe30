"""Criteria: the contract, the four kinds, and what is refused."""

from __future__ import annotations

import asyncio
import math

import attrs
import pytest

from hypothesis import given, settings
from hypothesis import strategies as st

import legion

from legion.criteria import Ceiling, Criterion, Floor, Limits, Never, Rise
from legion.exceptions import CriterionError
from legion.model import Count, Level, Missing, Window


def level_of(criterion, window):
    return criterion.judge(window, None)[0].level


@pytest.mark.parametrize(
    ("n", "level"),
    [
        (0, Level.OK),
        (29, Level.OK),
        (30, Level.WARNING),
        (49, Level.WARNING),
        (50, Level.ALERT),
        (99, Level.ALERT),
        (100, Level.CRITICAL),
    ],
)
def test_a_limit_is_reached_by_the_value_itself(n, level):
    """At the limit is in the level, just below it is not."""
    criterion = Ceiling("error_rate", warning=0.03, alert=0.05, critical=0.10)

    assert level_of(criterion, Window.of(shares={"error_rate": (n, 1000)})) is level


@pytest.mark.parametrize(
    ("n", "level"),
    [(76, Level.OK), (75, Level.WARNING), (66, Level.WARNING), (65, Level.ALERT)],
)
def test_for_a_floor_less_is_worse(n, level):
    """A floor is reached from above, by the value itself."""
    criterion = Floor("hits", warning=0.75, alert=0.65)

    assert level_of(criterion, Window.of(shares={"hits": (n, 100)})) is level


@pytest.mark.parametrize(
    ("of", "value"),
    [
        ("share", 0.25),
        ("count", 5.0),
        ("gauge", 7.0),
        ("mean", 2.5),
        ("p50", 2.0),
        ("p95", 3.0),
        ("p99", 3.0),
    ],
)
def test_a_kind_reads_any_figure_of_a_metric(of, value):
    """Each ``of`` reads its own figure; a quantile is within one per cent."""
    window = {
        "share": Window.of(shares={"m": (1, 4)}),
        "count": Window.of(counts={"m": 5}),
        "gauge": Window.of(gauges={"m": 7.0}),
    }.get(of, Window.of(values={"m": [1.0, 2.0, 3.0, 4.0]}))
    verdict, _ = Ceiling("x", of=of, metric="m", unit="", warning=1000).judge(
        window, None
    )

    assert verdict.value == pytest.approx(value, rel=0.01)


def test_a_metric_of_the_table_is_read_where_the_table_says():
    """``latency_p95`` lies in the stream ``latency``, and an alias is resolved."""
    assert Ceiling("slow", of="p95", metric="latency_p95", alert=1).stream == "latency"
    assert Floor("x", metric="mobile_success_rate", alert=0.5).stream == (
        "mobile_success"
    )
    assert Ceiling("toxicity", alert=0.5).stream == "toxicity"


def test_a_rise_is_relative_to_the_baseline():
    """Half as much again is a rise of 0.5, and the verdict says from what to what."""
    criterion = Rise("latency_p95", of="p95", warning=0.3, alert=0.45)
    window = Window.of(
        values={"latency": [0.15] * 200},
        baseline=Window.of(values={"latency": [0.10] * 300}),
    )
    verdict, _ = criterion.judge(window, None)

    assert verdict.value == pytest.approx(0.5, abs=0.03)
    assert verdict.level is Level.ALERT
    assert verdict.evidence["baseline"] == pytest.approx(0.10, rel=0.01)
    assert verdict.evidence["measured"] == pytest.approx(0.15, rel=0.01)
    assert verdict.evidence["baseline_events"] == 300
    assert verdict.reason.endswith(" ms)")
    assert "alert from +45% up" in verdict.reason


@pytest.mark.parametrize(
    ("baseline", "why"),
    [
        (None, "no baseline"),
        (Window(), "no baseline"),
        (Window.of(values={"m": [0.0] * 9}), "not above 0"),
    ],
)
def test_a_rise_from_nothing_has_no_level(baseline, why):
    """Without a baseline above 0 no rise can be told, and the reason says so."""
    window = Window.of(values={"m": [1.0] * 9}, baseline=baseline)
    verdict, _ = Rise("m", of="mean", alert=0.5).judge(window, None)

    assert verdict.missing is Missing.NO_DATA
    assert verdict.code == "no_baseline"
    assert why in verdict.reason


def test_never_is_critical_at_the_first_and_unknown_without_a_counter():
    """0 of a counter is healthy, 1 critical, and no counter has no level."""
    criterion = Never("bypasses")

    assert level_of(criterion, Window.of(counts={"bypasses": 0})) is Level.OK
    assert level_of(criterion, Window.of(counts={"bypasses": 1})) is Level.CRITICAL
    assert level_of(criterion, Window()) is None


def test_no_kind_has_a_level_without_data():
    """An empty window gives no data, never OK."""
    for criterion in (
        Ceiling("a", alert=0.5),
        Floor("b", alert=0.5),
        Rise("c", alert=0.5),
        Never("d"),
    ):
        verdict, _ = criterion.judge(Window(baseline=Window()), None)
        assert verdict.missing is Missing.NO_DATA
        assert verdict.reason.startswith(criterion.name)


def test_a_plain_counter_needs_no_number_of_events():
    """A counter of 0 is evidence enough: nobody knows how often it could have been."""
    criterion = Ceiling("crashes", of="count", alert=3, min_events=5)

    assert criterion.events(Window.of(counts={"crashes": 0})) >= criterion.min_events
    assert criterion.events(Window()) == 0
    assert criterion.events(Window(counts={"crashes": Count(1, 4)})) == 4


def test_a_decorated_function_is_a_criterion():
    """The function's name, its docstring and what it returns are all there is to it."""

    @legion.criterion(unit="share", warning=0.01, critical=0.05, min_events=100)
    def toxicity(window):
        """Share of answers that were toxic."""
        return window.share("toxic")

    assert isinstance(toxicity, Criterion)
    assert toxicity.name == "toxicity"
    assert toxicity.summary == "Share of answers that were toxic."
    assert level_of(toxicity, Window.of(shares={"toxic": (5, 100)})) is Level.CRITICAL
    assert level_of(toxicity, Window()) is None


def test_what_a_function_reads_is_counted_against_min_events():
    """Without a metric of its name, the scarcest thing it reads is the evidence."""

    @legion.criterion(warning=1.0, min_events=100)
    def ratio(window):
        tokens, cost = window.mean("tokens"), window.share("paid")
        return None if tokens is None or cost is None else tokens * cost

    window = Window.of(
        values={"tokens": [5.0] * 400}, shares={"paid": (1, 37), "other": (1, 10_000)}
    )

    assert ratio.events(window) == 37
    assert ratio.events(Window.of(values={"tokens": [5.0] * 400})) == 0
    assert ratio.events(Window.of(shares={"ratio": (1, 12)})) == 12


def test_a_function_that_reads_past_the_methods_has_enough_with_a_value():
    """Where nothing can be counted, a value that was returned is enough."""

    @legion.criterion(warning=1.0, min_events=100)
    def odd(window):
        count = window.counts.get("m")
        return None if count is None else float(count.n)

    @legion.criterion(warning=1.0, min_events=100)
    def counter(window):
        return window.count("m")

    assert odd.events(Window.of(counts={"m": 0})) == 100
    assert counter.events(Window.of(counts={"m": 0})) == 100
    assert odd.events(Window()) == 0


def test_metric_names_what_is_counted():
    """``metric=`` counts that one, whatever else the function reads."""

    @legion.criterion(warning=1.0, min_events=10, metric="replies")
    def weird(window):
        return window.share("toxic")

    assert weird.events(Window.of(shares={"replies": (0, 55), "toxic": (1, 3)})) == 55


def test_an_expert_keeps_a_memory():
    """`judge` may be overridden: own memory, own level, own evidence."""

    class Drift(Criterion):
        def judge(self, window, memory):
            mean = window.mean("score")
            if mean is None:
                return self.no_level(Missing.NO_DATA, "no scores"), memory
            slow = (memory or {}).get("slow", mean)
            away = abs(mean - slow) / slow
            verdict = self.verdict(away, window=window, evidence={"slow": slow})
            return verdict, {"slow": slow + (mean - slow) / 10}

    drift = Drift("drift", metric="score", warning=0.15, alert=0.3, critical=0.5)
    first, memory = drift.judge(Window.of(values={"score": [1.0] * 9}), None)
    second, later = drift.judge(Window.of(values={"score": [1.6] * 9}), memory)

    assert (first.level, second.level) == (Level.OK, Level.CRITICAL)
    assert memory == {"slow": 1.0}
    assert later == {"slow": pytest.approx(1.06)}
    assert second.evidence["slow"] == 1.0


def test_a_criterion_without_measure_or_judge_says_what_to_override():
    """The bare class cannot measure."""
    with pytest.raises(NotImplementedError, match="override measure"):
        Criterion("bare", alert=1).judge(Window(), None)


def test_a_criterion_cannot_be_changed():
    """One object serves many hosts."""
    for criterion in (Never("d"), Criterion("bare", alert=1)):
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            criterion.alert = 2.0


def test_a_criterion_is_a_plugin_that_supplies_itself():
    """Registered, it is among the criteria; two equal ones stay two."""
    one, two = Never("d"), Never("d")

    assert one.legion_register_criteria() == [one]
    assert one != two
    assert len({one, two}) == 2


@pytest.mark.parametrize(
    ("make", "write"),
    [
        (lambda: Ceiling("a"), "write warning="),
        (lambda: Ceiling("a", warning=0.5, alert=0.2), "rise from warning"),
        (lambda: Ceiling("a", warning=0.2, alert=0.2), "rise from warning"),
        (lambda: Floor("a", warning=0.5, alert=0.7), "fall from warning"),
        (lambda: Ceiling("a", of="gauge", warning=True), "finite number"),
        (lambda: Ceiling("a", of="gauge", warning="5%"), "finite number"),
        (lambda: Ceiling("a", of="gauge", alert=math.nan), "finite number"),
        (lambda: Ceiling("a", of="gauge", alert=math.inf), "finite number"),
        (lambda: Ceiling("a", warning=5), "0.05 for 5 %"),
        (lambda: Ceiling("error rate", alert=0.1), "identifier"),
        (lambda: Ceiling("", alert=0.1), "identifier"),
        (lambda: Ceiling(7, alert=0.1), "identifier"),
        (lambda: Ceiling("a", alert=0.1, metric=7), "name of a metric"),
        (lambda: Ceiling("a", alert=0.1, min_events=-1), "whole number"),
        (lambda: Ceiling("a", alert=0.1, min_events=0), "whole number, 1 or up"),
        (lambda: Ceiling("a", alert=0.1, min_events=1.5), "whole number"),
        (lambda: Ceiling("a", alert=0.1, min_events=True), "whole number"),
        (lambda: Ceiling("a", of="p90", alert=0.1), "p95 or p99"),
        (lambda: legion.criterion(alert=0.1)(lambda window: 1), "identifier"),
        (lambda: legion.criterion(math.isnan), "write the brackets"),
        (lambda: legion.criterion("toxic"), "write the brackets"),
        (lambda: legion.criterion(alert=0.1)("toxic"), "decorate a function"),
        (lambda: legion.criterion(alert=0.1)(asyncio.sleep), "async"),
        (lambda: legion.criterion(alert=0.1)(lambda: 1), "one argument"),
    ],
)
def test_a_malformed_criterion_is_refused(make, write):
    """The error says what to write instead."""
    with pytest.raises(CriterionError, match=write):
        make()


def test_other_limits_make_another_criterion():
    """`limited` leaves the criterion as it is, and checks what it is given."""
    criterion = Ceiling("a", warning=0.1, alert=0.2, critical=0.3)

    other = criterion.limited({"warning": 0.15, "critical": None})

    assert other.limits == Limits(0.15, 0.2, None)
    assert criterion.limits == Limits(0.1, 0.2, 0.3)
    with pytest.raises(CriterionError, match="rise"):
        criterion.limited({"warning": 0.25})
    with pytest.raises(CriterionError, match="write warning, alert or critical"):
        criterion.limited({"warn": 0.1})


def test_a_criterion_that_makes_itself_cannot_be_limited_silently():
    """An __init__ of its own that takes no limits is named."""

    class Own(Criterion):
        def __init__(self):
            super().__init__("own", alert=1.0)

    with pytest.raises(CriterionError, match="__init__"):
        Own().limited({"alert": 2.0})


def test_a_value_that_is_no_number_is_refused():
    """NaN and infinity are not measurements."""
    for value in (math.nan, math.inf):
        with pytest.raises(ValueError, match="return None"):
            Never("d").verdict(value)


def test_features_come_from_the_table():
    """What the table says of a metric holds for the criterion, unless it says so."""
    assert Floor("cache_hit_rate", alert=0.5).features == ("l4_cache",)
    assert Floor("x", metric="cache_hit_rate", alert=0.5).features == ("l4_cache",)
    assert Floor("cache_hit_rate", alert=0.5, features=()).features == ()
    assert Ceiling("toxicity", alert=0.5).features == ()


@settings(max_examples=150, deadline=None)
@given(
    limits=st.lists(st.floats(0.01, 0.99), min_size=1, max_size=3, unique=True).map(
        sorted
    ),
    values=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    lower=st.booleans(),
)
def test_a_worse_value_never_has_a_milder_level(limits, values, lower):
    """Levels rise with the value, or fall with it where less is worse."""
    ordered = sorted(limits, reverse=lower)
    chosen = Limits(
        **dict(zip(("warning", "alert", "critical"), ordered, strict=False))
    )
    mild, bad = sorted(values, reverse=lower)

    assert chosen.fault(lower_is_worse=lower) is None
    assert chosen.level(mild, lower_is_worse=lower) <= chosen.level(
        bad, lower_is_worse=lower
    )
