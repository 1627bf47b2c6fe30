"""``legion journal verify``: whether a journal is what was written."""

from __future__ import annotations

import argparse

from pathlib import Path
from typing import TypeAlias

from ...exceptions import StateError
from ...journal import Journal
from ..main import command
from ..output import Output


Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add(commands: Commands) -> None:
    """Add ``legion journal``."""
    one = command(
        commands,
        "journal",
        verify,
        says="verify a journal: every entry, every node, and the root",
        teaches=(
            "Keep the printed root and size somewhere else. Given back with --root and\n"
            "--size, they show a removed tail and a rewritten log, too."
        ),
    )
    one.add_argument("verb", choices=["verify"])
    one.add_argument("file", metavar="FILE", help="the state file, legion.db")
    one.add_argument("--root", help="a root that was printed before")
    one.add_argument("--size", type=int, help="the size it was printed with")


def verify(arguments: argparse.Namespace, output: Output) -> int:
    """Recompute the whole log and name what does not fit."""
    if not Path(arguments.file).is_file():
        raise StateError(arguments.file, "no such file; write the path of a journal")
    with Journal(arguments.file) as journal:
        found = journal.verify(root=arguments.root, size=arguments.size)
    for seq, fault in found.faults:
        where = "the log" if seq is None else f"entry {seq}"
        output.mark(f"{where}: {fault}", ok=False)
    if found.ok:
        output.mark(f"{found.size} entries verify", ok=True)
    output.line(f"  root {found.root}")
    output.document(
        {
            "ok": found.ok,
            "size": found.size,
            "root": found.root,
            "faults": [{"seq": seq, "fault": fault} for seq, fault in found.faults],
        }
    )
    return 0 if found.ok else 1
