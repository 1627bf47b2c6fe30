"""Other code of the candidate inside a stage: a new epoch, through the gate."""

from __future__ import annotations

import pytest

from stages_rig import RULES, plan, registry, rig, with_stage

import legion

from legion import planner
from legion.model import Move, Permission, Ruling
from legion.stages import Status


NEXT = plan(candidate="next")
"""A candidate named by a ref: a version is one snapshot for good, a ref moves."""


@pytest.fixture
def code(tmp_path):
    made = registry(tmp_path / "registry")
    made.tag("next", "2.0.0")
    return made


def point_elsewhere(code, text=b"newer"):
    """Have the candidate's name stand for other code; return its digest."""
    return code.tag("next", code.put({"answer.txt": text}))


def in_canary(code, rules=NEXT, **keywords):
    one = rig(code=code, rules=rules, **keywords).climb("canary")
    one.turn()
    one.turn()
    return one


def test_users_do_not_get_other_code_under_old_proof(code):
    """Until the gate allows it, the code that was proven so far stays."""
    one = in_canary(code)
    before, live = one.engine.exposure, code.active()
    other = point_elsewhere(code)
    one.engine.poll()
    decision = one.decide()

    assert (decision.move, decision.code, decision.to) == (
        Move.ADVANCE,
        "update",
        "canary",
    )
    assert decision.change.kind == "update"
    assert decision.change.detail["code"]["candidate"] == other
    no = Ruling(
        permission=Permission.DENY,
        code="no",
        reason="not today",
        subject=decision.change.digest,
    )
    assert one.engine.commit(decision, no).applied is False
    assert one.engine.exposure == before
    assert code.active() == live != other


def test_a_strict_gate_asks_a_person_about_other_code(code):
    """Nobody is exposed who was not before, but to what nobody has proven yet."""
    one = in_canary(code)
    point_elsewhere(code)
    one.engine.poll()
    change = one.decide().change

    assert legion.SafetyGate().review(change).allowed
    ruling = legion.SafetyGate(legion.Policy(strict=True)).review(change)
    assert (ruling.permission, ruling.code) == (Permission.ASK, "other_code")


def test_an_update_starts_a_new_epoch(code):
    """Dwell and proof begin anew; evidence of harm and the budget stay."""
    one = in_canary(code)
    point_elsewhere(code)
    before = one.state
    decision = one.turn()
    after = one.state

    assert decision.code == "update"
    assert (after.stage, after.status) == ("canary", Status.RUNNING)
    assert before.observed_s > 0 == after.observed_s == after.unbroken_s
    assert after.weights == before.weights
    assert after.turn == before.turn + 1
    harm = {key for key in before.evidence if not key.startswith("validate: ")}
    assert set(after.evidence) == harm != set(before.evidence)
    assert one.engine.exposure.live_code == code.active() == code.resolve("next")


def test_the_stage_is_proven_anew(code):
    """The old code needed one minute more; the new one needs all three."""
    one = in_canary(code)
    point_elsewhere(code)
    codes = [one.turn().code for _ in range(5)]

    assert codes == ["update", "dwell", "dwell", "advance", "dwell"]
    assert one.stage == "everyone"


def test_harm_of_the_old_code_counts_on(code):
    """What was seen before the update and after it takes the rollout back together."""
    slow = with_stage("canary", dwell="60m")
    together = rig(rules=plan(candidate="next", stages=slow), code=code)
    alone = rig(rules=plan(stages=slow)).climb("canary")
    together.climb("canary")
    bad = {"bad": 30, "control": (20, 1000)}
    looks = 0
    while looks < 40 and alone.state.status is not Status.ROLLED_BACK:
        alone.turn(**bad)
        looks += 1
    for _ in range(looks - 2):
        assert together.turn(**bad).move is not Move.ROLL_BACK
    point_elsewhere(code)
    moved = [together.turn(**bad) for _ in range(2)]

    assert looks > 3
    assert moved[-1].move is Move.ROLL_BACK
    assert together.engine.exposure.share == 0.0
    assert code.read("answer.txt") == b"old"


def test_a_frozen_or_paused_ladder_takes_no_other_code(code):
    """An update goes forward, so what stops the ladder stops it too."""
    one = in_canary(code)
    point_elsewhere(code)
    one.engine.pause("not now")

    assert one.turn().code == "paused"
    one.engine.resume()
    assert one.turn().code == "update"


def test_a_restart_between_registry_and_gate_changes_nothing(code, tmp_path):
    """A new process exposes what the state says, whatever the registry has by now."""
    state = tmp_path / "legion.db"
    one = in_canary(code, state=state)
    before = one.engine.exposure
    point_elsewhere(code)
    again = rig(
        rules=NEXT, state=state, code=legion.Registry(code.path), clock=one.clock
    )

    assert again.engine.exposure == before
    assert again.turn().code == "update"
    assert again.engine.exposure.live_code == code.resolve("next")


class Broken(legion.Registry):
    """A registry whose disk goes away while it swaps."""

    def restore(self, name):
        super().restore(name)
        raise OSError(5, "the disk is gone")


@pytest.mark.parametrize("arrived", [True, False])
def test_an_update_that_was_cut_short_is_settled_by_its_digest(code, tmp_path, arrived):
    """In doubt until somebody looks: live is the new code, or the old one is put back."""
    state = tmp_path / "legion.db"
    one = in_canary(code, state=state)
    old, other = code.active(), point_elsewhere(code)
    broken = rig(rules=NEXT, state=state, code=Broken(code.path), clock=one.clock)
    decision = broken.turn()
    assert (decision.code, broken.state.in_doubt) == ("update", decision.change)
    if not arrived:
        code.restore(old)
    again = rig(
        rules=NEXT, state=state, code=legion.Registry(code.path), clock=one.clock
    )
    again.engine.poll()

    assert again.state.in_doubt is None
    assert again.engine.exposure.live_code == (other if arrived else old)
    assert (again.state.observed_s == 0) is arrived


def test_what_was_approved_is_what_is_exposed(code):
    """The registry moves again between ruling and act: the ruling is of other code."""
    one = in_canary(code)
    point_elsewhere(code)
    one.engine.poll()
    decision = one.decide()
    point_elsewhere(code, b"newest")
    one.engine.poll()

    assert one.commit(decision).code == "superseded"


def test_counts_of_the_rollout_itself_are_no_proof_of_code(code):
    """A target on rollbacks is told once a stage and outlasts an update."""
    never = {"metric": "rollbacks", "equals": 0}
    dark, *lit = RULES["stages"]
    lit = [{**stage, "validate": [*stage["validate"], never]} for stage in lit]
    one = in_canary(code, rules=plan(candidate="next", stages=[dark, *lit]))
    point_elsewhere(code)
    one.turn()
    for _ in range(3):
        one.turn()

    assert one.stage == "everyone"


def test_control_keeps_its_code(code):
    """What the others have is what they had, whatever its name stands for by now."""
    one = in_canary(code)
    code.tag("v1", code.put({"answer.txt": b"old, mended"}))
    assert one.turn().code != "update"
    outcome = one.engine.rollback("by order")

    assert outcome.verified
    assert code.read("answer.txt") == b"old"


def test_an_update_comes_out_the_same(code, tmp_path):
    """Told again from its journal: the code that the registry had is in the change."""
    one = in_canary(code, state=tmp_path / "legion.db")
    point_elsewhere(code)
    for _ in range(7):
        one.turn()
    own = one.engine.plugins.criteria["error_rate"]
    found = planner.replay(tmp_path, plugins=legion.Plugins(own, builtins=False))

    assert one.stage == "everyone"
    assert found.difference is None
    assert found.same == found.looks + 1
