"""Notices that a channel could not deliver yet."""

from __future__ import annotations

import logging
import threading

import attrs

from ..model import Notice


_log = logging.getLogger("legion")
_MOST = 100


@attrs.define(eq=False)
class Backlog:
    """
    What each channel still has to tell, oldest first.

    A notice stays until it is delivered, so one that is offered twice at the same time
    is delivered once, and a resolve never overtakes its incident.
    """

    _kept: dict[str, list[Notice]] = attrs.field(factory=dict, init=False)
    _retrying: set[str] = attrs.field(factory=set, init=False)
    _lock: threading.Lock = attrs.field(factory=threading.Lock, init=False)

    def keep(self, channel: str, notice: Notice) -> None:
        """Keep *notice* for later; beyond 100 a channel, the oldest is dropped."""
        with self._lock:
            kept = self._kept.setdefault(channel, [])
            if notice in kept:
                return
            kept.append(notice)
            dropped = kept.pop(0) if len(kept) > _MOST else None
        if dropped is not None:
            _log.warning(
                "plugin %r keeps %d notices; the oldest, %r, is dropped",
                channel,
                _MOST,
                dropped.id,
            )

    def waits(self, channel: str, notice: Notice) -> bool:
        """Tell whether an earlier notice of the same id is not delivered yet."""
        with self._lock:
            return any(kept.id == notice.id for kept in self._kept.get(channel, ()))

    def begin(self, channel: str) -> tuple[Notice, ...]:
        """Return what is to be offered again, or nothing if somebody is at it."""
        with self._lock:
            if channel in self._retrying or not self._kept.get(channel):
                return ()
            self._retrying.add(channel)
            return tuple(self._kept[channel])

    def delivered(self, channel: str, notice: Notice) -> None:
        """Strike *notice* out."""
        with self._lock:
            kept = self._kept.get(channel, [])
            if notice in kept:
                kept.remove(notice)

    def end(self, channel: str) -> None:
        """Let others offer again."""
        with self._lock:
            self._retrying.discard(channel)

    def forget(self, channels: set[str]) -> None:
        """Drop what is kept for any but *channels*."""
        with self._lock:
            for gone in self._kept.keys() - channels:
                del self._kept[gone]
