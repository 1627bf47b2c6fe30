"""How long to wait before something is tried again that failed."""

from __future__ import annotations

import attrs

from ..model import Clock


FIRST_S = 1.0
MOST_S = 60.0


@attrs.define(eq=False)
class Backoff:
    """
    How long to wait before something is tried again that failed.

    A second, then twice as long each time, up to a minute.

    Attributes:
        clock: Its machine time tells when that is over.
    """

    clock: Clock
    _waits_s: float = attrs.field(init=False, default=0.0)
    _until_s: float = attrs.field(init=False, default=float("-inf"))

    def over(self) -> bool:
        """Whether it may be tried."""
        return self.clock.machine() >= self._until_s

    def failed(self) -> None:
        """Note that it was tried, and failed."""
        self._waits_s = min(max(2 * self._waits_s, FIRST_S), MOST_S)
        self._until_s = self.clock.machine() + self._waits_s

    def worked(self) -> None:
        """Note that it was tried, and worked."""
        self._waits_s, self._until_s = 0.0, float("-inf")
