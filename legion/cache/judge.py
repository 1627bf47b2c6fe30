"""Who says whether an answer was right."""

from __future__ import annotations

import asyncio
import inspect
import logging

from collections.abc import Awaitable, Callable, Coroutine
from reprlib import repr as brief
from typing import Generic, TypeAlias

import attrs

from .given import is_async
from .hit import V


logger = logging.getLogger("legion")

Judging: TypeAlias = "Callable[[str, V], bool | Awaitable[bool]]"
"""From a question and the value that was found for it to whether that is right."""

MOST = 1_000
"""So many answers wait at most for a judge that is slower than they are served."""


@attrs.define(eq=False)
class Judge(Generic[V]):
    """
    A judge whose failures are no judgement, and cost nobody an answer.

    Attributes:
        judging: The host's function, plain or async.
        is_async: Whether only a loop can ask it.
    """

    judging: Judging[V]
    is_async: bool = attrs.field(init=False)
    _tasks: set[asyncio.Task[None]] = attrs.field(init=False, factory=set)
    _behind: bool = attrs.field(init=False, default=False)

    def __attrs_post_init__(self) -> None:
        self.is_async = is_async(self.judging)

    def refuse_async(self, method: str) -> None:
        """
        Raise if only a loop can ask it.

        Raises:
            TypeError: It is async.
        """
        if self.is_async:
            msg = (
                f"{method}: the cache's judge is async, and there is no loop to ask it"
                f" on; write await a{method.removesuffix('_many')}(...), or give the"
                " cache a plain judge"
            )
            raise TypeError(msg)

    def ask(self, question: str, value: V) -> bool | None:
        """Return whether *value* is right, or None, logged, where it failed."""
        try:
            return _boolean(self.judging(question, value))
        except Exception:
            logger.warning(_FAILED, brief(question), exc_info=True)
            return None

    async def aask(self, question: str, value: V) -> bool | None:
        """Do as `ask` does; a plain judge runs in a thread."""
        try:
            if not self.is_async:
                return await asyncio.to_thread(self.ask, question, value)
            found = self.judging(question, value)
            return _boolean(await found if inspect.isawaitable(found) else found)
        except Exception:
            logger.warning(_FAILED, brief(question), exc_info=True)
            return None

    def later(self, judging: Coroutine[None, None, None]) -> None:
        """
        Run *judging* on the running loop, behind the answer's back.

        Where the judge is `MOST` answers behind, it is not asked; what nobody judged
        counts as wrong.
        """
        if len(self._tasks) >= MOST:
            judging.close()
            if not self._behind:
                logger.warning(_MANY, MOST)
            self._behind = True
            return
        self._behind = False
        task = asyncio.get_running_loop().create_task(judging)
        # A loop holds its tasks weakly.
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


_MANY = (
    "the cache's judge is %d answers behind; until it has caught up, what is served is"
    " not judged, and counts as wrong"
)
_FAILED = "the cache's judge failed on %s; the answer counts as wrong"


def _boolean(found: object) -> bool:
    """
    Return *found*, if it is a truth value of Python's or numpy's.

    Raises:
        TypeError: It is something else, which might be true by accident.
    """
    if inspect.iscoroutine(found):
        found.close()
    if type(found).__module__ == "numpy" and type(found).__name__ in {"bool", "bool_"}:
        return bool(found)
    if not isinstance(found, bool):
        msg = f"judge: got {brief(found)}; return True or False"
        raise TypeError(msg)
    return found
