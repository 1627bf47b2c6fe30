"""Incidents: opened by an alert, raised once, resolved exactly once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from ..canonical import JSON
from ..model import Level, Notice, Verdict
from .record import CriterionRecord


def follow(record: CriterionRecord, verdict: Verdict) -> Notice | None:
    """
    Note a verdict with a level, and return what there is to tell.

    An incident that gets worse is told again, under the same id; one that swings
    between alert and critical is not. A window below alert resolves it.
    """
    level = verdict.level
    assert level is not None
    if not level.unhealthy:
        incident, record.incident, record.peak = record.incident, "", Level.OK
        if not incident:
            return None
        return _notice("resolved", incident, verdict, level)
    if record.incident and level <= record.peak:
        return None
    if not record.incident:
        record.incident = f"{verdict.criterion}@{_instant(verdict.closed_s)}"
    record.peak = level
    return _notice("incident", record.incident, verdict, level)


def forgotten(criterion: str, record: CriterionRecord, at_s: float) -> Notice | None:
    """Return the resolve of an incident whose criterion is not judged any more."""
    if not record.incident:
        return None
    return Notice(
        kind="resolved",
        id=record.incident,
        title=f"{criterion}: not judged any more",
        reason=f"{criterion} is gone, or off, for {at_s - record.asked_s:.0f} s",
        level=record.peak,
        at_s=at_s,
    )


def notice_of(value: JSON) -> Notice:
    """Read a notice from its JSON."""
    raw = cast("Mapping[str, Any]", value)
    return Notice(**{**raw, "level": Level[raw["level"].upper()]})


def _notice(kind: str, incident: str, verdict: Verdict, level: Level) -> Notice:
    word = "resolved" if kind == "resolved" else level.name.lower()
    return Notice(
        kind=kind,
        id=incident,
        title=f"{verdict.criterion}: {word}",
        reason=verdict.reason,
        level=level,
        at_s=verdict.closed_s,
    )


def _instant(at_s: float) -> str:
    return f"{at_s:.3f}".rstrip("0").rstrip(".")
