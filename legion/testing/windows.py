"""Windows made up for a criterion, of whatever it reads."""

from __future__ import annotations

import contextlib

from collections.abc import Iterator

import attrs

from ..criteria import Criterion
from ..criteria.noted import NotedWindow
from ..model import Count, Gauge, Window
from ..stats import LogHistogram


_CLOSED_S = 60.0
_SHARES = (0.0, 0.005, 0.02, 0.04, 0.07, 0.12, 0.3, 0.55, 0.72, 0.87, 0.95, 1.0)
_SIZES = (0.0, 0.5, 1.0, 3.0, 20.0, 45.0, 60.0, 100.0, 1_000.0)


@attrs.frozen(kw_only=True)
class Traffic:
    """
    What a criterion reads, and windows full of it.

    Attributes:
        reads: (metric, as what) of every reading.
        events: Events of a full window.
        counted: Whether it reads something that has a number of events.
    """

    reads: frozenset[tuple[str, str]]
    events: int

    @property
    def counted(self) -> bool:
        """Whether it reads something whose events are counted."""
        return any(kind in {"share", "value"} for _, kind in self.reads)

    def windows(self) -> Iterator[Window]:
        """Yield an empty window and full ones from good to bad or bad to good."""
        yield self.empty()
        healthy = self._window(0.02, 1.0, self.events)
        for share in _SHARES:
            yield attrs.evolve(
                self._window(share, 1.0 + share, self.events), baseline=healthy
            )
        for size in _SIZES:
            yield attrs.evolve(
                self._window(min(1.0, size / 100), size, self.events), baseline=healthy
            )

    def empty(self) -> Window:
        """Return a window in which all is supplied, and nothing happened."""
        shares = {name for name, kind in self.reads if kind == "share"}
        return Window(
            closed_s=_CLOSED_S,
            counts={name: Count(0, 0) for name in shares},
            baseline=Window(closed_s=_CLOSED_S),
        )

    def bad(self, *, events: int) -> Window:
        """Return a window of so many events, half of them bad, over a good baseline."""
        window = self._window(0.5, 100.0, events)
        return attrs.evolve(window, baseline=self._window(0.02, 1.0, self.events))

    def _window(self, share: float, size: float, events: int) -> Window:
        counts: dict[str, Count] = {}
        histograms: dict[str, LogHistogram] = {}
        gauges: dict[str, Gauge] = {}
        for name, kind in sorted(self.reads):
            match kind:
                case "share":
                    counts[name] = Count(round(share * events), events)
                case "count":
                    counts.setdefault(name, Count(round(size)))
                case "value":
                    histograms[name] = LogHistogram.of([size] * events)
                case _:
                    gauges[name] = Gauge.of(size)
        return Window(
            closed_s=_CLOSED_S, counts=counts, histograms=histograms, gauges=gauges
        )


def traffic_for(criterion: Criterion) -> Traffic:
    """
    Find out what *criterion* reads from a window by its methods.

    A reading may come only after another one was there, so it is looked at again with
    what is known already, until nothing new is read.
    """
    traffic = Traffic(reads=frozenset(), events=max(200, 2 * criterion.min_events))
    for _ in range(8):
        noted = NotedWindow.over(traffic.bad(events=traffic.events))
        # What it raises is told by the checks that follow.
        with contextlib.suppress(Exception):
            criterion.judge(noted, None)
        known = traffic.reads | noted.read
        if known == traffic.reads:
            break
        traffic = attrs.evolve(traffic, reads=known)
    return traffic
