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


@attrs.define(eq=False)
class ValueGroups:
    """
    Which entries have equal values.

    Equal values of one type are the same answer: labels, records, results of tools.
    Two free texts are hardly ever equal, so each is a group of its own; that they are
    not equal does not say that they are not the same answer.
    """

    _groups: dict[Hashable, Group] = attrs.field(init=False, factory=dict)

    def add(self, value: object) -> Group:
        """Return the group of *value*, whose entry is counted in it."""
        try:
            return self.join(_key(value))
        except Exception:  # noqa: BLE001 - what cannot be compared equals only itself
            return self.join(None)

    def join(self, key: Hashable | None) -> Group:
        """Return the group with that key, whose entry is counted in it."""
        group = None if key is None else self._groups.get(key)
        if group is None:
            group = Group(key)
            if key is not None:
                self._groups[key] = group
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
        return _hashable(value)
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
