"""The watchdog: windows that close, levels, rows, and what has no level and why."""

from __future__ import annotations

import attrs
import pytest

from hypothesis import given, settings
from hypothesis import strategies as st

import legion

from legion.criteria import Ceiling, Criterion, Floor, Never, Rise
from legion.exceptions import CriterionError
from legion.model import Gauge, Level, Missing, Observation, Window
from legion.watchdog import Watchdog
from legion.watchdog.opening import MOST_UNITS


@attrs.define
class Some:
    """Criteria that may come and go."""

    criteria: dict

    @classmethod
    def of(cls, *criteria):
        return cls({criterion.name: criterion for criterion in criteria})


TOXIC = Ceiling("toxic", warning=0.01, alert=0.03, critical=0.05, min_events=100)


def seen(at_s, *, length_s=60.0, control=None, exposure="", **given):
    """An observation of the minute before *at_s*."""
    times = {"opened_s": at_s - length_s, "closed_s": at_s}
    return Observation(
        at_s=at_s,
        candidate=Window.of(**given, **times),
        control=None if control is None else Window.of(**control, **times),
        exposure=exposure,
    )


def toxic(at_s, n, of, **more):
    return seen(at_s, shares={"toxic": (n, of)}, **more)


def only(report):
    (verdict,) = report.verdicts
    return verdict


def test_it_judges_all_21_in_the_order_of_their_names():
    """With `Plugins` all are asked, and the report names the observation."""
    observation = seen(300.0, length_s=300.0, shares={"error_rate": (2, 200)})
    report = legion.Watchdog(legion.Plugins()).judge(observation)

    names = [verdict.criterion for verdict in report.verdicts]
    assert len(names) == 21
    assert names == sorted(names)
    assert report.verdict("error_rate").level is Level.OK
    assert report.level is Level.OK
    assert report.observation == observation.digest
    assert report.at_s == 300.0
    assert len(report.missing()) == 20


def test_a_window_closes_when_it_is_over_and_full():
    """Neither the interval alone nor the events alone are enough."""
    watchdog = Watchdog(Some.of(TOXIC), interval_s=120.0)

    full_too_soon = only(watchdog.judge(toxic(60.0, 0, 500)))
    assert full_too_soon.missing is Missing.INCONCLUSIVE
    assert full_too_soon.code == "window_open"
    assert "60 s of 120 s" in full_too_soon.reason
    closed = only(watchdog.judge(toxic(120.0, 0, 5)))
    assert closed.level is Level.OK
    assert closed.evidence["events"] == 505
    assert closed.evidence["window_s"] == 120.0
    assert closed.closed_s == 120.0

    for at_s in (180.0, 240.0, 300.0):
        waits = only(watchdog.judge(toxic(at_s, 3, 30)))
        assert waits.missing is Missing.INCONCLUSIVE
    assert waits.reason == "toxic: 90 of 100 events after 180 s"
    judged = only(watchdog.judge(toxic(360.0, 0, 30)))
    assert judged.value == pytest.approx(9 / 120)
    assert judged.level is Level.CRITICAL


def test_windows_are_disjoint():
    """What was judged is not judged again."""
    watchdog = Watchdog(Some.of(TOXIC), interval_s=60.0)

    assert only(watchdog.judge(toxic(60.0, 50, 100))).level is Level.CRITICAL
    assert only(watchdog.judge(toxic(120.0, 0, 100))).level is Level.OK


def test_a_tick_may_come_a_little_early():
    """An interval is over a hundredth before its end: no tick is exact."""
    watchdog = Watchdog(Some.of(TOXIC), interval_s=300.0)

    early = watchdog.judge(toxic(299.0, 0, 100, length_s=299.0))
    assert only(early).level is Level.OK
    too_early = watchdog.judge(toxic(589.0, 0, 100, length_s=290.0))
    assert only(too_early).code == "window_open"


def test_the_interval_may_change_between_two_ticks():
    """The stage sets the interval."""
    watchdog = Watchdog(Some.of(TOXIC))
    assert watchdog.interval_s == 300.0
    assert only(watchdog.judge(toxic(60.0, 0, 100))).level is None
    watchdog.interval_s = 60.0
    assert only(watchdog.judge(toxic(120.0, 0, 100))).level is Level.OK


def test_a_pause_of_the_process_is_not_observed_time():
    """A gap between two windows does not make an interval of them."""
    watchdog = Watchdog(Some.of(TOXIC), interval_s=300.0)
    watchdog.judge(toxic(60.0, 0, 100))

    after = only(watchdog.judge(toxic(36_000.0, 0, 100)))

    assert after.code == "window_open"
    assert "120 s of 300 s" in after.reason


def test_sampled_levels_and_counters_close_at_every_interval():
    """One sample of a gauge, or a counter that is supplied, is enough."""
    memory = Ceiling("memory_usage", of="gauge", unit="share", critical=0.95)
    watchdog = Watchdog(Some.of(memory, Never("bypasses")), interval_s=60.0)

    for at_s, bypasses in ((60.0, 0), (120.0, 1), (180.0, 0)):
        report = watchdog.judge(
            seen(at_s, gauges={"memory_usage": 0.3}, counts={"bypasses": bypasses})
        )
        assert report.verdict("memory_usage").level is Level.OK
        level = Level.CRITICAL if bypasses else Level.OK
        assert report.verdict("bypasses").level is level


def test_nothing_recorded_is_no_data():
    """Silence has no level, and time without data does not count as a window."""
    watchdog = Watchdog(Some.of(TOXIC, Never("bypasses")), interval_s=60.0)

    for at_s in (60.0, 120.0, 180.0, 240.0):
        report = watchdog.judge(seen(at_s))
        for verdict in report.verdicts:
            assert verdict.missing is Missing.NO_DATA
            assert verdict.code == "no_data"
    short = only_of(watchdog.judge(toxic(245.0, 0, 100, length_s=5.0)), "toxic")
    assert "5 s of 60 s" in short.reason


def only_of(report, name):
    return report.verdict(name)


def test_a_source_that_raised_is_an_error_with_its_reason():
    """The window's errors say why nothing was recorded."""
    watchdog = Watchdog(Some.of(TOXIC), interval_s=60.0)

    window = Window(closed_s=60.0, errors={"toxic": "two sources claim it"})
    verdict = only(watchdog.judge(Observation(at_s=60.0, candidate=window)))

    assert verdict.missing is Missing.ERROR
    assert verdict.code == "source_failed"
    assert "two sources claim it" in verdict.reason


def test_a_plugin_that_failed_is_named():
    """A failed source is known by its plugin's name; it is an error where it is new."""
    watchdog = Watchdog(Some.of(TOXIC), interval_s=60.0)
    failed = Window(closed_s=60.0, errors={"my-probe": "OSError: gone"})

    never_seen = only(watchdog.judge(Observation(at_s=60.0, candidate=failed)))
    assert never_seen.missing is Missing.NO_DATA
    assert "my-probe: OSError: gone" in never_seen.reason

    watchdog.judge(toxic(120.0, 0, 100))
    was_there = only(watchdog.judge(Observation(at_s=180.0, candidate=failed)))
    assert was_there.missing is Missing.ERROR
    assert "OSError: gone" in was_there.reason


def test_what_was_judged_long_ago_is_stale():
    """After three intervals, or what is set, missing evidence is called stale."""
    for stale_after_s, fresh_s, stale_s in (
        (None, 240.0, 241.0),
        (100.0, 160.0, 161.0),
    ):
        watchdog = Watchdog(
            Some.of(TOXIC), interval_s=60.0, stale_after_s=stale_after_s
        )
        watchdog.judge(toxic(60.0, 0, 100))
        assert only(watchdog.judge(seen(fresh_s))).missing is Missing.NO_DATA
        assert only(watchdog.judge(seen(stale_s))).missing is Missing.STALE

    watchdog = Watchdog(Some.of(TOXIC), interval_s=60.0)
    watchdog.judge(toxic(60.0, 0, 100))
    assert only(watchdog.judge(toxic(120.0, 0, 1))).missing is Missing.INCONCLUSIVE
    late = only(watchdog.judge(toxic(301.0, 0, 1)))
    assert (late.missing, late.code) == (Missing.STALE, "stale")
    assert "2 of 100 events" in late.reason


def test_rare_evidence_is_not_stale_so_soon():
    """Where a window takes long, three times as long is waited for the next."""
    watchdog = Watchdog(Some.of(TOXIC), interval_s=60.0)
    for minute in range(1, 11):
        verdict = only(watchdog.judge(toxic(60.0 * minute, 0, 10)))
    assert verdict.level is Level.OK
    assert verdict.evidence["window_s"] == 600.0

    assert only(watchdog.judge(toxic(2_300.0, 0, 1))).missing is Missing.INCONCLUSIVE
    assert only(watchdog.judge(toxic(2_460.0, 0, 1))).missing is Missing.STALE


def test_unhealthy_windows_in_a_row_are_counted():
    """A row counts closed windows, is kept while there is no level, and ends at OK."""
    watchdog = Watchdog(Some.of(TOXIC), interval_s=60.0)
    rows = []
    for at_s, n, of in (
        (60.0, 3, 100),
        (120.0, 1, 50),
        (180.0, 4, 50),
        (240.0, 0, 0),
        (300.0, 9, 100),
        (360.0, 1, 100),
        (420.0, 3, 100),
    ):
        rows.append(only(watchdog.judge(toxic(at_s, n, of))).in_a_row)

    assert rows == [1, 0, 2, 0, 3, 0, 1]


def test_the_last_verdict_with_a_level_can_be_asked():
    """`last` skips verdicts without a level."""
    watchdog = Watchdog(Some.of(TOXIC), interval_s=60.0)
    assert watchdog.last("toxic") is None
    judged = only(watchdog.judge(toxic(60.0, 3, 100)))
    watchdog.judge(toxic(120.0, 0, 1))

    assert watchdog.last("toxic") == judged
    assert watchdog.last("unheard_of") is None


RISE = Rise("cost", of="mean", warning=0.2, alert=0.5, min_events=50)


def cost(at_s, candidate, control=None):
    return seen(
        at_s,
        values={"cost": candidate},
        control=None if control is None else {"values": {"cost": control}},
    )


def test_a_rise_waits_for_both_arms():
    """The minimum of events holds for the baseline as well."""
    watchdog = Watchdog(Some.of(RISE), interval_s=60.0)

    waits = only(watchdog.judge(cost(60.0, [2.0] * 80, [1.0] * 30)))
    assert waits.missing is Missing.INCONCLUSIVE
    assert waits.reason == "cost: 30 of 50 events in the baseline"
    judged = only(watchdog.judge(cost(120.0, [1.0] * 80, [1.0] * 30)))
    assert judged.value == pytest.approx(0.5)
    assert judged.evidence["baseline_events"] == 60
    assert judged.level is Level.ALERT


def test_a_rise_takes_a_stored_baseline_where_there_is_no_control():
    """Candidate's own baseline first, then control's window, then the stored one."""
    stored = Window.of(values={"cost": [4.0] * 60})
    control = {"values": {"cost": [2.0] * 60}}

    def value(observation, baseline=None):
        watchdog = Watchdog(Some.of(RISE), interval_s=60.0)
        return only(watchdog.judge(observation, baseline)).value

    plain = cost(60.0, [6.0] * 60)
    both = seen(60.0, values={"cost": [6.0] * 60}, control=control)
    own = Window.of(values={"cost": [3.0] * 60})
    assert value(plain, stored) == pytest.approx(0.5)
    assert value(both, stored) == pytest.approx(2.0)
    candidate = attrs.evolve(both.candidate, baseline=own)
    assert value(attrs.evolve(both, candidate=candidate), stored) == pytest.approx(1.0)
    alone = attrs.evolve(plain, candidate=attrs.evolve(candidate, baseline=own))
    assert value(alone, stored) == pytest.approx(1.0)


def test_without_any_baseline_there_is_no_level_and_no_pile():
    """No baseline is no data, and that candidate's window is not kept for one."""
    watchdog = Watchdog(Some.of(RISE), interval_s=60.0)

    verdict = only(watchdog.judge(cost(60.0, [9.0] * 60)))
    assert (verdict.missing, verdict.code) == (Missing.NO_DATA, "no_baseline")
    later = only(watchdog.judge(cost(120.0, [1.0] * 60, [1.0] * 60)))
    assert later.value == pytest.approx(0.0)


def test_a_stored_baseline_that_is_offered_again_is_not_added_up():
    """A baseline without a control counts once, however often it comes."""
    watchdog = Watchdog(Some.of(RISE), interval_s=180.0)
    stored = Window.of(values={"cost": [1.0] * 20}, closed_s=30.0)
    for minute in (1, 2, 3):
        observation = cost(60.0 * minute, [1.0] * 30)
        candidate = attrs.evolve(observation.candidate, baseline=stored)
        verdict = only(watchdog.judge(attrs.evolve(observation, candidate=candidate)))

    assert verdict.reason == "cost: 20 of 50 events in the baseline"


def test_two_exposures_are_never_in_one_window():
    """When the stage moves, what was half full is dropped."""
    watchdog = Watchdog(Some.of(TOXIC), interval_s=60.0)
    watchdog.judge(toxic(60.0, 60, 60, exposure="a"))

    verdict = only(watchdog.judge(toxic(120.0, 0, 100, exposure="b")))

    assert verdict.value == 0.0


def test_limits_hold_for_one_watchdog_only():
    """Other limits, or none, for this watchdog; the criterion stays as it is."""
    criteria = Some.of(TOXIC, Never("bypasses"))
    watchdog = Watchdog(
        criteria, interval_s=60.0, limits={"toxic": {"alert": 0.04}, "bypasses": None}
    )

    verdict = only(watchdog.judge(toxic(60.0, 3, 100)))

    assert verdict.level is Level.WARNING
    assert verdict.limits == {"warning": 0.01, "alert": 0.04, "critical": 0.05}
    assert TOXIC.alert == 0.03
    assert set(watchdog.criteria) == {"toxic"}


def test_limits_that_do_not_fit_are_refused_at_once():
    """When the watchdog is made; a criterion that comes later has no level."""
    with pytest.raises(CriterionError, match="toxic"):
        Watchdog(Some.of(TOXIC), limits={"toxic": {"warning": 0.9}})

    criteria = Some.of()
    watchdog = Watchdog(criteria, interval_s=60.0, limits={"toxic": {"warning": 0.9}})
    criteria.criteria = Some.of(TOXIC, Never("bypasses")).criteria
    report = watchdog.judge(
        seen(60.0, shares={"toxic": (0, 100)}, counts={"bypasses": 0})
    )
    assert report.verdict("toxic").missing is Missing.ERROR
    assert report.verdict("toxic").code == "malformed"
    assert report.verdict("bypasses").level is Level.OK


def test_criteria_come_and_go_while_the_wheel_turns():
    """A new criterion is asked at the next turn, one that is gone is not."""
    plugins = legion.Plugins()
    watchdog = legion.Watchdog(plugins, interval_s=60.0)
    plugins.register(TOXIC)
    assert watchdog.judge(toxic(60.0, 3, 100)).verdict("toxic").level is Level.ALERT
    plugins.block("toxic")
    assert watchdog.judge(toxic(120.0, 3, 100)).verdict("toxic") is None
    plugins.unblock("toxic")
    assert watchdog.judge(toxic(180.0, 3, 100)).verdict("toxic").in_a_row == 2


def test_an_open_window_does_not_grow():
    """Events may be rare for ever: what is kept does not grow with the units."""

    class Wide(Criterion):
        def measure(self, window):
            return window.share("toxic")

    rare = Wide("rare", metric="rare", warning=0.5, min_events=100)
    watchdog = Watchdog(Some.of(TOXIC, rare), interval_s=60.0)
    sizes = []
    for minute in range(1, 41):
        window = attrs.evolve(
            Window.of(
                shares={"toxic": (1, 1), "rare": (0, 1)},
                values={"latency": [0.1, 0.2]},
                opened_s=60.0 * (minute - 1),
                closed_s=60.0 * minute,
            ),
            bad_units={"latency": frozenset(range(100 * minute, 100 * minute + 100))},
        )
        watchdog.judge(Observation(at_s=60.0 * minute, candidate=window))
        sizes.append(len(str(watchdog.to_json())))

    assert sizes[-1] < sizes[8]
    state = watchdog.to_json()["criteria"]
    assert set(state["toxic"]["open"]["counts"]) == {"toxic"}
    assert not state["toxic"]["open"]["histograms"]
    assert not state["rare"]["open"]["bad_units"]
    assert f"{MOST_UNITS:,} units" in state["rare"]["open"]["errors"]["bad_units"]


def test_a_criterion_written_by_hand_sees_every_metric_and_unit():
    """Only the built-in kinds are given less than all."""

    class Spread(Criterion):
        def judge(self, window, memory):
            units = window.bad_units.get("toxic", frozenset())
            assert window.measures("latency")
            return self.verdict(len(units), window=window), memory

    criterion = Spread("spread", metric="toxic", critical=3, min_events=10)
    watchdog = Watchdog(Some.of(criterion), interval_s=120.0)
    for at_s, units in ((60.0, {1, 2}), (120.0, {2, 3})):
        observation = seen(at_s, shares={"toxic": (2, 10)}, values={"latency": [0.1]})
        candidate = attrs.evolve(
            observation.candidate, bad_units={"toxic": frozenset(units)}
        )
        report = watchdog.judge(attrs.evolve(observation, candidate=candidate))

    assert only(report).value == 3.0


def test_times_that_make_no_sense_are_refused():
    """An interval is 0 or up, staleness above 0."""
    for times in ({"interval_s": -1.0}, {"interval_s": float("nan")}):
        with pytest.raises(ValueError, match="interval_s"):
            Watchdog(Some.of(), **times)
    with pytest.raises(ValueError, match="stale_after_s"):
        Watchdog(Some.of(), stale_after_s=0.0)


def test_a_gauge_is_judged_by_its_newest_sample():
    """A level that has fallen again is judged as it is now."""
    criterion = Ceiling("memory_usage", of="gauge", unit="share", critical=0.95)
    watchdog = Watchdog(Some.of(criterion), interval_s=120.0)
    for at_s, value in ((60.0, 0.99), (120.0, 0.30)):
        window = Window(
            opened_s=at_s - 60, closed_s=at_s, gauges={"memory_usage": Gauge.of(value)}
        )
        report = watchdog.judge(Observation(at_s=at_s, candidate=window))

    assert only(report).value == 0.30


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 60), max_size=40))
def test_every_event_is_judged_at_most_once_and_never_on_too_few(sizes):
    """Closed windows hold the minimum; with the open one they hold all there was."""
    watchdog = Watchdog(Some.of(TOXIC), interval_s=60.0)
    judged = 0
    for minute, of in enumerate(sizes, 1):
        verdict = only(watchdog.judge(toxic(60.0 * minute, 0, of)))
        if verdict.level is not None:
            assert verdict.evidence["events"] >= TOXIC.min_events
            judged += verdict.evidence["events"]
    record = watchdog.to_json()["criteria"].get("toxic")
    open_now = record and record["open"]
    waiting = open_now["counts"]["toxic"][1] if open_now else 0

    assert judged + waiting == sum(sizes)


def test_floors_are_judged_as_ceilings_are():
    """Less is worse for a floor, in a watchdog too."""
    hits = Floor("hits", warning=0.75, alert=0.65, min_events=100)
    watchdog = Watchdog(Some.of(hits), interval_s=60.0)

    assert only(watchdog.judge(seen(60.0, shares={"hits": (60, 100)}))).level is (
        Level.ALERT
    )
