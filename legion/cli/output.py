"""How commands print: lines for people, or one JSON document for programs."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import sys
import textwrap

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TextIO

import attrs

from ..canonical import JSON
from ..exceptions import PlanError
from ..model import as_json


_COLOURS = {"good": "32", "bad": "31", "care": "33", "dim": "2", "bold": "1"}


@attrs.define(eq=False, kw_only=True)
class Output:
    """
    Prints what a command has found.

    Colours are used only on a terminal, and never where ``NO_COLOR`` is set.

    Args:
        as_json: Print one JSON document instead of lines.
        stream: Where to; standard output by default.
    """

    as_json: bool = False
    stream: TextIO = attrs.field(factory=lambda: sys.stdout)

    @property
    def live(self) -> bool:
        """Whether somebody looks at a screen that can be painted over."""
        return (
            not self.as_json
            and self.stream.isatty()
            and os.environ.get("TERM") != "dumb"
        )

    @property
    def coloured(self) -> bool:
        """Whether lines may hold colours."""
        return self.live and not os.environ.get("NO_COLOR")

    def paint(self, text: str, colour: str) -> str:
        """Return *text* in a colour where colours are used."""
        if not self.coloured:
            return text
        return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m"

    def line(self, text: str = "") -> None:
        """Print a line for people."""
        if not self.as_json:
            print(text, file=self.stream)

    def hanging(self, head: str, text: str) -> None:
        """Print *head* and *text*; on a terminal, further lines hang below the text."""
        if not self.live:
            self.line(head + text)
            return
        width = max(shutil.get_terminal_size().columns, len(head) + 20)
        lines = textwrap.wrap(
            text,
            width,
            initial_indent=head,
            subsequent_indent=" " * len(head),
            break_on_hyphens=False,
        )
        self.line("\n".join(lines))

    def mark(self, text: str, *, ok: bool | None) -> None:
        """Print a line with a mark: passed, failed, or not measured."""
        signs = {True: ("ok  ", "good"), False: ("FAIL", "bad"), None: ("-   ", "dim")}
        sign, colour = signs[ok]
        width = shutil.get_terminal_size().columns if self.live else 10_000
        first, *further = textwrap.wrap(
            text, max(width - 8, 20), break_on_hyphens=False
        ) or [""]
        self.line(f"  {self.paint(sign, colour)} {first}")
        for line in further:
            self.line(f"       {line}")

    def table(self, rows: Iterable[Sequence[str]]) -> None:
        """Print rows in columns as wide as their widest cell."""
        kept = [list(row) for row in rows]
        if not kept:
            return
        widths = [max(len(row[i]) for row in kept) for i in range(len(kept[0]))]
        for row in kept:
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            self.line("  " + "  ".join(cells).rstrip())

    def document(self, value: Mapping[str, JSON]) -> None:
        """Print the document for programs."""
        if self.as_json:
            print(json.dumps(value, indent=2, sort_keys=True), file=self.stream)

    def error(self, error: Exception, *, code: int, **more: JSON) -> int:
        """Say on standard error what is wrong, and return *code*; *more* is for programs."""
        document: dict[str, JSON] = {
            "error": type(error).__name__,
            "message": str(error),
            **more,
        }
        if isinstance(error, PlanError):
            document["faults"] = [as_json(fault) for fault in error.faults]
        self.document(document)
        print(f"legion: {error}", file=sys.stderr)
        return code


class _Short(logging.Formatter):
    """One line a warning: what was raised, and not where."""

    def format(self, record: logging.LogRecord) -> str:
        text = f"legion: {record.getMessage()}"
        raised = record.exc_info[1] if record.exc_info else None
        return text if raised is None else f"{text} ({type(raised).__name__}: {raised})"


@contextlib.contextmanager
def short_warnings(*, off: bool = False) -> Iterator[None]:
    """
    Print warnings that nobody else handles without their tracebacks.

    Args:
        off: Leave them as they are, for code of the user's own.
    """
    last = logging.lastResort
    if off or last is None:
        yield
        return
    before = last.formatter
    last.setFormatter(_Short())
    try:
        yield
    finally:
        last.setFormatter(before)
