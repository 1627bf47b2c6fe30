"""Plain thresholds: enough evidence, fresh evidence, and what survives a restart."""

from __future__ import annotations

import json

import pytest

from legion.metrics import METRICS
from legion.model import Count, Gauge, Missing, Observation, Window
from legion.stages import Rule
from legion.stages.evidence import Known, Stay, ThresholdEvidence
from legion.stats import LogHistogram


def evidence(rule, *, trigger=True, min_events=100, interval_s=60.0, **keywords):
    return ThresholdEvidence(
        rule,
        metric=METRICS[rule.metric],
        trigger=trigger,
        interval_s=interval_s,
        min_events=min_events,
        **keywords,
    )


def window(at_s, *, seconds=60.0, baseline=None, **kept):
    return Window(
        opened_s=at_s - seconds,
        closed_s=at_s,
        counts={k: v for k, v in kept.items() if isinstance(v, Count)},
        gauges={k: v for k, v in kept.items() if isinstance(v, Gauge)},
        histograms={k: v for k, v in kept.items() if isinstance(v, LogHistogram)},
        baseline=baseline,
    )


def see(one, at_s, *, control=None, **kept):
    """Show one minute that ends at *at_s*."""
    other = None if control is None else window(at_s, **control)
    seen = window(at_s, baseline=other, **kept)
    one.update(
        Known().see(
            Observation(at_s=at_s, candidate=seen, control=other), Stay(1, 0.05)
        )
    )
    return one.finding()


ABOVE = Rule(metric="error_rate", above=0.05)
WORSE = Rule(metric="error_rate", versus="baseline", worse_by=0.5)


def test_a_trigger_waits_for_enough_events():
    """Nine failures of nine are no proof where a hundred events are asked for."""
    one = evidence(ABOVE)
    finding = see(one, 60.0, error_rate=Count(9, 9))

    assert finding.missing is Missing.INCONCLUSIVE
    assert "9 of 100 events" in finding.reason
    assert one.log_bad == 0.0


def test_windows_add_up_until_there_are_enough():
    """The window stays open, and closes with the events it was waiting for."""
    one = evidence(ABOVE)
    see(one, 60.0, error_rate=Count(9, 60))

    assert see(one, 120.0, error_rate=Count(9, 60)).met


def test_a_comparison_waits_for_the_baseline_too():
    """Enough of the candidate and too little of control is not enough."""
    one = evidence(WORSE)
    finding = see(
        one, 60.0, error_rate=Count(50, 500), control={"error_rate": Count(0, 99)}
    )

    assert finding.missing is Missing.INCONCLUSIVE
    assert see(
        one, 120.0, error_rate=Count(50, 500), control={"error_rate": Count(0, 99)}
    ).met


@pytest.mark.parametrize(("bad", "met"), [(4, False), (5, True)])
def test_a_handful_of_failures_is_no_harm(bad, met):
    """A share is worse than the baseline's only with five bad events."""
    one = evidence(WORSE)
    finding = see(
        one, 60.0, error_rate=Count(bad, 100), control={"error_rate": Count(0, 100)}
    )

    assert finding.met is met


def test_a_trigger_reads_the_newest_window():
    """What is over is over: the trigger does not fire for it again."""
    one = evidence(ABOVE)
    assert see(one, 60.0, error_rate=Count(50, 100)).met

    assert not see(one, 120.0, error_rate=Count(0, 100)).met


def test_what_a_stage_must_prove_is_read_over_the_whole_stage():
    """One good minute after a bad one proves nothing."""
    one = evidence(Rule(metric="error_rate", below=0.05), trigger=False)
    see(one, 60.0, error_rate=Count(50, 100))

    assert not see(one, 120.0, error_rate=Count(0, 100)).met
    assert one.log_good == 0.0


def test_a_fact_fires_at_once():
    """Chance has no part in a bypass: one is enough, however short the window."""
    one = evidence(Rule(metric="safety_gate_bypasses", above=0))

    assert see(one, 1.0, safety_gate_bypasses=Count(1)).met


def test_a_fact_is_not_forgotten_by_the_next_window():
    """It is read over the whole stage."""
    one = evidence(Rule(metric="safety_gate_bypasses", above=0))
    see(one, 60.0, safety_gate_bypasses=Count(1))

    assert see(one, 120.0, safety_gate_bypasses=Count(0)).met


def test_a_share_whose_source_died_goes_stale():
    """Three checks without enough events, and there is no evidence any more."""
    one = evidence(ABOVE)
    see(one, 60.0, error_rate=Count(0, 100))
    findings = [see(one, 60.0 * n) for n in range(2, 6)]

    assert [finding.missing for finding in findings] == [
        *[None] * 3,
        Missing.STALE,
    ]


@pytest.mark.parametrize("trigger", [True, False])
def test_a_counter_whose_source_died_goes_stale(trigger):
    """Nobody says zero any more, so nothing is known: not even that it is zero."""
    rule = Rule(
        metric="safety_gate_bypasses", **({"above": 0} if trigger else {"equals": 0})
    )
    one = evidence(rule, trigger=trigger)
    see(one, 60.0, safety_gate_bypasses=Count(0))
    findings = [see(one, 60.0 * n) for n in range(2, 6)]

    assert [finding.missing for finding in findings] == [*[None] * 3, Missing.STALE]
    assert see(one, 360.0, safety_gate_bypasses=Count(0)).missing is None


def test_a_level_whose_source_died_goes_stale():
    """The last sample does not stand for ever."""
    one = evidence(Rule(metric="memory_usage", above=0.9))
    see(one, 60.0, memory_usage=Gauge.of(0.3))
    for n in range(2, 6):
        finding = see(one, 60.0 * n)

    assert finding.missing is Missing.STALE


def test_a_slow_counter_has_three_times_its_own_time():
    """What comes once an hour is not stale after four minutes."""
    one = evidence(Rule(metric="crashes", above=0))
    see(one, 60.0)
    see(one, 3_600.0, crashes=Count(0))
    for at_s in (3_900.0, 7_200.0, 14_000.0):
        assert see(one, at_s).missing is None

    assert see(one, 15_000.0).missing is Missing.STALE


def test_never_measured_is_no_zero():
    """Without a single sample there is no level."""
    one = evidence(Rule(metric="crashes", above=0))

    assert see(one, 60.0).missing is Missing.NO_DATA


def test_why_it_cannot_be_measured_is_said():
    """The source's own error is the reason."""
    one = evidence(ABOVE)
    broken = Window(opened_s=0.0, closed_s=60.0, errors={"error_rate": "disk on fire"})
    one.update(Known().see(Observation(at_s=60.0, candidate=broken), Stay(1, 0.05)))
    finding = one.finding()

    assert finding.missing is Missing.ERROR
    assert "disk on fire" in finding.reason


def test_a_latency_is_compared_by_its_quantile():
    """Half as slow again at the 95th percentile, with enough events of both."""
    one = evidence(Rule(metric="latency_p95", versus="baseline", worse_by=0.5))
    control = {"latency": LogHistogram.of([0.02] * 200)}
    slow = LogHistogram.of([0.02] * 180 + [0.05] * 20)

    assert not see(one, 60.0, latency=control["latency"], control=control).met
    assert see(one, 120.0, latency=slow, control=control).met


@pytest.mark.parametrize("trigger", [True, False])
def test_it_goes_on_after_a_restart_as_if_there_had_been_none(trigger):
    """Whatever was seen, the restored one finds the same now and later."""
    rule = WORSE if trigger else Rule(metric="error_rate", below=0.05)
    one = evidence(rule, trigger=trigger)
    control = {"error_rate": Count(1, 70)}
    for n in range(1, 4):
        see(one, 60.0 * n, error_rate=Count(6, 70), control=control)
    other = evidence(rule, trigger=trigger)
    other.restore(json.loads(json.dumps(one.to_json())))

    assert other.finding() == one.finding()
    for n in range(4, 12):
        kept = {"error_rate": Count(1, 70)} if n < 6 else {}
        assert see(one, 60.0 * n, **kept) == see(other, 60.0 * n, **kept)


def test_a_rate_waits_for_its_period():
    """Three a day cannot be told before a day is over."""
    rule = Rule(metric="patches_applied", at_least=3, per="day")
    one = evidence(rule, trigger=False)
    finding = see(one, 60.0, patches_applied=Count(9))

    assert finding.missing is Missing.INCONCLUSIVE
