"""Permits: what a guarded function demands, and a count of the calls without one."""

from __future__ import annotations

import contextlib
import contextvars

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

import attrs


@attrs.define(eq=False)
class Permit:
    """
    Leave for one call of one guarded function, while one act is being executed.

    Attributes:
        issuer: Whose it is: permits of one gate are no good at another.
        action: Name of the action.
        outer: The permit of the act that this one is part of, or None.
    """

    issuer: object
    action: str
    outer: Permit | None = None
    _left: bool = attrs.field(init=False, default=True)
    _lock: Lock = attrs.field(init=False, factory=Lock)

    def take(self) -> bool:
        """Use it up; False if it was used up, or its act is over."""
        with self._lock:
            left, self._left = self._left, False
        return left


_current: contextvars.ContextVar[Permit | None] = contextvars.ContextVar(
    "legion_permit", default=None
)
"""The permit of the innermost act that the running code belongs to."""


@contextmanager
def permit(issuer: object, action: str) -> Iterator[None]:
    """Hold a permit inside the block; it is void once the block is left."""
    mine = Permit(issuer=issuer, action=action, outer=_current.get())
    token = _current.set(mine)
    try:
        yield
    finally:
        mine.take()
        # A coroutine that is thrown away is closed in a context that is not its own.
        with contextlib.suppress(ValueError):
            _current.reset(token)


def take(issuer: object, action: str | None) -> bool:
    """
    Use up the innermost permit that *issuer* gave.

    Args:
        issuer: Whose permit it has to be.
        action: Which action's, or None for any.
    """
    held = _current.get()
    while held is not None and held.issuer is not issuer:
        held = held.outer
    if held is None or action not in {None, held.action}:
        return False
    return held.take()


@attrs.define(eq=False)
class Tally:
    """A count that only grows, and that each who asks is told the growth of."""

    _n: int = attrs.field(init=False, default=0)
    _told: dict[str, int] = attrs.field(init=False, factory=dict)
    _lock: Lock = attrs.field(init=False, factory=Lock)

    def add(self) -> None:
        """Count one."""
        with self._lock:
            self._n += 1

    def since(self, asker: str) -> int:
        """Return how many were counted since *asker* last asked."""
        with self._lock:
            told = self._told.get(asker, 0)
            self._told[asker] = self._n
        return self._n - told
