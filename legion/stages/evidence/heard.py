"""When the units of an arm were heard of last."""

from __future__ import annotations

import attrs


@attrs.frozen
class Heard:
    """
    When one of an arm's units came of age last; in seconds of plan time.

    Attributes:
        at_s: When; None for never. Where units come back, when one was heard of last
            after that.
        gap_s: How long the one before had been ago then.
    """

    at_s: float | None = None
    gap_s: float = 0.0

    def again(self, at_s: float) -> Heard:
        """Return the same after a unit that came at *at_s*."""
        return Heard(at_s, 0.0 if self.at_s is None else at_s - self.at_s)

    def plus(self, later: Heard) -> Heard:
        """Return both together."""
        return self if later.at_s is None else self.again(later.at_s)

    def is_old(self, at_s: float, stale_s: float) -> bool:
        """
        Tell whether the next unit is long overdue at *at_s*.

        After *stale_s*, or three times as long as the last one took where units come
        seldom.
        """
        patience_s = max(stale_s, 3 * self.gap_s)
        return self.at_s is not None and at_s - self.at_s > patience_s
