"""Evidence of rules: what counts, once a unit, and what is never taken for proof."""

from __future__ import annotations

import json
import math
import random

import attrs
import pytest

from hypothesis import given, settings
from hypothesis import strategies as st

import legion

from legion.metrics import find
from legion.model import Arm, Count, Gauge, Observation, Pairs, Window
from legion.stages import Rule
from legion.stages.evidence import (
    BothEvidence,
    ComparedEvidence,
    Known,
    LimitEvidence,
    Past,
    RowEvidence,
    Seen,
    Stay,
    ThresholdEvidence,
    Watch,
    edges,
)
from legion.stats import LogHistogram, Side


ERRORS = find("error_rate")
P95 = find("latency_p95")
HERE = Stay(1, 0.05)


def units(n, of=0, *, first=0):
    return frozenset(range(first, first + n)), of


def observed(candidate, control=(0, 0), *, name="error_rate", at_s=60.0, pairs=None):
    """An observation of (bad, all) units of each arm."""
    (bad, n), (bad_c, n_c) = candidate, control
    base = int(at_s) << 32
    return Observation(
        at_s=at_s,
        candidate=Window(
            units={name: n}, bad_units={name: frozenset(range(base, base + bad))}
        ),
        control=Window(
            units={name: n_c},
            bad_units={name: frozenset(range(base + 10**6, base + 10**6 + bad_c))},
        ),
        pairs={} if pairs is None else {name: pairs},
    )


def seen(*arguments, sticky=False, **keywords):
    return Known(sticky=sticky).see(observed(*arguments, **keywords), HERE)


def compared(*, trigger=True, margin=0.25, share=0.05, metric=ERRORS, **test):
    test = test or ({"worse_by": 0.5} if trigger else {"margin": margin})
    return ComparedEvidence(
        Rule(metric=metric.name, unit=metric.unit, versus="baseline", **test),
        metric=metric,
        trigger=trigger,
        margin=margin,
        share=share,
        alpha=0.01,
        stale_s=900.0,
    )


def limit(*, trigger=True, metric=ERRORS, **test):
    return LimitEvidence(
        Rule(metric=metric.name, unit=metric.unit, **(test or {"above": 0.1})),
        metric=metric,
        trigger=trigger,
        alpha=0.01,
        stale_s=900.0,
    )


def test_equal_arms_say_nothing_and_ten_times_as_bad_is_proof():
    """At 5 % of the units, 5 % of the bad ones are no evidence; a third of them is."""
    same, worse = compared(), compared()
    same.update(seen((50, 5_000), (950, 95_000)))
    worse.update(seen((500, 5_000), (950, 95_000)))

    assert same.log_bad < 0
    assert worse.log_bad > -math.log(0.01)
    assert worse.finding().met is True
    assert same.finding().met is False


def test_what_may_be_promoted_is_not_taken_back():
    """A tenth worse is within the margin of a quarter, however much traffic there is."""
    within = compared(margin=0.25)
    within.update(seen((55_000, 5_000_000), (950_000, 95_000_000)))

    assert within.log_bad < 0


def test_a_margin_is_proven_only_by_enough_bad_units():
    """Equal arms prove RR < 1.25 at thousands of bad units, and not at a hundred."""
    few, many = compared(trigger=False), compared(trigger=False)
    few.update(seen((5, 500), (95, 9_500)))
    many.update(seen((500, 50_000), (9_500, 950_000)))

    assert few.finding().met is False
    assert many.finding().met is True


def test_a_floor_proves_what_is_too_rare_to_compare_and_forgives_it():
    """With or_below, three errors against none are no harm; a thousand clean prove."""
    harm = compared(worse_by=0.5, or_below=0.005)
    proof = compared(trigger=False, margin=0.25, or_below=0.005)
    bare = compared(margin=0.0, worse_by=0.5)
    for one in (harm, bare):
        one.update(seen((3, 3_000), (0, 57_000)))
    proof.update(seen((0, 3_000), (0, 57_000)))

    assert bare.log_bad > math.log(10)
    assert harm.log_bad <= 0
    assert proof.finding().met is True


def test_mirrored_units_are_compared_in_pairs():
    """What fails in both arms is no evidence; what fails in the candidate only is."""
    same, worse = compared(share=0.0), compared(share=0.0)
    same.update(seen((50, 1_000), (50, 1_000), pairs=Pairs(n=1_000, both=50)))
    worse.update(
        seen((90, 1_000), (50, 1_000), pairs=Pairs(n=1_000, both=50, candidate=40))
    )

    assert same.log_bad < 0
    assert worse.finding().met is True


def test_a_user_is_bad_once_in_a_stay():
    """The same users failing again are no new draws, in this process and the next."""
    known = Known(sticky=True)
    again = observed((20, 100), (0, 1_900))
    first, second = known.see(again, HERE), known.see(again, HERE)

    assert first.first[Arm.CANDIDATE] == {"error_rate": 20}
    assert second.first[Arm.CANDIDATE] == {"error_rate": 0}
    assert len(known.new) == 20
    units = {"error_rate": {u: 0 for _, u in known.new}}
    assert Known(units, sticky=True, stay=HERE.entry).see(again, HERE).first[
        Arm.CANDIDATE
    ] == {"error_rate": 0}


def test_what_is_counted_by_event_cannot_compare_arms():
    """A host's own counter has no units, so it holds instead of being tested."""
    one = compared()
    window = Window(counts={"error_rate": Count(50, 100)})
    one.update(
        Seen(
            at=HERE,
            observation=Observation(at_s=60.0, candidate=window, control=window),
            first={arm: {} for arm in Arm},
        )
    )
    finding = one.finding()

    assert finding.missing is legion.Missing.INCONCLUSIVE
    assert "record it by unit" in finding.reason
    assert one.log_bad == 0


@pytest.mark.parametrize(
    ("make", "missing"),
    [
        (lambda one: None, legion.Missing.NO_DATA),
        (lambda one: one.update(seen((0, 10), (0, 0))), legion.Missing.INCONCLUSIVE),
        (
            lambda one: (
                one.update(seen((0, 10), (0, 10))),
                one.update(seen((0, 0), (0, 0), at_s=5_000.0)),
            ),
            legion.Missing.STALE,
        ),
    ],
)
def test_absence_is_told_apart(make, missing):
    """Nothing, one arm only, and nothing lately are three things; none is met."""
    one = compared(trigger=False)
    make(one)

    assert one.finding().missing is missing
    assert one.finding().met is None


@pytest.mark.parametrize("silent", Arm)
def test_what_was_proven_is_stale_where_one_arm_falls_silent(silent):
    """Units of the other arm keep no old proof fresh; those that come again do."""
    one, alone = compared(trigger=False, margin=1.0), limit(trigger=False)
    for at_s in (60.0, 120.0, 180.0):
        for each in (one, alone):
            each.update(seen((10, 1_000), (190, 19_000), at_s=at_s))
    assert one.finding().met

    for at_s in range(240, 1_200, 60):
        gone = silent is Arm.CANDIDATE
        some = ((0, 0), (0, 19_000)) if gone else ((0, 1_000), (0, 0))
        for each in (one, alone):
            each.update(seen(*some, at_s=float(at_s)))

    assert one.finding().missing is legion.Missing.STALE
    assert one.finding().met is None
    who = "the candidate" if silent is Arm.CANDIDATE else "control"
    assert one.finding().reason.endswith(f"nothing recorded lately of {who}")
    gone = silent is Arm.CANDIDATE
    assert (alone.finding().missing is legion.Missing.STALE) is gone

    one.update(seen((10, 1_000), (190, 19_000), at_s=1_200.0))
    assert one.finding().met


def test_units_that_come_seldom_are_not_stale_at_once():
    """They may take three times as long as the one before did."""
    one = compared(trigger=False, margin=1.0)
    for at_s in (60.0, 1_260.0, 2_460.0):
        one.update(seen((30, 3_000), (570, 57_000), at_s=at_s))
    one.update(seen((0, 0), (10, 1_000), at_s=6_000.0))
    assert one.finding().met
    one.update(seen((0, 0), (10, 1_000), at_s=6_120.0))
    assert one.finding().missing is legion.Missing.STALE


def test_a_limit_is_harm_only_where_control_is_better():
    """An outage that hits both arms takes nothing back; a fault of one does."""

    def both():
        return BothEvidence(limit(), compared(margin=0.0), alpha=0.01)

    outage, fault = both(), both()
    outage.update(seen((250, 1_000), (4_750, 19_000)))
    fault.update(seen((250, 1_000), (190, 19_000)))

    assert outage.limit.log_bad > 50
    assert outage.log_bad <= 0
    assert fault.finding().met is True


def test_a_higher_share_may_be_the_better_one():
    """At least 80 % hits is proven by few misses."""
    hits = find("cache_hit_rate")
    proof = limit(trigger=False, metric=hits, at_least=0.8)
    window = Window(counts={"cache_hit_rate": Count(950, 1_000)})
    proof.update(
        Seen(
            at=HERE,
            observation=Observation(at_s=60.0, candidate=window),
            first={arm: {} for arm in Arm},
        )
    )
    finding = proof.finding()

    assert finding.met is True
    assert finding.value == 0.95
    assert finding.evidence["by"] == "event"


def test_edges_move_with_control_and_round_to_the_careful_side():
    """Harm needs a slower candidate than the margin says, proof a faster one."""
    draw = random.Random(3)
    past = Past()
    for _ in range(40):
        past = past.plus(
            LogHistogram.of(0.1 * draw.lognormvariate(0, 0.5) for _ in range(100))
        )
    harm, proof = edges(
        [
            Watch(name="h", metric=P95, side=Side.HARM, slower=0.05),
            Watch(name="p", metric=P95, side=Side.PROOF, slower=0.05),
        ],
        {"latency": past},
    )

    assert past.all.count <= 9 * 300
    assert harm.control == proof.control
    assert harm.candidate >= harm.control * 1.05
    assert proof.candidate <= proof.control * 1.05
    assert harm.control == pytest.approx(0.1 * math.exp(0.5 * 1.645), rel=0.15)


def test_no_edge_is_drawn_from_too_short_a_past():
    """Fewer than a hundred of control's values say nothing of its tail."""
    past = Past().plus(LogHistogram.of([0.1] * 99))

    assert not list(edges([Watch(name="h", metric=P95)], {"latency": past}))


@given(
    st.lists(
        st.tuples(st.integers(0, 9), st.integers(0, 90), st.integers(0, 9)),
        max_size=8,
    ),
    st.sampled_from([0.0, 0.05, 0.25]),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_evidence_survives_a_restart(looks, share, trigger):
    """Whatever was seen, what is restored goes on exactly as what never stopped."""
    floor = {"or_below": 0.01}
    test = {"worse_by": 0.5, **floor} if trigger else {"margin": 0.25, **floor}
    one = compared(trigger=trigger, share=share, **test)
    for at, (bad, bad_c, shared) in enumerate(looks):
        both = min(shared, bad, bad_c)
        pairs = Pairs(n=200, both=both, candidate=bad - both, control=bad_c - both)
        one.update(seen((bad, 100), (bad_c, 900), at_s=60.0 * at, pairs=pairs))
        other = compared(trigger=trigger, share=share, **test)
        other.restore(json.loads(json.dumps(one.to_json())))
        assert other.finding() == one.finding()
        assert other.to_json() == one.to_json()
        one = other


def rowed(streak, *, bad):
    """A row of so many unhealthy checks beside so many bad units of the candidate."""
    health = find("health_check")
    reading = ThresholdEvidence(
        Rule(metric="health_check", unit="count", failures_in_a_row=3),
        metric=health,
        trigger=True,
        interval_s=60.0,
        min_events=1,
    )
    criteria = {
        "error_rate": BothEvidence(limit(above=0.05), compared(margin=0.0), alpha=0.01)
    }
    one = RowEvidence(reading, criteria, alpha=0.01)
    shown = observed((bad, 1_000), (190, 19_000))
    window = attrs.evolve(
        shown.candidate, gauges={"health_check": Gauge.of(float(streak))}
    )
    one.update(Known(sticky=False).see(attrs.evolve(shown, candidate=window), HERE))
    return one


def test_a_row_alone_takes_nothing_back_and_neither_does_proof_without_a_row():
    """Three in a row open the door; only evidence against the alert goes through."""
    assert rowed(3, bad=10).log_bad <= 0
    assert rowed(2, bad=400).log_bad <= 0
    both = rowed(3, bad=400)
    assert both.log_bad > -math.log(0.01)
    assert both.finding().met is True
    assert both.finding().evidence["worst"] == "error_rate"
