"""What the watchdog remembers over a restart, and what it tells people."""

from __future__ import annotations

import json
import logging
import random

import attrs
import pytest

from hypothesis import given, settings
from hypothesis import strategies as st

import legion

from legion import canonical
from legion.criteria import BUILTINS, Ceiling, Criterion, Floor, Rise
from legion.model import Level, Missing, Observation, Window
from legion.watchdog import Watchdog


@attrs.define
class Some:
    criteria: dict

    @classmethod
    def of(cls, *criteria):
        return cls({criterion.name: criterion for criterion in criteria})


class Slow(Criterion):
    """Compares with a slow average that it keeps in its memory."""

    def judge(self, window, memory):
        share = window.share("toxic")
        if share is None:
            return self.no_level(Missing.NO_DATA, "none"), memory
        slow = (memory or {}).get("slow", share)
        later = {"slow": 0.9 * slow + 0.1 * share, "pairs": [[1, (2, 3)]]}
        return self.verdict(abs(share - slow), window=window), later


TOXIC = Ceiling("toxic", warning=0.01, alert=0.03, critical=0.05, min_events=100)
CRITERIA = (
    TOXIC,
    Slow("slow", metric="toxic", warning=0.01, alert=0.02, min_events=70),
    Rise("cost", of="mean", warning=0.2, alert=0.5, min_events=90),
    *BUILTINS,
)


def observation(at_s, n=0, of=100, exposure="e"):
    window = Window.of(shares={"toxic": (n, of)}, opened_s=at_s - 60.0, closed_s=at_s)
    return Observation(at_s=at_s, candidate=window, exposure=exposure)


def traffic(seed, minutes=24):
    dice = random.Random(seed)
    for minute in range(1, minutes + 1):
        of = dice.randint(0, 90)
        times = {"opened_s": 60.0 * (minute - 1), "closed_s": 60.0 * minute}

        def window(of=of, times=times):
            return Window.of(
                shares={
                    "toxic": (dice.randint(0, of // 8), of),
                    "error_rate": (dice.randint(0, of // 8), of),
                },
                values={
                    "cost": [dice.uniform(1, 3) for _ in range(of)],
                    "latency": [dice.lognormvariate(-3, 0.6) for _ in range(of)],
                },
                counts={"contradictions": dice.choice((0, 0, 1, 4))},
                gauges={"memory_usage": dice.uniform(0.3, 1.0)},
                **times,
            )

        yield Observation(
            at_s=60.0 * minute,
            candidate=window(),
            control=window() if dice.random() < 0.8 else None,
            exposure="one" if minute < 15 else "two",
        )


def restarted(watchdog, criteria=CRITERIA):
    """A new watchdog, restored from bytes as a state file would give them back."""
    again = Watchdog(Some.of(*criteria), interval_s=watchdog.interval_s)
    again.restore(json.loads(canonical.dumps(watchdog.to_json())))
    return again


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), cuts=st.sets(st.integers(0, 23), max_size=4))
def test_a_restart_changes_no_verdict(seed, cuts):
    """Killed and restored at any turns, it gives the same reports and notices."""
    straight = Watchdog(Some.of(*CRITERIA), interval_s=120.0)
    broken = Watchdog(Some.of(*CRITERIA), interval_s=120.0)
    for turn, seen in enumerate(traffic(seed)):
        if turn in cuts:
            broken = restarted(broken)
        assert broken.judge(seen) == straight.judge(seen)
        if turn % 3 == 0:
            assert broken.notices() == straight.notices()
    for criterion in CRITERIA:
        assert broken.last(criterion.name) == straight.last(criterion.name)
    assert broken.notices() == straight.notices()


def test_what_it_remembers_is_json():
    """The state is canonical JSON, open windows and all."""
    watchdog = Watchdog(Some.of(*CRITERIA), interval_s=120.0)
    for seen in traffic(3, minutes=9):
        watchdog.judge(seen)

    assert json.loads(canonical.dumps(watchdog.to_json()))


def test_a_criterion_registered_after_the_restart_finds_its_memory():
    """Restoring does not need the plugin to be there already."""
    watchdog = Watchdog(Some.of(TOXIC), interval_s=60.0)
    watchdog.judge(observation(60.0, 4))
    plugins = Some.of()
    again = Watchdog(plugins, interval_s=60.0)
    again.restore(watchdog.to_json())
    again.judge(observation(120.0, 4))
    plugins.criteria["toxic"] = TOXIC

    assert again.judge(observation(180.0, 4)).verdict("toxic").in_a_row == 2


class Older(Criterion):
    def judge(self, window, memory):
        return self.verdict(0.0, window=window), {"old": [1, 2]}


def test_a_memory_of_changed_code_does_not_crash_it(caplog):
    """New code that cannot read the old memory starts anew, once, and says so."""

    def judge(self, window, memory):
        total = 0.0 if memory is None else memory["new"]
        return self.verdict(0.0, window=window), {"new": total + 1.0}

    older = Watchdog(
        Some.of(Older("drift", metric="toxic", alert=1.0)), interval_s=60.0
    )
    older.judge(observation(60.0))
    newer = type("Older", (Criterion,), {"judge": judge, "__qualname__": "Older"})
    newer.__module__ = Older.__module__
    again = restarted(older, [newer("drift", metric="toxic", alert=1.0)])

    with caplog.at_level(logging.WARNING, logger="legion"):
        for at_s, total in ((120.0, 1.0), (180.0, 2.0)):
            verdict = again.judge(observation(at_s)).verdict("drift")
            assert verdict.level is Level.OK
            memory = again.to_json()["criteria"]["drift"]["memory"]
            assert memory == {"new": total}
    assert caplog.text.count("starts anew") == 1


def test_a_namesake_that_measures_something_else_starts_anew():
    """Neither windows, rows nor memory pass from one measure to another."""
    watchdog = Watchdog(Some.of(TOXIC), interval_s=60.0)
    watchdog.judge(observation(60.0, 4))
    watchdog.judge(observation(120.0, 90, 99))
    other = Floor("toxic", metric="toxic", warning=0.5, alert=0.4, min_events=100)

    verdict = (
        restarted(watchdog, [other]).judge(observation(180.0, 90)).verdict("toxic")
    )

    assert verdict.level is Level.OK
    assert verdict.evidence["events"] == 100
    assert verdict.in_a_row == 0


def test_other_limits_keep_the_memory():
    """A criterion whose limits were moved is still the same."""
    watchdog = Watchdog(Some.of(TOXIC), interval_s=60.0)
    watchdog.judge(observation(60.0, 4))
    moved = TOXIC.limited({"warning": 0.02})

    verdict = restarted(watchdog, [moved]).judge(observation(120.0, 4)).verdict("toxic")

    assert verdict.in_a_row == 2


@pytest.mark.parametrize(
    "remembered",
    [None, [], "lost", {}, {"criteria": 1, "notices": []}, {"toxic": {"open": None}}],
)
def test_a_state_that_cannot_be_read_is_logged_and_left(remembered, caplog):
    """What is no state of a watchdog's does not stop it."""
    watchdog = Watchdog(Some.of(TOXIC), interval_s=60.0)
    with caplog.at_level(logging.WARNING, logger="legion"):
        watchdog.restore(remembered)

    assert "cannot be read" in caplog.text
    assert watchdog.judge(observation(60.0)).level is Level.OK


@pytest.mark.parametrize(
    "broken",
    [
        3,
        {},
        {"made_by": 1},
        {"open": {"opened_s": "x"}},
        {"peak": "worst"},
        {"memory": [1]},
        {"last": {"level": "ok"}},
    ],
)
def test_one_record_that_cannot_be_read_costs_only_that_one(broken, caplog):
    """The other criteria keep their memories."""
    other = attrs.evolve(TOXIC, name="other", metric="toxic")
    watchdog = Watchdog(Some.of(TOXIC, other), interval_s=60.0)
    watchdog.judge(observation(60.0, 4))
    state = json.loads(canonical.dumps(watchdog.to_json()))
    record = state["criteria"]["toxic"]
    spoilt = {**record, **broken} if isinstance(broken, dict) and broken else broken
    if broken == {"made_by": 1}:
        spoilt.pop("seen_s")
    state["criteria"]["toxic"] = spoilt

    again = Watchdog(Some.of(TOXIC, other), interval_s=60.0)
    with caplog.at_level(logging.WARNING, logger="legion"):
        again.restore(state)
    report = again.judge(observation(120.0, 4))

    assert "toxic" in caplog.text
    assert report.verdict("toxic").in_a_row == 1
    assert report.verdict("other").in_a_row == 2


def told(watchdog, at_s, n):
    watchdog.judge(observation(at_s, n))
    return [(n.kind, n.id, n.level) for n in watchdog.notices()]


def test_an_incident_fires_worsens_once_and_resolves_once():
    """Alert opens it, critical raises it, below alert resolves it, each told once."""
    watchdog = Watchdog(Some.of(TOXIC), interval_s=60.0)
    fire = "toxic@120"

    assert told(watchdog, 60.0, 1) == []
    assert told(watchdog, 120.0, 3) == [("incident", fire, Level.ALERT)]
    assert told(watchdog, 180.0, 4) == []
    assert told(watchdog, 240.0, 9) == [("incident", fire, Level.CRITICAL)]
    assert told(watchdog, 300.0, 3) == []
    assert told(watchdog, 360.0, 9) == []
    assert told(watchdog, 420.0, 1) == [("resolved", fire, Level.WARNING)]
    assert told(watchdog, 480.0, 0) == []
    assert told(watchdog, 540.0, 6) == [("incident", "toxic@540", Level.CRITICAL)]


def test_missing_evidence_neither_fires_nor_resolves():
    """An incident stays open while nothing is recorded."""
    watchdog = Watchdog(Some.of(TOXIC), interval_s=60.0)
    assert told(watchdog, 60.0, 9)
    for at_s in (120.0, 180.0, 900.0):
        watchdog.judge(Observation(at_s=at_s, exposure="e"))
        assert watchdog.notices() == ()
    assert told(watchdog, 960.0, 0) == [("resolved", "toxic@60", Level.OK)]


def test_a_notice_that_was_not_fetched_survives_a_restart():
    """Fired before the kill, told after it; resolved after it, under the same id."""
    watchdog = Watchdog(Some.of(TOXIC), interval_s=60.0)
    watchdog.judge(observation(60.0, 9))
    again = restarted(watchdog, [TOXIC])

    (notice,) = again.notices()
    assert (notice.kind, notice.id) == ("incident", "toxic@60")
    assert "9.0%" in notice.reason
    assert told(again, 120.0, 0) == [("resolved", "toxic@60", Level.OK)]
    assert restarted(again, [TOXIC]).notices() == ()


def test_a_criterion_long_gone_is_forgotten_and_its_incident_resolved():
    """Within a day it finds all again; after a day it is a new one."""
    criteria = Some.of(TOXIC)
    watchdog = Watchdog(criteria, interval_s=60.0)
    assert told(watchdog, 60.0, 9)
    criteria.criteria = {}
    assert told(watchdog, 86_400.0, 9) == []
    assert watchdog.last("toxic") is not None
    assert told(watchdog, 86_520.0, 9) == [("resolved", "toxic@60", Level.CRITICAL)]
    assert watchdog.last("toxic") is None
    criteria.criteria = {"toxic": TOXIC}
    assert told(watchdog, 86_580.0, 9)[0][1] == "toxic@86580"


@settings(max_examples=60, deadline=None)
@given(
    levels=st.lists(st.sampled_from([0, 1, 3, 4, 9, None]), max_size=30),
    cuts=st.sets(st.integers(0, 29), max_size=3),
)
def test_every_fire_has_exactly_one_resolve(levels, cuts):
    """Fires and resolves alternate by id, whatever comes and however often it dies."""
    watchdog = Watchdog(Some.of(TOXIC), interval_s=60.0)
    notices = []
    for turn, n in enumerate(levels):
        if turn in cuts:
            watchdog = restarted(watchdog, [TOXIC])
        of = 100 if n is not None else 0
        watchdog.judge(observation(60.0 * (turn + 1), n or 0, of))
        notices += watchdog.notices()
    open_now = None
    resolved = []
    for notice in notices:
        if notice.kind == "incident":
            assert open_now in {None, notice.id}
            open_now = notice.id
        else:
            assert notice.id == open_now
            resolved.append(open_now)
            open_now = None

    assert len(resolved) == len(set(resolved))


def test_it_works_with_the_real_plugins():
    """The facade is all the watchdog needs."""
    watchdog = legion.Watchdog(legion.Plugins(), interval_s=60.0)
    for seen in traffic(1, minutes=4):
        report = watchdog.judge(seen)

    assert report.verdict("memory_usage").level is not None
