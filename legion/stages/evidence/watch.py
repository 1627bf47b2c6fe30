"""Which units are slow: edges from control's past, set before the units come."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import cast

import attrs

from ...canonical import JSON
from ...metrics import Kind, Metric
from ...stats import LogHistogram, Side, Tail


CHUNK = 250
"""Values of control after which the rolling past moves on by one step."""

CHUNKS = 8
"""Steps that the rolling past is long."""

LEAST = 100
"""Values of control before there is an edge at all."""


def watched(metric: Metric, side: Side, margin: float) -> str:
    """Return under which name the bad units of a comparison are counted."""
    if metric.kind is not Kind.TIME:
        return metric.stream
    return f"{metric.name} {side.value} {margin:g}"


@attrs.frozen(kw_only=True)
class Watch:
    """
    Which time some evidence asks about.

    Attributes:
        name: Under which name its bad units are counted.
        metric: The time.
        side: Harm or proof, for the rounding of an edge that moves with control.
        slower: By which share the candidate may be slower than control.
        limit: A fixed limit in seconds instead, or None.
    """

    name: str
    metric: Metric
    side: Side = Side.HARM
    slower: float = 0.0
    limit: float | None = None


@attrs.frozen(kw_only=True)
class Edge:
    """
    Beyond which time a unit is bad, for one rule.

    Attributes:
        name: Under which name its units are counted.
        stream: Whose values are compared.
        candidate: The candidate's edge, in seconds.
        control: Control's edge, in seconds.
    """

    name: str
    stream: str
    candidate: float
    control: float


@attrs.frozen(kw_only=True)
class Past:
    """
    Control's newest values of one stream, in steps.

    A frozen past drifts away from the quantile with the daily load, so the oldest step
    is forgotten as a new one is full.

    Attributes:
        steps: Full steps, oldest first.
        filling: The step that fills.
    """

    steps: tuple[LogHistogram, ...] = ()
    filling: LogHistogram = attrs.field(factory=LogHistogram)

    def plus(self, values: LogHistogram) -> Past:
        """Return the past with newer values."""
        filling = self.filling.merge(values)
        if filling.count < CHUNK:
            return attrs.evolve(self, filling=filling)
        return Past(steps=(*self.steps, filling)[-CHUNKS:])

    @property
    def all(self) -> LogHistogram:
        """Everything that is remembered."""
        together = self.filling
        for step in self.steps:
            together = together.merge(step)
        return together

    def to_json(self) -> JSON:
        """Return what `from_json` reads back to an equal past."""
        return [step.to_json() for step in (*self.steps, self.filling)]

    @classmethod
    def from_json(cls, value: JSON) -> Past:
        """Read what `to_json` wrote."""
        raw = cast("Sequence[Mapping[str, JSON]]", value)
        *steps, filling = map(LogHistogram.from_json, raw)
        return cls(steps=tuple(steps), filling=filling)


def no_edge_yet(watches: Iterable[Watch], past: Mapping[str, Past]) -> str:
    """Return why no unit was held against an edge, or "" where there is no past."""
    for watch in watches:
        known = past.get(watch.metric.stream)
        if watch.limit is not None or known is None:
            continue
        if known.all.count < LEAST:
            return f"control's past is too short: {known.all.count} of {LEAST} values"
        return "no unit is of age yet since control's past said what is slow"
    return ""


def edges(watches: Iterable[Watch], past: Mapping[str, Past]) -> Iterator[Edge]:
    """Yield the edge of each watch, once there is enough of a past."""
    together = {stream: one.all for stream, one in past.items()}
    for watch in {each.name: each for each in watches}.values():
        stream = watch.metric.stream
        if watch.limit is not None:
            limit = watch.limit
            yield Edge(name=watch.name, stream=stream, candidate=limit, control=limit)
            continue
        tail = Tail.of(
            together.get(stream, LogHistogram()),
            q=watch.metric.quantile,
            slower=watch.slower,
            side=watch.side,
            min_events=LEAST,
        )
        if tail is not None:
            yield Edge(
                name=watch.name,
                stream=stream,
                candidate=tail.candidate_limit,
                control=tail.limit,
            )
