"""Locks that a fork finds free and hands on free, whatever other threads do."""

from __future__ import annotations

import os
import threading

from collections.abc import Callable
from enum import IntEnum
from typing import Protocol, TypeVar
from weakref import WeakSet


class Held(Protocol):
    """What can be held: a lock of either kind."""

    def acquire(self) -> bool:
        """Wait for it and take it."""
        ...

    def release(self) -> None:
        """Give it back."""
        ...


class BeginsAnew(Protocol):
    """What other threads were doing for it, a child has to forget."""

    def begin_anew(self) -> None:
        """Forget it: those threads are not in this process."""
        ...


class Order(IntEnum):
    """In which order a fork takes the locks: as whoever holds one may take a later."""

    SHELF = 0
    EMBEDDER = 1
    FLIGHTS = 2
    WAITS = 3
    LEAF = 4


L = TypeVar("L", bound=Held)
A = TypeVar("A", bound=BeginsAnew)

_registry = threading.Lock()
_locks: dict[Order, WeakSet[Held]] = {order: WeakSet() for order in Order}
_anew: WeakSet[BeginsAnew] = WeakSet()
_held: list[Held] = []


def over_fork(order: Order, make: Callable[[], L]) -> L:
    """
    Return a new lock that nobody holds while the process forks.

    So a child finds whatever it guards whole, and can take it.
    """
    lock = make()
    with _registry:
        _locks[order].add(lock)
    return lock


def anew_after_fork(owner: A) -> A:
    """Have *owner* begin anew in a child."""
    with _registry:
        _anew.add(owner)
    return owner


def _hold() -> None:
    _registry.acquire()
    for order in Order:
        for lock in list(_locks[order]):
            lock.acquire()
            _held.append(lock)


def _release() -> None:
    while _held:
        _held.pop().release()
    _registry.release()


def _release_in_child() -> None:
    for owner in list(_anew):
        owner.begin_anew()
    _release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_hold, after_in_parent=_release, after_in_child=_release_in_child
    )
