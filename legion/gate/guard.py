"""Functions that only run with a permit of the gate."""

from __future__ import annotations

import functools
import inspect
import logging

from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

import attrs

from ..exceptions import GateError
from ..tools import fence
from . import given
from .notes import Notes
from .permits import Tally, take


logger = logging.getLogger("legion")

P = ParamSpec("P")
T = TypeVar("T")


@attrs.define(eq=False)
class Guard:
    """
    Stands before functions, and counts who went around.

    Attributes:
        notes: Where a bypass is recorded.
        lenient: Whether a call without a permit runs all the same.
        bypasses: How many calls had no permit.
    """

    notes: Notes
    lenient: bool = attrs.field(kw_only=True)
    bypasses: Tally = attrs.field(init=False, factory=Tally)

    def around(self, fn: Callable[P, T], action: str | None) -> Callable[P, T]:
        """Return *fn* behind the guard; *action* is the only one that may call it."""
        given.function(fn)
        if inspect.iscoroutinefunction(fn):

            @functools.wraps(fn)
            async def later(*args: P.args, **kwargs: P.kwargs) -> object:
                self._demand(fn, action)
                return await fn(*args, **kwargs)

            return cast("Callable[P, T]", later)

        @functools.wraps(fn)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
            self._demand(fn, action)
            return fn(*args, **kwargs)

        return guarded

    def _demand(self, fn: Callable[..., object], action: str | None) -> None:
        name = getattr(fn, "__qualname__", repr(fn))
        # First of all: a mirrored run may have begun inside of an act, with its permit.
        if (around := fence()) is not None:
            raise around.violation(name)
        if take(self, action):
            return
        self.bypasses.add()
        logger.warning("%s was called around the gate", name)
        try:
            self.notes.write({"called": name}, kind="bypass", durable=False)
        except Exception:
            logger.warning("the bypass cannot be written down", exc_info=True)
        if not self.lenient:
            whose = "" if action is None else f" of {action!r}"
            msg = (
                f"{name} is guarded and this call has no permit{whose};"
                f" write gate.execute(action, {name}, ...), once for each call"
            )
            raise GateError(msg)
