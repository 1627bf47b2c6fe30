"""``legion demo``: what it refuses at once, what it shows, what it leaves behind."""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import os
import pty
import struct
import subprocess
import sys
import termios

import pytest

from cli_session import documented, legion_says, refusal

from legion.cli.commands.demo import _FAULTS
from legion.demo.faults import FAULTS


needs_wordllama = pytest.mark.skipif(
    importlib.util.find_spec("wordllama") is None, reason="wordllama is not installed"
)
QUICK = ("demo", "--bad", "errors", "--requests-per-day", "150")


def test_help_offers_every_fault_there_is():
    """The command line names them without loading the demo."""
    assert set(_FAULTS) == set(FAULTS)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--requests-per-day", "0"), "got '0'; write a whole number, 1 or more"),
        (("--requests-per-day", "-3"), "got '-3'; write a whole number, 1 or more"),
        (("--requests-per-day", "many"), "got 'many'; write a whole number"),
        (("--bad", "gremlins"), "invalid choice: 'gremlins'"),
        (("--seed", "x"), "invalid int value: 'x'"),
    ],
)
def test_a_wrong_option_is_told_at_once(words, why):
    """Before anything is loaded."""
    said = legion_says("demo", *words)

    assert (said.code, said.out) == (2, "")
    assert why in said.err


def test_what_could_not_be_read_or_written_is_told_before_the_run(tmp_path):
    """Not after two minutes: no such trace, no place for the report, a state in use."""
    (tmp_path / "file").write_text("x")
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "legion.db").touch()
    (tmp_path / "foreign" / "registry").mkdir(parents=True)
    for words, why in (
        (("--trace", tmp_path / "nowhere.csv"), "there is no such file"),
        (("--trace", tmp_path), "is a directory"),
        (("--report", tmp_path), "write the name of a file"),
        (("--report", tmp_path / "no" / "r.html"), "a directory that exists"),
        (("--state", tmp_path / "file"), "which is a file"),
        (("--state", tmp_path / "used"), "holds an earlier rollout"),
        (("--state", tmp_path / "foreign"), "holds files of something else"),
    ):
        said = legion_says("demo", *words)
        assert why in refusal(said, code=2)
        assert "write" in said.err


def test_without_its_extra_it_says_what_to_install(monkeypatch):
    """A machine with legion alone gets the command to type."""
    for name in ("legion.demo.dashboard", "legion.demo.panels"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "rich.console", None)
    monkeypatch.delattr("legion.demo.dashboard", raising=False)
    line = refusal(legion_says("demo"), code=2)

    assert 'pip install "legion-rollout[demo]"' in line


@needs_wordllama
def test_a_bad_candidate_ends_with_exit_code_0_and_a_sentence(tmp_path):
    """It says what was caught, by what, in how long; the state can be looked at."""
    state, report = tmp_path / "state", tmp_path / "report.html"
    said = legion_says(*QUICK, "--state", state, "--report", report)

    assert (said.code, said.err) == (0, "")
    last = said.out.rstrip().splitlines()[-1]
    assert last.startswith("4.1.0 over 4.0.0: went back to v4.0.0-stable in ")
    assert "verified by digest, because error_rate: " in last
    assert "FAIL trigger fired, error_rate more than 50 % above baseline" in said.out
    assert "rehearse the rollback: the rollback took " in said.out
    assert report.read_text("utf-8").startswith("<!doctype html>")
    again = legion_says(*QUICK, "--state", state)
    assert "write a new or an empty directory" in refusal(again, code=2)
    look = legion_says("status", "--state", state, "--json")
    assert look.document["status"] == "rolled_back"
    assert legion_says("journal", "verify", state / "legion.db").code == 0
    assert (
        legion_says("validate", "--expected-version", "4.0.0", "--state", state).code
        == 0
    )


@needs_wordllama
def test_programs_get_every_decision(tmp_path):
    """One document, with stable keys, and nothing beside it."""
    found = legion_says(*QUICK, "--json").document

    assert set(found) == documented("demo")
    assert found["decisions"][-1]["code"] == "trigger:error_rate"
    assert set(found["decisions"][-1]) == {
        *("day", "stage", "move", "to", "code", "reason", "digest"),
    }
    assert found["requests"] >= 50


@needs_wordllama
def test_a_reader_that_goes_away_ends_the_demo():
    """As in ``legion demo | head -1``."""
    demo = subprocess.Popen(
        [sys.executable, "-m", "legion", "demo", "--requests-per-day", "60"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        bufsize=1,
    )
    assert demo.stdout.readline().startswith("day   0.0")
    demo.stdout.close()
    assert (demo.stderr.read(), demo.wait()) == ("", 141)
    demo.stderr.close()


@needs_wordllama
def test_ctrl_c_leaves_no_piece_of_the_dashboard():
    """It is painted on a screen of its own; on the user's own stays one word."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    demo = subprocess.Popen(
        [sys.executable, "-m", "legion", "demo", "--requests-per-day", "300"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm"},
        preexec_fn=own_terminal,  # noqa: PLW1509 - one thread, and Ctrl-C needs it
    )
    os.close(theirs)
    shown = b""
    while b"timeline" not in shown:
        shown += os.read(ours, 65536)
    os.write(ours, b"\x03")
    with contextlib.suppress(OSError):  # how the end of a terminal is told
        while part := os.read(ours, 65536):
            shown += part
    os.close(ours)

    assert demo.wait() == 130
    before, _, dashboard = shown.partition(b"\x1b[?1049h")
    dashboard, _, after = dashboard.rpartition(b"\x1b[?1049l")
    assert "\u2500".encode() in dashboard
    assert "\u2500".encode() not in before + after
    assert b"interrupted" in after


def own_terminal():
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
