"""Which values are the same answer."""

from __future__ import annotations

import math

from collections.abc import Hashable
from hashlib import blake2b

import attrs


DIGEST = 16
"""Bytes of what tells plain values from others."""


@attrs.define(eq=False)
class Group:
    """
    Entries with equal values.

    Attributes:
        key: What their values share; None for one that only equals itself.
        questions: Entries there are, without aliases.
    """

    key: Hashable | None
    questions: int = 0

    @property
    def digest(self) -> bytes:
        """The key of plain values, which is the same in every process, or none."""
        return self.key if isinstance(self.key, bytes) else b""


class _Value:
    """A value that is no plain data, as a key; it is hashed once."""

    __slots__ = ("_hash", "_value")

    def __init__(self, value: Hashable) -> None:
        self._value, self._hash = value, hash(value)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Value) and bool(self._value == other._value)


@attrs.define(eq=False)
class ValueGroups:
    """
    Which entries have equal values.

    Equal values of one type are the same answer: labels, records, results of tools.
    Two free texts are hardly ever equal, so each is a group of its own; that they are
    not equal does not say that they are not the same answer.
    """

    _groups: dict[Hashable, Group] = attrs.field(init=False, factory=dict)

    def of(self, value: object) -> Group:
        """
        Return the group of *value*, in which its entry is not counted yet.

        It needs no lock, and so *value* is hashed and compared without one.
        """
        try:
            key = _key(value)
            known = self._groups.get(key)
        except Exception:  # noqa: BLE001 - what cannot be compared equals only itself
            return Group(None)
        return Group(key) if known is None else known

    def add(self, group: Group) -> Group:
        """Count an entry in *group*, or in the one that has its key, and return that."""
        if group.key is not None:
            # Of what `of` found, nothing is compared again.
            group = self._groups.setdefault(group.key, group)
        group.questions += 1
        return group

    def remove(self, group: Group) -> None:
        """Take an entry out; a group without any is forgotten."""
        group.questions -= 1
        if not group.questions and group.key is not None:
            del self._groups[group.key]


def _key(value: object) -> Hashable:
    """
    Return what equal values share; it raises for one that only equals itself.

    Of plain data that is a digest, which says the same in another process and keeps no
    value alive; of anything else it is the value.
    """
    try:
        plain = repr(_plain(value)).encode("utf-8", "surrogatepass")
    except TypeError:
        return _Value(_hashable(value))
    return blake2b(plain, digest_size=DIGEST).digest()


def _plain(value: object) -> object:
    """Return plain data with its types, so that equal is what is written the same."""
    kind = type(value)
    if value is None or kind in {str, bytes, bool, int}:
        return kind.__name__, value
    if isinstance(value, float) and kind is float:
        if math.isnan(value):
            msg = "a number that is none equals nothing"
            raise ValueError(msg)
        return kind.__name__, value + 0.0  # there are two zeros, which are equal
    if isinstance(value, list | tuple) and kind in {list, tuple}:
        return kind.__name__, [_plain(each) for each in value]
    if isinstance(value, dict) and kind is dict:
        items = [(_plain(key), _plain(each)) for key, each in value.items()]
        return kind.__name__, sorted(items, key=repr)
    msg = f"{kind} is no plain data"
    raise TypeError(msg)


def _hashable(value: object) -> Hashable:
    if isinstance(value, list | tuple):
        return (type(value), tuple(_hashable(each) for each in value))
    if isinstance(value, dict):
        items = sorted(value.items(), key=repr)
        return (dict, tuple((key, _hashable(each)) for key, each in items))
    hash(value)
    return (type(value), value)
