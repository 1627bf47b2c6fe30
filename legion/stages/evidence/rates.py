"""How control fared, remembered for when nobody has it any more."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import cast

import attrs

from ...canonical import JSON
from ...metrics import Kind, Metric
from ...model import Arm
from ...stats import learned_limit
from .units import Seen
from .watch import Watch


STRETCH_S = 3_600.0
"""Plan time that a stretch lasts at least."""

STRETCH_UNITS = 10_000
"""Units that a stretch holds at least: `learned_limit` is tightest there."""


@attrs.frozen(kw_only=True)
class Rate:
    """
    Units of control by one metric, in stretches of an hour and of many units.

    A mean over days is no limit for an hour: a provider's bad hour, or the daily load,
    would pass for a change. So the worst stretch is what is remembered.

    Attributes:
        bad: Bad units of the stretch that fills.
        units: All units of it.
        seconds: How long it has lasted.
        worst_bad: Bad units of the full stretch with the highest share of them.
        worst: All units of that one; 0 while none is full.
        streams: In how many processes one and the same unit may have counted.
    """

    bad: int = 0
    units: int = 0
    seconds: float = 0.0
    worst_bad: int = 0
    worst: int = 0
    streams: int = 1

    def plus(self, bad: int, units: int, *, seconds: float, streams: int = 1) -> Rate:
        """Return the rate with more units, which came in so many seconds."""
        filled = attrs.evolve(
            self,
            bad=self.bad + bad,
            units=self.units + units,
            seconds=self.seconds + seconds,
            streams=max(self.streams, streams),
        )
        if filled.seconds < STRETCH_S or filled.units < STRETCH_UNITS:
            return filled
        worse = filled.bad * self.worst >= self.worst_bad * filled.units
        worst = filled if worse or not self.worst else None
        return Rate(
            worst_bad=self.worst_bad if worst is None else worst.bad,
            worst=self.worst if worst is None else worst.units,
            streams=filled.streams,
        )

    def limit(self, *, alpha: float) -> float | None:
        """
        Return an upper bound of control's share of bad units at its worst.

        The interval is made of Bernoulli processes; of r streams that may have the same
        units each is their geometric mean, so that as many counts as one stream has on
        average are what it rests on.

        Args:
            alpha: How likely the bound may be too low.

        Returns:
            None where no unit of control ever came of age.
        """
        bad, units = self.bad, self.units
        if self.worst:
            bad, units = self.worst_bad, self.worst
        bad, units = -(-bad // self.streams), -(-units // self.streams)
        return learned_limit(bad, units, alpha=alpha) if units else None

    def to_json(self) -> JSON:
        """Return what `from_json` reads back to an equal rate."""
        return [
            self.bad,
            self.units,
            self.seconds,
            self.worst_bad,
            self.worst,
            self.streams,
        ]

    @classmethod
    def from_json(cls, value: JSON) -> Rate:
        """Read what `to_json` wrote."""
        bad, units, seconds, worst_bad, worst, streams = cast("Sequence[int]", value)
        return cls(
            bad=bad,
            units=units,
            seconds=float(seconds),
            worst_bad=worst_bad,
            worst=worst,
            streams=streams,
        )


def remembered(metric: Metric) -> str:
    """
    Return under which name the rate of *metric* is remembered.

    Control's edge of a quantile is the same whatever the margin, which is in the
    candidate's edge alone.
    """
    return metric.name if metric.kind is Kind.TIME else metric.stream


def rates(
    before: Mapping[str, JSON], seen: Seen, watches: Iterable[Watch]
) -> Mapping[str, JSON]:
    """Return the rates with what a newer look at control brings."""
    control = seen.observation.control
    if control is None:
        return before
    watched = {w.name: remembered(w.metric) for w in watches if w.limit is None}
    found = dict(before)
    taken: set[str] = set()
    for name in control.units:
        key = watched.get(name, name)
        if key in taken:
            continue  # Another margin on the same edge of control's.
        taken.add(key)
        bad, units, once = seen.units(Arm.CONTROL, name)
        streams = 1 if once else seen.streams
        rate = Rate.from_json(before[key]) if key in before else Rate()
        found[key] = rate.plus(
            bad, units, seconds=control.seconds, streams=streams
        ).to_json()
    return found
