"""How many bytes an answer takes."""

from __future__ import annotations

import sys

from collections.abc import Mapping
from types import ModuleType


ENTRY_BYTES = 700
"""What an entry takes beside its texts, value and vector, in CPython; about."""
SCOPE_BYTES = 1_000
"""What a scope that has entries takes beside them; about."""


def deep_size(value: object) -> int:
    """
    Return how many bytes *value* takes, with what it holds.

    Containers, attributes and slots are followed, each object once; what is shared with
    others is counted all the same. Memory that an extension type does not own up to
    (`sys.getsizeof`) is not seen.
    """
    seen: set[int] = set()
    waiting, total = [value], 0
    while waiting:
        one = waiting.pop()
        if id(one) in seen or isinstance(one, type | ModuleType):
            continue
        seen.add(id(one))
        total += sys.getsizeof(one)
        waiting += _held(one)
    return total


def _held(one: object) -> list[object]:
    if isinstance(one, str | bytes | bytearray | int | float | complex | None):
        return []
    if isinstance(one, Mapping):
        return [*one.keys(), *one.values()]
    if isinstance(one, list | tuple | set | frozenset):
        return list(one)
    names = [
        name
        for kind in type(one).__mro__
        for name in _several(kind.__dict__.get("__slots__", ()))
    ]
    held = [getattr(one, name) for name in names if hasattr(one, name)]
    return [*held, vars(one)] if hasattr(one, "__dict__") else held


def _several(slots: object) -> list[str]:
    return [slots] if isinstance(slots, str) else list(slots)  # type: ignore[call-overload]
