"""A place in the source: reads one value, and notes every fault instead of raising."""

from __future__ import annotations

import difflib
import math

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import TypeVar

import attrs

from ...canonical import JSON
from ...exceptions import Fault
from . import units
from .source import Node, Strange, describe, encodable


_T = TypeVar("_T")


@attrs.frozen
class Place:
    """
    A value with the path to it.

    Every reader returns None where the value does not fit, having noted the fault; a
    plan is made only when there was none.

    Attributes:
        node: The value.
        key: Path to it, such as ``stages[1].traffic``.
        faults: Where faults are noted.
    """

    node: Node
    key: str
    faults: list[Fault] = attrs.field(repr=False)

    def fault(self, write: str, *, given: str | None = None) -> None:
        """Note that something else must be written here."""
        value = self.node.value
        if isinstance(value, Strange) and write != value.write:
            write = f"{write}: {value.write}"
        self.faults.append(
            Fault(
                key=self.key or "plan",
                given=describe(self.node) if given is None else given,
                write=write,
                line=self.node.line,
            )
        )

    @property
    def empty(self) -> bool:
        """Whether nothing is written here."""
        return self.node.value is None

    def entries(
        self,
        known: Collection[str] | None = None,
        *,
        required: Mapping[str, str] | None = None,
        write: str = "a mapping",
    ) -> dict[str, Place]:
        """
        Read a mapping.

        Args:
            known: The keys there are; any other is a fault. None takes all.
            required: Keys that must be there, and what to write in them.
            write: What the mapping holds, for the fault where it is none.

        Returns:
            The known entries; empty where the value is no mapping.
        """
        value = self.node.value
        if not isinstance(value, Mapping):
            self.fault(write)
            return {}
        found: dict[str, Place] = {}
        for name, node in value.items():
            place = self._at(f".{name}" if self.key else name, node)
            if known is None or name in known:
                found[name] = place
            else:
                place.fault(_nearest(name, known), given=f"the unknown key {name!r}")
        for name, wanted in (required or {}).items():
            if name not in found:
                self.at(name).fault(wanted, given="nothing")
            elif found[name].empty:
                found.pop(name).fault(wanted)
        return found

    def at(self, name: str) -> Place:
        """Return the place of a key that is missing here."""
        return self._at(f".{name}" if self.key else name, self.node)

    def _at(self, step: str, node: Node) -> Place:
        return Place(node, f"{self.key}{step}", self.faults)

    def items(self, write: str) -> Iterator[Place]:
        """Read a list; nothing where the value is none."""
        value = self.node.value
        if not isinstance(value, tuple):
            self.fault(write)
            return
        for index, node in enumerate(value):
            yield self._at(f"[{index}]", node)

    def read(self, reader: Callable[[object], _T]) -> _T | None:
        """Read a quantity with one of the readers of `units`."""
        value = self.node.value
        if isinstance(value, Strange | tuple | Mapping):
            value = None
        try:
            return reader(value)
        except units.UnfitError as error:
            self.fault(str(error))
            return None

    def text(self, write: str) -> str | None:
        """Read a name: one line of at most a hundred characters."""
        value = self.node.value
        if isinstance(value, str) and 0 < len(value) <= units.LONGEST_TEXT:
            if value.isprintable() and value == value.strip():
                return value
            self.fault(f"{write}, on one line and without spaces around it")
            return None
        if isinstance(value, str) and value:
            self.fault(f"{write}, in at most {units.LONGEST_TEXT} characters")
            return None
        if isinstance(value, int | float) and not isinstance(value, bool):
            self.fault(f'{write}, in quotes: "{describe(self.node)}"')
            return None
        self.fault(write)
        return None

    def choice(self, choices: Collection[str]) -> str | None:
        """Read one of several words."""
        value = self.node.value
        if isinstance(value, str) and value in choices:
            return value
        self.fault(one_of(choices))
        return None

    def flag(self) -> bool | None:
        """Read true or false."""
        value = self.node.value
        if isinstance(value, bool):
            return value
        self.fault("true or false")
        return None

    def json(self) -> JSON:
        """Read any value that JSON can say."""
        value = self.node.value
        if isinstance(value, Strange):
            self.fault(value.write)
            return None
        if isinstance(value, tuple):
            return [place.json() for place in self.items("a list")]
        if isinstance(value, Mapping):
            return {name: place.json() for name, place in self.entries().items()}
        if isinstance(value, float) and not math.isfinite(value):
            self.fault("a number that is finite")
        elif isinstance(value, int) and abs(value) > units.LARGEST:
            self.fault("a number below 2**53, or text")
        return value


def read_or(
    entries: Mapping[str, Place],
    key: str,
    reader: Callable[[Place], _T | None],
    default: _T,
) -> _T:
    """Read the entry *key*, or return *default* where there is none or it is faulty."""
    found = reader(entries[key]) if key in entries else None
    return default if found is None else found


def sayable(name: str) -> bool:
    """Tell whether *name* can stand as a name in a plan."""
    return (
        0 < len(name) <= units.LONGEST_TEXT
        and name.isprintable()
        and name == name.strip()
        and encodable(name)
    )


def _nearest(name: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(name[: units.LONGEST_TEXT], known, n=1)
    return near[0] if near else one_of(known)


def one_of(words: Collection[str]) -> str:
    """Say ``a, b or c``."""
    *most, last = words
    return f"{', '.join(most)} or {last}" if most else last
