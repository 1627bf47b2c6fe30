"""
Workers that are killed, and what is left of what they saw.

Run as a program it prints what it found, as JSON:

    python tests/fleet.py fleet FOLDER KILLS SEED    four workers, killed at random
    python tests/fleet.py points FOLDER EVERY FIRST  a turn, killed at its write points
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import sqlite3
import sys
import time

from pathlib import Path

from forked import child
from test_host import canary
from test_wheel import PLAN, open_host

import legion

from legion.journal import Journal
from legion.stages import StageEngine, Status
from legion.stages.persistence import StateFile
from legion.store import Database, Memory
from legion.store.lease import Lease
from legion.store.workers import WorkerFile
from legion.telemetry import SystemClock, Telemetry
from legion.testing import ManualClock
from legion.workers import Workers


PLAN_OF_YEARS = legion.Plan.from_dict(
    {**PLAN, "stages": [PLAN["stages"][0], {**PLAN["stages"][1], "dwell": "9999h"}]}
)
SCALE = 600.0
BEGIN_S = 1e9 + 1e6
AUDIT = """
CREATE TABLE audit (kind TEXT, body BLOB);
CREATE TRIGGER audit_published AFTER INSERT ON published
    BEGIN INSERT INTO audit VALUES ('published', NEW.body); END;
CREATE TRIGGER audit_units AFTER UPDATE OF units ON worker
    BEGIN INSERT INTO audit VALUES ('units', NEW.units); END;
"""


def begin(folder):
    """Make a rollout at 25 % whose file notes all that is ever published or saved."""
    clock = ManualClock(1e9)
    with open_host(PLAN_OF_YEARS, folder, clock) as host:
        since = canary(host, clock).journal.size
    with contextlib.closing(sqlite3.connect(folder / "legion.db")) as connection:
        connection.executescript(AUDIT)
    return since


def work(host, name, turns=None):
    """Serve and tick: every fourth unit fails in either arm, and one never ends."""
    n = 0
    while turns is None or n < turns:
        host.engine.trial(f"{name}-{n}-open").__enter__()
        for i in range(40):
            with contextlib.suppress(ZeroDivisionError):
                host.engine.run_sync(
                    f"{name}-{n}-x{i}",
                    control=one_over,
                    candidate=one_over,
                    args=(i % 4,),
                )
        host.tick()
        n += 1


def one_over(x):
    """Return 1 / *x*."""
    return 1 / x


def units_of(observation):
    """Return how many units came of age in either arm, and which of them were bad."""
    n, bad = 0, []
    for arm in ("candidate", "control"):
        window = legion.Window.from_json(observation[arm])
        n += window.units.get("error_rate", 0)
        bad += window.bad_units.get("error_rate", ())
    return n, bad


def open_units(body):
    """Return the units in saved telemetry that are or will be bad."""
    saved = (one for ones in json.loads(body).values() for one in ones)
    return {int(one["unit"], 16) for one in saved if one["open"] or one["bad"]}


def found(folder, since, start_s):
    """Let a last host learn what waits; then compare what was noted and learned."""
    with open_host(PLAN_OF_YEARS, folder, ManualClock(start_s)) as host:
        for _ in range(3):
            host.clock.advance(60.0)
            host.tick()
        assert host.engine.state.status in {Status.RUNNING, Status.FROZEN}, (
            host.engine.state
        )
        assert host.engine.state.stage == "canary"
        assert host.journal.verify().ok
        records = host.journal.records("observation", since=since)
        units = [
            finding.evidence["units"]
            for key, finding in host.engine.state.findings.items()
            if key.startswith("validate")
        ]
    with contextlib.closing(sqlite3.connect(folder / "legion.db")) as connection:
        noted = connection.execute("SELECT kind, body FROM audit").fetchall()
        (waiting,) = connection.execute("SELECT count(*) FROM published").fetchone()
    learned = [unit for record in records for unit in units_of(record.body)[1]]
    saved = {
        unit for kind, body in noted if kind == "units" for unit in open_units(body)
    }
    published = [json.loads(body) for kind, body in noted if kind == "published"]
    told = {unit for body in published for unit in units_of(body)[1]}
    candidates = sum(
        record.body["candidate"]["units"].get("error_rate", 0) for record in records
    )
    return {
        "turns": len(records),
        "published": len(published),
        "bad units learned": len(learned),
        "lost": len((saved | told) - set(learned)) + waiting,
        "doubled": len(learned) - len(set(learned)),
        "learned and not recorded": units[0] - candidates,
    }


def fleet(folder, kills, seed):
    """Keep four workers running, and kill one after the other."""
    since, rng, born_s = begin(folder), random.Random(seed), time.time()

    def scaled_s():
        return BEGIN_S + (time.time() - born_s) * SCALE

    def live(name):
        clock = SystemClock(SCALE, plan_epoch_s=scaled_s())
        work(open_host(PLAN_OF_YEARS, folder, clock), name)

    workers = [child(lambda i=i: live(f"w{i}")) for i in range(4)]
    for n in range(kills):
        time.sleep(rng.uniform(0.05, 0.4))
        pid = workers.pop(rng.randrange(4))
        os.kill(pid, signal.SIGKILL)
        assert os.WIFSIGNALED(os.waitpid(pid, 0)[1]), "a worker ended by itself"
        workers.append(child(lambda n=n: live(f"r{n}")))
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return {"kills": kills + 4, **found(folder, since, scaled_s() + 1e6)}


class Fuse:
    """How many points this process may still pass."""

    left = float("inf")


def point():
    """Die here, if it is time."""
    Fuse.left -= 1
    if Fuse.left < 0:
        os.kill(os.getpid(), signal.SIGKILL)


def deadly(owner, name):
    """Let a process die before and after a method."""
    real = getattr(owner, name)

    def killed(*given, **named):
        point()
        answer = real(*given, **named)
        point()
        return answer

    setattr(owner, name, killed)


DEADLY = {
    WorkerFile: ("join", "publish", "keep", "forget", "leave"),
    Workers: ("inherit", "gather", "publish", "write"),
    Lease: ("take", "release"),
    StateFile: ("teach", "save", "refuse_stale"),
    StageEngine: ("keep",),
    Memory: ("save",),
    Journal: ("append",),
    Telemetry: ("close", "restore"),
}


def points(folder, every, first):
    """Kill a turn of the leader, and one of another, at each *every*-th point."""
    for owner, names in DEADLY.items():
        for name in names:
            deadly(owner, name)
    start = folder / "start"
    since = begin(start)
    for name in ("gone", "gone too"):
        clock = ManualClock(BEGIN_S)
        os.waitpid(child(lambda n=name, c=clock: _publish(start, n, c)), 0)
    total = {"kills": 0}
    for follows in (False, True):
        k, cut = first, True
        while cut:
            place = folder / f"{follows}{k}"
            shutil.copytree(start, place)
            cut = _killed_at(place, k, follows=follows)
            here = found(place, since, BEGIN_S + 1e5)
            total["kills"] += cut
            for name, n in here.items():
                total[name] = total.get(name, 0) + n
            if any(here[name] for name in ("lost", "doubled")):
                total.setdefault("at", []).append([follows, k])
            shutil.rmtree(place)
            k += every
    return total


def _publish(place, name, clock):
    """Leave something behind that the next leader has to learn."""
    host = open_host(PLAN_OF_YEARS, place, clock)
    host.engine.poll()
    with Database(place / "legion.db") as database:
        lease = Lease(database, "wheel", clock)
        lease.take(f"elsewhere:1:0.00/{name}", 1e3)
        work(host, name, turns=1)
        lease.release(f"elsewhere:1:0.00/{name}")


def _killed_at(place, k, *, follows):
    def act():
        clock = ManualClock(BEGIN_S + 600.0)
        host = open_host(PLAN_OF_YEARS, place, clock)
        host.engine.poll()
        if follows:
            with Database(place / "legion.db") as database:
                Lease(database, "wheel", clock).take("elsewhere:1:0.00/9", 1e3)
        Fuse.left = k
        work(host, "victim", turns=2)
        host.close()

    status = os.waitpid(child(act), 0)[1]
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0
    return False


if __name__ == "__main__":
    which, place, *numbers = sys.argv[1:]
    act = {"fleet": fleet, "points": points}[which]
    print(json.dumps(act(Path(place), *map(int, numbers))))
