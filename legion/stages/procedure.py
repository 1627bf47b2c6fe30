"""A procedure: steps, each timed, each written down whatever becomes of it."""

from __future__ import annotations

import logging

from collections.abc import Callable

import attrs

from ..model import Clock, Step


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

    @property
    def failures(self) -> str:
        """What went wrong, step by step, or ""."""
        failed = [step for step in self.steps if not step.ok]
        return "; ".join(f"{step.name}: {step.detail}" for step in failed)

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
