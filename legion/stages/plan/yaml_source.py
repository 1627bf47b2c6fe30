"""
YAML, event by event.

The tree is built here and not by PyYAML: so every value keeps its line, a key that
stands twice is seen, and neither aliases nor brackets can grow beyond the limits.
"""

from __future__ import annotations

import re

from collections.abc import Iterator, Mapping
from typing import Protocol, TypeAlias

import attrs
import yaml

from ...exceptions import Fault
from .source import (
    DEEPEST,
    MOST_NODES,
    Node,
    Scalar,
    describe,
    encodable,
    refuse,
    scalar,
    short,
    too_deep,
    too_much,
)


_LOADER: type = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_WORDS: Mapping[str, Scalar] = {
    spelling: value
    for words, value in (
        ("~ null", None),
        ("yes true on", True),
        ("no false off", False),
    )
    for word in words.split()
    for spelling in (word, word.capitalize(), word.upper())
} | {"": None}
# A part of what YAML 1.1 takes for numbers: no octal, no sexagesimal, no date.
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9_]{0,30})")
_FLOAT = re.compile(
    r"[-+]?(?:[0-9][0-9_]{0,30}\.[0-9_]{0,400}|\.[0-9]{1,400})(?:[eE][-+][0-9]{1,3})?"
)
_SPECIAL = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")

_Event: TypeAlias = yaml.events.Event


class _Mark(Protocol):
    @property
    def line(self) -> int: ...


def compose(text: str) -> tuple[Node, list[Fault]]:
    """Return the values of one YAML document, and the keys that stand twice."""
    builder = _Builder()
    try:
        return builder.build(yaml.parse(text, Loader=_LOADER)), builder.faults
    except yaml.MarkedYAMLError as error:
        line = _line(error.problem_mark or error.context_mark)
        line = min(line, max(1, len(text.splitlines())))
        given = error.problem or error.context or "something that is not YAML"
        if "nesting depth" in given:  # libyaml's own limit, since PyYAML 6.0.4
            too_deep(line)
        write = "valid YAML; indent with spaces and quote text that holds ': ' or '#'"
        refuse(given, write, key="yaml", line=line)
    except yaml.reader.ReaderError as error:
        at = error.position if isinstance(error.position, int) else 0
        line = text.count("\n", 0, at) + 1
        given = f"an unreadable character: {error.reason}"
        refuse(given, "printable characters", key="yaml", line=line)


@attrs.define
class _Open:
    """A list or mapping that has not ended yet."""

    line: int
    anchor: str | None
    entries: dict[str, Node] | None
    items: list[Node] = attrs.field(factory=list)
    key: str | None = None
    key_line: int = 0
    size: int = 1
    depth: int = 1


@attrs.define
class _Builder:
    faults: list[Fault] = attrs.field(factory=list, init=False)
    _open: list[_Open] = attrs.field(factory=list, init=False)
    _anchors: dict[str, Node] = attrs.field(factory=dict, init=False)
    _root: Node | None = attrs.field(default=None, init=False)

    def build(self, events: Iterator[_Event]) -> Node:
        documents = 0
        for event in events:
            line = _line(event.start_mark)
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    refuse("a second document", "one plan a file", line=line)
            elif isinstance(event, yaml.CollectionEndEvent):
                self._close()
            elif isinstance(event, yaml.NodeEvent):
                self._take(event, line)
        return Node(None, 1) if self._root is None else self._root

    def _take(self, event: yaml.NodeEvent, line: int) -> None:
        if not isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent):
            self._alias(event.anchor or "", line)
            return
        if event.tag is not None and event.tag != "!":
            given = f"the tag {short(event.tag)}"
            refuse(given, "the plain value, without a tag", line=line)
        if isinstance(event, yaml.ScalarEvent):
            self._scalar(event, line)
            return
        if len(self._open) >= DEEPEST:
            too_deep(line)
        if self._wants_key():
            self._refuse_key(line)
        mapping = isinstance(event, yaml.MappingStartEvent)
        entries: dict[str, Node] | None = {} if mapping else None
        self._open.append(_Open(line=line, anchor=event.anchor, entries=entries))

    def _wants_key(self) -> bool:
        top = self._open[-1] if self._open else None
        return top is not None and top.entries is not None and top.key is None

    def _refuse_key(self, line: int) -> None:
        refuse("a key that is no text", "a key of one word", line=line)

    def _alias(self, anchor: str, line: int) -> None:
        node = self._anchors.get(anchor)
        if node is None:
            given = f"the alias *{anchor}"
            write = f"an anchor &{anchor} that ends before it"
            refuse(given, write, line=line)
        if self._wants_key():
            self._refuse_key(line)
        if len(self._open) + node.depth > DEEPEST:
            too_deep(line)
        self._add(node)

    def _scalar(self, event: yaml.ScalarEvent, line: int) -> None:
        if self._wants_key():
            if not encodable(event.value):
                self._refuse_key(line)
            self._open[-1].key = event.value
            self._open[-1].key_line = line
            return
        plain = event.implicit[0] and not event.style
        value = _resolve(event.value) if plain else scalar(event.value)
        node = Node(value, line, event.value if plain else None)
        self._remember(event.anchor, node)
        self._add(node)

    def _close(self) -> None:
        done = self._open.pop()
        node = Node(
            tuple(done.items) if done.entries is None else done.entries,
            done.line,
            None,
            done.size,
            done.depth,
        )
        self._remember(done.anchor, node)
        self._add(node)

    def _remember(self, anchor: str | None, node: Node) -> None:
        if anchor is not None:
            self._anchors[anchor] = node

    def _add(self, node: Node) -> None:
        if not self._open:
            self._root = node
            return
        top = self._open[-1]
        top.size += node.size
        top.depth = max(top.depth, node.depth + 1)
        if top.size > MOST_NODES:
            too_much(node.line)
        if top.entries is None:
            top.items.append(node)
            return
        key, top.key = top.key or "", None
        if key in top.entries:
            self._twice(key, top.key_line, node, top.entries[key])
        else:
            top.entries[key] = attrs.evolve(node, line=top.key_line)

    def _twice(self, key: str, line: int, node: Node, first: Node) -> None:
        path = ""
        for place in self._open[:-1]:
            listed = place.entries is None
            path += f"[{len(place.items)}]" if listed else f".{place.key}"
        self.faults.append(
            Fault(
                key=f"{path}.{key}".lstrip("."),
                given=f"it a second time, as {describe(node)}",
                write=f"it once; it stands in line {first.line} already",
                line=line,
            )
        )


def _line(mark: _Mark | None) -> int:
    return 1 if mark is None else mark.line + 1


def _resolve(text: str) -> Scalar:
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        return int(text.replace("_", ""))
    if _FLOAT.fullmatch(text):
        return float(text.replace("_", ""))
    if _SPECIAL.fullmatch(text):
        return float(text.replace(".", "", 1))
    return text
