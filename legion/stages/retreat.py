"""Going back: the steps of a rollback, each timed, each verified by digest."""

from __future__ import annotations

import logging

from collections.abc import Callable, Sequence

import attrs

from ..exceptions import SnapshotError
from ..model import Clock, Snapshots, Step


logger = logging.getLogger("legion")


@attrs.define(eq=False)
class Procedure:
    """
    Runs steps one after the other, whatever becomes of each.

    A step that raises is written down and logged, and the next one runs all the same:
    half a retreat is better than none.

    Attributes:
        steps: What was done so far.
    """

    clock: Clock
    steps: list[Step] = attrs.field(factory=list)
    _began_s: float = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._began_s = self.clock.machine()

    @property
    def took_s(self) -> float:
        """Machine time since the procedure began, in seconds."""
        return self.clock.machine() - self._began_s

    @property
    def ok(self) -> bool:
        """Whether every step did what it had to."""
        return all(step.ok for step in self.steps)

    def step(self, name: str, act: Callable[[], str]) -> None:
        """Run *act*, which returns what it found or raises."""
        began_s = self.clock.machine()
        try:
            detail, ok = act(), True
        except Exception as error:
            logger.warning("rollback step %s failed", name, exc_info=True)
            detail, ok = f"{type(error).__name__}: {error}", False
        took_s = self.clock.machine() - began_s
        self.steps.append(Step(name=name, ok=ok, took_s=took_s, detail=detail))


def restore(registry: Snapshots, name: str) -> str:
    """
    Restore the snapshot *name* and read back that it is the live one.

    Raises:
        SnapshotError: It is missing or damaged, or another digest is live afterwards.
    """
    wanted = registry.resolve(name)
    registry.restore(name)
    live = registry.active()
    if live != wanted:
        msg = f"restored {name} as {wanted[:12]}, and {live[:12] or 'nothing'} is live"
        raise SnapshotError(msg)
    return f"{name} is live as {live[:12]}"


def verified(pairs: Sequence[tuple[str, str, str]]) -> str:
    """
    Compare digests, each as (what, wanted, live).

    Raises:
        ValueError: One of them differs.
    """
    for what, wanted, live in pairs:
        if wanted != live:
            msg = f"{what} is {live[:12] or 'nothing'}, not {wanted[:12]}"
            raise ValueError(msg)
    return ", ".join(f"{what} is {live[:12]}" for what, _, live in pairs)
