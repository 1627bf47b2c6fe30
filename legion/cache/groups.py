"""Which values are the same answer."""

from __future__ import annotations

from collections.abc import Hashable

import attrs


@attrs.define(eq=False)
class Group:
    """
    Entries with equal values.

    Attributes:
        number: Never given twice.
        questions: Entries there are, without aliases.
    """

    number: int
    questions: int = 0


@attrs.define(eq=False)
class ValueGroups:
    """
    Numbers for values, such that equal ones share theirs.

    Equal values of one type are the same answer: labels, records, results of tools.
    Two free texts are hardly ever equal, so each is a group of its own; that they are
    not equal does not say that they are not the same answer.
    """

    _groups: dict[Hashable, Group] = attrs.field(init=False, factory=dict)
    _last: int = attrs.field(init=False, default=0)

    def add(self, value: object) -> Group:
        """Return the group of *value*, whose entry is counted in it."""
        key = _key(value)
        group = None if key is None else self._groups.get(key)
        if group is None:
            self._last += 1
            group = Group(self._last)
            if key is not None:
                self._groups[key] = group
        group.questions += 1
        return group

    def remove(self, value: object, group: Group) -> None:
        """Take an entry out; a group without any is forgotten."""
        group.questions -= 1
        if not group.questions:
            key = _key(value)
            if key is not None and self._groups.get(key) is group:
                del self._groups[key]


def _key(value: object) -> Hashable | None:
    """Return what equal values share; None for one that only equals itself."""
    if isinstance(value, list | tuple):
        parts = tuple(_key(each) for each in value)
        return None if None in parts else (type(value), parts)
    if isinstance(value, dict):
        items = sorted(value.items(), key=repr)
        values = tuple(_key(each) for _, each in items)
        return None if None in values else (dict, tuple(k for k, _ in items), values)
    try:
        hash(value)
    except TypeError:
        return None
    return (type(value), value)
