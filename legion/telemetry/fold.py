"""Events by metric, added up: what a window is made of."""

from __future__ import annotations

import operator

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias

import attrs

from ..metrics import METRICS, Metric
from ..model import Arm, Count
from ..stats import LogHistogram
from ..stats.histogram import bucket_of


Event: TypeAlias = tuple[str, str, int, str, float, bool | int | float]
"""
What is recorded: (metric, arm, unit, exposure, at_s, value).

*arm* is the value of an `Arm`, "control" or "candidate". The member counts as well, but
it is an object that refers to others: Python's garbage collector would go through an
event that holds it again and again, for as long as it waits; one of strings and numbers
it looks at once.

*unit* is the 64-bit hash of the unit, *exposure* the digest of what it was exposed to,
*at_s* when that was, in plan time. The type of *value* says what it is: a bool is one
opportunity and whether the event happened, a float is a value of a distribution (times
in seconds), an int is added to a counter.
"""

NAMES: Mapping[Arm, str] = {arm: arm.value for arm in Arm}
"""The arms as events name them; looking one up costs less than ``arm.value``."""

SELF = "telemetry"
"""Key of errors that belong to no metric."""

_SHOWN = 160
_LARGEST_INT = 2**53 - 1
_LARGEST = 1e300
"""Larger values are no measurements, and their sum could leave the floats."""


@attrs.define(eq=False)
class Tally:
    """
    One metric of one arm, being added up.

    Attributes:
        bad: The flag that counts against its unit.
        n_bad: Opportunities that had it.
        n_good: Opportunities that had the other one.
        units: Units that had it at least once.
        added: Sum of the integers, or None without any.
        waiting: Floats that are not in a bucket yet.
        positive: Floats above 0, by bucket.
        negative: Floats below 0, by bucket of the absolute value.
        zeros: How many floats were 0.
        total: Sum of the floats.
        refused: How many values could not be counted.
        example: The last of those, and what to write instead.
    """

    bad: bool
    n_bad: int = 0
    n_good: int = 0
    units: set[int] = attrs.field(factory=set)
    added: int | None = None
    waiting: list[float] = attrs.field(factory=list)
    positive: Counter[int] = attrs.field(factory=Counter)
    negative: Counter[int] = attrs.field(factory=Counter)
    zeros: int = 0
    total: float = 0.0
    refused: int = 0
    example: str = ""

    def take(self, value: object) -> None:
        """Add a value that is neither a flag nor a plain float."""
        if isinstance(value, float):
            self.waiting.append(float(value))
        elif isinstance(value, int):
            added = (self.added or 0) + int(value)
            if value >= 0 and added <= _LARGEST_INT:
                self.added = added
            else:
                self.refuse(value, "an int from 0 whose sum stays below 2**53")
        else:
            # Not the value itself: it may be somebody's text.
            self.refuse(type(value), "a bool, a finite float or an int from 0")

    def settle(self) -> None:
        """Put the floats that wait into their buckets, many at a time."""
        values, self.waiting = self.waiting, []
        usual = [value for value in values if 0.0 < value <= _LARGEST]
        self.positive.update(map(bucket_of, usual))
        self.total += sum(usual)
        if len(usual) < len(values):
            for value in values:
                if not 0.0 < value <= _LARGEST:
                    self._settle_unusual(value)

    def _settle_unusual(self, value: float) -> None:
        if value == 0:
            self.zeros += 1
        elif -_LARGEST <= value < 0:
            self.negative[bucket_of(-value)] += 1
            self.total += value
        else:
            self.refuse(value, "a finite float, no larger than 1e300")

    def refuse(self, value: object, write: str) -> None:
        """Leave *value* out, and remember that."""
        self.refused += 1
        self.example = f"got {value!r:.40}; write {write}"

    def count(self) -> Count | None:
        """Return flags as a share, else integers as a counter."""
        if self.n_bad or self.n_good:
            hits = self.n_bad if self.bad else self.n_good
            if self.added is not None:
                self.refuse(self.added, "either flags or integers, not both")
            return Count(hits, self.n_bad + self.n_good)
        return None if self.added is None else Count(self.added)

    def histogram(self) -> LogHistogram | None:
        """Return the distribution of the floats."""
        self.settle()
        found = LogHistogram(
            positive=dict(self.positive),
            negative=dict(self.negative),
            zeros=self.zeros,
            total=self.total,
        )
        return found if found.count else None

    def bad_units(self) -> frozenset[int]:
        """Return the units that had a bad event."""
        units = set()
        for unit in self.units:
            try:
                units.add(operator.index(unit))
            except TypeError:
                self.refuse(type(unit), "the 64-bit hash of the unit")
        return frozenset(units)

    def error(self) -> str | None:
        """Return what was left out, or None; ask last, as the others may refuse too."""
        if not self.refused:
            return None
        values = "value" if self.refused == 1 else "values"
        return f"{self.refused} {values} left out: {self.example}"


class _Tallies(dict[str, Tally]):
    """Tallies by the names under which events come, made when a name first does."""

    def __init__(self, known: Mapping[str, Metric]) -> None:
        super().__init__()
        self._known = known
        self.streams: dict[str, Tally] = {}

    def __missing__(self, name: object) -> Tally:
        if not isinstance(name, str):
            msg = f"got a metric of {type(name)}; write its name"
            raise TypeError(msg)
        name.encode()  # a lone surrogate could never be written down
        metric = self._known.get(name)
        stream = name if metric is None else metric.stream
        tally = self.streams.get(stream)
        if tally is None:
            tally = Tally(bad=metric is None or not metric.higher_is_better)
            self.streams[stream] = tally
        self[name] = tally
        return tally


class Fold:
    """
    What was recorded of both arms since the last close.

    Args:
        known: Metrics by the names and aliases under which they may come; see
            `by_name`.
    """

    def __init__(self, known: Mapping[str, Metric]) -> None:
        self._tallies = {name: _Tallies(known) for name in NAMES.values()}
        self.refused = 0
        self.example = ""

    def tallies(self, arm: Arm) -> Mapping[str, Tally]:
        """Return the tallies of *arm*, by stream."""
        return self._tallies[NAMES[arm]].streams

    def add(self, events: Iterable[Event]) -> None:
        """Add *events*; what is no event is left out and counted in `refused`."""
        rest = iter(events)
        while not self._added(rest):
            pass
        for tallies in self._tallies.values():
            for tally in tallies.streams.values():
                tally.settle()

    def _added(self, events: Iterator[Event]) -> bool:
        """Add up to the end, or up to and without the first that is no event."""
        # Spelt out and not a call for each event, which would double the time.
        tallies = self._tallies
        try:
            for metric, arm, unit, _, _, value in events:
                tally = tallies[arm][metric]
                if type(value) is float:
                    tally.waiting.append(value)
                elif value is tally.bad:
                    tally.units.add(unit)
                    tally.n_bad += 1
                elif value is True or value is False:
                    tally.n_good += 1
                else:
                    tally.take(value)
        except Exception as error:  # noqa: BLE001 - a value may raise anything
            self.refused += 1
            self.example = f"{type(error).__name__}: {error}"[:_SHOWN]
            return False
        return True


def by_name(own: Iterable[Metric] = ()) -> dict[str, Metric]:
    """
    Return all metrics by name and alias.

    Args:
        own: Metrics that the host or the plan declares beside the table.
    """
    return {
        name: metric
        for metric in (*METRICS.values(), *own)
        for name in (metric.name, *metric.aliases)
    }
