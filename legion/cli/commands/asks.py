"""``legion asks``: the gate's open questions, and their answers."""

from __future__ import annotations

import argparse

from typing import TypeAlias

from ...exceptions import LegionError
from ...host import Host
from ..main import command
from ..output import Output


Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add(commands: Commands) -> None:
    """Add ``legion asks``."""
    one = command(
        commands,
        "asks",
        asks,
        says="list the gate's open questions, or answer one",
        state=True,
    )
    one.add_argument("id", nargs="?", help="the question to answer")
    answer = one.add_mutually_exclusive_group()
    answer.add_argument("--approve", action="store_true")
    answer.add_argument("--deny", action="store_true")
    one.add_argument("--by", metavar="WHO", help="who answers")


def asks(arguments: argparse.Namespace, output: Output) -> int:
    """List open questions, or write an answer down."""
    with Host.reopen(arguments.state) as host:
        if arguments.id is not None:
            if not (arguments.approve or arguments.deny) or not arguments.by:
                msg = "asks: write --approve or --deny, and --by WHO"
                raise LegionError(msg)
            host.gate.answer(arguments.id, approve=arguments.approve, by=arguments.by)
        found = host.gate.asks()
    for ask in found:
        output.line(f"  {ask.id}  {ask.title}: {ask.reason}")
    if not found:
        output.line("  no open questions")
    output.document({"questions": [{"id": a.id, "title": a.title} for a in found]})
    return 0
