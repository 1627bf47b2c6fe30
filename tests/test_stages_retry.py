"""A rollout tried again: what was spent stays spent."""

from __future__ import annotations

import logging
import math

import pytest

from stages_rig import plan, rig

import legion

from legion import planner
from legion.exceptions import PlanError, StateError
from legion.stages import Status
from legion.testing import ManualClock


AGAIN = plan(plan="rig-2", retry_of="rig")
BAD = {"bad": 32, "control": (20, 1000)}


def went_back(state, *, looks=2, **keywords):
    """Leave a rollout that harmed a little, and was taken back by a person."""
    one = rig(state=state, **keywords).climb("canary")
    for _ in range(looks):
        one.turn(**BAD)
    one.engine.rollback("by order")
    return one


def test_what_was_spent_stays_spent(tmp_path):
    """The new try starts where the first one ended, and their evidence multiplies."""
    first = went_back(tmp_path / "legion.db")
    again = rig(rules=AGAIN, state=tmp_path / "legion.db", clock=first.clock)
    alone = rig(clock=ManualClock(first.clock.plan()))
    assert again.engine.budget.log_e == first.engine.budget.log_e > 1
    for one in (again, alone):
        one.climb("canary").look(**BAD)

    assert again.engine.budget.log_e == pytest.approx(
        first.engine.budget.log_e + alone.engine.budget.log_e
    )


def test_the_same_units_are_in(tmp_path):
    """Units are split by the first name, in every try and after a restart."""
    state = tmp_path / "legion.db"
    first = went_back(state)
    units = [f"unit-{n}" for n in range(500)]
    placed = list(rig().climb("canary").engine.assign_many(units))
    for rules in (AGAIN, plan(plan="rig-3", retry_of="rig-2")):
        rig(rules=rules, state=state, clock=first.clock).climb("canary")
        again = rig(rules=rules, state=state, clock=first.clock)
        assert list(again.engine.assign_many(units)) == placed
        assert again.state.salt == "rig"
        again.engine.rollback("once more")


def test_units_that_went_bad_are_known(tmp_path):
    """A user who failed in the first try is no new evidence in the second."""
    state = tmp_path / "legion.db"
    first = went_back(state, rules=plan(unit="user"))
    rules = plan(plan="rig-2", retry_of="rig", unit="user")
    again = rig(rules=rules, state=state, clock=first.clock)

    assert again.engine._learner.known.units == first.engine._learner.known.units != {}


def test_proven_harm_is_not_tried_again(tmp_path):
    """It would go back at the first look, so it is refused, with what to do."""
    state = tmp_path / "legion.db"
    one = rig(state=state).climb("canary")
    while one.state.status is not Status.ROLLED_BACK and one.seen_s < 1e9 + 1e4:
        one.turn(bad=100)
    with pytest.raises(StateError, match="proven to do harm"):
        rig(rules=AGAIN, state=state, clock=one.clock)


def test_what_is_not_over_or_not_known_is_not_tried_again(tmp_path):
    """Two tries at once would split one budget; an unknown one has none to take over."""
    state = tmp_path / "legion.db"
    one = rig(state=state).climb("canary")
    with pytest.raises(StateError, match="is running; roll it back first"):
        rig(rules=AGAIN, state=state, clock=one.clock)
    with pytest.raises(StateError, match="is not known here"):
        rig(rules=plan(plan="x", retry_of="y"), state=state, clock=one.clock)
    with pytest.raises(PlanError, match="retry_of"):
        plan(retry_of="rig")


def test_a_new_name_for_the_same_candidate_is_warned_of(tmp_path, caplog):
    """Without retry_of the same luck is bought again: the log says so, once."""
    state = tmp_path / "legion.db"
    one = went_back(state)
    with caplog.at_level(logging.WARNING, "legion"):
        rig(rules=plan(plan="other"), state=state, clock=one.clock)
    (warning,) = (one for one in caplog.messages if "retry_of" in one)
    caplog.clear()
    with caplog.at_level(logging.WARNING, "legion"):
        rig(rules=plan(plan="other"), state=state, clock=one.clock)
        rig(rules=AGAIN, state=state, clock=one.clock)
        rig(rules=plan(plan="third", candidate="3.0.0"), state=state, clock=one.clock)

    assert "rig" in warning
    assert not [one for one in caplog.messages if "retry_of" in one]


def test_a_retry_comes_out_the_same(tmp_path):
    """What it took over is taken over when it is told again."""
    first = went_back(tmp_path / "legion.db")
    again = rig(rules=AGAIN, state=tmp_path / "legion.db", clock=first.clock)
    again.climb("canary")
    for _ in range(3):
        again.turn(**BAD)
    own = again.engine.plugins.criteria["error_rate"]
    found = planner.replay(tmp_path, plugins=legion.Plugins(own, builtins=False))

    assert found.difference is None
    assert found.same > 6
    assert math.isfinite(again.engine.budget.log_e)
