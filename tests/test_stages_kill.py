"""kill -9 at every write and every step of a move, with an owner and a registry."""

from __future__ import annotations

import json

import pytest

from forked import script


KILLS = '''
import json, os, shutil, signal, sys
from pathlib import Path
folder, act = Path(sys.argv[1]), sys.argv[2]
import legion
from forked import child, wait
from legion.journal import Journal
from legion.registry import Registry
from legion.stages import Status
from legion.stages.persistence import StateFile
from legion.stages.pointer import Pointer
from legion.stages.world import World
from legion.store import Database
from legion.testing import ManualClock
from stages_rig import registry, rig

class FileRouter:
    """An owner whose router is a file: it outlives the process."""

    def __init__(self, file):
        self.file = file

    @legion.hookimpl
    def legion_activate(self, target, digest):
        if not target.startswith("rollout:"):
            return None
        point()
        aside = self.file.with_suffix(".new")
        aside.write_text(digest)
        aside.replace(self.file)
        point()
        return True

    @legion.hookimpl
    def legion_active(self, target):
        if not target.startswith("rollout:"):
            return None
        return self.file.read_text() if self.file.exists() else ""

left = None  # How many points this process may still pass.

def point():
    global left
    if left is not None:
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

def deadly(owner, name):
    real = getattr(owner, name)
    def killed(*args, **keywords):
        point()
        answer = real(*args, **keywords)
        point()
        return answer
    setattr(owner, name, killed)

for owner, names in {
    StateFile: ("save", "teach", "pull", "switch_off"),
    Journal: ("append",),
    Registry: ("restore",),
    World: ("route", "swap_code", "verify"),
    Pointer: ("show", "save", "latch", "pull"),
}.items():
    for name in names:
        deadly(owner, name)

def opened(place, at_s):
    code = Registry(place / "registry")
    owner = FileRouter(place / "router")
    return rig(owner, state=place / "legion.db", code=code, clock=ManualClock(at_s)), owner

def decision_to(one, *looks):
    report = [one.look() for _ in range(2)][-1]
    return one.engine.promote(report)

def lower(one):
    import attrs
    decision = decision_to(one)
    return attrs.evolve(
        decision, move=legion.Move.ROLL_BACK, to="shadow", code="chosen", reason="x")

ACTS = {
    "forward": ("shadow", lambda one: one.commit(decision_to(one))),
    "back": ("canary", lambda one: one.engine.rollback("by order")),
    "lower": ("canary", lambda one: one.commit(lower(one))),
    "rehearse": ("", lambda one: (one.commit(one.decide()), one.rehearse())),
    "deactivate": ("canary", lambda one: one.engine.deactivate(["tone"], reason="rude")),
}
stage, do = ACTS[act]
start = folder / "start"
start.mkdir()
registry(start / "registry")
one, _ = opened(start, 1e9)
one.climb(stage) if stage else None
one.engine._pointer._file.database.close()

def die(place, k):
    global left
    one, _ = opened(place, 1e9 + 1000)
    left = k
    do(one)

def killed_at(place, k):
    """Do it in a child that dies at the point *k*; False if it came to the end."""
    code = wait(child(die, place, k))
    assert code in (0, -signal.SIGKILL), code
    return code != 0

def check(place, k, cut):
    one, owner = opened(place, 1e9 + 90_000)
    latched = one.engine._pointer._file.latch()
    if latched is not None:
        assert one.engine.exposure.share == 0.0, "before any look"
    one.engine.poll()
    one.engine.poll()
    state, exposure = one.state, one.engine.exposure
    assert state.in_doubt is None and not state.unsettled, state
    assert exposure.digest == state.exposure
    assert owner.legion_active("rollout:rig") in {exposure.digest, ""}, "route"
    live = one.engine._ladder.registry.active()
    assert live == exposure.live_code or not exposure.stage and not stage, "code"
    found = one.journal.verify()
    assert found.ok, found
    moved = [r.body["change"] for r in one.journal.records(kind="outcome")
             if r.body["applied"] and r.body["code"] in {"applied", "settled"}]
    assert len(moved) == len(set(moved)), "doubled"
    rungs = ["", "shadow", "canary", "everyone"]
    if act == "forward":
        assert state.stage in {"shadow", "canary"}
        assert len(moved) == rungs.index(state.stage), "lost"
        one.climb("canary")
    elif act == "back":
        assert (latched is not None) is (state.status is Status.ROLLED_BACK)
        one.engine.rollback("again")
        assert one.state.status is Status.ROLLED_BACK
        assert one.state.rollbacks == 1
        assert latched is not None or not cut or k < 5
    elif act == "lower":
        assert latched is None
        assert state.stage in {"shadow", "canary"}
        assert state.rollbacks == (state.stage == "shadow")
        one.climb("everyone")
    elif act == "rehearse":
        assert latched is None
        assert state.stage in {"", "shadow"}
        one.climb("canary")
        assert one.state.rehearsed_s is not None
    else:
        assert state.off in ({"tone"}, set())
        assert state.off == one.engine._pointer._file.off()
        assert exposure.features["tone"].enabled is not bool(state.off)
        one.engine.deactivate(["tone"], reason="again")
        assert not one.engine.exposure.features["tone"].enabled
        assert owner.legion_active("rollout:rig") == one.engine.exposure.digest
    one.engine._pointer._file.database.close()

k, cut = 0, True
while cut:
    place = folder / str(k)
    shutil.copytree(start, place)
    cut = killed_at(place, k)
    try:
        check(place, k, cut)
    except BaseException:
        print(f"{act}, killed at point {k}", file=sys.stderr)
        raise
    shutil.rmtree(place)
    k += 1
print(json.dumps(k))
'''


@pytest.mark.parametrize(
    ("act", "least"),
    [
        ("forward", 25),
        ("back", 20),
        ("lower", 15),
        ("rehearse", 40),
        ("deactivate", 12),
    ],
)
def test_kill_9_at_every_step_of_a_move_leaves_one_world(tmp_path, act, least):
    """
    Before and after each write, and each thing the world is told.

    After the restart the router, the registry and the pointer agree, nothing is lost or
    doubled, the journal verifies, and the rollout goes on.
    """
    assert json.loads(script(KILLS, tmp_path, act)) > least
