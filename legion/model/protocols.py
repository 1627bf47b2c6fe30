"""What organs need of each other, as protocols; they receive it by constructor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from ..canonical import JSON
from .acted import Record


class Clock(Protocol):
    """
    Two clocks in one.

    Plan time may run faster than the world: dwell, check intervals and calendars are
    read on it. Machine time never does: latency, locks and deadlines are.
    """

    def plan(self) -> float:
        """Return plan time, in seconds since the epoch."""
        ...

    def machine(self) -> float:
        """Return machine time, in seconds from an arbitrary instant, never back."""
        ...

    def wall(self) -> float:
        """Return the date, in seconds since the epoch, never scaled."""
        ...


class Log(Protocol):
    """Where records go; `legion.Journal` is the built-in one."""

    def append(
        self,
        body: object,
        *,
        kind: str | None = None,
        refs: Sequence[str] = (),
        durable: bool = True,
    ) -> Record:
        """Record a noun or a mapping; on return it survives what *durable* promises."""
        ...


class Snapshots(Protocol):
    """Content-addressed versions and refs to them; built in is `legion.Registry`."""

    def resolve(self, name: str) -> str:
        """Return the digest that the ref, version or digest *name* stands for."""
        ...

    def restore(self, name: str) -> str:
        """Verify the snapshot *name*, make it live, and return its digest."""
        ...

    def active(self) -> str:
        """Return the digest that is live, or "" before the first activation."""
        ...

    def verify(self, name: str | None = None) -> Mapping[str, JSON]:
        """Hash what is stored again and return what does not fit, by path."""
        ...
