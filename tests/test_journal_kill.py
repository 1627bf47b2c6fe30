"""The journal survives kill -9: nothing torn, nothing acknowledged lost."""

from __future__ import annotations

import json

from forked import script


SCRIPT = """
import json, os, random, signal, sys
from forked import child, wait
from legion.journal import Journal
from legion.model import Report

class Clock:
    def wall(self):
        return 1_700_000_000.5

path, rng = sys.argv[1], random.Random(int(sys.argv[2]))
KILLS = 25
durable, others = {}, set()

def write(turn, pipe):
    journal = Journal(path, clock=Clock())
    for n in range(10**6):
        sure = n % 2 == 0
        name = f"{turn}/{n}"
        if n % 3 == 0:
            record = journal.append(Report(plan=name), durable=sure)
        else:
            record = journal.append({"name": name}, kind="step", durable=sure)
        os.write(pipe, f"{int(sure)} {record.id} {name}\\n".encode())

def hear(line):
    sure, record_id, name = line.split()
    if sure == "1":
        assert record_id not in durable
        durable[record_id] = name
    else:
        others.add(record_id)

for turn in range(KILLS):
    reader, writer = os.pipe()
    pid = child(write, turn, writer)
    os.close(writer)
    with os.fdopen(reader) as lines:
        for _ in range(rng.randrange(0, 12)):
            hear(lines.readline())
        os.kill(pid, signal.SIGKILL)
        assert wait(pid) == -signal.SIGKILL
        for line in lines:
            if line.endswith("\\n"):
                hear(line)

with Journal(path, clock=Clock()) as journal:
    found = journal.verify()
    names = [r.body.get("name") or r.body["plan"] for r in journal.records()]
    print(json.dumps({
        "ok": found.ok,
        "faults": found.faults,
        "lost": [i for i in durable if journal.get(i) is None],
        "other": [i for i, name in durable.items()
                  if (journal.get(i).body.get("name") or journal.get(i).body["plan"])
                  != name],
        "lost without loss of power": [i for i in others if journal.get(i) is None],
        "twice": len(names) - len(set(names)),
        "acknowledged": len(durable) + len(others),
        "size": journal.size,
    }))
"""


def test_kill_9_at_random_moments_loses_and_doubles_nothing(tmp_path):
    """
    A writer is killed 25 times while it appends and reports what it was promised.

    Afterwards the log verifies and every acknowledged record is there exactly once.
    """
    seed = 6962
    print("seed", seed)
    found = json.loads(script(SCRIPT, tmp_path / "journal.db", seed))
    acknowledged, size = found.pop("acknowledged"), found.pop("size")
    assert acknowledged >= 50
    assert acknowledged <= size <= acknowledged + 25
    assert found == {
        "ok": True,
        "faults": [],
        "lost": [],
        "other": [],
        "lost without loss of power": [],
        "twice": 0,
    }
