"""Arguments of every command, and what an error looks like."""

from __future__ import annotations

import argparse
import sys

from collections.abc import Callable, Sequence
from typing import TypeAlias

from ..exceptions import LegionError, PlanError, StateError
from .output import Output


Command: TypeAlias = Callable[[argparse.Namespace, Output], int]

_EPILOG = """\
exit codes:
  0  yes: it worked, it holds, it is healthy
  1  no: a check failed, a verification failed, the rollout went back
  2  what was asked for is wrong: an option, a plan, a name
  3  the state cannot be used: missing, locked, damaged, from another program

Every command takes --json. Colours are off where the output is no terminal.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """
    Run the command line.

    Args:
        argv: The arguments; those of the process by default.

    Returns:
        The exit code.
    """
    arguments = parser().parse_args(argv)
    output = Output(arguments.json)
    command: Command = arguments.command
    try:
        return command(arguments, output)
    except StateError as error:
        return _failed(output, error, 3)
    except (LegionError, PlanError) as error:
        return _failed(output, error, 2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 141


def _failed(output: Output, error: Exception, code: int) -> int:
    output.document({"error": type(error).__name__, "message": str(error)})
    print(f"legion: {error}", file=sys.stderr)
    return code


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    top = argparse.ArgumentParser(
        prog="legion",
        description="Roll out a change in stages, watch it, and take it back.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    from .. import __version__

    top.add_argument("--version", action="version", version=f"legion {__version__}")
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    from . import commands as room

    for add in room.ALL:
        add(commands)
    return top


def command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    run: Command,
    *,
    says: str,
    teaches: str = "",
    state: bool = False,
) -> argparse.ArgumentParser:
    """Add a command with the options that all commands share."""
    one = commands.add_parser(
        name,
        help=says,
        description=f"{says[0].upper()}{says[1:]}.",
        epilog=teaches,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    one.add_argument("--json", action="store_true", help="print one JSON document")
    if state:
        one.add_argument(
            "--state",
            default="var/legion",
            metavar="DIR",
            help="directory of the state (default: %(default)s)",
        )
    one.set_defaults(command=run)
    return one
