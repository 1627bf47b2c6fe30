"""Arguments of every command, and what an error looks like."""

from __future__ import annotations

import argparse
import io
import os
import sys

from collections.abc import Callable, Sequence
from typing import NoReturn, TypeAlias

from ..canonical import JSON
from ..exceptions import (
    JournalError,
    LegionError,
    SnapshotCorruptError,
    StateError,
)
from .output import Output, short_warnings


Command: TypeAlias = Callable[[argparse.Namespace, Output], int]
Commands: TypeAlias = "argparse._SubParsersAction[Parser]"

_EPILOG = """\
exit codes:
  0    yes: it worked, it holds, it is healthy
  1    no: a check failed, the gate said no, the rollout went back
  2    what was asked for is wrong: an option, a plan, a name
  3    the state cannot be used: missing, locked, damaged, from another program
  130  interrupted; what was written down stays, and a rollout can go on from it
  141  whoever read the output went away

Every command takes --json. Colours are off where the output is no terminal, and where
NO_COLOR is set.
"""

_UNUSABLE = (StateError, SnapshotCorruptError, JournalError)


class RefusedError(LegionError):
    """
    What was asked for is right, and the answer is no.

    Attributes:
        ask: The question that a person may answer with yes, or None.
    """

    def __init__(self, message: str, *, ask: str | None = None) -> None:
        self.ask = ask
        super().__init__(message)


class UsageError(LegionError):
    """What was typed is no command, or lacks an option."""


class Parser(argparse.ArgumentParser):
    """A parser whose errors can be told to programs, too."""

    def error(self, message: str) -> NoReturn:
        """Say how the command is used, and what is wrong."""
        self.print_usage(sys.stderr)
        _, _, name = self.prog.partition(" ")
        raise UsageError(f"{name}: {message}" if name else message)


def main(argv: Sequence[str] | None = None) -> int:
    """
    Run the command line.

    Args:
        argv: The arguments; those of the process by default.

    Returns:
        The exit code.
    """
    words = sys.argv[1:] if argv is None else argv
    _take_any_text()
    try:
        try:
            arguments = parser().parse_args(words)
        except UsageError as error:
            return Output(as_json="--json" in words).error(error, code=2)
        output = Output(as_json=arguments.json)
        with short_warnings(off=arguments.tracebacks):
            code = _run(arguments, output)
        # Here, where a reader that went away can still be told from a fault.
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        _write_to_nobody()
        return 141
    return code


def _run(arguments: argparse.Namespace, output: Output) -> int:
    command: Command = arguments.command
    try:
        return command(arguments, output)
    except RefusedError as error:
        more: dict[str, JSON] = {} if error.ask is None else {"ask": error.ask}
        return output.error(error, code=1, **more)
    except _UNUSABLE as error:
        return output.error(error, code=3)
    except LegionError as error:
        return output.error(error, code=2)
    except BrokenPipeError:
        raise
    except OSError as error:
        where = "" if error.filename is None else f"{error.filename}: "
        unusable = StateError(where.removesuffix(": "), error.strerror or str(error))
        return output.error(unusable if where else error, code=3)


def _take_any_text() -> None:
    """Have standard output take every name, and be there where the shell closed it."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115 - the process's own
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _write_to_nobody() -> None:
    """Keep the interpreter from flushing into the closed pipe once more, and saying so."""
    try:
        nobody = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nobody, sys.stdout.fileno())
        os.close(nobody)
    except (OSError, ValueError):  # A stream without a file has nothing to flush.
        return


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    top = Parser(
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
    commands: Commands,
    name: str,
    run: Command,
    *,
    says: str,
    teaches: str,
    state: bool = False,
) -> argparse.ArgumentParser:
    """
    Add a command with the options that all commands share.

    Args:
        commands: Where to.
        name: What users type.
        run: Runs it.
        says: What it does, in one line.
        teaches: What help ends with: at least one example.
        state: Whether it works on a state directory.
    """
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
    one.set_defaults(command=run, tracebacks=False)
    return one
