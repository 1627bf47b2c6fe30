"""Committing a decision: once, of this plan, of this state, and durable before seen."""

from __future__ import annotations

import threading

import attrs
import pytest

from stages_rig import Router, allow, plan, registry, rig, with_stage

import legion

from legion.exceptions import LegionError, StateError
from legion.model import Change, Decision, Move, Permission, Ruling
from legion.stages import StageEngine, Status
from legion.store import Database


def ready(**keywords):
    """Return a rig in canary, and the decision that would advance it."""
    one = rig(**keywords).climb("canary")
    report = one.look()
    return one, one.engine.promote(report)


# Going forward.


@pytest.mark.parametrize("permission", [None, Permission.ASK, Permission.DENY])
def test_going_forward_needs_a_ruling_that_allows_it(permission):
    """Without one, or with a question or a denial, nothing moves, and why is said."""
    one, decision = ready()
    ruling = None
    if permission is not None:
        ruling = attrs.evolve(allow(decision.change), permission=permission)
    outcome = one.engine.commit(decision, ruling)

    assert outcome.applied is False
    assert outcome.code == ("no_ruling" if ruling is None else "not_allowed")
    assert one.engine.exposure.share == 0.25


def test_a_decision_moves_once():
    """Committed twice it moves once; the second time says that it is superseded."""
    one, decision = ready()

    assert one.commit(decision).applied is True
    version = one.state.version
    again = one.commit(decision)

    assert (again.applied, again.code) == (False, "superseded")
    assert one.state.version == version
    assert one.state.stage == "everyone"


def test_a_decision_about_an_older_state_is_refused():
    """What was decided before a pause and a resume is not about what is now."""
    one, decision = ready()
    one.engine.pause("lunch")
    one.engine.resume()

    assert one.commit(decision).code == "superseded"
    assert one.state.stage == "canary"


def test_a_pause_between_deciding_and_committing_holds():
    """The last word counts: nothing moves while it is paused."""
    one, decision = ready()
    one.engine.pause("lunch")
    paused = attrs.evolve(decision, version=one.state.version)

    assert one.commit(decision).applied is False
    assert one.commit(paused).code == "paused"
    assert one.state.stage == "canary"


def test_a_decision_of_another_plan_is_refused():
    """Whatever it says: forward, back, to a stage, freeze or complete."""
    one, decision = ready()
    foreign = attrs.evolve(decision, plan="another")
    back = Decision(move=Move.ROLL_BACK, code="x", reason="x", plan="another")
    version = one.state.version

    assert one.commit(foreign).code == "foreign"
    assert one.commit(back).code == "foreign"
    assert one.commit(attrs.evolve(back, to="shadow")).code == "foreign"
    one.engine.latch(back)
    for move in (Move.FREEZE, Move.ADVANCE):
        one.commit(attrs.evolve(back, move=move, version=version))
    assert (one.state.version, one.state.status) == (version, Status.RUNNING)
    assert one.engine.exposure.share == 0.25


def test_what_was_ruled_on_is_what_moves():
    """A ruling on one stage does not let another one through."""
    one = rig().climb("shadow")
    one.look()
    decision = one.engine.promote(one.look())
    assert decision.to == "canary"
    swapped = attrs.evolve(decision, to="everyone")

    assert one.commit(swapped).code == "superseded"
    assert one.state.stage == "shadow"


def test_a_feature_switched_off_meanwhile_needs_a_new_ruling():
    """What would be exposed is not what was ruled on."""
    one, decision = ready()
    one.engine._pointer.switch_off({"cache"})

    assert one.commit(decision).code == "superseded"


def test_only_the_last_stage_completes():
    """A decision that advances to nowhere does not end a rollout half way."""
    one = rig().climb("canary")
    forged = Decision(
        move=Move.ADVANCE,
        code="complete",
        reason="trust me",
        plan="rig",
        version=one.state.version,
    )
    one.engine.commit(forged)

    assert one.state.status is Status.RUNNING


def test_nobody_sees_a_move_before_it_is_durable(monkeypatch):
    """While it is being written, requests still get what they got before."""
    one, decision = ready()
    seen = []
    file = type(one.engine._pointer._file)
    save = file.save

    def spy(self, state, **keywords):
        seen.append(one.engine.exposure.stage)
        return save(self, state, **keywords)

    monkeypatch.setattr(file, "save", spy)
    one.commit(decision)

    assert seen == ["canary", "canary"]
    assert one.stage == "everyone"


def test_a_move_that_cannot_be_written_is_not_seen(monkeypatch):
    """The intent is there, the move is not: users keep what they have."""
    one, decision = ready()
    file = type(one.engine._pointer._file)
    save = file.save

    def full(self, state, **keywords):
        if keywords.get("exposure") is not None:
            raise StateError("legion.db", "full")
        return save(self, state, **keywords)

    with monkeypatch.context() as patched:
        patched.setattr(file, "save", full)
        with pytest.raises(StateError, match="full"):
            one.commit(decision)
        assert one.engine.exposure.share == 0.25
    one.engine.poll()

    assert one.state.in_doubt is None
    assert one.engine.exposure.digest == one.state.exposure


def test_every_move_is_written_with_the_disk_synced(tmp_path):
    """Intent, advance, pause, deactivation and latch are FULL; evidence is NORMAL."""
    one = rig(state=tmp_path / "legion.db")
    database = one.engine._pointer._file.database
    synced, unsynced, level = set(), set(), None

    def spy(sql):
        nonlocal level
        words = sql.split()
        if words[:2] == ["PRAGMA", "synchronous"]:
            level = words[-1]
        if words[0] in {"INSERT", "UPDATE"}:
            table = words[1] if words[0] == "UPDATE" else words[words.index("INTO") + 1]
            (synced if level == "FULL" else unsynced).add(table)

    one.look()  # whatever comes first is evidence, so that the level is known
    with database.transaction(durable=False):
        pass
    level = "NORMAL"
    database._session().connection.set_trace_callback(spy)
    one.climb("everyone")
    one.engine.pause("lunch")
    one.engine.deactivate(["tone"], reason="x")
    one.engine.rollback("by order")

    assert {"rollout", "latch", "off"} <= synced
    assert not {"rollout", "latch", "off", "exposure"} & unsynced
    assert "lesson" in unsynced


# Going back.


@pytest.mark.parametrize("to", ["canary", "everyone", "nowhere"])
def test_a_retreat_does_not_go_up(to):
    """Back to where it is, above it, or to no stage at all is refused."""
    one, decision = ready(rules=plan())
    back = attrs.evolve(decision, move=Move.ROLL_BACK, to=to, change=None)
    outcome = one.engine.commit(back)

    assert (outcome.applied, outcome.code) == (False, "not_lower")
    assert one.engine.exposure.share == 0.25


def test_nothing_moves_after_a_rollback():
    """Decisions of before it are over: advance, freeze, complete and a lower stage."""
    one, decision = ready()
    one.engine.rollback("by order")
    for kind in (
        decision,
        attrs.evolve(decision, move=Move.ROLL_BACK, to="shadow"),
        attrs.evolve(decision, move=Move.FREEZE, change=None),
        attrs.evolve(decision, move=Move.ADVANCE, code="complete", change=None),
    ):
        for version in (kind.version, one.state.version):
            one.commit(attrs.evolve(kind, version=version))

    assert one.state.status is Status.ROLLED_BACK
    assert one.engine.exposure.share == 0.0


def test_nothing_moves_while_the_latch_is_in_force_in_memory(monkeypatch):
    """The state file does not know of it yet; memory does, and that is enough."""
    one, decision = ready()
    one.engine._pointer.latch("pulled")
    freeze = attrs.evolve(decision, move=Move.FREEZE, change=None)

    assert one.commit(decision).code == "over"
    one.commit(freeze)
    assert one.state.status is Status.RUNNING
    assert one.engine.exposure.share == 0.0


def test_the_latch_cannot_be_let_go_of():
    """Whatever is shown afterwards, in memory everybody keeps the baseline."""
    one, _ = ready()
    canary = one.engine.exposure
    one.engine._pointer.latch("pulled")
    one.engine._pointer.show(canary)
    one.engine._pointer.latch("again")

    assert one.engine.exposure.share == 0.0
    assert one.engine._pointer.latched == "pulled"


def test_a_rollback_made_twice_is_one():
    """The second one finds everything done, and counts for nothing."""
    one = rig(Router()).climb("canary")
    one.engine.rollback("by order")
    again = one.engine.rollback("once more")

    assert again.verified
    assert one.state.rollbacks == 1
    assert "by order" in one.state.reason


def test_a_rollback_made_again_mends_a_world_that_drifted(tmp_path):
    """Somebody put the candidate's code back: a second rollback takes it out again."""
    code = registry(tmp_path)
    one = rig(code=code).climb("canary")
    one.engine.rollback("by order")
    code.activate("2.0.0")
    again = one.engine.rollback("once more")

    assert again.verified
    assert code.active() == code.resolve("v1")
    assert one.state.rollbacks == 1


def test_a_reason_with_half_a_character_is_no_obstacle(tmp_path):
    """A lone surrogate cannot be written down as it is; the rollback is all the same."""
    one = rig(state=tmp_path / "legion.db").climb("canary")
    outcome = one.engine.rollback("caf\udce9")

    assert outcome.verified
    assert one.state.status is Status.ROLLED_BACK
    assert "caf\\udce9" in one.state.reason
    assert one.journal.verify().ok


def test_a_decision_with_half_a_character_is_no_obstacle(tmp_path):
    """The reason of a chooser or a criterion is written down with a backslash."""
    one, decision = ready(state=tmp_path / "legion.db")
    change = attrs.evolve(decision.change, kind="roll_back", reason="\udce9")
    back = attrs.evolve(
        decision, move=Move.ROLL_BACK, to="", reason="\udce9", change=change
    )
    outcome = one.engine.commit(back)

    assert outcome.verified
    assert one.state.status is Status.ROLLED_BACK


@pytest.mark.parametrize("features", [["nothing"], ["tone", "nothing"]])
def test_an_unknown_feature_is_refused(features):
    """The message names those there are; nothing was switched off."""
    one = rig().climb("canary")

    with pytest.raises(LegionError, match=r"got nothing; write one of cache, tone"):
        one.engine.deactivate(features, reason="x")
    assert one.engine.exposure.features["tone"].enabled


# Who asks in between.


def test_a_hook_that_polls_from_inside_a_move_settles_nothing():
    """The move comes to its end first; it is not taken for one that was cut short."""

    class Nosy(Router):
        engine = None

        @legion.hookimpl
        def legion_activate(self, target, digest):
            self.engine.poll()
            return super().legion_activate(target, digest)

    nosy = Nosy()
    one = rig(nosy)
    nosy.engine = one.engine
    one.climb("canary")
    one.engine.rollback("by order")

    assert one.state.status is Status.ROLLED_BACK
    codes = [r.body["code"] for r in one.journal.records(kind="outcome")]
    assert codes == ["applied", "rehearsed", "applied", "rolled_back"]


@pytest.mark.parametrize("when", ["forward", "back"])
def test_an_owner_may_pull_the_latch_from_inside_a_move(when):
    """It finds out that it cannot: everybody is back, without an endless round."""

    class Alarmed(Router):
        engine = None
        alarmed = False

        @legion.hookimpl
        def legion_activate(self, target, digest):
            if self.alarmed:
                self.engine.rollback("the router says no")
            return super().legion_activate(target, digest)

    owner = Alarmed()
    one = rig(owner)
    owner.engine = one.engine
    one.climb("canary")
    owner.alarmed = True
    if when == "forward":
        one.commit(one.engine.promote(one.look()))
    else:
        one.engine.rollback("by order")
    owner.alarmed = False
    one.engine.poll()

    assert one.state.status is Status.ROLLED_BACK
    assert not one.state.unsettled
    assert owner.live == one.engine.exposure.digest == one.state.exposure
    assert len(owner.told) < 12


def test_a_rollback_from_another_thread_does_not_wait_for_a_move(tmp_path):
    """Users are back while the owner still hangs in the move forward."""
    asked, answer = threading.Event(), threading.Event()

    class Slow(Router):
        slow = False

        @legion.hookimpl
        def legion_activate(self, target, digest):
            if self.slow:
                asked.set()
                assert answer.wait(20)
            return super().legion_activate(target, digest)

    owner = Slow()
    one = rig(owner, state=tmp_path / "legion.db", code=registry(tmp_path)).climb(
        "canary"
    )
    decision = one.engine.promote(one.look())
    owner.slow = True
    mover = threading.Thread(target=one.commit, args=(decision,))
    mover.start()
    assert asked.wait(20)
    owner.slow = False
    back = threading.Thread(target=one.engine.rollback, args=("by order",))
    back.start()
    for _ in range(2000):
        if one.engine.exposure.share == 0.0:
            break
        back.join(0.01)
    assert one.engine.exposure.share == 0.0
    assert mover.is_alive()
    answer.set()
    mover.join(20)
    back.join(20)

    assert one.state.status is Status.ROLLED_BACK
    assert owner.live == one.state.exposure == one.engine.exposure.digest
    live = one.engine._ladder.registry
    assert live.active() == live.resolve("v1")


# What it is made of.


@pytest.mark.parametrize(
    ("name", "given", "write"),
    [
        ("plan", 5, "legion.Plan"),
        ("plan", {"plan": "x"}, "legion.Plan"),
        ("plugins", [], "legion.Plugins"),
        ("state", 5, "the path of a file"),
    ],
)
def test_an_argument_of_the_wrong_type_is_one_clear_error(name, given, write):
    """Who was given what, and what to write."""
    arguments = {"plan": plan(), name: given}

    with pytest.raises(LegionError, match=f"StageEngine: got {name}=.*write .*{write}"):
        StageEngine(**arguments)


def test_a_state_file_that_is_none_is_one_clear_error(tmp_path):
    """Somebody's notes are not written over."""
    notes = tmp_path / "notes.txt"
    notes.write_text("remember the milk, and much more than a page of it\n" * 99)

    with pytest.raises(StateError, match="no state file"):
        StageEngine(plan(), state=notes)
    assert notes.read_text().startswith("remember")


def test_an_engine_of_its_own_file_closes_it(tmp_path):
    """An open database that was handed in stays open."""
    with StageEngine(plan(), state=tmp_path / "own.db") as engine:
        pass
    with pytest.raises(StateError, match="closed"):
        engine.poll()
    with Database(tmp_path / "mine.db") as database:
        with StageEngine(plan(), state=database):
            pass
        assert database.check() == []


def test_a_stage_without_features_switches_none_on():
    """What another stage brings is off here."""
    one = rig(rules=plan(stages=with_stage("canary", features={}))).climb("canary")

    assert not one.engine.exposure.features


def test_not_done_is_recorded_with_its_reason():
    """The journal tells what was refused, and why."""
    one, decision = ready()
    one.engine.commit(decision, None)
    (record,) = [
        r for r in one.journal.records(kind="outcome") if r.body["code"] == "no_ruling"
    ]

    assert record.body["change"] == decision.change.digest
    assert isinstance(decision.change, Change)
    assert isinstance(allow(decision.change), Ruling)
