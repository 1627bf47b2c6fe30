"""A command line typed in this process, and a rollout in a directory to type it at."""

from __future__ import annotations

import contextlib
import io
import json
import re

from pathlib import Path

import attrs

import legion

from legion.cli import main


PLAN = {
    "plan": "greeting",
    "candidate": "2.0.0",
    "baseline": "1.0.0",
    "unit": "task",
    "check_interval": "1m",
    "rollback": {"to": "v1", "within": "1m"},
    "triggers": {"within 1m": [{"metric": "error_rate", "above": "50%"}]},
    "stages": [
        {
            "name": "canary",
            "traffic": "25%",
            "dwell": "3m",
            "features": {"tone": {"enabled": True}},
            "validate": [{"metric": "error_rate", "below": "5%"}],
        }
    ],
}

YAML = """\
plan: greeting
candidate: 2.0.0
baseline: 1.0.0
unit: task
rollback: {to: v1, within: 1m}
triggers:
  within 1m: [{metric: error_rate, above: 50%}]
stages:
  - {name: canary, traffic: 25%, dwell: 3m, validate: [{metric: error_rate, below: 5%}]}
"""


CLI_PAGE = (Path(__file__).parents[1] / "docs" / "cli.md").read_text("utf-8")


def documented(command):
    """Return the keys that the documentation promises of *command*."""
    _, _, table = CLI_PAGE.partition("| command | keys |")
    (row,) = re.findall(rf"^\| .*`{command}`.*\| (.*) \|$", table, re.MULTILINE)
    return set(re.findall(r"`(\w+)`", row))


@attrs.frozen
class Said:
    """What a command said, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def document(self):
        return json.loads(self.out)


def legion_says(*argv):
    """Run the command line in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main([str(word) for word in argv])
        except SystemExit as left:
            code = left.code
    return Said(code, out.getvalue(), err.getvalue())


def refusal(said, *, code):
    """Return the one line of an error, once it is one and says what to write."""
    assert said.code == code, said
    assert "Traceback" not in said.err
    assert said.err.startswith("legion: ")
    assert said.err.count("\n") == 1
    return said.err


def open_host(folder, plan=PLAN, **keywords):
    return legion.Host.open(legion.Plan.from_dict(plan), state=folder, **keywords)


def rollout(folder, *, versions=True, stages=PLAN["stages"]):
    """Leave a rollout in its first stage, with both versions in its registry."""
    if versions:
        registry = legion.Registry(folder / "registry")
        registry.put({"greet.txt": b"hello"}, version="1.0.0")
        registry.tag("v1", "1.0.0")
        registry.put({"greet.txt": b"good day"}, version="2.0.0")
    with open_host(folder, {**PLAN, "stages": stages}) as host:
        host.tick()
        assert host.engine.exposure.stage == stages[0]["name"]
    return folder
