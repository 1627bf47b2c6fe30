"""The timeline of a demo: what moved, what was refused, what was rehearsed."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from ..model import Move
from ..wheel import Turn
from .clock import EPOCH_S
from .rollout import Demo


@attrs.frozen(kw_only=True)
class Event:
    """
    Something that moved, or a hold for one and the same cause.

    Attributes:
        day: Plan time since the start, in days.
        until: When a hold was said last, in days.
        what: The move, or what was done.
        code: Stable word for programs.
        reason: Why; of a hold, what was said last.
        took_s: Machine time it took, in seconds, or None.
    """

    day: float
    until: float
    what: str
    code: str
    reason: str
    took_s: float | None = None

    @property
    def when(self) -> str:
        """The day, or the days."""
        first, last = f"{self.day:.1f}", f"{self.until:.1f}"
        return first if first == last else f"{first}-{last}"


def timeline(demo: Demo) -> list[Event]:
    """Return what happened; turns that held for the same cause are one event."""
    events: list[Event] = []
    for event in _events(demo):
        same = bool(events) and event.took_s is None and event.what == events[-1].what
        began = events.pop().day if same else event.day
        events.append(attrs.evolve(event, day=began))
    return events


def day_of(turn: Turn) -> float:
    """Return when *turn* was, in days of plan time since the start."""
    return (turn.report.at_s - EPOCH_S) / 86_400


def _events(demo: Demo) -> Iterator[Event]:
    for number, turn in enumerate(demo.turns, 1):
        yield _event(turn)
        if demo.rehearsal is not None and demo.rehearsal.turn == number:
            day = day_of(turn)
            yield Event(
                day=day,
                until=day,
                what="rehearse the rollback",
                code="rehearsed",
                reason=demo.rehearsal.reason,
                took_s=demo.rehearsal.took_s,
            )


def _event(turn: Turn) -> Event:
    decision, outcome = turn.decision, turn.outcome
    return Event(
        day=day_of(turn),
        until=day_of(turn),
        what=_what(turn),
        code=decision.code,
        reason=decision.reason if outcome is None else outcome.reason,
        took_s=None if outcome is None else outcome.took_s,
    )


def _what(turn: Turn) -> str:
    decision = turn.decision
    match decision.move:
        case Move.ADVANCE if decision.code == "complete":
            return "complete"
        case Move.ADVANCE:
            return f"advance to {decision.to}"
        case Move.ROLL_BACK:
            return "roll back"
        case move:
            return f"{move.value} in {decision.stage or 'no stage'} ({decision.code})"
