"""What is lost or left out: arms are not compared by the rest, and it proves nothing."""

from __future__ import annotations

import attrs
import pytest

from stages_rig import plan, rig, with_stage

from legion.model import Arm, Missing, Move, Pairs


COMPARED = {"metric": "error_rate", "versus": "baseline", "margin": "25%"}
PROVEN = {"metric": "error_rate", "below": "5%"}
TRIGGER = "trigger: error_rate more than 50 % above baseline"
LOST = [(arm, what) for arm in Arm for what in ("dropped", "left_out")]


@pytest.fixture
def canary():
    stages = with_stage("canary", validate=[COMPARED, PROVEN], dwell="20m")
    return rig(rules=plan(stages=stages)).climb("canary")


def broken(seen, arm, what):
    """Return what was seen, as if 7 of an arm were not in it."""
    return attrs.evolve(
        seen, **{arm.value: attrs.evolve(seen.window(arm), **{what: 7})}
    )


def turn(one, arm=None, what="", **windows):
    seen = one.seen(**windows)
    if what:
        seen = broken(seen, arm, what)
    report = one.watchdog.judge(seen, one.state.baseline)
    one.engine.learn(seen, report)
    return one.engine.decide(report)


@pytest.mark.parametrize(("arm", "what"), LOST)
def test_arms_are_not_compared_by_what_is_left(canary, arm, what):
    """However bad it looks: nothing is taken of it, and the reason says what to do."""
    turn(canary)
    before = canary.state.findings[TRIGGER]
    decision = turn(canary, arm, what, bad=300)
    found = canary.state.findings[TRIGGER]

    assert decision.move is Move.HOLD
    assert decision.code == "missing_evidence"
    assert (found.met, found.missing) == (None, Missing.INCONCLUSIVE)
    assert found.bad == before.bad
    assert found.evidence == before.evidence
    said = {"dropped": "7 events were lost", "left_out": "7 units or visits were not"}
    assert said[what] in found.reason
    assert "shorten `matures`" in found.reason


@pytest.mark.parametrize(("arm", "what"), LOST)
def test_what_is_left_proves_nothing(canary, arm, what):
    """Neither within the margin nor within a limit, and its time is not clean."""
    for _ in range(30):
        decision = turn(canary, arm, what, bad=10, control=(10, 1000))
    proofs = [f for key, f in canary.state.findings.items() if "validate" in key]

    assert decision.move is Move.HOLD
    assert len(proofs) == 2
    assert {(one.missing, one.good) for one in proofs} == {(Missing.INCONCLUSIVE, 1.0)}
    assert canary.state.observed_s == 0.0
    assert not canary.state.rates


def test_the_next_whole_look_goes_on(canary):
    """What came before it is neither doubled nor forgotten."""
    turn(canary, bad=2)
    turn(canary, Arm.CONTROL, "left_out", bad=300)
    turn(canary, bad=3)
    found = canary.state.findings[TRIGGER]

    assert found.missing is None
    assert found.evidence["bad_units"] == 5
    assert found.evidence["units"] == 2_000


@pytest.mark.parametrize(("arm", "what"), LOST)
def test_a_retreat_waits_for_no_whole_look(canary, arm, what):
    """What is proven to do harm goes back, whatever the next look lacks."""
    seen = canary.seen(bad=900)
    canary.engine.learn(seen, canary.watchdog.judge(seen, canary.state.baseline))
    decision = turn(canary, arm, what)

    assert decision.move is Move.ROLL_BACK


@pytest.mark.parametrize(("arm", "what"), LOST)
def test_harm_against_a_limit_is_seen_in_what_is_left(arm, what):
    """It is about one arm, and what is missing would only make it look healthier."""
    trigger = {"metric": "error_rate", "above": "10%"}
    rules = plan(
        triggers={"within 1m": [trigger]},
        stages=with_stage("everyone", dwell="20m"),
    )
    one = rig(rules=rules).climb("everyone")
    decision = None
    for _ in range(5):
        seen = one.seen(bad=900, control=None)
        window = attrs.evolve(seen.candidate, **{what: 7})
        seen = attrs.evolve(seen, candidate=window)
        report = one.watchdog.judge(seen, one.state.baseline)
        one.engine.learn(seen, report)
        decision = one.engine.decide(report)

    assert decision.move is Move.ROLL_BACK


@pytest.mark.parametrize("what", ["dropped", "left_out"])
def test_pairs_of_a_look_that_is_not_whole_are_left_out(what):
    """In shadow as well: both answers of some units may be missing, not by chance."""
    rules = plan(stages=with_stage("shadow", validate=[COMPARED]))
    one = rig(rules=rules).climb("shadow")
    seen = broken(one.seen(), Arm.CONTROL, what)
    seen = attrs.evolve(seen, pairs={"error_rate": Pairs(n=1000, candidate=900)})
    one.engine.learn(seen, one.watchdog.judge(seen, one.state.baseline))

    assert {one.state.findings[TRIGGER].bad} == {1.0}
