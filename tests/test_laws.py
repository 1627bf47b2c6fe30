"""
The five laws of the house.

Each test names the line that was broken to see it fail.
"""

from __future__ import annotations

import pytest

from test_wheel import PLAN, open_host, serve, turn

import legion

from legion.exceptions import StateError
from legion.model import Change, Level, Missing, Permission
from legion.stages import Status
from legion.testing import ManualClock, Rollout


@pytest.fixture
def plan():
    return legion.Plan.from_dict(PLAN)


def test_law_1_absence_of_evidence_is_not_health(plan):
    """Without a required metric the ladder holds, and does not go back either.

    Broken to see it fail: ``Ladder.missing`` returning ``()``.
    """
    told = Rollout(plan).feed(missing="error_rate").run()

    assert told.decision == "hold"
    assert "error_rate" in told.turns[-1].decision.missing


def test_law_1_a_warning_does_not_hide_what_is_missing():
    """A report with a warning still lists what has no level.

    Broken to see it fail: ``Report.missing`` counting ``Missing`` as a level.
    """
    window = legion.Window.of(shares={"error_rate": (4, 100)}, closed_s=600.0)
    report = legion.Watchdog(legion.Plugins()).judge(
        legion.Observation(at_s=600.0, candidate=window)
    )

    assert report.level is Level.WARNING
    assert "latency_p95" in report.missing()
    assert report.missing("error_rate") == ()


@pytest.mark.parametrize("before", ["ready", "running", "paused", "complete"])
def test_law_2_a_rollback_is_accepted_from_every_state(plan, tmp_path, before):
    """Whatever the state, everybody has the baseline after ``rollback``.

    Broken to see it fail: a check of the status at the top of ``Retreat.back``.
    """
    clock = ManualClock(1e9)
    with open_host(plan, tmp_path, clock) as host:
        if before != "ready":
            turn(host, clock)
        if before == "paused":
            host.engine.pause("lunch")
        if before == "complete":
            while not host.engine.state.status.over:
                turn(host, clock)
        outcome = host.engine.rollback("by order")

        assert outcome.applied
        assert outcome.verified
        assert host.engine.exposure.share == 0.0
        assert host.engine.state.status is Status.ROLLED_BACK


def test_law_2_a_retreat_asks_no_hook(plan, tmp_path):
    """Neither reviewers nor choosers are asked about a rollback.

    Broken to see it fail: the early return for a rollback in ``Ladder.lowered``.
    """
    asked = []

    class Stubborn:
        @legion.hookimpl
        def legion_review(self, change):
            asked.append(change)
            return legion.Ruling(permission=Permission.DENY, code="no", reason="never")

        @legion.hookimpl
        def legion_choose_stage(self, stage):
            asked.append(stage)
            raise RuntimeError("broken")

    clock = ManualClock(1e9)
    with open_host(plan, tmp_path, clock) as host:
        turn(host, clock)
        turn(host, clock)
        host.plugins.register(Stubborn(), name="stubborn")
        serve(host, 300, failing=True)
        clock.advance(60)

        assert host.tick().decision.move is legion.Move.ROLL_BACK
        assert asked == []


def test_law_2_a_full_disk_does_not_hold_a_rollback_up(plan, tmp_path, monkeypatch):
    """The latch is in force in memory though nothing can be written.

    Broken to see it fail: ``Pointer.latch`` taken out of ``StageEngine.latch``.
    """
    clock = ManualClock(1e9)
    with open_host(plan, tmp_path, clock) as host:
        while host.engine.state.stage != "canary":
            turn(host, clock)
        assert host.engine.exposure.share == 0.25

        def full(*_: object, **__: object) -> None:
            raise StateError("legion.db", "the disk is full")

        with monkeypatch.context() as patched:
            patched.setattr(type(host.engine._pointer._file), "pull", full)
            patched.setattr(type(host.engine._pointer._file), "save", full)
            host.engine.rollback("by order")

            assert host.engine.exposure.share == 0.0
        host.engine.poll()

        assert host.engine.state.status is Status.ROLLED_BACK


def test_law_3_a_criterion_that_raises_has_no_level_and_silences_nobody():
    """The others are judged, and the traceback is in the evidence.

    Broken to see it fail: the fence in ``Watchdog`` letting all but ``KeyError`` out.
    """

    @legion.criterion(critical=1.0)
    def broken(window):
        raise ZeroDivisionError

    plugins = legion.Plugins(broken)
    window = legion.Window.of(shares={"error_rate": (1, 200)}, closed_s=600.0)
    report = legion.Watchdog(plugins).judge(
        legion.Observation(at_s=600.0, candidate=window)
    )

    assert report.verdict("broken").missing is Missing.ERROR
    assert "ZeroDivisionError" in report.verdict("broken").evidence["traceback"]
    assert report.verdict("error_rate").level is Level.OK


def test_law_3_a_reviewer_that_raises_denies():
    """A broken reviewer makes the gate deny.

    Broken to see it fail: ALLOW for a reviewer without an answer in ``gate/rulings.py``.
    """

    class Broken:
        @legion.hookimpl
        def legion_review(self, change):
            raise RuntimeError("broken")

    gate = legion.SafetyGate(plugins=legion.Plugins(Broken()))
    ruling = gate.review(
        Change(target="x", before="", after="a", kind="advance", risk=0.0)
    )

    assert ruling.permission is Permission.DENY
    assert ruling.code == "reviewer_raised"


def test_law_3_a_chooser_that_raises_holds(plan, tmp_path):
    """A broken chooser stops the ladder.

    Broken to see it fail: skipping answers with an error in ``Ladder.lowered``.
    """

    class Broken:
        @legion.hookimpl
        def legion_choose_stage(self, stage):
            raise RuntimeError("broken")

    clock = ManualClock(1e9)
    with open_host(plan, tmp_path, clock) as host:
        turn(host, clock)
        host.plugins.register(Broken(), name="broken")
        codes = {turn(host, clock).decision.code for _ in range(12)}

        assert "chosen" in codes
        assert host.engine.state.stage == "shadow"


def test_law_3_an_activation_that_raises_is_in_doubt_and_settled_by_digest(
    plan, tmp_path
):
    """An external owner that raises leaves doubt, which its own digest settles.

    Broken to see it fail: ``applied=True`` in the ``except`` of ``Advance.forward``.
    """

    class Router:
        live = ""

        @legion.hookimpl
        def legion_activate(self, target, digest):
            if not target.startswith("rollout:"):
                return None
            self.live = digest
            raise TimeoutError("no answer in time")

        @legion.hookimpl
        def legion_active(self, target):
            return self.live if target.startswith("rollout:") else None

    clock = ManualClock(1e9)
    router = Router()
    with open_host(plan, tmp_path, clock, router) as host:
        turned = host.tick()

        assert turned.outcome.applied is None
        assert host.engine.state.in_doubt is not None
        assert host.engine.exposure.stage == ""
        host.engine.poll()

        assert host.engine.state.in_doubt is None
        assert host.engine.state.stage == "shadow"


def test_law_4_what_configures_the_judge_is_no_part_of_an_exposure():
    """The watchdog's and the gate's settings are in no candidate's snapshot.

    Broken to see it fail: ``Exposure.of`` taking ``found.host`` among the features.
    """
    stages = [
        {
            **PLAN["stages"][0],
            "features": {
                "watchdog_v4_1": {"enabled": True, "check_interval_seconds": 60},
                "l4_cache": {"enabled": True},
            },
        },
        *PLAN["stages"][1:],
    ]
    plan = legion.Plan.from_dict({**PLAN, "stages": stages})
    engine = legion.StageEngine(plan, plugins=legion.Plugins())
    shown = engine._ladder.exposure("shadow").to_json()

    assert list(shown["features"]["candidate"]) == ["l4_cache"]
    assert plan.stage("shadow").check_interval_s == 60


def test_law_5_going_forward_waits_for_the_intent(plan, tmp_path, monkeypatch):
    """If the intent cannot be written, nothing moves.

    Broken to see it fail: ``Pointer.save`` left out of ``Advance.intend``.
    """
    clock = ManualClock(1e9)
    with open_host(plan, tmp_path, clock) as host:
        file = type(host.engine._pointer._file)
        save = file.save

        def full(self, state, **keywords):
            if state.in_doubt is not None:
                raise StateError("legion.db", "the disk is full")
            return save(self, state, **keywords)

        with monkeypatch.context() as patched:
            patched.setattr(file, "save", full)
            with pytest.raises(StateError, match="full"):
                host.tick()

        assert host.engine.exposure.stage == ""
