"""On whose behalf code runs, and whether that is a mirrored run."""

from __future__ import annotations

import contextvars
import logging

from collections.abc import Callable, Iterator
from typing import Protocol

import attrs

from ..exceptions import ContainmentError, NoStandIn
from .calls import Call, Calls


logger = logging.getLogger("legion")


@attrs.define(eq=False)
class Fence:
    """
    What stands between a mirrored run and everything that has effects.

    Args:
        recorded: Control's calls, of this very trial.
        count: Counts a violation.

    Attributes:
        departed: Why the run could not go on, once it asked for what control did not.
    """

    recorded: Calls
    count: Callable[[], None]
    departed: NoStandIn | None = attrs.field(init=False, default=None)

    def answer(self, call: Call | None, tool: str) -> object:
        """
        Return, or raise, what control's same call was answered.

        Raises:
            NoStandIn: Control made no such call, or its answer could not be kept.
        """
        found = None if call is None else self.recorded.answer(call)
        if found is None:
            self.departed = NoStandIn(tool)
            raise self.departed
        return found.give()

    def violation(self, what: str) -> ContainmentError:
        """Count that the run reached for *what*, and return the error that says so."""
        self.count()
        logger.warning("%s: a mirrored run reached for the real effect", what)
        return ContainmentError(what)


class Run(Protocol):
    """What tools and the gate need of a trial."""

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        ...

    @property
    def outer(self) -> Run | None:
        """The run in which this one began."""
        ...

    @property
    def calls(self) -> Calls:
        """The calls of marked tools that it made."""
        ...

    @property
    def fence(self) -> Fence | None:
        """The fence around it, where it is a mirrored run."""
        ...


current_run: contextvars.ContextVar[Run | None] = contextvars.ContextVar(
    "legion_run", default=None
)
"""The innermost run on whose behalf code runs, or None outside of any."""


def runs() -> Iterator[Run]:
    """Yield the runs on whose behalf code runs, the innermost first."""
    run = under_way(current_run.get())
    while run is not None:
        yield run
        run = run.outer


def under_way(run: Run | None) -> Run | None:
    """
    Return *run*, or the next one around it that counts.

    A generator leaves its run behind as the current one of whoever reads it, and may do
    so for ever: once over, it is nobody's. A mirrored run's fence stands for good, since
    tasks that it began may outlive it.
    """
    while run is not None and run.over and run.fence is None:
        run = run.outer
    return run


def fence() -> Fence | None:
    """Return the fence of the innermost mirrored run that code runs in, or None."""
    return next((run.fence for run in runs() if run.fence is not None), None)
