"""What every command has: help that teaches, colours for eyes, a pipe that may close."""

from __future__ import annotations

import io
import logging
import os
import pty
import subprocess
import sys

import pytest

from cli_session import CLI_PAGE, YAML, legion_says, refusal

from legion.cli.main import main
from legion.cli.output import Output, short_warnings
from legion.exceptions import StateError


COMMANDS = (
    *("demo", "check", "simulate", "run", "status", "validate", "replay", "rollback"),
    *("restore", "deactivate", "asks", "journal", "cache", "doctor"),
)


def test_help_names_every_command_and_exit_code():
    """In one screen, as documented."""
    said = legion_says("--help")

    assert said.code == 0
    for command in COMMANDS:
        assert f"\n    {command}" in said.out
    for code in ("0 ", "1 ", "2 ", "3 ", "130 ", "141 "):
        assert f"\n  {code}" in said.out


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_teaches_with_an_example(command):
    """And no option goes without a word."""
    said = legion_says(command, "--help")

    assert said.code == 0
    assert f"\n  legion {command}" in said.out
    assert "--json" in said.out
    for line in said.out.splitlines():
        assert len(line) <= 100, line


@pytest.mark.parametrize("words", [(), ("levitate",), ("status", "--statt", "x")])
def test_a_wrong_word_is_told_at_once(words):
    """Exit code 2, and how to use it."""
    said = legion_says(*words)

    assert (said.code, said.out) == (2, "")
    assert "usage: legion" in said.err


@pytest.mark.parametrize(
    "words",
    [("levitate",), ("status", "--statt", "x"), ("restore",), ("demo", "--seed", "x")],
)
def test_a_wrong_word_is_told_to_programs_too(words):
    """The one document that was asked for, on standard output."""
    said = legion_says(*words, "--json")

    assert said.code == 2
    assert set(said.document) == {"error", "message"}
    assert said.document["error"] == "UsageError"
    assert f"legion: {said.document['message']}" in said.err


def test_the_documented_commands_are_those_there_are():
    """A command without a line in docs/cli.md is not finished, nor is the reverse."""
    rows = [line for line in CLI_PAGE.splitlines() if line.startswith("| `legion ")]
    assert [row.split()[2].strip("`") for row in rows] == list(COMMANDS)


class Screen(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("stream", "environment", "live", "coloured"),
    [
        (Screen, {}, True, True),
        (Screen, {"NO_COLOR": "1"}, True, False),
        (Screen, {"NO_COLOR": ""}, True, True),
        (Screen, {"TERM": "dumb"}, False, False),
        (io.StringIO, {}, False, False),
    ],
)
def test_colours_are_for_eyes(monkeypatch, stream, environment, live, coloured):
    """On a terminal, unless NO_COLOR is set and not empty; never for programs."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    output = Output(stream=stream())

    assert (output.live, output.coloured) == (live, coloured)
    assert output.paint("x", "good") == ("\x1b[32mx\x1b[0m" if coloured else "x")
    assert not Output(as_json=True, stream=stream()).live


def test_a_document_is_all_that_programs_get(tmp_path):
    """Lines for people are left out, so the whole output parses."""
    (tmp_path / "plan.yaml").write_text(YAML)
    assert legion_says("check", tmp_path / "plan.yaml", "--json").document


def typed(*words, **keywords):
    return subprocess.run(
        [sys.executable, "-m", "legion", *map(str, words)],
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        **keywords,
    )


def test_a_pipe_that_closes_is_no_error(tmp_path):
    """As in ``legion check PLAN | head -1``: nothing is said, the code is 141."""
    (tmp_path / "plan.yaml").write_text(YAML)
    reader, writer = os.pipe()
    os.close(reader)
    done = typed("check", tmp_path / "plan.yaml", stdout=writer)
    os.close(writer)

    assert (done.returncode, done.stderr) == (141, "")


def test_a_terminal_gets_colours_and_a_pipe_none(tmp_path):
    """The real thing: a pseudo-terminal, then a pipe, then NO_COLOR."""
    (tmp_path / "plan.yaml").write_text(YAML)
    words = ("check", tmp_path / "plan.yaml")
    environment = {k: v for k, v in os.environ.items() if k != "NO_COLOR"}
    environment["TERM"] = "xterm"

    def on_a_terminal(**more):
        ours, theirs = pty.openpty()
        done = typed(*words, stdout=theirs, env={**environment, **more})
        os.close(theirs)
        text = os.read(ours, 100_000).decode()
        os.close(ours)
        assert done.returncode == 0, done
        return text

    assert "\x1b[1mgreeting\x1b[0m" in on_a_terminal()
    assert "\x1b" not in on_a_terminal(NO_COLOR="1")
    piped = typed(*words, stdout=subprocess.PIPE, env=environment)
    assert "\x1b" not in piped.stdout


def test_long_lines_hang_below_their_text_on_a_terminal(monkeypatch):
    """And stay whole where a program may read them."""
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    shown, piped = Screen(), io.StringIO()
    for stream in (shown, piped):
        output = Output(stream=stream)
        output.hanging("day 1  ", "word " * 12)
        output.mark("word " * 12, ok=True)

    lines = shown.getvalue().splitlines()
    assert max(map(len, lines)) <= 40
    assert lines[1].startswith("       word")
    assert len(piped.getvalue().splitlines()) == 2


def test_warnings_come_without_their_tracebacks(capsys):
    """What went wrong beside the command is one line, and only for its time."""
    logger = logging.getLogger("legion.test")
    logger.propagate = False  # pytest listens above
    try:
        with short_warnings():
            try:
                raise ValueError("odd")
            except ValueError:
                logger.warning("the rest still ran", exc_info=True)
        assert capsys.readouterr().err == (
            "legion: the rest still ran (ValueError: odd)\n"
        )
        with short_warnings(off=True):
            logger.warning("as it is")
        assert capsys.readouterr().err == "as it is\n"
    finally:
        logger.propagate = True


@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [
        (StateError("f.db", "locked"), 3, "f.db: locked"),
        (PermissionError(13, "Permission denied", "/x"), 3, "/x: Permission denied"),
        (OSError("odd"), 3, "odd"),
    ],
)
def test_a_disk_that_refuses_is_told_in_one_line(monkeypatch, raised, code, said):
    """Whatever room it comes from."""
    from legion.cli.commands import doctor

    def broken():
        raise raised

    monkeypatch.setattr(doctor, "_trials", broken)
    assert said in refusal(legion_says("doctor"), code=code)


def test_an_interrupt_is_no_traceback(monkeypatch):
    """Ctrl-C in any command: one word, code 130."""
    from legion.cli.commands import doctor

    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr(doctor, "_trials", interrupted)
    said = legion_says("doctor")
    assert (said.code, said.err) == (130, "interrupted\n")


def test_main_takes_the_words_of_the_process(monkeypatch, capsys):
    """As the console script calls it."""
    monkeypatch.setattr(sys, "argv", ["legion", "doctor", "--json"])
    assert main() == 0
    assert '"tried"' in capsys.readouterr().out


def test_a_name_that_the_output_cannot_hold_is_escaped(tmp_path):
    """A terminal in another language, or none at all, is no reason to crash."""
    plan = tmp_path / "plan.yaml"
    plan.write_text(YAML.replace("plan: ", "plan: é", 1), "utf-8")
    said = subprocess.run(
        [sys.executable, "-m", "legion", "check", str(plan)],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (said.returncode, said.stderr) == (0, "")
    assert said.stdout.startswith("\\xe9")


def test_an_output_that_the_shell_closed_changes_no_exit_code(monkeypatch, tmp_path):
    """As in ``legion check plan.yaml >&-``."""
    plan = tmp_path / "plan.yaml"
    plan.write_text(YAML, "utf-8")
    monkeypatch.setattr(sys, "stdout", None)
    code = main(["check", str(plan)])
    sys.stdout.close()
    assert code == 0
