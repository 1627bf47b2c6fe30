"""A window that notes what is read from it."""

from __future__ import annotations

import attrs

from ..model import Window


@attrs.frozen(kw_only=True)
class NotedWindow(Window):
    """
    A window that notes which metrics are read from it, and as what.

    That is how `min_events` can speak of the metrics that a function reads, without
    its author naming them a second time.

    Attributes:
        read: (metric, as what) of every reading; its baseline notes nothing.
    """

    read: set[tuple[str, str]] = attrs.field(factory=set, eq=False)

    @classmethod
    def over(cls, window: Window) -> NotedWindow:
        """Return the same window, taking notes."""
        fields = attrs.fields(Window)
        return cls(**{field.name: getattr(window, field.name) for field in fields})

    def share(self, metric: str) -> float | None:
        """Return events per opportunity."""
        self.read.add((metric, "share"))
        return Window.share(self, metric)

    def count(self, metric: str) -> int | None:
        """Return the number of events."""
        self.read.add((metric, "count"))
        return Window.count(self, metric)

    def quantile(self, metric: str, q: float) -> float | None:
        """Return the *q*-quantile."""
        self.read.add((metric, "value"))
        return Window.quantile(self, metric, q)

    def mean(self, metric: str) -> float | None:
        """Return the mean of the values."""
        self.read.add((metric, "value"))
        return Window.mean(self, metric)

    def gauge(self, metric: str) -> float | None:
        """Return the newest sample."""
        self.read.add((metric, "gauge"))
        return Window.gauge(self, metric)
