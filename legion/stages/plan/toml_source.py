"""
TOML with lines.

The standard library reads TOML but forgets where. Its answer is the truth here; a
second walk over a text that is known to be valid finds the lines of the keys.
"""

from __future__ import annotations

import re
import tomllib

from collections.abc import Mapping
from typing import TypeAlias

import attrs

from .source import Node, of_mapping, refuse


Path: TypeAlias = tuple[str | int, ...]

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_STRING = re.compile(
    r'"""(?:\\.|(?!""").)*"{3,5}|' + r"'''(?:(?!''').)*'{3,5}|"
    r'"(?:\\.|[^"\\\n])*"|' + r"'[^'\n]*'",
    re.DOTALL,
)
_OTHER = re.compile(r"[^,\]}#\r\n]*")
_AT_LINE = re.compile(r"line (\d+)")


def compose(text: str) -> Node:
    """Return the values of a TOML document."""
    try:
        value = tomllib.loads(text)
        lines = _Locator(text.replace("\r\n", "\n")).lines()
    except tomllib.TOMLDecodeError as error:
        found = _AT_LINE.search(str(error))
        line = int(found[1]) if found else text.count("\n") + 1
        given = str(error).partition(" (at ")[0].lower()
        refuse(given, "valid TOML", key="toml", line=line)
    except ValueError as error:
        refuse(str(error), "valid TOML", key="toml")
    except RecursionError:
        given = "values nested too deep to read"
        refuse(given, "at most 50 levels", key="toml")
    return _placed(of_mapping(value), (), lines, 1)


def _placed(node: Node, path: Path, lines: Mapping[Path, int], above: int) -> Node:
    line = lines.get(path, above)
    value = node.value
    if isinstance(value, tuple):
        value = tuple(
            _placed(item, (*path, i), lines, line) for i, item in enumerate(value)
        )
    elif isinstance(value, Mapping):
        value = {k: _placed(v, (*path, k), lines, line) for k, v in value.items()}
    return attrs.evolve(node, value=value, line=line)


@attrs.define
class _Locator:
    """Walks over a valid document and notes the line of each key and list item."""

    text: str
    _at: int = attrs.field(default=0, init=False)
    _line: int = attrs.field(default=1, init=False)
    _lines: dict[Path, int] = attrs.field(factory=dict, init=False)
    _tables: dict[Path, int] = attrs.field(factory=dict, init=False)

    def lines(self) -> dict[Path, int]:
        table: Path = ()
        self._skip(_BLANK)
        while self._at < len(self.text):
            if self.text[self._at] == "[":
                table = self._header()
            else:
                self._pair(table)
            self._skip(_BLANK)
        return self._lines

    def _skip(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self.text, self._at)
        found = match[0] if match is not None else ""
        self._at += len(found)
        self._line += found.count("\n")
        return found

    def _note(self, path: Path) -> None:
        for end in range(1, len(path) + 1):
            self._lines.setdefault(path[:end], self._line)

    def _header(self) -> Path:
        many = self.text.startswith("[[", self._at)
        self._at += 1 + many
        keys = self._keys()
        self._at += 1 + many
        path = self._newest(keys[:-1])
        path = (*path, keys[-1])
        if many:
            index = self._tables.get(path, -1) + 1
            self._tables[path] = index
            path = (*path, index)
        self._note(path)
        return path

    def _newest(self, keys: tuple[str, ...]) -> Path:
        """Return the path of a table, through the newest item of each list of them."""
        path: Path = ()
        for key in keys:
            path = (*path, key)
            if path in self._tables:
                path = (*path, self._tables[path])
        return path

    def _keys(self) -> tuple[str, ...]:
        """Read a dotted key."""
        keys: list[str] = []
        while True:
            self._skip(_SPACE)
            if self.text[self._at] in "\"'":
                quoted = self._skip(_STRING)
                keys.append(tomllib.loads(f"k = {quoted}")["k"])
            else:
                keys.append(self._skip(_BARE))
            self._skip(_SPACE)
            if self.text[self._at] != ".":
                return tuple(keys)
            self._at += 1

    def _pair(self, table: Path) -> None:
        line = self._line
        path = (*table, *self._keys())
        for end in range(len(table) + 1, len(path) + 1):
            self._lines.setdefault(path[:end], line)
        self._at += 1
        self._skip(_SPACE)
        self._value(path)

    def _value(self, path: Path) -> None:
        opening = self.text[self._at]
        if opening == "[":
            self._array(path)
        elif opening == "{":
            self._table(path)
        elif opening in "\"'":
            self._skip(_STRING)
        else:
            self._skip(_OTHER)

    def _array(self, path: Path) -> None:
        self._at += 1
        index = 0
        self._skip(_BLANK)
        while self.text[self._at] != "]":
            self._note((*path, index))
            self._value((*path, index))
            index += 1
            self._separator()
        self._at += 1

    def _table(self, path: Path) -> None:
        self._at += 1
        self._skip(_BLANK)
        while self.text[self._at] != "}":
            self._pair(path)
            self._separator()
        self._at += 1

    def _separator(self) -> None:
        self._skip(_BLANK)
        if self.text[self._at] == ",":
            self._at += 1
            self._skip(_BLANK)
