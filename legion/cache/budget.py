"""The wrong answers that may still be served."""

from __future__ import annotations

import math

from collections.abc import Callable, Mapping

import attrs

from ..canonical import JSON
from ..stats.audit import overlooked_limit


CONFIDENCE = 0.99
"""With which probability the promise holds, at every moment of a cache's life."""
_SPENT = ("served", "found", "charged", "told", "least", "closed")


def _always() -> bool:
    """Stand in for a file that remembers what is charged."""
    return True


@attrs.define(eq=False, kw_only=True)
class ErrorBudget:
    """
    Keeps the wrong answers within a share of the requests, at every moment.

    Each time that an answer may be served, a coin of its own decides whether it is
    judged, whatever the accept rule thought of it. Of W wrong answers that were served,
    U escaped the coin and S did not. U is at most ``overlooked_limit(A)`` at all times
    at once with probability `CONFIDENCE`, where A are the wrong ones that the coin
    found. So W <= min(H, U + S), where H are those served and not judged to be right.

    One more is permitted only while min(H + 1, limit(A) + S + 1) <= max_error n, the
    n-th request being this one. That keeps the promise: if the new one is wrong and the
    coin finds it, S grows by the 1 (and U not at all); if it is wrong and escapes, A is
    what it was, and the limit holds for the U after it as well. The limit does not care
    how answers are chosen, so neither drift nor a bad embedder nor an adversary matters
    who sees every coin that was thrown; what it needs is that the judge is right.

    Where all are judged nothing escapes, and only S counts. Where none is, the limit is
    infinite, and H alone is left: at most max_error of the requests are served.

    The share may change during a life. The limit for a smaller share holds for a larger
    one as well, so it is that of the least share with which a coin was ever thrown. What
    is served where none is thrown cannot escape it: it is charged as if it were wrong.

    What is not answered yet counts as found and served, as does what the judge failed
    at: both grow the limit. Wrong answers that somebody tells of without being asked
    are a lower bound of U, and can do nothing but refuse more. An answer that was
    judged before anybody got it and found wrong is in A, for it tells of those that
    escaped, but not in S or H. It has no lock: that of the `Shelf` guards it.

    Attributes:
        max_error: Wrong answers per request, above 0 and below 1.
        judged: Probability that the coin has one judged, 0..1.
        served: H: without those that were judged and found right.
        found: A: by the coin, and not known to be right.
        charged: S: those of them that were served, or may have been.
        told: Wrong ones that the coin left out, as somebody told.
        least: The least share with which a coin was ever thrown.
        closed: Whether it is not known any more what was spent.
        kept: Whether what is charged now will be remembered by who comes after.
    """

    max_error: float
    judged: float
    served: int = attrs.field(init=False, default=0)
    found: int = attrs.field(init=False, default=0)
    charged: int = attrs.field(init=False, default=0)
    told: int = attrs.field(init=False, default=0)
    least: float = attrs.field(init=False, default=1.0)
    closed: bool = attrs.field(init=False, default=False)
    kept: Callable[[], bool] = attrs.field(init=False, default=_always)

    def permits(self, request: int) -> bool:
        """Say whether one more may be served, in the request of that number, from 1."""
        return (
            self.wrong_limit(more=1) <= self.max_error * request
            and not self.closed
            and self.kept()
        )

    def slack(self, request: int) -> float:
        """Return how many wrong answers would still fit at that request."""
        return self.max_error * request - self.wrong_limit()

    def wrong_limit(self, *, more: int = 0) -> float:
        """Return how many were wrong at most, if *more* are served."""
        escaped = max(self.escaped_limit(), self.told)
        return min(self.served + more, escaped + self.charged + more)

    def escaped_limit(self, *, more: int = 0) -> float:
        """Return how many wrong ones escaped at most, if the coin found *more*."""
        share = min(self.least, self.judged or 1.0)
        return overlooked_limit(self.found + more, share=share, alpha=1 - CONFIDENCE)

    def price(self, *, judged_first: bool) -> float:
        """
        Return by how much one wrong answer more will grow the limit, on average.

        Args:
            judged_first: Whether what the coin takes is judged before it is served.
        """
        if self.judged == 0:
            return math.inf
        jump = (self.escaped_limit(more=4) - self.escaped_limit()) / 4
        return self.judged * (jump + (not judged_first))

    def serve(self, *, audited: bool) -> None:
        """Count one more; an audited one as wrong until it is answered."""
        self.served += 1
        self.found += audited
        self.charged += audited or not self.judged
        self.least = min(self.least, self.judged or 1.0)

    def withhold(self) -> None:
        """Take an audited one, found wrong, out of those that were served."""
        self.served -= 1
        self.charged -= 1

    def clear(self) -> None:
        """Take an audited one, found right, out of those that are not."""
        self.served -= 1
        self.found -= 1
        self.charged -= 1

    def blame(self, *, audited: bool) -> None:
        """Count as wrong what was served and taken for right, or not looked at."""
        if audited:
            self.serve(audited=True)
        else:
            self.told += 1

    def dump(self) -> dict[str, JSON]:
        """Return what was spent."""
        return {"version": 1, **{name: getattr(self, name) for name in _SPENT}}

    def load(self, spent: Mapping[str, JSON]) -> None:
        """Go on where `dump` was; what a later version spent nobody here can tell."""
        if spent.get("version") != 1:
            self.closed = True
            return
        for name in _SPENT:
            setattr(self, name, spent[name])
