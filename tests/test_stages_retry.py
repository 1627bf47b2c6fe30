"""A rollout tried again: what was spent stays spent."""

from __future__ import annotations

import itertools
import logging
import math

import numpy as np
import pytest

from scipy.stats import binomtest
from stages_rig import plan, rig

import legion

from legion import planner
from legion.exceptions import PlanError, StateError
from legion.stages import Status
from legion.stages.evidence import Drawn, log_e_of_look
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


def test_every_try_splits_the_units_anew(tmp_path):
    """By its own name, so that luck with who is in is none in the next try."""
    state = tmp_path / "legion.db"
    first = went_back(state)
    units = [f"unit-{n}" for n in range(4_000)]
    tries = [np.array(rig().climb("canary").engine.assign_many(units))]
    for rules in (AGAIN, plan(plan="rig-3", retry_of="rig-2")):
        rig(rules=rules, state=state, clock=first.clock).climb("canary")
        again = rig(rules=rules, state=state, clock=first.clock)
        tries.append(np.array(again.engine.assign_many(units)))
        again.engine.rollback("once more")

    for one, other in itertools.combinations(tries, 2):
        assert 150 < (one & other).sum() < 350  # 1 / 16 of them, by chance


def test_who_went_bad_before_counts_again(tmp_path):
    """Left out they would be missing in the arm that had more of them: control."""
    state = tmp_path / "legion.db"
    first = went_back(state, rules=plan(unit="user"))
    rules = plan(plan="rig-2", retry_of="rig", unit="user")
    again = rig(rules=rules, state=state, clock=first.clock)

    assert first.engine._lessons.learner.known.units
    assert again.engine._lessons.learner.known.units == {}


def log_product(run, *, anew, tries=8, share=0.25, people=300, visits=30_000):
    """Return the highest product of the exact tests of harmless tries, in nats."""
    rng = np.random.default_rng([3, run])
    activity = rng.pareto(1.5, people) + 0.05
    activity *= visits / activity.sum()
    own = rng.gamma(0.1, 1, people)
    own = np.minimum(own * 0.01 * visits / (own * activity).sum(), 0.9)
    mine, logs = rng.random(people) < share, []
    for _ in range(tries):
        n = rng.poisson(activity) + 1
        drawn = Drawn(
            units=np.arange(people, dtype=np.uint64),
            candidate=rng.random(people) < share if anew else mine,
            bad=rng.binomial(n, own),
            n=n,
            bad_before=np.zeros(people, dtype=int),
            n_before=np.zeros(people, dtype=int),
            rho=np.full(people, share),
        )
        logs.append(log_e_of_look(drawn, stream="error_rate", margin=0.0))
    return max(np.cumsum(logs))


def test_the_product_of_tries_is_one_e_value():
    """
    Harmless: by splits of their own eight tries reach 100 in 1 % of rollouts at most.

    By one split the tries go together and it is far more, so the test can fail.
    """
    runs = 120
    anew, same = (
        sum(log_product(run, anew=anew) >= math.log(100) for run in range(runs))
        for anew in (True, False)
    )

    assert binomtest(anew, runs, 0.01, alternative="greater").pvalue > 0.01
    assert binomtest(same, runs, 0.01, alternative="greater").pvalue < 0.001


def test_a_proven_try_cannot_be_passed_by(tmp_path):
    """The third try follows the second and not the first, or harm is forgotten."""
    state = tmp_path / "legion.db"
    first = went_back(state)
    second = rig(rules=AGAIN, state=state, clock=first.clock).climb("canary")
    second.engine.rollback("once more")
    by = {"state": state, "clock": first.clock}
    with pytest.raises(StateError, match="by rig-2 already; write retry_of: rig-2"):
        rig(rules=plan(plan="rig-3", retry_of="rig"), **by)
    third = rig(rules=plan(plan="rig-3", retry_of="rig-2"), **by)
    third.engine.rollback("once more")
    with pytest.raises(StateError, match="by rig-3 already; write retry_of: rig-3"):
        rig(rules=plan(plan="rig-4", retry_of="rig"), **by)
    rig(rules=plan(plan="rig-3", retry_of="rig-2"), **by)  # The same once more.


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
