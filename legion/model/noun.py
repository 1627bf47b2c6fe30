"""What every noun can do: be written as JSON, and be named by it."""

from __future__ import annotations

import enum
import functools

from collections.abc import Iterable, Mapping
from typing import cast

import attrs

from .. import canonical
from ..canonical import JSON
from ..stats import LogHistogram
from .window import Window


class Noun:
    """What all nouns can do: be written as JSON, and be named by it."""

    def to_json(self) -> dict[str, JSON]:
        """Return the fields as JSON values; scales become lower-case words."""
        return as_json(self)

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON together with the noun's name."""
        return canonical.digest({"noun": type(self).__name__, **self.to_json()})


def as_json(noun: object) -> dict[str, JSON]:
    """Return the fields of an attrs object as JSON values."""
    return {name: _value(getattr(noun, name)) for name in _fields(type(noun))}  # type: ignore[arg-type]


@functools.cache
def _fields(kind: type) -> tuple[str, ...]:
    return tuple(field.name for field in attrs.fields(kind))


_ATOMS = frozenset({str, int, float, bool, type(None)})


def _value(value: object) -> JSON:
    if type(value) in _ATOMS:  # Most are, and this is where the time goes.
        return cast("JSON", value)
    if isinstance(value, int | float | str):
        return value.name.lower() if isinstance(value, enum.IntEnum) else value
    if isinstance(value, Window | LogHistogram):
        return value.to_json()
    if attrs.has(type(value)):
        return as_json(value)
    if isinstance(value, Mapping):
        return {str(key): _value(item) for key, item in value.items()}
    if isinstance(value, Iterable):
        return [_value(item) for item in value]
    msg = f"cannot write {type(value).__name__} as JSON; write a number, a string, ..."
    raise TypeError(msg)
