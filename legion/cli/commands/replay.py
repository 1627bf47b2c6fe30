"""``legion replay``: a rollout decided again, under its own plan or another."""

from __future__ import annotations

import argparse

from datetime import UTC, datetime

from ...canonical import JSON
from ...exceptions import LegionError
from ...planner import Otherwise, Replay
from ...planner import replay as tell
from ...planner.said import spell
from ...plugins import Plugins
from ..factory import Factory
from ..main import Commands, command
from ..output import Output


_TEACHES = """\
Each recorded observation is learned and decided on again, and each decision compared
with the recorded one, byte for byte. Nothing is asked of the world, nothing is written.
--with says what another plan would have done on the same observations, as long as users
would have seen the same.

  legion replay --state var/legion
  legion replay --with false_rollback=5%
  legion replay --with stages.canary.dwell=12h --with without=latency_p95
  legion replay --plugins shop.criteria:plugins     criteria of your own

Exit code 1: a decision does not come out as it was recorded.
"""


def add(commands: Commands) -> None:
    """Add ``legion replay``."""
    one = command(
        commands,
        "replay",
        replay,
        says="decide a recorded rollout again, or as another plan would have",
        teaches=_TEACHES,
        state=True,
    )
    one.add_argument(
        "--with",
        dest="changes",
        action="append",
        default=[],
        type=_change,
        metavar="KEY=VALUE",
        help="a key of another plan; may be repeated",
    )
    one.add_argument(
        "--plugins",
        metavar="MODULE:FACTORY",
        help="a function that returns the legion.Plugins of the host",
    )


def _change(text: str) -> tuple[str, JSON]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        msg = f"got {text!r}; write KEY=VALUE, such as false_rollback=5%"
        raise argparse.ArgumentTypeError(msg)
    import yaml

    try:
        return key.strip(), yaml.safe_load(value)
    except yaml.YAMLError:
        msg = f"got {text!r}; write a value as in a plan's file"
        raise argparse.ArgumentTypeError(msg) from None


def replay(arguments: argparse.Namespace, output: Output) -> int:
    """Tell a rollout again and say what comes out otherwise."""
    changes = dict(arguments.changes)
    if len(changes) < len(arguments.changes):
        msg = "--with: got a key twice; write each once"
        raise LegionError(msg)
    found = tell(arguments.state, plugins=_plugins(arguments.plugins), changes=changes)
    _say(found, output)
    if found.otherwise is not None:
        _say_otherwise(found.otherwise, output)
    output.document(found.to_json())
    return 0 if found.ok else 1


def _plugins(name: str | None) -> Plugins | None:
    if name is None:
        return None
    write = "MODULE:FACTORY, a function that returns the legion.Plugins of the host"
    factory = Factory("--plugins", name, write)
    made = factory()
    if not isinstance(made, Plugins):
        raise factory.wrong(why=f"returned {made!r}, which is no Plugins")
    return made


def _say(found: Replay, output: Output) -> None:
    output.line(f"{output.paint(found.plan, 'bold')}: {found.looks:,} looks")
    different = found.difference
    if different is None:
        said = f"{found.same:,} decisions, all the same"
        output.mark(said if found.same else "nothing could be replayed", ok=found.ok)
    else:
        output.mark(
            f"{found.same:,} decisions are the same, then entry {different.seq} in"
            f" {different.stage or 'no stage'} at {_when(different.at_s)} is not:",
            ok=False,
        )
        for field, (told, ours) in different.fields.items():
            output.line(f"         {field}: recorded {told!r}, replayed {ours!r}")
    for each in found.apart:
        output.mark(f"not replayed: {each.n:,} {each.why} (entry {each.seq})", ok=None)
    if found.taken:
        named = ", ".join(f"{name} ({n:,})" for name, n in found.taken.items())
        output.mark(f"verdicts taken as they were recorded: {named}", ok=None)


def _say_otherwise(other: Otherwise, output: Output) -> None:
    output.line()
    output.line(f"With the other plan, on {other.looks:,} of these looks:")
    for each in other.partings:
        output.hanging(
            f"  {_when(each.at_s)}  {each.stage or '-'}: ",
            f"{each.other} where {each.recorded} was recorded: {each.reason}",
        )
    if not other.partings:
        output.line("  it decides the same")
    when = "" if other.at_s is None else f"{_when(other.at_s)}  "
    output.hanging(f"  {when}{other.stage or '-'}: ", other.reason)
    for name in other.unseen:
        output.mark(f"nobody counted units by {name}, which it asks about", ok=None)


def _when(at_s: float) -> str:
    """Return plan time as a date, or as a span where it does not count from 1970."""
    if at_s < 365 * 86_400:
        return f"after {spell(at_s)}"
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d %H:%M:%S")
