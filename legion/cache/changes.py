"""What came of a log, beside the snapshot that it follows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import attrs
import numpy as np

from .overflow import digest_of
from .records import Gone, Put, Risen, Said
from .snapshot import Loaded


if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .sunken import Sunken


@attrs.define(eq=False)
class Changes:
    """
    What came of a log, beside the snapshot that it follows.

    Attributes:
        puts: Answers that are there, by scope and question.
        gone: Ids of entries of the snapshot that are not.
        replaced: Questions whose entries of the snapshot are not.
        risen: Ids of entries that the snapshot has on disk alone, and are in memory.
        last_id: The highest id that was given, or 0.
    """

    puts: dict[tuple[str, str], Put] = attrs.field(init=False, factory=dict)
    gone: set[int] = attrs.field(init=False, factory=set)
    replaced: set[tuple[str, str]] = attrs.field(init=False, factory=set)
    risen: set[int] = attrs.field(init=False, factory=set)
    last_id: int = attrs.field(init=False, default=0)

    def left(self, sunken: Sunken) -> NDArray[np.bool_]:
        """Return which entries that the snapshot has on disk alone are left."""
        replaced = [digest_of(*name) for name in self.replaced]
        digests = np.isin(sunken.table["digest"], np.array(replaced, np.uint64))
        gone = np.isin(sunken.table["id"], list(self.gone))
        return ~(digests | gone)

    def kept(self, loaded: Loaded) -> NDArray[np.bool_]:
        """Return which entries of the snapshot are left."""
        if not (self.gone or self.replaced):
            return np.ones(len(loaded.keys), bool)
        names = zip(loaded.scopes, loaded.keys, strict=True)
        replaced = [name in self.replaced for name in names]
        gone = np.isin(loaded.columns["id"], list(self.gone))
        return ~(np.array(replaced, bool) | gone)

    @classmethod
    def of(cls, said: Iterable[Said]) -> Changes:
        """Follow a log."""
        changes, asked = cls(), {}
        for one in said:
            if isinstance(one, Put):
                name = one.row.scope, one.row.key
                changes.puts.pop(name, None)
                changes.puts[name] = one
                changes.replaced.add(name)
                asked[one.row.id] = name
                changes.last_id = max(changes.last_id, one.row.id)
            elif isinstance(one, Gone):
                changes.gone.add(one.id)
                name = asked.get(one.id, ("", ""))
                if name in changes.puts and changes.puts[name].row.id == one.id:
                    del changes.puts[name]
            elif isinstance(one, Risen):
                name = asked.get(one.id, ("", ""))
                put = changes.puts.get(name)
                if put is None or put.row.id != one.id:
                    changes.risen.add(one.id)
                else:
                    del changes.puts[name]
                    changes.puts[name] = put._replace(alone=None)
        return changes
