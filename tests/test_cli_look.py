"""Commands that only look: they work where nothing may be written, and write nothing."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from cli_session import PLAN, legion_says, open_host, refusal, rollout
from somebody_elses import entered_by_all, everything, nobody

import legion


LOOKS = [
    ("status",),
    ("asks",),
    ("validate", "--expected-version", "2.0.0"),
    ("journal", "verify"),
]
TURNED_AND_KILLED = """
import os, sys
import legion
host = legion.Host.reopen(sys.argv[1])
host.tick()
os._exit(1)
"""


@pytest.fixture
def folder():
    with entered_by_all() as folder:
        yield folder


def look(words, state):
    """Type one of them; it has an answer, whatever it is."""
    where = (state / "legion.db",) if words[0] == "journal" else ("--state", state)
    said = legion_says(*words, *where)
    assert said.code == (1 if words[0] == "validate" else 0), said
    assert said.err == ""
    return said


@pytest.fixture(scope="module")
def made():
    """A rollout at 25 %, with every module loaded that looking at it needs."""
    with entered_by_all() as folder:
        state = rollout(folder / "state")
        for words in LOOKS:
            look(words, state)
        yield state


@pytest.fixture(scope="module")
def left(made):
    """The same, turned once more by a host that was killed."""
    with entered_by_all() as folder:
        state = shutil.copytree(made, folder / "state")
        subprocess.run(
            [sys.executable, "-c", TURNED_AND_KILLED, str(state)], check=False
        )
        yield state


@pytest.fixture
def state(made, folder):
    return shutil.copytree(made, folder / "state")


@pytest.mark.parametrize("words", LOOKS, ids=lambda words: words[0])
def test_a_look_writes_nothing_where_it_could(state, words):
    """Not a byte, not a file, not a date."""
    before = everything(state)
    look(words, state)
    assert everything(state) == before


@pytest.mark.parametrize("words", LOOKS, ids=lambda words: words[0])
def test_a_look_works_where_nothing_may_be_written(state, words):
    """A directory of somebody else's, as an auditor gets it."""
    told = look(words, state).out
    with nobody(state):
        assert look(words, state).out == told


@pytest.mark.parametrize("words", LOOKS, ids=lambda words: words[0])
@pytest.mark.parametrize("index", [True, False])
def test_a_look_sees_what_a_killed_host_left_in_its_log(left, folder, words, index):
    """Also in a copy that lacks the log's index; and it finishes nothing."""
    state = shutil.copytree(left, folder / "state")
    assert (state / "legion.db-wal").stat().st_size
    with nobody(state):
        told = look(words, state).out
    if not index:
        (state / "legion.db-shm").unlink()
    before = everything(state)
    with nobody(state):
        assert look(words, state).out == told
    assert {k: v for k, (_, v) in everything(state).items()} == {
        k: v for k, (_, v) in before.items()
    }


def test_a_copied_journal_verifies_by_itself(state, folder):
    """The file alone is the journal."""
    shutil.copyfile(state / "legion.db", folder / "copy.db")
    before = everything(folder)

    assert legion_says("journal", "verify", folder / "copy.db").code == 0
    assert everything(folder) == before


def test_a_look_beside_a_live_host_disturbs_nothing(state):
    """What it sees is the newest, and the host goes on."""
    with open_host(state) as host:
        host.tick()
        before = everything(state)
        for words in LOOKS:
            look(words, state)
        assert everything(state) == before
        host.tick()
        assert host.journal.verify().ok


def test_a_host_that_only_looks_cannot_move_anything(state):
    """Turning the wheel is an error, and writes nothing."""
    before = everything(state)
    with legion.Host.reopen(state, readonly=True) as host:
        assert host.engine.exposure.share == 0.25
        with pytest.raises(legion.exceptions.StateError, match="read only"):
            host.tick()
    assert everything(state) == before


def test_a_look_at_a_damaged_snapshot_leaves_it_in_place(state):
    """It is named, and not moved or copied."""
    for part in (state / "registry" / "objects").glob("*/*"):
        part.chmod(0o644)
        part.write_bytes(b"tampered")
    before = everything(state)
    said = legion_says("validate", "--expected-version", "2.0.0", "--state", state)

    assert said.code == 1
    assert "FAIL snapshot" in said.out
    assert everything(state) == before


def test_a_journal_without_a_rollout_has_no_status(folder):
    """Nothing is made of it."""
    (folder / "state").mkdir()
    with legion.Journal(folder / "state" / "legion.db") as journal:
        journal.append({"n": 1})
    before = everything(folder)
    said = legion_says("status", "--state", folder / "state")

    assert "nothing of that kind was ever written" in refusal(said, code=3)
    assert everything(folder) == before


@pytest.mark.parametrize("size", ["-1", "-10"])
def test_a_size_below_zero_is_refused(state, size):
    """Nobody printed that."""
    words = ("--root", "0" * 64, "--size", size)
    said = legion_says("journal", "verify", state / "legion.db", *words)

    assert f"got --size {size}" in refusal(said, code=2)


def test_an_open_question_can_be_seen_by_those_who_may_not_answer(folder):
    """Listing asks only reads."""
    state = folder / "state"
    with open_host(state, PLAN, policy=legion.Policy(ask_kinds={"advance"})) as host:
        host.tick()
        (ask,) = host.gate.asks()
    look(("asks",), state)
    with nobody(state):
        assert ask.id in look(("asks",), state).out
        said = legion_says("asks", ask.id, "--approve", "--by", "me", "--state", state)
    refusal(said, code=3)
