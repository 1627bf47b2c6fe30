"""What the watchdog remembers of one criterion."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import attrs

from ..canonical import JSON
from ..criteria import Criterion
from ..model import Level, Window


@attrs.frozen(kw_only=True)
class CriterionRecord:
    """
    One criterion's open window and what came of its closed ones.

    Attributes:
        open: What was measured since the last window closed, or None.
        memory: What the criterion itself returned to be remembered.
        in_a_row: Unhealthy closed windows without a healthy one between.
        closed_s: End of the newest closed window, in plan time, or None.
        length_s: How long it took to close.
        level: Its level, or None.
        incident: Id of the open incident, or "".
    """

    open: Window | None = None
    memory: Mapping[str, JSON] | None = None
    in_a_row: int = 0
    closed_s: float | None = None
    length_s: float = 0.0
    level: Level | None = None
    incident: str = ""

    def with_seen(self, window: Window) -> CriterionRecord:
        """Return the record with *window* added to the open one."""
        if self.open is None:
            return attrs.evolve(self, open=window)
        return attrs.evolve(self, open=self.open.merge(window))

    def to_json(self) -> dict[str, JSON]:
        """Return what `from_json` reads back to an equal record."""
        return {
            "open": None if self.open is None else self.open.to_json(),
            "memory": self.memory,
            "in_a_row": self.in_a_row,
            "closed_s": self.closed_s,
            "length_s": self.length_s,
            "level": None if self.level is None else self.level.name,
            "incident": self.incident,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, JSON]) -> CriterionRecord:
        """Read what `to_json` wrote."""
        window = cast("Mapping[str, JSON] | None", value["open"])
        level = value["level"]
        return cls(
            open=None if window is None else Window.from_json(window),
            memory=cast("Mapping[str, JSON] | None", value["memory"]),
            in_a_row=int(cast("int", value["in_a_row"])),
            closed_s=cast("float | None", value["closed_s"]),
            length_s=float(cast("float", value["length_s"])),
            level=None if level is None else Level[str(level)],
            incident=str(value["incident"]),
        )


def lean(window: Window, criterion: Criterion) -> Window:
    """
    Return *window* without what grows for ever.

    A built-in criterion reads one stream, so only that is kept of what may stay open
    for long; one that is written by hand may read anything, and keeps everything but
    the sets of units.
    """
    stream = criterion.stream
    if type(criterion).__module__.startswith("legion.criteria.kinds"):
        return attrs.evolve(
            window,
            counts=_kept(window.counts, stream),
            histograms=_kept(window.histograms, stream),
            gauges=_kept(window.gauges, stream),
            bad_units={},
            baseline=_leaner(window.baseline, stream),
        )
    baseline = window.baseline
    if baseline is not None:
        baseline = attrs.evolve(baseline, bad_units={})
    return attrs.evolve(window, bad_units={}, baseline=baseline)


def _leaner(window: Window | None, stream: str) -> Window | None:
    if window is None:
        return None
    return attrs.evolve(
        window,
        counts=_kept(window.counts, stream),
        histograms=_kept(window.histograms, stream),
        gauges=_kept(window.gauges, stream),
        bad_units={},
        errors={},
    )


_Values = Mapping[str, object]


def _kept(values: _Values, stream: str) -> _Values:
    return {stream: values[stream]} if stream in values else {}
