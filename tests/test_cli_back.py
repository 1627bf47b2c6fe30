"""The ways back: rollback, restore and deactivate, also beside a live host."""

from __future__ import annotations

import contextlib
import io
import sqlite3
import subprocess
import sys

from threading import Event

import pytest

from cli_session import PLAN, documented, legion_says, open_host, refusal, rollout
from somebody_elses import entered_by_all, nobody

import legion

from legion.cli.latch import Standing
from legion.exceptions import StateError
from legion.stages import Status
from legion.stages.latch import beside
from legion.store import Database


BACK = ("rollback", "--version", "1.0.0", "--reason", "wrong invoices")


@pytest.fixture(autouse=True)
def hurried(monkeypatch):
    """Nobody runs beside a command in this process: its latch need not stand."""
    monkeypatch.setattr("legion.cli.latch.STANDS_S", 0.0)


@pytest.fixture
def state(tmp_path):
    return rollout(tmp_path / "state")


@pytest.fixture
def folder():
    with entered_by_all() as folder:
        yield folder


def elsewhere(*words):
    """Run the command line in another process."""
    return subprocess.run(
        [sys.executable, "-m", "legion", *map(str, words)],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )


def test_rollback_goes_back_and_says_how(state):
    """Each step, the time it took, and why; the same for programs."""
    said = legion_says(*BACK, "--immediate", "--state", state)

    assert (said.code, said.err) == (0, "")
    for step in ("route_to_baseline", "restore_registry", "deactivate_features"):
        assert step in said.out
    assert "verified by digest, because wrong invoices" in said.out
    with open_host(state) as host:
        assert host.engine.state.status is Status.ROLLED_BACK
        assert host.registry.active() == host.registry.resolve("v1")
        assert host.journal.verify().ok


def test_rollback_has_the_same_for_programs(state):
    """Its keys are those of an outcome."""
    found = legion_says(*BACK, "--immediate", "--json", "--state", state).document

    assert found["applied"]
    assert found["verified"]
    assert set(found) == documented("rollback")


def test_rollback_may_be_said_twice(state):
    """A retreat is accepted in every state, the one it leads to among them."""
    for _ in range(2):
        assert legion_says(*BACK, "--immediate", "--state", state).code == 0


def test_rollback_to_another_version_is_refused(state):
    """There is one way back; the message names it."""
    said = legion_says(
        *("rollback", "--version", "0.9", "--reason", "x", "--immediate"),
        *("--state", state),
    )

    assert "got version 0.9; greeting can only go back to 1.0.0" in refusal(
        said, code=2
    )


@pytest.mark.parametrize("words", [(), ("--version", "v1")])
def test_rollback_takes_the_plans_way_back_or_no_version(state, words):
    """The version is a check for whoever wants one; the plan knows the way."""
    said = legion_says(
        *("rollback", *words, "--reason", "x", "--immediate", "--state", state)
    )

    assert said.code == 0, said
    assert not beside(str(state / "legion.db")).exists()


def test_rollback_to_another_version_says_what_to_write(state):
    """Both names of the way back, and nothing was latched."""
    said = legion_says(
        *("rollback", "--version", "0.9", "--reason", "x", "--immediate"),
        *("--state", state),
    )

    assert "write --version 1.0.0 or v1, or leave it out" in refusal(said, code=2)
    with open_host(state) as host:
        assert host.engine.exposure.share == 0.25


def test_rollback_without_a_terminal_wants_to_be_immediate(state, monkeypatch):
    """Nobody is there to be asked back, so nothing is done."""
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    said = legion_says(*BACK, "--state", state)

    assert "write --immediate" in refusal(said, code=2)
    with open_host(state) as host:
        assert host.engine.exposure.share == 0.25


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("typed", "code"), [("y\n", 0), ("\n", 1), ("", 1), ("no\n", 1)]
)
def test_rollback_asks_back_on_a_terminal(state, monkeypatch, typed, code):
    """Only a yes is a yes; the question does not stand in the way of a document."""
    monkeypatch.setattr("sys.stdin", Terminal(typed))
    said = legion_says(*BACK, "--json", "--state", state)

    assert said.code == code
    assert "Take everybody back to 1.0.0? [y/N]" in said.err
    assert ("applied" in said.document) is (code == 0)


def test_a_rollback_that_cannot_be_verified_is_a_no(state):
    """The way back is damaged: users are safe, the exit code says 1, no traceback."""
    for part in (state / "registry" / "objects").glob("*/*"):
        part.chmod(0o644)
        part.write_bytes(b"tampered")
    said = legion_says(*BACK, "--immediate", "--state", state)

    assert said.code == 1
    assert "NOT verified" in said.out
    assert "FAIL restore_registry" in said.out
    with open_host(state) as host:
        assert host.engine.exposure.share == 0.0


def test_restore_brings_a_snapshot_back(state):
    """By name, verified, and written down; the plan's way back asks nobody."""
    said = legion_says("restore", "--snapshot", "v1", "--json", "--state", state)

    assert said.code == 0, said
    assert set(said.document) == documented("restore")
    with open_host(state) as host:
        assert host.registry.active() == said.document["digest"]
        assert host.journal.records(kind="restore")


def test_restore_of_anything_else_passes_the_gate(state):
    """A person is asked; with their yes it is done, once."""
    words = ("restore", "--snapshot", "2.0.0", "--state", state)
    legion_says("restore", "--snapshot", "v1", "--state", state)
    said = legion_says(*words)

    line = refusal(said, code=1)
    (question,) = legion_says("asks", "--state", state, "--json").document["questions"]
    answer = f"legion asks {question['id']} --approve --by WHO --state {state}"
    assert f"{answer}; then: legion restore --snapshot 2.0.0 --state {state}" in line
    assert question["id"] in legion_says("asks", "--state", state).out
    assert legion_says(*words, "--json").document["ask"] == question["id"]
    with open_host(state) as host:
        assert host.registry.active() == host.registry.resolve("v1")

    said = legion_says(*answer.replace("WHO", "ops").split()[1:])
    assert said.code == 0, said
    assert legion_says(*words).code == 0
    with open_host(state) as host:
        assert host.registry.active() == host.registry.resolve("2.0.0")
    legion_says("restore", "--snapshot", "v1", "--state", state)
    assert legion_says(*words).code == 1


def test_restore_of_an_unknown_snapshot_is_refused(state):
    """The message lists those there are."""
    said = legion_says("restore", "--snapshot", "v7", "--state", state)

    assert "no snapshot 'v7'; there are:" in refusal(said, code=2)
    assert "2.0.0" in said.err


def test_restore_of_a_damaged_snapshot_is_refused(state):
    """It is the state that cannot be used; what was live still is."""
    with open_host(state) as host:
        digest = host.registry.files("1.0.0")["greet.txt"].digest
        before = host.registry.active()
    part = state / "registry" / "objects" / digest[:2] / digest[2:]
    part.chmod(0o644)
    part.write_bytes(b"hellO")
    said = legion_says("restore", "--snapshot", "v1", "--state", state)

    refusal(said, code=3)
    with open_host(state) as host:
        assert host.registry.active() == before


@pytest.mark.parametrize("words", [("tone",), ("--all",), ("--all-v4.1",)])
def test_deactivate_switches_features_off(state, words):
    """By name, or all of them; the share stays as it is."""
    said = legion_says("deactivate", *words, "--json", "--state", state)

    assert said.code == 0, said
    assert said.document["applied"]
    with open_host(state) as host:
        assert not host.engine.exposure.features["tone"].enabled
        assert host.engine.exposure.share == 0.25


def test_deactivate_refuses_what_it_does_not_know(state):
    """An unknown feature, and none at all; the message lists those there are."""
    said = legion_says("deactivate", "voice", "--state", state)
    assert "got voice; write one of tone" in refusal(said, code=2)
    said = legion_says("deactivate", "--state", state)
    assert "write some of tone, or --all" in refusal(said, code=2)


def test_a_plan_without_features_has_none_to_switch_off(tmp_path):
    """And says so."""
    plan = {**PLAN, "stages": [{"name": "all", "traffic": "100%", "dwell": "1m"}]}
    open_host(tmp_path, plan).close()
    for words in (("--all",), (), ("tone",)):
        said = legion_says("deactivate", *words, "--state", tmp_path)
        assert "greeting has no features, so there is nothing" in refusal(said, code=2)


def test_every_way_back_reaches_a_live_host(state):
    """
    Typed in another process, it is in force here at the next look.

    And a host that is alive does not keep others from looking.
    """
    with open_host(state) as host:
        done = elsewhere("deactivate", "tone", "--state", state)
        assert done.returncode == 0, done
        host.engine.poll()
        assert not host.engine.exposure.features["tone"].enabled

        assert elsewhere("status", "--state", state).returncode == 0
        assert host.tick().decision.code != "rolled_back"

        done = elsewhere(*BACK, "--immediate", "--state", state)
        assert done.returncode == 0, done
        host.engine.poll()
        assert host.engine.exposure.share == 0.0
        assert host.engine.state.status is Status.ROLLED_BACK
        assert host.tick().decision.code == "rolled_back"
        assert (
            elsewhere(
                *("validate", "--expected-version", "1.0.0", "--state", state)
            ).returncode
            == 0
        )
        assert host.journal.verify().ok


def test_a_turning_host_goes_back_without_being_called(state):
    """Its own thread sees the latch; nobody there calls anything."""
    with open_host(state) as host:
        changed = gone_back(host)
        host.start(watch_s=0.01)
        done = elsewhere(*BACK, "--immediate", "--state", state)
        assert done.returncode == 0, done
        assert changed.wait(30)


def gone_back(host):
    """Return an event that is set once the engine has adopted a rollback."""
    seen, poll = Event(), host.engine.poll

    def watched():
        poll()
        if host.engine.state.status is Status.ROLLED_BACK:
            assert host.engine.exposure.share == 0.0
            seen.set()

    host.engine.poll = watched
    return seen


def test_a_way_back_that_may_not_be_written_is_refused(folder):
    """Somebody else's directory: exit code 3, and one line that says so."""
    state = rollout(folder / "state")
    legion_says("status", "--state", state)  # loads all there is to load
    with nobody(state):
        said = legion_says(*BACK, "--immediate", "--state", state)

    assert "legion.db" in refusal(said, code=3)
    assert "write a path" in said.err


def test_the_latch_beside_stands_until_hosts_have_looked(state, monkeypatch):
    """It is there while the state is written and a second longer, and then it goes."""
    monkeypatch.setattr("legion.cli.latch.STANDS_S", 1.0)
    latch, seen = beside(str(state / "legion.db")), []

    def roll_back():
        seen.append(latch.read_text())
        with legion.Host.reopen(state) as host:
            return host.engine.rollback("x")

    def pause(left_s):
        seen.append(latch.exists() and 0 <= left_s <= 1)

    outcome = Standing(str(state), "x", pause=pause).back(roll_back)

    assert outcome.verified
    assert seen == ["x\n", True]
    assert not latch.exists()
    with open_host(state) as host:
        assert host.engine._pointer._file.latch() is not None


def test_a_latch_that_was_beside_the_state_before_stays(state):
    """Somebody put it there for a reason that this command does not know."""
    latch = legion.Host.latch(state, reason="the disk burned")
    said = legion_says(*BACK, "--immediate", "--state", state)

    assert said.code == 1
    assert "it was there before" in said.out
    assert latch.exists()


def test_status_names_a_latch_beside_the_state_and_how_it_goes(state):
    """Before the rollout went back, and when it has; nothing where there is none."""
    assert legion_says("status", "--state", state, "--json").document["latch"] is None
    latch = legion.Host.latch(state, reason="the disk burned")
    before = legion_says("status", "--state", state).out
    with open_host(state) as host:
        host.engine.poll()
        assert host.engine.state.status is Status.ROLLED_BACK
    after = legion_says("status", "--state", state).out

    for said in (before, after):
        assert f"the disk burned (see {latch.name})" in said
    assert "delete it once this one has" in before
    assert "this one has, so delete it" in after


def test_a_file_written_over_under_a_running_host_does_not_keep_it_forward(state):
    """The command can read it, by its log; the host cannot: it goes by the latch."""
    with open_host(state) as host:
        file = state / "legion.db"
        with file.open("r+b") as bytes_:
            bytes_.write(b"not what was written" * 50)
        done = elsewhere(*BACK, "--immediate", "--state", state)

        assert done.returncode == 1, done
        assert "to be deleted once the state is whole again" in done.stdout
        assert beside(str(file)).exists()
        with contextlib.suppress(StateError):
            host.engine.poll()
        assert host.engine.exposure.share == 0.0


def test_a_locked_file_does_not_hold_a_rollback_up(state, monkeypatch):
    """Every host goes back by the latch beside; the exit code says what is open."""
    monkeypatch.setattr(
        Database.__init__, "__kwdefaults__", {"readonly": False, "timeout_s": 0.05}
    )
    with open_host(state) as host:
        holder = sqlite3.connect(state / "legion.db", isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        said = legion_says(*BACK, "--immediate", "--json", "--state", state)

        assert said.code == 1, said
        assert said.document["code"] == "latched"
        assert "another process has held it" in said.document["reason"]
        with contextlib.suppress(StateError):
            host.engine.poll()
        assert host.engine.exposure.share == 0.0
        holder.close()
        host.engine.poll()
        host._last_s = None
        host.tick()
        assert host.engine._pointer._file.latch() is not None
