"""Forward, back, rehearsed and settled: the world agrees with the pointer, or it is said."""

from __future__ import annotations

import itertools
import subprocess
import sys

import attrs
import pytest

from stages_rig import Router, allow, plan, registry, rig

import legion

from legion.exceptions import SnapshotError
from legion.model import Decision, Move
from legion.stages import Status
from legion.stages.exposure import Exposure
from legion.store.owner import this_process
from legion.testing import ManualClock


class Liar(Router):
    """An owner that answers True and, from some time on, moves nothing."""

    lies = False
    clock = None

    def __init__(self):
        super().__init__()
        self.tried = []

    @legion.hookimpl
    def legion_activate(self, target, digest):
        if not self.lies:
            return super().legion_activate(target, digest)
        if self.clock is not None:
            self.tried.append(self.clock.machine())
        return True if target.startswith("rollout:") else None


class Blind(Router):
    """An owner that cannot be read."""

    answer = None

    @legion.hookimpl
    def legion_active(self, target):
        if self.answer is None:
            return super().legion_active(target)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Refuser(Router):
    """An owner that answers as it is told to."""

    refuses = False

    @legion.hookimpl
    def legion_activate(self, target, digest):
        if self.refuses:
            return False
        return super().legion_activate(target, digest)


class Slow(Router):
    """An owner that takes machine time."""

    takes_s = 0.0
    clock = None

    @legion.hookimpl
    def legion_activate(self, target, digest):
        if self.clock is not None:
            self.clock.advance(0.0, machine_s=self.takes_s)
        return super().legion_activate(target, digest)


def agrees(one, owner=None, code=None):
    """Tell whether world, memory and state agree."""
    exposure = one.engine.exposure
    found = exposure.digest == one.state.exposure
    if owner is not None:
        found = found and owner.live == exposure.digest
    if code is not None:
        found = found and code.active() == exposure.live_code
    return found


@pytest.fixture
def code(tmp_path):
    return registry(tmp_path / "registry")


# Forward.


def test_an_advance_moves_route_and_code(code):
    """The owner has the new exposure, the registry the new code, before it is seen."""
    owner = Router()
    one = rig(owner, code=code).climb("canary")

    assert agrees(one, owner, code)
    assert code.active() == code.resolve("2.0.0")


def test_an_owner_that_moves_nothing_is_in_doubt_and_undone(code):
    """It answers True; what is live says otherwise, so nobody is exposed."""
    owner = Liar()
    one = rig(owner, code=code).climb("shadow")
    owner.lies = True
    one.look()
    outcome = one.commit(one.engine.promote(one.look()))

    assert (outcome.applied, outcome.code) == (None, "in_doubt")
    assert one.stage == "shadow"
    assert one.engine.decide(one.look()).code == "in_doubt"
    owner.lies = False
    one.engine.poll()
    assert one.state.in_doubt is None
    assert agrees(one, owner, code)


def test_an_owner_that_refuses_is_undone(code):
    """False is no doubt about what it thinks; the code goes back as well."""
    owner = Refuser()
    one = rig(owner, code=code).climb("shadow")
    owner.refuses = True
    one.look()
    one.commit(one.engine.promote(one.look()))
    owner.refuses = False
    one.engine.poll()

    assert one.stage == "shadow"
    assert agrees(one, owner, code)


@pytest.mark.parametrize("start", ["", "shadow"])
def test_doubt_waits_for_the_owner(code, start):
    """A process without the owner leaves the move to one that has it."""
    owner = Blind()
    one = rig(owner, code=code)
    if start:
        one.climb(start).look()
    owner.answer = TimeoutError("no answer")
    one.commit(one.engine.promote(one.look()))
    owner.answer = None
    (name,) = [n for n in one.engine.plugins.names() if "blind" in n.lower()]
    one.engine.plugins.unregister(name)
    one.engine.poll()
    assert one.state.in_doubt is not None
    assert one.stage == start
    one.engine.plugins.register(owner)
    one.engine.poll()

    assert one.state.in_doubt is None
    assert one.stage == ("canary" if start else "shadow")
    assert agrees(one, owner, code)


def test_a_move_that_arrived_while_it_was_paused_is_undone(code):
    """A person stopped the ladder before anybody saw the stage: nobody does."""
    owner = Blind()
    one = rig(owner, code=code).climb("shadow")
    owner.answer = TimeoutError("no answer")
    one.look()
    one.commit(one.engine.promote(one.look()))
    one.engine.pause("lunch")
    owner.answer = None
    one.engine.poll()

    assert one.state.in_doubt is None
    assert one.state.status is Status.PAUSED
    assert one.stage == "shadow"
    assert agrees(one, owner, code)


def test_damaged_code_is_not_activated(code):
    """The candidate's bytes are not what was written: it is in doubt, then undone."""
    one = rig(code=code).climb("shadow")
    digest = code.files("2.0.0")["answer.txt"].digest
    code.activate("v1")
    place = code._objects.place(digest)
    place.chmod(0o644)
    place.write_bytes(b"tampered")
    one.look()
    outcome = one.commit(one.engine.promote(one.look()))

    assert outcome.applied is None
    assert "SnapshotCorruptError" in outcome.reason
    assert one.stage == "shadow"


# Back.


def test_a_retreat_restores_the_code_and_the_route(code):
    """Verified by digest, with every step written down."""
    owner = Router()
    one = rig(owner, code=code).climb("canary")
    outcome = one.engine.rollback("by order")

    assert outcome.verified
    assert [step.name for step in outcome.steps] == [
        "route_to_baseline",
        "restore_registry",
        "deactivate_features",
        "validate",
    ]
    assert code.active() == code.resolve("v1")
    assert agrees(one, owner, code)


@pytest.mark.parametrize(
    "answer", [RuntimeError("no"), "f" * 64, ""], ids=["raises", "lies", "nothing"]
)
def test_an_owner_that_cannot_be_believed_leaves_a_retreat_unverified(answer):
    """Users are safe; that it is verified is not claimed, and it is tried again."""
    owner = Blind()
    one = rig(owner).climb("canary")
    owner.answer = answer
    outcome = one.engine.rollback("by order")

    assert (outcome.verified, outcome.code) == (False, "unverified")
    assert "NOT verified" in outcome.reason
    assert one.engine.exposure.share == 0.0
    assert one.state.unsettled
    owner.answer = None
    one.engine.poll()
    assert not one.state.unsettled
    assert agrees(one, owner)


def test_an_owner_that_moves_nothing_leaves_a_retreat_unverified():
    """Answering True is not enough: what is live is compared."""
    owner = Liar()
    one = rig(owner).climb("canary")
    owner.lies = True
    outcome = one.engine.rollback("by order")

    assert not outcome.verified
    assert [step.name for step in outcome.steps if not step.ok] == [
        "route_to_baseline",
        "validate",
    ]
    assert one.state.unsettled
    owner.lies = False
    one.engine.poll()
    assert not one.state.unsettled
    assert agrees(one, owner)


def test_an_unfinished_retreat_is_tried_ever_more_seldom():
    """A second, two, four: a router that is down is not hammered."""
    owner = Liar()
    one = rig(owner).climb("canary")
    owner.lies = True
    one.engine.rollback("by order")
    owner.tried.clear()
    owner.clock = one.clock
    for _ in range(40):
        one.engine.poll()
        one.clock.advance(0.5)
    gaps = [b - a for a, b in itertools.pairwise(owner.tried)]

    assert gaps == [1.0, 2.0, 4.0, 8.0]


def test_an_unfinished_retreat_is_not_forgotten_by_a_restart(tmp_path):
    """The next process with the owner finishes it."""
    owner = Liar()
    one = rig(owner, state=tmp_path / "legion.db").climb("canary")
    owner.lies = True
    one.engine.rollback("by order")
    other = rig(owner, state=tmp_path / "legion.db", clock=one.clock)
    owner.lies = False
    other.engine.poll()

    assert not other.state.unsettled
    assert agrees(other, owner)
    one.engine.poll()
    assert not one.state.unsettled


def test_a_process_that_adopts_a_retreat_looks_at_its_own_world(tmp_path):
    """Another one went back without the owner; the one that has it finishes."""
    owner = Router()
    one = rig(owner, state=tmp_path / "legion.db").climb("canary")
    other = rig(state=tmp_path / "legion.db", clock=one.clock)
    outcome = other.engine.rollback("from elsewhere")

    assert not outcome.verified
    assert "not in this process" in outcome.reason
    assert owner.live != one.engine._ladder.baseline.digest
    one.engine.poll()
    assert one.engine.exposure.share == 0.0
    assert agrees(one, owner)
    assert not one.state.unsettled


def test_lateness_is_said(code):
    """A retreat that takes longer than its deadline says so."""
    owner = Slow()
    one = rig(owner, code=code).climb("canary")
    owner.clock, owner.takes_s = one.clock, 61.0
    outcome = one.engine.rollback("by order")

    assert (outcome.code, outcome.verified) == ("late", True)
    assert outcome.took_s == 61.0
    assert "later than its 60 s" in outcome.reason


def test_in_time_is_said_too():
    """A second less, and nothing is late."""
    owner = Slow()
    one = rig(owner).climb("canary")
    owner.clock, owner.takes_s = one.clock, 59.0

    assert one.engine.rollback("by order").code == "rolled_back"


def test_a_retreat_with_damaged_code_is_unverified(code):
    """Users are back, the code cannot be: that is said, and nothing else is claimed."""
    one = rig(code=code).climb("canary")
    digest = code.files("v1")["answer.txt"].digest
    place = code._objects.place(digest)
    place.chmod(0o644)
    place.write_bytes(b"tampered")
    outcome = one.engine.rollback("by order")

    assert not outcome.verified
    assert "restore_registry" in outcome.reason
    assert one.engine.exposure.share == 0.0
    assert one.state.status is Status.ROLLED_BACK


def test_a_damaged_ref_does_not_hold_a_rollback_up(tmp_path, code):
    """The name it goes back to is damaged: the rollout knows the digest, and is back."""
    state = tmp_path / "legion.db"
    clock = rig(state=state, code=code).climb("canary").clock
    for ref in (tmp_path / "registry" / "refs").iterdir():
        ref.chmod(0o644)
        ref.write_bytes(b"\xff\xfe garbage")
    one = rig(state=state, code=legion.Registry(code.path), clock=clock)
    outcome = one.engine.rollback("by order")

    assert outcome.verified
    assert code.read("answer.txt") == b"old"
    assert one.engine.exposure.share == 0.0
    assert one.engine._pointer._file.latch().reason == "by order"
    assert one.state.status is Status.ROLLED_BACK


def test_nothing_goes_forward_over_a_damaged_ref(tmp_path, code):
    """A registry that cannot be read holds the rollout, with the reason."""
    for ref in (tmp_path / "registry" / "refs").iterdir():
        ref.write_bytes(b"\xff\xfe garbage")
    one = rig(code=legion.Registry(code.path))

    assert one.decide().code == "damaged_registry"


def test_a_rollout_does_not_complete_over_a_damaged_ref(tmp_path, code):
    """After a restart the way back cannot be read: the last stage is held, too."""
    state = tmp_path / "legion.db"
    clock = rig(state=state, code=code).climb("everyone").clock
    for ref in (tmp_path / "registry" / "refs").iterdir():
        ref.chmod(0o644)
        ref.write_bytes(b"\xff\xfe garbage")
    one = rig(state=state, code=legion.Registry(code.path), clock=clock)
    codes = [one.decide(control=None).code for _ in range(4)]

    assert codes[-1] == "damaged_registry"


def test_code_that_appears_before_the_start_is_taken(tmp_path):
    """Versions that are put in before anything is exposed count."""
    empty = legion.Registry(tmp_path)
    one = rig(code=empty)
    empty.put({"a": b"old"}, version="1.0.0")
    empty.tag("v1", "1.0.0")
    empty.put({"a": b"new"}, version="2.0.0")
    one.climb("shadow")

    assert empty.active() == empty.resolve("2.0.0")
    assert one.engine.rollback("by order").verified
    assert empty.active() == empty.resolve("v1")


def test_a_candidate_the_registry_does_not_hold_does_not_go_live(tmp_path):
    """Another snapshot is live, and this one is nowhere: that is no agreement."""
    other = legion.Registry(tmp_path)
    other.put({"a": b"old"}, version="1.0.0")
    other.tag("v1", "1.0.0")
    other.activate("v1")
    one = rig(code=other)
    outcome = one.commit(one.decide())

    assert outcome.applied is None
    assert "cannot resolve '2.0.0'" in outcome.reason


def lower(one):
    """Return the decision to go back one stage."""
    decision = one.engine.promote(one.look())
    return attrs.evolve(
        decision, move=Move.ROLL_BACK, code="chosen", reason="too fast", to="shadow"
    )


def test_a_retreat_to_a_lower_stage_is_not_final(code):
    """Users are in the lower stage, the ladder goes on, the latch is not pulled."""
    owner = Router()
    one = rig(owner, code=code).climb("canary")
    outcome = one.commit(lower(one))

    assert outcome.verified
    assert agrees(one, owner, code)
    assert (one.stage, one.state.status) == ("shadow", Status.RUNNING)
    assert one.engine._pointer._file.latch() is None
    assert one.climb("canary")


def test_a_retreat_to_a_lower_stage_is_finished_too():
    """What could not be verified is tried again, as after a rollback."""
    owner = Liar()
    one = rig(owner).climb("canary")
    owner.lies = True
    assert not one.commit(lower(one)).verified
    assert one.state.unsettled
    owner.lies = False
    one.engine.poll()

    assert not one.state.unsettled
    assert agrees(one, owner)


def test_a_retreat_to_a_lower_stage_is_overtaken_by_the_latch():
    """Pulled in the middle of it, users are not in that stage: that is not verified."""

    class Alarmed(Router):
        engine = None

        @legion.hookimpl
        def legion_activate(self, target, digest):
            if self.engine is not None:
                self.engine._pointer.latch("pulled")
            return super().legion_activate(target, digest)

    owner = Alarmed()
    one = rig(owner).climb("canary")
    decision = lower(one)
    owner.engine = one.engine
    outcome = one.commit(decision)

    assert not outcome.verified
    assert "users see" in outcome.reason
    one.engine.poll()
    assert one.state.status is Status.ROLLED_BACK
    assert owner.live == one.engine._ladder.baseline.digest


def test_a_retreat_to_a_lower_stage_keeps_a_pause():
    """Going back is accepted while paused, and it stays paused."""
    one = rig().climb("canary")
    one.engine.pause("lunch")
    one.commit(lower(one))

    assert (one.stage, one.state.status) == ("shadow", Status.PAUSED)


# Features.


def test_a_feature_switched_off_stays_off_in_every_stage():
    """Higher or lower, and for the owner as well."""
    owner = Router()
    one = rig(owner).climb("canary")
    assert one.engine.deactivate(["tone"], reason="rude").verified
    assert agrees(one, owner)
    assert one.commit(lower(one)).verified
    assert not one.engine.exposure.features["tone"].enabled
    assert agrees(one, owner)
    one.climb("everyone")

    assert not one.engine.exposure.features["tone"].enabled
    assert one.engine.exposure.features["cache"].enabled
    assert agrees(one, owner)


def test_a_feature_switched_off_stays_off_after_a_restart(tmp_path):
    """Another process starts without it."""
    one = rig(state=tmp_path / "legion.db").climb("canary")
    one.engine.deactivate(["tone"], reason="rude")
    other = rig(state=tmp_path / "legion.db", clock=one.clock)

    assert not other.engine.exposure.features["tone"].enabled
    assert agrees(other)


def test_a_feature_switched_off_elsewhere_reaches_the_owner(tmp_path):
    """The command line has no owner; the process that has it lets it know."""
    owner = Router()
    one = rig(owner, state=tmp_path / "legion.db").climb("canary")
    other = rig(state=tmp_path / "legion.db", clock=one.clock)
    other.engine.deactivate(["tone"], reason="rude")
    one.engine.poll()

    assert not one.engine.exposure.features["tone"].enabled
    assert agrees(one, owner)
    assert not one.state.unsettled


def test_control_never_has_a_feature():
    """Off for everybody is off for control anyway."""
    one = rig().climb("canary")
    units = [str(i) for i in range(50)]
    control = [u for u in units if one.engine.assign(u) is legion.Arm.CONTROL]

    assert control
    assert not any(one.engine.feature("tone", unit).enabled for unit in control)


# Rehearsed.


def test_a_rehearsal_moves_route_and_code_and_returns(code):
    """The owner and the registry have been at the baseline, and are back."""
    owner = Router()
    one = rig(owner, code=code)
    one.commit(one.decide())
    at = one.engine.exposure.digest
    outcome = one.rehearse()

    assert (outcome.code, outcome.verified) == ("rehearsed", True)
    assert owner.told[-2:] == [one.engine._ladder.baseline.digest, at]
    assert agrees(one, owner, code)
    assert one.state.rehearsed_s is not None
    assert one.engine._pointer.latched is None


def test_a_rehearsal_that_takes_too_long_does_not_count():
    """It is a reason to hold, not a success."""
    owner = Slow()
    one = rig(owner)
    one.commit(one.decide())
    owner.clock, owner.takes_s = one.clock, 61.0
    outcome = one.rehearse()

    assert outcome.code == "rehearsal_failed"
    assert one.state.rehearsed_s is None
    assert one.engine.rehearsal is not None


def test_a_rehearsal_that_cannot_return_is_in_doubt(code, monkeypatch):
    """The candidate's code does not come back: it is tried until it does."""
    owner = Router()
    one = rig(owner, code=code)
    one.commit(one.decide())
    restore = type(code).restore

    def broken(self, name):
        if name == self.resolve("2.0.0"):
            raise SnapshotError("disk")
        return restore(self, name)

    with monkeypatch.context() as patched:
        patched.setattr(type(code), "restore", broken)
        outcome = one.rehearse()
        assert outcome.applied is None
        assert one.engine.rehearsal is None
        one.engine.poll()
        assert one.state.in_doubt is not None
    one.engine.poll()

    assert one.state.in_doubt is None
    assert one.stage == "shadow"
    assert agrees(one, owner, code)
    assert one.rehearse().code == "rehearsed"


def test_an_interrupted_rehearsal_is_resumed(code):
    """Ctrl-C in the middle: the stage is brought back, and it is rehearsed again."""

    class Interrupted(Router):
        now = False

        @legion.hookimpl
        def legion_activate(self, target, digest):
            if self.now:
                self.now = False
                raise KeyboardInterrupt
            return super().legion_activate(target, digest)

    owner = Interrupted()
    one = rig(owner, code=code)
    one.commit(one.decide())
    owner.now = True
    with pytest.raises(KeyboardInterrupt):
        one.rehearse()
    one.engine.poll()

    assert one.state.in_doubt is None
    assert one.stage == "shadow"
    assert agrees(one, owner, code)
    assert one.rehearse().code == "rehearsed"


def test_a_rehearsal_needs_a_ruling():
    """It moves the world, so the gate is asked."""
    owner = Router()
    one = rig(owner)
    one.commit(one.decide())
    told = len(owner.told)
    change = one.engine.rehearsal
    other = attrs.evolve(change, reason="another")

    assert one.engine.rehearse(change, allow(other)).code == "no_ruling"
    assert len(owner.told) == told


def test_a_rollback_during_a_rehearsal_stays():
    """The way there has just been tried; it is not returned from."""

    class Alarmed(Router):
        engine = None

        @legion.hookimpl
        def legion_activate(self, target, digest):
            if self.engine is not None:
                self.engine._pointer.latch("pulled")
            return super().legion_activate(target, digest)

    owner = Alarmed()
    one = rig(owner)
    one.commit(one.decide())
    owner.engine = one.engine
    one.rehearse()
    assert owner.told[-1] == one.engine._ladder.baseline.digest
    one.engine.poll()

    assert one.state.status is Status.ROLLED_BACK
    assert owner.live == one.engine._ladder.baseline.digest


# Cut short.


def cut_short(tmp_path, mover):
    """Leave a move to canary that is intended, routed and not finished."""
    owner = Router()
    one = rig(owner, state=tmp_path / "legion.db").climb("shadow")
    one.look()
    decision = one.engine.promote(one.look())
    advance = one.engine._advance
    advance.intend(decision.change, decision, allow(decision.change))
    owner.live = decision.change.after
    moved = attrs.evolve(one.state, mover=mover)
    one.engine._pointer.save(moved, durable=True)
    return rig(owner, state=tmp_path / "legion.db", clock=one.clock), owner


def test_a_move_of_a_living_process_is_left_alone(tmp_path):
    """Whoever opens or polls in between settles nothing."""
    code = (
        "from legion.store.owner import this_process\n"
        "print(this_process(), flush=True)\ninput()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as mover:
        one, owner = cut_short(tmp_path, f"{mover.stdout.readline().strip()}@0")
        one.engine.poll()
        assert one.state.in_doubt is not None
        assert one.stage == "shadow"
        mover.communicate("\n")
    one.engine.poll()

    assert one.state.in_doubt is None
    assert agrees(one, owner)


def test_a_move_of_a_dead_process_is_settled(tmp_path):
    """It had arrived, so that is written down, once."""
    host, _, _ = this_process().rsplit(":", 2)
    one, owner = cut_short(tmp_path, f"{host}:999999999:0.00@0")
    one.engine.poll()
    one.engine.poll()

    assert one.state.in_doubt is None
    assert one.stage == "canary"
    assert agrees(one, owner)


def test_a_move_on_another_machine_has_its_time(tmp_path):
    """Whether that process lives cannot be told: it has as long as a rollback may take."""
    clock_s = 1e9
    one, _ = cut_short(tmp_path, f"elsewhere:1:0.00@{clock_s + 400:.0f}")
    one.clock.advance(0.0, machine_s=clock_s + 430 - one.clock.wall())
    one.engine.poll()
    assert one.state.in_doubt is not None
    one.clock.advance(0.0, machine_s=40.0)
    one.engine.poll()

    assert one.state.in_doubt is None


ZOMBIE = """
import os
from legion.store.owner import is_alive, this_process
read, write = os.pipe()
pid = os.fork()
if pid == 0:
    os.write(write, this_process().encode())
    os._exit(0)
name = os.read(read, 4096).decode()
os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
print(is_alive(name), is_alive(this_process()))
"""


def test_a_zombie_is_dead():
    """A child that was never waited for does not hold a rollout up for ever."""
    done = subprocess.run(
        [sys.executable, "-c", ZOMBIE],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.stdout, done.stderr) == ("False True\n", "")


def test_an_exposure_reads_back_equal():
    """Every stage's exposure is written and read without loss."""
    one = rig()
    for exposure in one.engine._ladder.stages:
        again = Exposure.from_json(exposure.to_json())
        assert again == exposure
        assert again.digest == exposure.digest


def test_a_retreat_is_decided_without_a_report():
    """By hand there is none, and none is needed."""
    one = rig(rules=plan(), clock=ManualClock(5.0))
    decision = one.engine._ladder.retreat("by_hand", "x", one.state)

    assert isinstance(decision, Decision)
    assert decision.change.kind == "roll_back"
    assert decision.within_s == 60.0
