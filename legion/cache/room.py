"""How much may be stored, in a cache or in one of its scopes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from .entry import Entry
from .eviction import Order
from .size import SCOPE_BYTES


@attrs.define(eq=False)
class Room:
    """
    How much may be stored, what is, and who makes room.

    Attributes:
        order: The order in which entries go.
        capacity: Entries there may be, or None for any number.
        capacity_bytes: Bytes they may take, or None for any number.
        entries: Entries there are.
        bytes: Bytes they take, where they are counted.
        scopes: Scopes that they lie in.
    """

    order: Order
    capacity: int | None = None
    capacity_bytes: int | None = None
    entries: int = attrs.field(init=False, default=0)
    bytes: int = attrs.field(init=False, default=0)
    scopes: int = attrs.field(init=False, default=0)

    def add(self, entry: Entry[Any]) -> None:
        """Take *entry* in."""
        self.order.add(entry)
        self.entries += 1
        self.bytes += entry.size

    def fill(self, entries: Sequence[Entry[Any]]) -> None:
        """Take many *entries* in at once."""
        add = self.order.add
        for entry in entries:
            add(entry)
        self.entries += len(entries)
        self.bytes += sum(entry.size for entry in entries)

    def remove(self, entry: Entry[Any]) -> None:
        """Take *entry* out, which is in."""
        self.order.discard(entry)
        self.entries -= 1
        self.bytes -= entry.size

    def never(self, size: int) -> bool:
        """Whether an entry of *size* would not fit if it were alone, in its scope."""
        limit = self.capacity_bytes
        return limit is not None and size + SCOPE_BYTES > limit

    def lacks(self, *, entries: int, size: int) -> bool:
        """Whether somebody must go before so many more entries of *size* fit in."""
        if self.capacity is not None and self.entries + entries > self.capacity:
            return True
        limit = self.capacity_bytes
        return limit is not None and self.taken + size > limit

    @property
    def taken(self) -> int:
        """Bytes that entries and scopes take, or 0 where nobody counts them."""
        return self.bytes and self.bytes + self.scopes * SCOPE_BYTES
