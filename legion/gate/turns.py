"""One thread at a time under one key."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock, RLock

import attrs


@attrs.define(eq=False)
class _Place:
    """A lock, and how many hold it or wait for it."""

    lock: RLock = attrs.field(factory=RLock)
    wanted: int = 0


@attrs.define(eq=False)
class Turns:
    """Locks by key; one that nobody wants any more is forgotten."""

    _places: dict[str, _Place] = attrs.field(init=False, factory=dict)
    _lock: Lock = attrs.field(init=False, factory=Lock)

    @contextmanager
    def of(self, key: str | None) -> Iterator[None]:
        """Wait for one's turn under *key*; without a key there is no waiting."""
        if key is None:
            yield
            return
        with self._lock:
            place = self._places.setdefault(key, _Place())
            place.wanted += 1
        try:
            with place.lock:
                yield
        finally:
            with self._lock:
                place.wanted -= 1
                if not place.wanted:
                    del self._places[key]
