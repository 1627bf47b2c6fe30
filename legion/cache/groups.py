"""Which values are the same answer."""

from __future__ import annotations

from collections.abc import Hashable

import attrs


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
            key = _key(value)
            group = self._groups.get(key)
        except (TypeError, ValueError, RecursionError):
            key = group = None
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
    """Return what equal values share; it raises for one that only equals itself."""
    if isinstance(value, list | tuple):
        return (type(value), tuple(_key(each) for each in value))
    if isinstance(value, dict):
        items = sorted(value.items(), key=repr)
        return (dict, tuple((key, _key(each)) for key, each in items))
    hash(value)
    return (type(value), value)
