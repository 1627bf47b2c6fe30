"""
Where a plan comes from: a file, a text or a mapping, as values that know their line.

Nothing of what is read here is trusted. A file is measured before it is read, and no
value is expanded beyond what a plan written by hand could ever need.
"""

from __future__ import annotations

import stat

from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn, TypeAlias

import attrs

from ...exceptions import Fault


LARGEST_FILE = 1_000_000
"""Bytes; a longer file is refused before it is read."""
MOST_NODES = 10_000
"""Values in a plan, each alias counted in full."""
DEEPEST = 50
"""Levels of nesting."""

Scalar: TypeAlias = bool | int | float | str | None


@attrs.frozen
class Node:
    """
    A value and the line it stands on.

    Attributes:
        value: A scalar, the items of a list or the entries of a mapping. `Strange` is
            what none of the formats has a word for.
        line: Line of the value, or of its key where it has one; None without a file.
        raw: How a scalar was written, where that is known.
        size: How many values it is made of.
        depth: How many levels are nested in it.
    """

    value: Scalar | tuple[Node, ...] | Mapping[str, Node] | Strange
    line: int | None = None
    raw: str | None = None
    size: int = 1
    depth: int = 1


@attrs.frozen
class Strange:
    """
    A value that a plan cannot hold.

    Attributes:
        given: What it is, in words.
        write: What to write instead.
    """

    given: str
    write: str


class Refused(Exception):  # noqa: N818 - it never leaves this package
    """The source cannot be read at all; no other fault can be looked for."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        super().__init__(fault)


def refuse(
    given: str, write: str, *, key: str = "plan", line: int | None = None
) -> NoReturn:
    """Give up on a source that cannot be read."""
    raise Refused(Fault(key=key, given=given, write=write, line=line))


def too_much(line: int | None = None) -> NoReturn:
    """Give up on a source that would expand beyond all measure."""
    refuse(
        f"more than {MOST_NODES} values",
        f"at most {MOST_NODES} values, every alias counted in full",
        line=line,
    )


def too_deep(line: int | None = None) -> NoReturn:
    """Give up on a source that is nested beyond all measure."""
    refuse(
        f"values nested more than {DEEPEST} levels deep",
        f"at most {DEEPEST} levels",
        line=line,
    )


def read_file(path: Path) -> str:
    """Return the text of a regular file of at most a megabyte."""
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            what = "a directory" if stat.S_ISDIR(found.st_mode) else "no regular file"
            refuse(f"{path}, {what}", "the path of a .yaml or .toml file")
        if found.st_size > LARGEST_FILE:
            _too_long(found.st_size)
        with path.open("rb") as file:
            raw = file.read(LARGEST_FILE + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        given = f"{path}: {reason}"
        refuse(given, "the path of a file that can be read")
    if len(raw) > LARGEST_FILE:
        _too_long(len(raw))
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        given = f"the byte 0x{raw[error.start]:02x}, which is not UTF-8"
        refuse(given, "the file in UTF-8", line=line)


def _too_long(size: int) -> NoReturn:
    refuse(f"{size} bytes", f"at most {LARGEST_FILE} bytes")


def parse(text: str, format: str) -> tuple[Node, list[Fault]]:  # noqa: A002
    """Return the values of *text*, which is YAML or TOML, and its keys given twice."""
    if len(text) > LARGEST_FILE:
        _too_long(len(text))
    try:
        text.encode()
    except UnicodeEncodeError as error:
        line = text.count("\n", 0, error.start) + 1
        given = f"the lone surrogate {text[error.start]!r}"
        refuse(given, "characters", line=line)
    if format == "yaml":
        from . import yaml_source

        return yaml_source.compose(text)
    if format == "toml":
        from . import toml_source

        return toml_source.compose(text), []
    msg = f"format: got {format!r}; write 'yaml' or 'toml'"
    raise ValueError(msg)


def of_mapping(value: Mapping[str, object]) -> Node:
    """Return the values of a mapping, without lines."""
    return _Walk().node(value, 1)


@attrs.define
class _Walk:
    """Counts while it goes, so that a mapping that holds itself comes to an end."""

    count: int = 0

    def node(self, value: object, level: int) -> Node:
        self.count += 1
        if self.count > MOST_NODES:
            too_much()
        if level > DEEPEST:
            too_deep()
        if isinstance(value, Mapping):
            return Node({_key(k): self.node(v, level + 1) for k, v in value.items()})
        if isinstance(value, list | tuple):
            return Node(tuple(self.node(item, level + 1) for item in value))
        return Node(scalar(value))


def _key(key: object) -> str:
    if not isinstance(key, str):
        refuse(f"the key {short(key)}", "keys that are text")
    if not encodable(key):
        refuse(f"the key {short(key)}", "characters, no lone surrogates")
    return str.__str__(key)


def scalar(value: object) -> Scalar | Strange:
    """Return *value* if a plan can hold it, as a plain number or text."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, str):
        if encodable(value):
            return str.__str__(value)
        return Strange(short(value), "characters, no lone surrogates")
    return Strange(short(value), "a number or text; quote a date")


def encodable(text: str) -> bool:
    """Tell whether *text* can be written as UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def describe(node: Node) -> str:
    """Say what a node is in at most sixty characters."""
    if isinstance(node.value, Strange):
        return node.value.given
    if isinstance(node.value, tuple):
        return f"a list of {len(node.value)}"
    if isinstance(node.value, Mapping):
        return f"a mapping of {len(node.value)}"
    if node.raw and not isinstance(node.value, str):
        return node.raw if len(node.raw) <= 60 else f"{node.raw[:57]}..."
    return short(node.value)


def short(value: object) -> str:
    """Say what was given in at most sixty characters."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) and abs(value) >= 10**40:
        return "a huge number"
    if not isinstance(value, int | float | str):
        return f"a {type(value).__name__}"
    said = repr(value[:100]) if isinstance(value, str) else repr(value)
    return said if len(said) <= 60 else f"{said[:56]}..."
