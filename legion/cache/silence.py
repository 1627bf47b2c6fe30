"""Nobody says of answers whether they were right."""

from __future__ import annotations

import logging
import threading

import attrs

from .stats import Tally


_logger = logging.getLogger("legion")

_SILENT = 20
"""So many answers wait for a word of somebody's when it is said that none comes."""
_SILENCE = (
    "cache: the coin chose %d answers, and nobody said whether one was right; they count"
    " as wrong, so hardly any more are served. Call right() or wrong() on hits whose"
    " audit is true, or write judge=: get_or_compute, cached functions and the adapters"
    " return answers and no hits"
)


@attrs.define(eq=False)
class Silence:
    """
    Nobody says of answers whether they were right; it is said once.

    Attributes:
        lock: The shelf's.
    """

    lock: threading.RLock
    _unsaid: int = attrs.field(init=False, default=0)

    def goes_on(self, tally: Tally) -> None:
        """Note one more answer that waits for a word, in a cache with this *tally*."""
        with self.lock:
            self._unsaid += 1
            silent = self._unsaid == _SILENT and not tally.judged
        if silent:
            _logger.warning(_SILENCE, _SILENT)
