"""When a snapshot is taken: when somebody says so, or because the file needs one."""

from __future__ import annotations

import logging
import threading

from typing import TYPE_CHECKING, Generic

import attrs

from ..exceptions import StateError
from .backoff import Backoff
from .hit import V


if TYPE_CHECKING:
    from collections.abc import Callable

    from .disk import Disk


_logger = logging.getLogger("legion")


def _nothing() -> None:
    """Stand in for a snapshot before there is a shelf."""


@attrs.define(eq=False)
class Saver(Generic[V]):
    """
    When a snapshot is taken, and what follows where it cannot be.

    Attributes:
        disk: Of what.
        take: How to take one; `keeping.keep` says.
    """

    disk: Disk[V]
    take: Callable[[], None] = attrs.field(init=False, default=_nothing)
    _backoff: Backoff = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._backoff = Backoff(self.disk.clock)

    def save(self) -> None:
        """
        Take a snapshot, and wait for it.

        Raises:
            StateError: It cannot be written; the file is as it was, and what changes
                goes to its log.
        """
        self.disk.refuse_closed()
        if not self.disk.writes:
            msg = "is written by another process; save it there"
            raise StateError(str(self.disk.path), msg)
        with self.disk.turn:
            if self.disk.journal.saving:
                msg = (
                    "is being saved, and what is saved says save() again; leave it out"
                )
                raise StateError(str(self.disk.path), msg)
            failed = self._snapshot()
        if self.disk.journal.failure is not None:
            raise self.disk.journal.unwritten(self.disk.journal.failure) from failed
        if failed is not None:
            msg = f"could not be saved ({failed}); nothing is lost: its log has it all"
            raise StateError(str(self.disk.path), msg) from failed

    def try_saving(self) -> None:
        """Take a snapshot; why there is none is logged."""
        with self.disk.turn:
            self._snapshot()

    def save_aside(self) -> None:
        """Take a snapshot in a thread, if one is due by then."""

        def work() -> None:
            with self.disk.turn:
                if self.due():
                    self._snapshot()

        threading.Thread(target=work, name="legion-cache-snapshot", daemon=True).start()

    def due(self) -> bool:
        """Whether a snapshot is to be taken, and none failed just now."""
        log = self.disk._log
        if log is None or not (self.disk.behind or log.too_long()):
            return False
        return self._backoff.over()

    def _snapshot(self) -> Exception | None:
        """Take a snapshot, and return why there is none."""
        try:
            self.take()
        except Exception as error:
            self._backoff.failed()
            _logger.warning("%s: no snapshot: %s", self.disk.path, error, exc_info=True)
            return error
        self._backoff.worked()
        if not self.disk.closed:  # as when nobody else had the cache any more
            self.disk.journal.sync(must=True)
        return None
