"""One metric of one arm, being added up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import attrs

from ..metrics import METRICS, Metric
from ..model import Count
from ..stats import LogHistogram
from ..stats.histogram import bucket_of
from .event import LARGEST, Refused


_LARGEST_INT = 2**53 - 1


@attrs.define(eq=False)
class Tally:
    """
    One metric of one arm, being added up.

    Attributes:
        stream: Its key in the window.
        bad: The flag that counts against its unit.
        watched: (metric, limit) of those that say which value is bad.
        n_bad: Opportunities that had the bad flag.
        n_good: Opportunities that had the other one.
        added: Sum of the integers, or None without any.
        waiting: Floats that are not in a bucket yet.
        positive: Floats above 0, by bucket.
        negative: Floats below 0, by bucket of the absolute value.
        zeros: How many floats were 0.
        total: Sum of the floats.
        refused: How many values could not be counted.
        example: The last of those, and what to write instead.
    """

    stream: str
    bad: bool
    watched: list[tuple[str, float]] = attrs.field(factory=list)
    n_bad: int = 0
    n_good: int = 0
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
            self._add(int(value), value)
        elif isinstance(value, Refused):
            self.leave_out(value)
        else:
            # Not the value itself: it may be somebody's text.
            self.refuse(type(value), "a bool, a finite float or an int from 0")

    def _add(self, n: int, value: object) -> None:
        added = (self.added or 0) + n
        if n >= 0 and added <= _LARGEST_INT:
            self.added = added
        else:
            self.refuse(value, "an int from 0 whose sum stays below 2**53")

    def settle(self) -> None:
        """Put the floats that wait into their buckets, many at a time."""
        values, self.waiting = self.waiting, []
        usual = [value for value in values if 0.0 < value <= LARGEST]
        self.positive.update(map(bucket_of, usual))
        self.total += sum(usual)
        if len(usual) < len(values):
            for value in values:
                if not 0.0 < value <= LARGEST:
                    self._settle_unusual(value)

    def _settle_unusual(self, value: float) -> None:
        if value == 0:
            self.zeros += 1
        elif -LARGEST <= value < 0:
            self.negative[bucket_of(-value)] += 1
            self.total += value
        else:
            self.refuse(value, "a finite float, no larger than 1e300")

    def refuse(self, value: object, write: str) -> None:
        """Leave *value* out, and remember that."""
        self.leave_out(f"got {value!r:.40}; write {write}")

    def leave_out(self, why: str) -> None:
        """Remember that a value is missing, and why."""
        self.refused += 1
        self.example = str(why)

    def absorb(self, other: Tally) -> None:
        """Add what *other* has of the same metric."""
        other.settle()
        self.n_bad += other.n_bad
        self.n_good += other.n_good
        self.positive.update(other.positive)
        self.negative.update(other.negative)
        self.zeros += other.zeros
        self.total += other.total
        self.refused += other.refused
        self.example = other.example or self.example
        if other.added is not None:
            self._add(other.added, other.added)

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

    def error(self) -> str | None:
        """Return what was left out, or None; ask last, as the others may refuse too."""
        if not self.refused:
            return None
        values = "value" if self.refused == 1 else "values"
        return f"{self.refused} {values} left out: {self.example}"


class Tallies(dict[str, Tally]):
    """
    Tallies by the names under which events come, made when a name first does.

    Args:
        known: Metrics by name and alias; see `by_name`.
        watched: By stream, (metric, limit) of those that say which value is bad.

    Attributes:
        streams: The same by stream, each once.
    """

    def __init__(
        self,
        known: Mapping[str, Metric],
        watched: Mapping[str, list[tuple[str, float]]],
    ) -> None:
        super().__init__()
        self._known = known
        self._watched = watched
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
            bad = metric is None or not metric.higher_is_better
            watched = list(self._watched.get(stream, ()))
            tally = self.streams[stream] = Tally(stream, bad, watched)
        self[name] = tally
        return tally

    def watch(self, watched: Mapping[str, list[tuple[str, float]]]) -> None:
        """Judge values that come from now on by *watched*."""
        self._watched = watched
        for stream, tally in self.streams.items():
            tally.watched = list(watched.get(stream, ()))

    def absorb(self, other: Tallies) -> None:
        """Add what *other* has."""
        for stream, tally in other.streams.items():
            self[stream].absorb(tally)


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
