"""Why a window cannot be judged yet."""

from __future__ import annotations

import attrs

from ..criteria import Criterion
from ..model import Missing, Verdict, Window
from .record import CriterionRecord


_EXACTLY_ENOUGH = 0.99
"""Share of an interval that closes a window: no tick comes to the microsecond."""


@attrs.frozen
class Patience:
    """
    How long is waited.

    Attributes:
        interval_s: How long a window lasts at least, in plan time.
        stale_after_s: Age at which the newest level is stale, or None for the default.
    """

    interval_s: float
    stale_after_s: float | None

    def lasted(self, seen_s: float) -> bool:
        """Tell whether the interval is over."""
        return seen_s >= self.interval_s * _EXACTLY_ENOUGH

    def over(self, last: Verdict | None, at_s: float) -> bool:
        """Tell whether the next level is long overdue; never before the first one."""
        if last is None:
            return False
        stale_s = self.stale_after_s
        if stale_s is None:
            length = last.evidence.get("window_s")
            slow_s = length if isinstance(length, int | float) else 0.0
            stale_s = 3 * max(self.interval_s, slow_s)
        return at_s - last.closed_s > stale_s


@attrs.frozen
class Wait:
    """
    A verdict without a level.

    Attributes:
        verdict: The verdict.
        keep: Whether the window stays open.
    """

    verdict: Verdict
    keep: bool = True


def not_yet(
    criterion: Criterion,
    record: CriterionRecord,
    window: Window,
    at_s: float,
    patience: Patience,
) -> Wait | None:
    """
    Return why *window* is not judged now, or None if it is.

    A window in which nothing was recorded is not kept: time without data must not make
    the first event that comes look like an interval's worth.
    """
    events, least = criterion.events(window), criterion.min_events
    late = patience.over(record.last, at_s)
    if not events and not window.measures(criterion.stream):
        return Wait(_nothing(criterion, record, window, late=late), keep=False)
    if events < least or not patience.lasted(record.seen_s):
        reason = (
            f"{events:,} of {least:,} events after {record.seen_s:.0f} s"
            if events < least
            else f"open for {record.seen_s:.0f} s of {patience.interval_s:.0f} s"
        )
        return Wait(_open(criterion, reason, events, late=late))
    if not criterion.compares:
        return None
    if window.baseline is None:
        verdict = criterion.no_level(
            Missing.STALE if late else Missing.NO_DATA,
            "there is no baseline to compare with",
            code="no_baseline",
            evidence={"events": events},
        )
        return Wait(verdict, keep=False)
    compared = criterion.events(window.baseline)
    if compared >= least:
        return None
    reason = f"{compared:,} of {least:,} events in the baseline"
    return Wait(_open(criterion, reason, events, late=late))


def _open(criterion: Criterion, reason: str, events: int, *, late: bool) -> Verdict:
    return criterion.no_level(
        Missing.STALE if late else Missing.INCONCLUSIVE,
        reason,
        code="stale" if late else "window_open",
        evidence={"events": events, "min_events": criterion.min_events},
    )


def _nothing(
    criterion: Criterion, record: CriterionRecord, window: Window, *, late: bool
) -> Verdict:
    """
    Say that nothing was recorded, and why if that is known.

    A source that raised is known by its plugin's name, not by what it would have
    supplied; where there were data before, it is taken for the one that is missing.
    """
    errors = window.errors
    for name in (criterion.stream, criterion.metric, criterion.name):
        if name in errors:
            return criterion.no_level(Missing.ERROR, errors[name], code="source_failed")
    failed = "; ".join(f"{source}: {why}" for source, why in sorted(errors.items()))
    if failed and record.last is not None:
        return criterion.no_level(Missing.ERROR, failed, code="source_failed")
    reason = "nothing was recorded"
    if failed:
        reason = f"{reason}, and a source failed ({failed})"
    return criterion.no_level(Missing.STALE if late else Missing.NO_DATA, reason)
