"""kill -9 of workers: what was written down is learned, once, by whoever lives."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from pathlib import Path


KILLS = os.environ.get("LEGION_KILLS")
"""How many; `nox -s kills` sets it, and then every write point is killed at."""


def killed(which, *arguments):
    """Let workers be killed in a fresh interpreter, and return what was found."""
    program = Path(__file__).with_name("fleet.py")
    done = subprocess.run(
        [sys.executable, program, which, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=3600,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    print(which, done.stdout)
    assert min(found["published"], found["bad units learned"]) > 5
    return {name: found[name] for name in NOTHING}


NOTHING = dict.fromkeys(("lost", "doubled", "learned and not recorded"), 0)


def test_a_kill_at_a_write_point_neither_loses_nor_doubles_evidence(tmp_path):
    """Of a turn of the leader and of another worker, before and after each write."""
    every = 1 if KILLS else 9

    assert killed("points", tmp_path, every, 0 if KILLS else 5) == NOTHING


def test_workers_killed_at_random_neither_lose_nor_double_evidence(tmp_path):
    """Four at once, leaders and others: what any had written is learned once."""
    assert killed("fleet", tmp_path, KILLS or 12, 20261126) == NOTHING
