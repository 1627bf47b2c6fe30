"""What the watchdog remembers of one criterion."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import attrs

from ..canonical import JSON
from ..criteria import Criterion
from ..model import Level, Verdict, Window


@attrs.define(kw_only=True)
class CriterionRecord:
    """
    One criterion's open window and what came of its closed ones.

    Attributes:
        made_by: What sort of criterion it was, so that a changed one starts anew.
        open: What was measured since the last window closed, or None.
        seen_s: How much of the open window was observed, in plan time; a pause of the
            process is not in it.
        memory: What the criterion itself returned to be remembered.
        restored: Whether the memory is from an earlier process and not yet accepted.
        in_a_row: Unhealthy closed windows without a healthy one between.
        last: The newest verdict with a level, or None.
        incident: Id of the open incident, or "".
        peak: The worst level that this incident was told at.
        asked_s: When the criterion was last asked, in plan time.
    """

    made_by: str = ""
    open: Window | None = None
    seen_s: float = 0.0
    memory: Mapping[str, JSON] | None = None
    restored: bool = False
    in_a_row: int = 0
    last: Verdict | None = None
    incident: str = ""
    peak: Level = Level.OK
    asked_s: float = 0.0

    def empty(self) -> None:
        """Begin a new window with what comes next."""
        self.open, self.seen_s = None, 0.0

    def of(self, criterion: Criterion) -> CriterionRecord:
        """
        Return what *criterion* may go on from.

        One that measures something else than its namesake before keeps only the open
        incident, which it will resolve or confirm.
        """
        made_by = made_by_of(criterion)
        if self.made_by == made_by:
            return self
        return attrs.evolve(self.succeeded(), made_by=made_by)

    def succeeded(self) -> CriterionRecord:
        """Return what is left of it for another criterion or rollout: its incident."""
        return CriterionRecord(
            incident=self.incident, peak=self.peak, asked_s=self.asked_s
        )

    def to_json(self) -> dict[str, JSON]:
        """Return what `from_json` reads back to an equal record."""
        return {
            "made_by": self.made_by,
            "open": None if self.open is None else self.open.to_json(),
            "seen_s": self.seen_s,
            "memory": self.memory,
            "in_a_row": self.in_a_row,
            "last": None if self.last is None else self.last.to_json(),
            "incident": self.incident,
            "peak": self.peak.name.lower(),
            "asked_s": self.asked_s,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, JSON]) -> CriterionRecord:
        """
        Read what `to_json` wrote.

        Raises:
            ValueError: It is not that; so do KeyError, TypeError and AttributeError.
        """
        raw = cast("Mapping[str, Any]", value)
        return cls(
            made_by=str(raw["made_by"]),
            open=None if raw["open"] is None else Window.from_json(raw["open"]),
            seen_s=float(raw["seen_s"]),
            memory=None if raw["memory"] is None else dict(raw["memory"]),
            restored=raw["memory"] is not None,
            in_a_row=int(raw["in_a_row"]),
            last=None if raw["last"] is None else Verdict.from_json(raw["last"]),
            incident=str(raw["incident"]),
            peak=Level[raw["peak"].upper()],
            asked_s=float(raw["asked_s"]),
        )


def made_by_of(criterion: Criterion) -> str:
    """Say what sort of criterion it is; its limits may change and it stays the same."""
    kind = type(criterion)
    figure = getattr(criterion, "of", "")
    worse = "falls" if criterion.lower_is_worse else "rises"
    return (
        f"{kind.__module__}.{kind.__qualname__}"
        f" {criterion.stream} {figure} {criterion.unit} {worse}"
    )
