"""The registry is killed at every write: old or new, never mixed."""

from __future__ import annotations

import json

from forked import script


PRELUDE = """
import json, os, signal, sys
from forked import child, wait
from legion.exceptions import SnapshotNotFoundError
from legion.registry import Registry

class Clock:
    def wall(self):
        return 1_700_000_000.0

OLD = {"a": b"old a", "same": b"same", "dir/b": b"old b" * 9000}
NEW = {"a": b"new a", "same": b"same", "dir/b": b"new b" * 9000, "c": b"new"}

def content(registry, name):
    return {path: registry.read(path, snapshot=name) for path in registry.files(name)}
"""

KILLS = """
NAMES = ("open", "write", "fsync", "replace", "mkdir", "close", "fchmod", "unlink")

def die_at(n):
    left = [n]
    def guard(name):
        real = getattr(os, name)
        def call(*args, **kwargs):
            left[0] -= 1
            if left[0] == 0 and name == "write":
                real(args[0], bytes(args[1])[: len(args[1]) // 2])
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **kwargs)
        setattr(os, name, call)
    for name in NAMES:
        guard(name)

def run(folder, fresh, n):
    path = os.path.join(folder, f"{int(fresh)}-{n}")
    if not fresh:
        first = Registry(path, clock=Clock())
        first.put(OLD, version="old")
        first.tag("stable", "old")
        first.activate("old")
    def act():
        registry = Registry(path, clock=Clock())
        die_at(n)
        registry.put(NEW, version="new")
        registry.tag("stable", "new")
        registry.activate("new")
    code = wait(child(act))
    assert code in (0, -signal.SIGKILL), code
    check(path, fresh)
    return code == 0

def check(path, fresh):
    registry = Registry(path, clock=Clock())
    assert registry.verify() == {}, registry.verify()
    before = {"": {}} if fresh else {registry.resolve("old"): OLD}
    try:
        new = registry.resolve("new")
        assert content(registry, "new") == NEW
        before[new] = NEW
    except SnapshotNotFoundError:
        pass
    live, stable = registry.active(), registry.refs().get("stable", "")
    assert live in before and stable in before
    assert live == stable or stable in list(before)[1:], "live went ahead of stable"
    if live:
        assert content(registry, "live") == before[live]
    new = registry.put(NEW, version="new")
    assert registry.restore("new") == registry.active() == new
    assert content(registry, "live") == NEW
    assert registry.verify() == {}

points = 0
for fresh in (False, True):
    n, survived = 0, False
    while not survived:
        n += 1
        survived = run(sys.argv[1], fresh, n)
    points += n - 1
print(json.dumps(points))
"""

PAIR = """
gate, opener = os.pipe()
def act():
    registry = Registry(sys.argv[1], clock=Clock())
    os.read(gate, 1)
    for n in range(15):
        files = {f"{m}": b"%d" % (n * m) * 100 for m in range(8)}
        digest = registry.put(files, version=f"{n}")
        registry.tag("stable", digest)
        registry.activate(digest)
        assert content(registry, f"{n}") == files
pids = [child(act) for _ in range(3)]
os.write(opener, b"...")
codes = [wait(pid) for pid in pids]
registry = Registry(sys.argv[1], clock=Clock())
print(json.dumps([codes, registry.verify(), len(registry.refs()), len(registry.moves()),
                  os.listdir(registry.path / "tmp")]))
"""

RIVALS = """
gate, opener = os.pipe()
def rival(name):
    def act():
        registry = Registry(sys.argv[1], clock=Clock())
        os.read(gate, 1)
        for n in range(10):
            try:
                registry.put({"who": name}, version=f"{n}")
            except Exception as error:
                assert "for good" in str(error), error
    return act
pids = [child(rival(name)) for name in (b"one", b"two", b"three")]
os.write(opener, b"...")
codes = [wait(pid) for pid in pids]
registry = Registry(sys.argv[1], clock=Clock())
print(json.dumps([codes, len(registry.refs()),
                  [move.ref for move in registry.moves()] == list(map(str, range(10))),
                  registry.verify()]))
"""


def told(body, *arguments):
    """Run *body* in a fresh interpreter and return what it printed as JSON."""
    return json.loads(script(PRELUDE + body, *arguments))


def test_kill_9_at_every_call_to_the_disk_leaves_old_or_new(tmp_path):
    """
    Before each call that writes, with and without an old version there; in the middle
    of each write.

    Whatever is named verifies, live is never ahead of what it needs, the file that was
    being written is never seen, and the same put afterwards succeeds.
    """
    assert told(KILLS, tmp_path) > 75


def test_processes_that_put_the_same_content_do_not_disturb_each_other(tmp_path):
    """Three at once: all succeed, everything verifies, nothing is left lying about."""
    codes, problems, names, moves, left = told(PAIR, tmp_path / "registry")
    assert codes == [0, 0, 0]
    assert problems == {}
    assert names == 16
    assert moves == 15 + 2 * 45
    assert left == []


def test_only_one_of_several_rivals_gets_a_version(tmp_path):
    """Each version is named once, whoever was first."""
    codes, names, in_order, problems = told(RIVALS, tmp_path / "registry")
    assert codes == [0, 0, 0]
    assert (names, in_order, problems) == (10, True, {})
