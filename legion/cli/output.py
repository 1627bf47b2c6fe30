"""How commands print: lines for people, or one JSON document for programs."""

from __future__ import annotations

import json
import os
import sys

from collections.abc import Iterable, Mapping, Sequence
from typing import TextIO

import attrs

from ..canonical import JSON


_COLOURS = {"good": "32", "bad": "31", "care": "33", "dim": "2", "bold": "1"}


@attrs.define(eq=False)
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
    def coloured(self) -> bool:
        """Whether lines may hold colours."""
        return (
            not self.as_json
            and self.stream.isatty()
            and "NO_COLOR" not in os.environ
            and os.environ.get("TERM") != "dumb"
        )

    def paint(self, text: str, colour: str) -> str:
        """Return *text* in a colour where colours are used."""
        if not self.coloured:
            return text
        return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m"

    def line(self, text: str = "") -> None:
        """Print a line for people."""
        if not self.as_json:
            print(text, file=self.stream)

    def mark(self, text: str, *, ok: bool | None) -> None:
        """Print a line with a mark: passed, failed, or not measured."""
        signs = {True: ("ok  ", "good"), False: ("FAIL", "bad"), None: ("-   ", "dim")}
        sign, colour = signs[ok]
        self.line(f"  {self.paint(sign, colour)} {text}")

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
