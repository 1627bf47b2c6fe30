"""Recording, folding and closing: nothing waits, nothing raises, nothing is lost."""

from __future__ import annotations

import gc
import itertools
import logging
import math
import random
import subprocess
import sys
import threading

import attrs
import numpy as np
import pytest

from hypothesis import given, settings
from hypothesis import strategies as st

from legion.metrics import Kind, Metric
from legion.model import Arm, Count, Gauge, Window
from legion.telemetry import Telemetry
from legion.testing import ManualClock


CONTROL, CANDIDATE = Arm.CONTROL, Arm.CANDIDATE

# Sixty-fourths add up exactly in any order, so equal means equal.
values = (
    st.booleans() | st.integers(0, 1000) | st.integers(-640, 6400).map(lambda n: n / 64)
)
events = st.lists(
    st.tuples(
        st.sampled_from(["flags", "counter", "score"]),
        st.sampled_from(Arm),
        st.integers(0, 2**64 - 1),
        st.just(""),
        st.floats(0, 100),
        values,
    ).filter(lambda event: _kind(event[5]) == event[0]),
    max_size=60,
)


def _kind(value: object) -> str:
    return {bool: "flags", int: "counter", float: "score"}[type(value)]


@pytest.fixture
def clock():
    return ManualClock(start_s=1000.0)


@pytest.fixture
def telemetry(clock):
    return Telemetry(clock)


def flags(telemetry: Telemetry, metric: str, arm: Arm, *given: bool) -> None:
    for unit, flag in enumerate(given):
        telemetry.record((metric, arm, unit, "", 0.0, flag))


def test_the_type_of_a_value_says_what_it_is(telemetry):
    """A bool is an opportunity, a float a value, an int is added to a counter."""
    flags(telemetry, "error_rate", CANDIDATE, True, False, False, False)
    telemetry.record(("latency", CANDIDATE, 1, "", 0.0, 0.5))
    telemetry.record(("crashes", CANDIDATE, 1, "", 0.0, 2))
    telemetry.record(("crashes", CANDIDATE, 2, "", 0.0, 3))
    window = telemetry.close().candidate

    assert window.counts == {"error_rate": Count(1, 4), "crashes": Count(5)}
    assert window.quantile("latency", 0.5) == pytest.approx(0.5, rel=0.01)
    assert window.histograms["latency"].total == 0.5
    assert not window.errors
    assert window.dropped == 0


def test_each_arm_has_its_own_window(telemetry):
    """What control did does not show in the candidate's window, except as baseline."""
    flags(telemetry, "error_rate", CANDIDATE, True)
    flags(telemetry, "error_rate", CONTROL, False, False)
    seen = telemetry.close(plan="p", stage="s", exposure="e")

    assert (seen.plan, seen.stage, seen.exposure) == ("p", "s", "e")
    assert seen.candidate.counts == {"error_rate": Count(1, 1)}
    assert seen.control is not None
    assert seen.control.counts == {"error_rate": Count(0, 2)}
    assert seen.candidate.baseline == seen.control


def test_without_anything_recorded_of_control_there_is_no_baseline(telemetry):
    """Figures of the whole process are no comparison: nobody got the control."""
    flags(telemetry, "error_rate", CANDIDATE, True)
    seen = telemetry.close(sources=lambda _: ({"memory_usage": 0.5}, {}))

    assert seen.candidate.baseline is None
    assert seen.control is not None
    assert seen.control.gauges == {"memory_usage": Gauge.of(0.5)}


def test_what_control_got_wrong_is_no_baseline_either(telemetry):
    """An arm of which nothing could be counted has no data."""
    telemetry.record(("latency", CONTROL, 1, "", 0.0, math.nan))

    assert telemetry.close().candidate.baseline is None


def test_windows_follow_each_other_without_a_gap(telemetry, clock):
    """A window ends, in plan time, where the next one begins, and starts empty."""
    flags(telemetry, "error_rate", CANDIDATE, True)
    clock.advance(60, machine_s=1)
    first = telemetry.close()
    clock.advance(30, machine_s=1)
    second = telemetry.close()

    assert (first.candidate.opened_s, first.candidate.closed_s) == (1000, 1060)
    assert (second.candidate.opened_s, second.candidate.closed_s) == (1060, 1090)
    assert second.at_s == 1090
    assert not second.candidate.counts


def test_the_bad_units_are_those_that_went_bad(telemetry):
    """True is bad of an error, False of a success, and of what nobody knows, True."""
    for metric in ("error_rate", "mobile_success", "of_my_own"):
        flags(telemetry, metric, CANDIDATE, False, True, True)

    assert telemetry.close().candidate.bad_units == {
        "error_rate": frozenset({1, 2}),
        "mobile_success": frozenset({0}),
        "of_my_own": frozenset({1, 2}),
    }


def test_a_metric_of_the_plan_says_itself_which_flag_is_bad(clock):
    """A declared share that is better when higher counts False against its unit."""
    own = Metric(name="solved", kind=Kind.SHARE, unit="share", higher_is_better=True)
    telemetry = Telemetry(clock, metrics=[own])
    flags(telemetry, "solved", CANDIDATE, True, False)

    assert telemetry.close().candidate.bad_units == {"solved": frozenset({1})}


def test_an_alias_is_the_metric_it_stands_for(telemetry):
    """Recorded under two of its names, or supplied under one, it is one metric."""
    flags(telemetry, "mobile_success", CANDIDATE, True)
    flags(telemetry, "mobile_success_rate", CANDIDATE, False)
    supplied = {"agent_success_rate": Count(3, 4)}
    window = telemetry.close(sources=lambda _: (supplied, {})).candidate

    assert window.counts == {
        "mobile_success": Count(1, 2),
        "agent_stability": Count(3, 4),
    }


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1.7e308, -1, 2**53])
def test_a_value_that_cannot_be_counted_is_named(telemetry, value):
    """It is left out, the window says so, and the others count."""
    telemetry.record(("quality", CANDIDATE, 1, "", 0.0, 0.25))
    telemetry.record(("quality", CANDIDATE, 1, "", 0.0, value))
    window = telemetry.close().candidate

    assert window.histograms["quality"].count == 1
    assert window.histograms["quality"].total == 0.25
    assert "1 value left out" in window.errors["quality"]


class Nasty:
    """Raises at whatever is done to it."""

    def __hash__(self) -> int:
        raise RuntimeError("no hash")

    def __repr__(self) -> str:
        raise RuntimeError("no repr")


WRONG_EVENTS = [
    None,
    (),
    ("error_rate", CANDIDATE, 1, "", 0.0),
    ("error_rate", CANDIDATE, 1, "", 0.0, True, "more"),
    ("error_rate", "nobody", 1, "", 0.0, True),
    ("error_rate", CANDIDATE, 1, 7, 0.0, True),
    ("error_rate", CANDIDATE, 1, "\ud800", 0.0, True),
    ("error_rate", CANDIDATE, 1, Nasty(), 0.0, True),
    ("error_rate", CANDIDATE, 1, "", None, True),
    ("error_rate", CANDIDATE, 1, "", "soon", True),
    ("trial", CANDIDATE, "user-1", "", 0.0, "began"),
    ("trial", CANDIDATE, 1, "", 0.0, "somewhere"),
    ("\ud800", CANDIDATE, 1, "", 0.0, True),
    (None, CANDIDATE, 1, "", 0.0, True),
    ([], CANDIDATE, 1, "", 0.0, True),
    (Nasty(), CANDIDATE, 1, "", 0.0, True),
]


@pytest.mark.parametrize("wrong", WRONG_EVENTS, ids=range(len(WRONG_EVENTS)))
def test_a_wrong_event_does_not_lose_the_others(telemetry, wrong):
    """Those before and after it count; both windows say that one was none."""
    flags(telemetry, "error_rate", CANDIDATE, True)
    telemetry.record(wrong)
    telemetry.record(wrong)
    flags(telemetry, "error_rate", CANDIDATE, False)
    seen = telemetry.close()

    assert seen.candidate.counts == {"error_rate": Count(1, 2)}
    assert "2 were no events" in seen.candidate.errors["telemetry"]
    assert seen.control is not None
    assert "2 were no events" in seen.control.errors["telemetry"]
    assert seen.digest


@pytest.mark.parametrize("value", [None, "secret", Nasty(), b"1", [0.5]])
def test_a_value_of_a_wrong_type_is_an_error_of_its_metric(telemetry, value):
    """The window names its type, and does not repeat what may be somebody's text."""
    telemetry.record(("quality", CANDIDATE, 1, "", 0.0, value))
    window = telemetry.close().candidate

    assert not window.measures("quality")
    assert type(value).__name__ in window.errors["quality"]
    assert "secret" not in window.errors["quality"]


@pytest.mark.parametrize("unit", ["user-1", [1], None, Nasty(), 1.5])
def test_a_unit_that_is_no_hash_is_named(telemetry, unit):
    """The event counts, its unit does not, and the window can still be written."""
    telemetry.record(("error_rate", CANDIDATE, unit, "", 0.0, True))
    telemetry.record(("error_rate", CANDIDATE, np.uint64(7), "", 0.0, True))
    window = telemetry.close().candidate

    assert window.counts == {"error_rate": Count(2, 2)}
    assert window.bad_units == {"error_rate": frozenset({7})}
    assert "64-bit hash" in window.errors["error_rate"]
    assert Window.from_json(window.to_json()) == window


def test_flags_and_integers_under_one_name_are_an_error(telemetry):
    """A share stays a share, and the window says what was left out."""
    flags(telemetry, "crashes", CANDIDATE, True, False)
    telemetry.add("crashes", CANDIDATE, 5)
    window = telemetry.close().candidate

    assert window.counts == {"crashes": Count(1, 2)}
    assert "not both" in window.errors["crashes"]


def test_the_methods_record_what_they_say(telemetry):
    """Each typed method is one event of the right type, numpy's numbers included."""
    telemetry.latency(CANDIDATE, 1, 2)
    telemetry.event("error_rate", CANDIDATE, 2, True, exposure="e")
    telemetry.event("error_rate", CANDIDATE, 3, np.bool_(0))
    telemetry.score("quality", CANDIDATE, 4, np.float32(0.5))
    telemetry.score("quality", CANDIDATE, 4, 0)
    telemetry.add("crashes", CANDIDATE)
    telemetry.add("crashes", CANDIDATE, True)
    window = telemetry.close(exposure="e").candidate

    assert window.counts == {"error_rate": Count(1, 2), "crashes": Count(2)}
    assert window.histograms["latency"].total == 2.0
    assert window.histograms["quality"].count == 2
    assert window.histograms["quality"].zeros == 1
    assert not window.errors


def test_the_methods_do_not_raise_either(telemetry):
    """A missing flag is not a good one, a wrong number is an error of its metric."""
    telemetry.latency(CANDIDATE, 1, None)
    telemetry.event("error_rate", CANDIDATE, 1, None)
    telemetry.event("toxic", CANDIDATE, 1, np.array([True, False]))
    telemetry.score("quality", CANDIDATE, 1, "good")
    telemetry.add("crashes", CANDIDATE, 1.5)
    telemetry.latency("nobody", 1, 0.25)
    telemetry.add("crashes", [CANDIDATE])
    window = telemetry.close().candidate

    assert not window.counts
    assert not [h for h in window.histograms.values() if h.count > 1]
    assert {"latency", "error_rate", "toxic", "quality"} <= set(window.errors)
    assert "2 were no events" in window.errors["telemetry"]


def test_what_plugins_supply_is_laid_beside(telemetry):
    """Counts become counts, numbers gauges, and reasons errors, arm by arm."""

    def sources(arm):
        if arm is CONTROL:
            return {"cache_hit_rate": Count(1, 10)}, {}
        return {"cache_hit_rate": Count(9, 10), "memory_usage": 0.5}, {"cpu": "why"}

    seen = telemetry.close(sources=sources)

    assert seen.candidate.counts == {"cache_hit_rate": Count(9, 10)}
    assert seen.candidate.gauges == {"memory_usage": Gauge.of(0.5)}
    assert seen.candidate.errors == {"cpu": "why"}
    assert seen.control is not None
    assert seen.control.counts == {"cache_hit_rate": Count(1, 10)}
    assert not seen.control.errors


def test_recorded_and_supplied_is_an_error(telemetry):
    """What was recorded stays, the supplied figure is left out, the window says so."""
    flags(telemetry, "mobile_success", CANDIDATE, True)
    telemetry.record(("latency", CANDIDATE, 1, "", 0.0, 0.5))
    supplied = {"mobile_success_rate": Count(0, 9), "latency": 3.0, "gone": math.nan}
    window = telemetry.close(sources=lambda _: (supplied, {})).candidate

    assert window.counts == {"mobile_success": Count(1, 1)}
    assert not window.gauges
    assert set(window.errors) == {"mobile_success", "latency", "gone"}
    assert "keep one" in window.errors["mobile_success"]


def test_a_metric_supplied_under_two_names_is_an_error(telemetry):
    """An alias does not add a second figure."""
    supplied = {"mobile_success": Count(1, 2), "mobile_success_rate": Count(5, 5)}
    window = telemetry.close(sources=lambda _: (supplied, {})).candidate

    assert window.counts == {"mobile_success": Count(1, 2)}
    assert "keep one" in window.errors["mobile_success"]


def test_a_source_that_raises_loses_no_event(telemetry):
    """Nothing is closed; the next close has everything."""

    def broken(_):
        raise OSError("gone")

    flags(telemetry, "error_rate", CANDIDATE, True)
    with pytest.raises(OSError, match="gone"):
        telemetry.close(sources=broken)

    assert telemetry.close().candidate.counts == {"error_rate": Count(1, 1)}


def test_what_does_not_fit_is_counted_and_logged(clock, caplog):
    """The oldest go, their arm's window says how many, the next one has lost none."""
    telemetry = Telemetry(clock, capacity=10)
    flags(telemetry, "error_rate", CANDIDATE, *[False] * 15, *[True] * 10)
    with caplog.at_level(logging.WARNING, logger="legion"):
        seen = telemetry.close()

    assert seen.candidate.counts == {"error_rate": Count(10, 10)}
    assert seen.control is not None
    assert (seen.candidate.dropped, seen.control.dropped) == (15, 0)
    assert "at least 15 events" in seen.candidate.errors["telemetry"]
    assert "at least 15 events" in caplog.text
    assert telemetry.close().candidate.dropped == 0


@given(st.integers(1, 20), st.lists(st.integers(0, 100), max_size=8))
@settings(max_examples=100, deadline=None)
def test_the_loss_is_exact_up_to_three_capacities_and_never_overstated(
    capacity, bursts
):
    """Kept and dropped make up what came, or less than it where memory was full."""
    telemetry = Telemetry(ManualClock(), capacity=capacity)
    kept = exact = came = 0
    for burst in bursts:
        for _ in range(burst):
            telemetry.record(("n", CANDIDATE, 0, "", 0.0, 1))
        came += burst
        exact += min(burst, 4 * capacity)
        folded = telemetry.drain()
        assert folded == min(burst, capacity)
        kept += folded
    window = telemetry.close().candidate

    assert (window.count("n") or 0) == kept
    assert kept + window.dropped == exact <= came


def test_memory_is_bounded_when_nobody_looks(clock):
    """Events that nobody ever folds do not pile up."""
    telemetry = Telemetry(clock, capacity=100)
    for unit in range(10_000):
        telemetry.record(("error_rate", CANDIDATE, unit, "", 0.0, True))

    assert len(telemetry._events) == 400
    assert telemetry.drain() == 100
    assert telemetry.close().candidate.dropped == 300


def test_what_holds_the_memory_of_a_backlog_is_bounded(clock):
    """However often it is folded, no more events are kept than slices fit."""
    telemetry = Telemetry(clock, capacity=10_000)
    for unit in range(40_000):
        telemetry.record(("error_rate", CANDIDATE, unit, "", 0.0, True))
        if unit % 1_000 == 0:
            telemetry.drain()

    assert len(telemetry._buffer._kept) <= 40_000 // 4_096 + 1


def test_an_event_that_waits_is_no_work_for_the_garbage_collector(telemetry):
    """After one look it is not tracked: a backlog costs no collection anything."""
    telemetry.latency(CANDIDATE, 2**63, 0.25, exposure="e")
    telemetry.event("error_rate", CONTROL, 2**63, False, exposure="e")
    telemetry.score("quality", CANDIDATE, 2**63, 0.5, exposure="e")
    telemetry.add("crashes", CONTROL)
    gc.collect()

    assert not any(gc.is_tracked(event) for event in telemetry._events)


@pytest.mark.parametrize("arm", Arm)
def test_an_arm_may_be_named_or_given(telemetry, arm):
    """The member and its value are the same arm, by `record` and by the methods."""
    telemetry.record(("crashes", arm, 1, "", 0.0, 1))
    telemetry.record(("crashes", arm.value, 1, "", 0.0, 1))
    telemetry.add("crashes", arm)
    telemetry.add("crashes", arm.value)

    assert telemetry.close().window(arm).counts == {"crashes": Count(4)}


@pytest.mark.parametrize("capacity", [0, -1])
def test_a_buffer_without_room_is_refused(clock, capacity):
    """The message says what to write."""
    with pytest.raises(ValueError, match="write 1 or more"):
        Telemetry(clock, capacity=capacity)


@given(events, st.lists(st.integers(0, 60), max_size=3))
@settings(max_examples=100, deadline=None)
def test_closing_more_often_and_merging_is_closing_once(recorded, cuts):
    """However the time is cut into windows, merged they are the one window."""
    once, often = Telemetry(ManualClock()), Telemetry(ManualClock())
    for event in recorded:
        once.record(event)
    whole = once.close()
    parts = []
    edges = [0, *sorted(min(cut, len(recorded)) for cut in cuts), len(recorded)]
    for start, end in itertools.pairwise(edges):
        for event in recorded[start:end]:
            often.record(event)
        parts.append(often.close())

    for arm in Arm:
        merged = parts[0].window(arm)
        for part in parts[1:]:
            merged = merged.merge(part.window(arm))
        assert events_of(merged) == events_of(whole.window(arm))


def events_of(window: Window) -> Window:
    """Return what does not depend on when one looks; units count at a close."""
    return attrs.evolve(window, baseline=None, units={}, bad_units={})


@given(events)
@settings(max_examples=100, deadline=None)
def test_an_observation_survives_json(recorded):
    """Whatever was recorded can be written to the journal and read back."""
    telemetry = Telemetry(ManualClock())
    for event in recorded:
        telemetry.record(event)
    seen = telemetry.close()

    assert type(seen).from_json(seen.to_json()) == seen
    assert len(seen.digest) == 64


@pytest.mark.parametrize("seed", range(3))
def test_threads_that_record_while_another_closes_lose_nothing(seed):
    """With 4 threads recording, 1 draining and 1 closing, the sums are what went in."""
    print("seed", seed)
    telemetry = Telemetry(ManualClock(), capacity=10**6)
    each, workers = 8_000, 4
    done, start = threading.Event(), threading.Barrier(workers + 2)
    seen, folded = [], []

    def work(number: int) -> None:
        draw = random.Random(seed * 100 + number)
        record, base = telemetry.record, number * each
        start.wait()
        for unit in range(base, base + each):
            arm = CANDIDATE if draw.random() < 0.5 else CONTROL
            record(("error_rate", arm, unit, "", 0.0, True))
            record(("latency", arm, unit, "", 0.0, 0.25))
            record(("crashes", arm, unit, "", 0.0, 1))

    def look(act) -> None:
        start.wait()
        while not done.is_set():
            act()

    looks = [
        threading.Thread(target=look, args=(lambda: seen.append(telemetry.close()),)),
        threading.Thread(target=look, args=(lambda: folded.append(telemetry.drain()),)),
    ]
    threads = [threading.Thread(target=work, args=(n,)) for n in range(workers)]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in (*looks, *threads):
            thread.start()
        for thread in threads:
            thread.join()
        done.set()
        for thread in looks:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    seen.append(telemetry.close())

    windows = [window for s in seen for window in (s.candidate, s.control)]
    total = each * workers
    units = [unit for w in windows for unit in w.bad_units.get("error_rate", ())]
    assert sum(w.count("error_rate") or 0 for w in windows) == total
    assert sum(w.events("error_rate") for w in windows) == total
    assert sum(w.count("crashes") or 0 for w in windows) == total
    assert sum(w.events("latency") for w in windows) == total
    assert sorted(units) == list(range(total))
    assert not any(w.dropped or w.errors for w in windows)


def test_recording_does_not_wait_for_a_fold(telemetry):
    """While somebody folds, and even if that never ends, an event is taken at once."""
    with telemetry._folding:
        worker = threading.Thread(
            target=flags, args=(telemetry, "error_rate", CANDIDATE, True)
        )
        worker.start()
        worker.join(timeout=10)
        assert not worker.is_alive()

    assert telemetry.drain() == 1


def test_record_can_be_kept(telemetry):
    """The method that was handed out works across closes."""
    record = telemetry.record
    for _ in range(3):
        record(("crashes", CANDIDATE, 1, "", 0.0, 1))
        assert telemetry.close().candidate.count("crashes") == 1


def test_recording_and_probing_need_neither_numpy_nor_psutil():
    """On Linux a whole observation, probe included, loads neither."""
    if sys.platform != "linux":
        pytest.skip("without /proc the probe asks psutil")
    code = (
        "import sys; from legion.model import Arm; from legion.telemetry import *;"
        "c = SystemClock(); t = Telemetry(c); p = Probe(c);"
        "t.latency(Arm.CANDIDATE, 1, .5);"
        "t.close(sources=lambda a: (p.legion_observe('', a), {}));"
        "print({'numpy', 'psutil', 'faiss', 'yaml'} & set(sys.modules))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert run.stdout.strip() == "set()"
