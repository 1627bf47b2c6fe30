"""The whole demo, small: the same seed gives the same run, and each fault is caught."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys

import pytest


pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("wordllama") is None, reason="wordllama is not installed"
)

CHILD = """
import functools, hashlib, json, random, sys, tempfile

import numpy as np

from pathlib import Path

from legion.cache import embedders
from legion.demo.clock import RequestClock
from legion.demo.retrieval import Retrieval
from legion.demo.rollout import Demo
from legion.demo.trace import Trace, load


class WorkClock(RequestClock):
    # Seconds are counted comparisons, so that the machine has no say in who is slow.
    steps = 0

    def machine(self):
        WorkClock.steps += 1
        return WorkClock.steps * 1e-6


# All use one model and one index, and a question that comes again is found again without
# the work, which is counted all the same: what is found depends on nothing else.
llama = embedders.wordllama()
vector = functools.cache(lambda text: llama([text])[0])
embedders.wordllama = lambda: lambda texts: np.stack([vector(text) for text in texts])
of, search = functools.cache(Retrieval.of), functools.cache(Retrieval.search)
Retrieval.of = lambda corpus: of(tuple(corpus))


def counted(self, *args, **keywords):
    # A third more or less, in an order of its own: a machine's times have a tail.
    found = search(self, *args, **keywords)
    spread = spreads.lognormvariate(0, 0.3)
    WorkClock.steps += round(100 * found.compared * spread)
    return found


Retrieval.search = counted

every = load()
wanted = sorted({q.category for q in every.corpus})[::5]
trace = Trace.of(q for q in every.corpus + every.traffic if q.category in wanted)


class Noted(Demo):
    def _ask(self, number, question):
        arm = self.host.engine.assign(str(number)).value
        asked.append([question.id, arm])
        super()._ask(number, question)


found = {}
for bad in (None, "latency", "errors", "wrong-answers", "checksum"):
    asked, spreads = [], random.Random(5)
    with tempfile.TemporaryDirectory() as folder:
        demo = Noted(
            trace=trace,
            directory=Path(folder),
            seed=int(sys.argv[1]),
            bad=bad,
            clock=WorkClock(600),
        )
        status = demo.run()
        decisions = [turn.decision for turn in demo.turns]
        found[bad or "good"] = {
            "asked": hashlib.sha256(json.dumps(asked).encode()).hexdigest(),
            "questions": hashlib.sha256(json.dumps([q for q, _ in asked]).encode()).hexdigest(),
            "candidates": sum(arm == "candidate" for _, arm in asked),
            "n": len(asked),
            "moves": [[d.stage, d.move.value, d.code, d.to] for d in decisions],
            "status": status.value,
            "reason": demo.host.engine.state.reason,
            "rehearsed": demo.rehearsal is not None,
        }
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def runs():
    """Two runs with one seed, each in a process of its own, with other hashes of strings."""
    children = [
        subprocess.Popen(
            [sys.executable, "-W", "error::RuntimeWarning", "-c", CHILD, seed],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONHASHSEED": hashes},
        )
        for seed, hashes in (("7", "1"), ("7", "2"))
    ]
    said = [child.communicate() for child in children]
    assert [child.returncode for child in children] == [0, 0], said
    return [json.loads(out) for out, _ in said]


FAULTS = {
    "latency": "trigger:latency_p95",
    "errors": "trigger:error_rate",
    "wrong-answers": "trigger:disagreement",
    "checksum": "trigger:registry_integrity",
}


@pytest.mark.parametrize("kind", ["good", *FAULTS])
def test_the_same_seed_gives_the_same_run(runs, kind):
    """
    Same questions in the same order, same arms, same moves for the same causes.

    Where latency is counted in comparisons; on a real clock it is the machine's.
    """
    one, two = (run[kind] for run in runs)
    for what in ("questions", "asked", "candidates", "n", "moves", "status"):
        assert one[what] == two[what], what


def test_the_good_candidate_reaches_everybody(runs):
    """Every stage of the plan in its order, after a rehearsed rollback."""
    good = runs[0]["good"]
    stages = list(dict.fromkeys(stage for stage, *_ in good["moves"]))
    assert good["status"] == "complete", good["moves"][-3:]
    assert good["rehearsed"]
    assert stages == ["", "shadow", "canary_5", "canary_25", "production"]
    assert 0 < good["candidates"] < good["n"]


@pytest.mark.parametrize(("kind", "code"), FAULTS.items())
def test_each_fault_is_caught_by_its_own_trigger(runs, kind, code):
    """It goes back, to the snapshot of the plan, verified, and says why and how fast."""
    bad = runs[0][kind]
    assert bad["status"] == "rolled_back"
    assert bad["moves"][-1][1:3] == ["roll_back", code]
    assert bad["reason"].startswith("went back to v4.0.0-stable in ")
    assert " s, verified by digest, because " in bad["reason"]


def test_a_fault_that_every_request_shows_harms_no_user(runs):
    """All but the broken byte, which only a stored version has, are seen in shadow."""
    for kind in ("latency", "errors", "wrong-answers"):
        assert runs[0][kind]["candidates"] == 0
        assert runs[0][kind]["moves"][-1][0] == "shadow"
