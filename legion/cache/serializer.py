"""Answers into bytes and back."""

from __future__ import annotations

import json
import pickle

from reprlib import repr as brief
from typing import Any, Literal, Protocol, TypeAlias

import attrs


class Serializer(Protocol):
    """
    Turns answers into bytes, the same for the same answer, and back.

    One with a ``name`` is told from others by it, else by the name of its class.
    """

    def dumps(self, value: Any, /) -> bytes:
        """Return the bytes of *value*."""
        ...

    def loads(self, data: bytes, /) -> Any:
        """Return the value that `dumps` turned into *data*."""
        ...


_ATOMS = frozenset({str, int, float, bool, type(None)})
_MOST_BYTES = 2**32 - 1

Serialization: TypeAlias = Serializer | Literal["json", "pickle"]


@attrs.frozen
class JSONValues:
    """JSON, and texts and bytes as they are; nothing that would come back different."""

    name: str = "json"

    def dumps(self, value: object, /) -> bytes:
        """
        Return the bytes of *value*.

        Raises:
            TypeError: It would not come back as it is: JSON has no word for it, or
                would make a list of a tuple, a text of a number that is a key, or a
                plain number, text or dictionary of one of another class.
        """
        if type(value) is str:
            return b"s" + value.encode("utf-8", "surrogatepass")
        if type(value) is bytes:
            return b"b" + value
        try:
            text = json.dumps(
                value, allow_nan=False, ensure_ascii=False, separators=(",", ":")
            )
            plain = _is_plain(value)
        except (TypeError, ValueError, RecursionError):
            plain = False
        if not plain:
            msg = (
                f"cache: got the answer {brief(value)}, which JSON cannot give back as "
                f"it is; store text, bytes, or lists and dictionaries of such with keys "
                f"of text, or give SemanticCache a serializer"
            )
            raise TypeError(msg)
        return b"j" + text.encode("utf-8", "surrogatepass")

    def loads(self, data: bytes, /) -> object:
        """Return the value that `dumps` turned into *data*."""
        kind, rest = data[:1], data[1:]
        if kind == b"s":
            return rest.decode("utf-8", "surrogatepass")
        return (
            rest if kind == b"b" else json.loads(rest.decode("utf-8", "surrogatepass"))
        )


def _is_plain(value: object) -> bool:
    """Say whether *value* is of the very types that JSON is read into."""
    if type(value) is dict:
        return all(type(key) is str and _is_plain(value[key]) for key in value)
    if type(value) is list:
        return all(map(_is_plain, value))
    return type(value) in _ATOMS


@attrs.frozen
class PickledValues:
    """
    Whatever can be pickled.

    Who can write the file can run code in the process that reads it.
    """

    name: str = "pickle"

    def dumps(self, value: object, /) -> bytes:
        """Return the bytes of *value*."""
        return pickle.dumps(value)

    def loads(self, data: bytes, /) -> object:
        """Return the value that `dumps` turned into *data*."""
        return pickle.loads(data)  # noqa: S301 - only where somebody asked for it


def serializer_of(given: Serialization) -> Serializer:
    """
    Return the serializer that is meant.

    Raises:
        TypeError: *given* is no serializer.
    """
    if given == "json":
        return JSONValues()
    if given == "pickle":
        return PickledValues()
    if not all(callable(getattr(given, each, None)) for each in ("dumps", "loads")):
        msg = (
            f"cache: got serializer={brief(given)}; write 'json', 'pickle', or an "
            f"object with dumps(value) -> bytes and loads(bytes)"
        )
        raise TypeError(msg)
    return given


def dumped(serializer: Serializer, value: object) -> bytes:
    """
    Return the bytes of *value*.

    Raises:
        TypeError: The serializer has none for it, or returned something else.
    """
    raw: object = serializer.dumps(value)
    if not isinstance(raw, bytes) or len(raw) > _MOST_BYTES:
        msg = (
            f"serializer: got {brief(raw)} for {brief(value)}; return bytes, "
            f"{_MOST_BYTES} at most"
        )
        raise TypeError(msg)
    return raw


def name_of(serializer: Serializer) -> str:
    """Return what tells a serializer from others."""
    return str(getattr(serializer, "name", type(serializer).__qualname__))


def plain_size(serializer: Serializer, data: bytes) -> int:
    """Return how long an answer is in plain JSON; what has no text there, in base 64."""
    if isinstance(serializer, JSONValues):
        if data[:1] == b"j":
            return len(data) - 1
        if data[:1] == b"s":
            text = json.dumps(serializer.loads(data), ensure_ascii=False)
            return len(text.encode("utf-8", "surrogatepass"))
        data = data[1:]
    return len('""') + 4 * -(-len(data) // 3)
