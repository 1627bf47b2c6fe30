"""``legion asks``: the gate's open questions, and their answers."""

from __future__ import annotations

import argparse

from ...exceptions import LegionError
from ...host import Host
from ..main import Commands, command
from ..output import Output


_TEACHES = """\
An approval is for one move, and is used up by it.

  legion asks                                     what is asked
  legion asks ID --approve --by ops@example.org   let it through, once
  legion asks ID --deny --by ops@example.org
"""


def add(commands: Commands) -> None:
    """Add ``legion asks``."""
    one = command(
        commands,
        "asks",
        asks,
        says="list the gate's open questions, or answer one",
        teaches=_TEACHES,
        state=True,
    )
    one.add_argument("id", nargs="?", metavar="ID", help="the question to answer")
    answer = one.add_mutually_exclusive_group()
    answer.add_argument("--approve", action="store_true", help="yes, once")
    answer.add_argument("--deny", action="store_true", help="no")
    one.add_argument("--by", metavar="WHO", help="who answers, for the journal")


def asks(arguments: argparse.Namespace, output: Output) -> int:
    """List open questions, or write an answer down."""
    answering = arguments.approve or arguments.deny
    if bool(arguments.id) != answering or answering != bool(arguments.by):
        msg = "asks: to answer, write ID, --approve or --deny, and --by WHO; to list, none"
        raise LegionError(msg)
    with Host.reopen(arguments.state, readonly=not answering) as host:
        if answering:
            host.gate.answer(arguments.id, approve=arguments.approve, by=arguments.by)
        found = host.gate.asks()
    if answering:
        said = "approved" if arguments.approve else "denied"
        output.line(f"  {arguments.id} is {said} by {arguments.by}")
    for ask in found:
        output.line(f"  {ask.id}  {ask.title}: {ask.reason}")
    if not found:
        output.line("  no open questions")
    output.document(
        {
            "questions": [
                {"id": ask.id, "title": ask.title, "reason": ask.reason}
                for ask in found
            ]
        }
    )
    return 0
