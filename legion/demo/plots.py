"""The plots of a report: what was seen at each check, and the limit it was held to."""

from __future__ import annotations

import itertools

from collections.abc import Iterator, Sequence

import attrs

from ..model import Arm
from .ending import is_trigger
from .figures import Point, points
from .rollout import Demo
from .svg import Line, plot


@attrs.frozen(kw_only=True)
class _Figure:
    title: str
    lines: list[Line]
    metric: str
    scale: float = 100.0
    trigger: bool = True


def plots(demo: Demo) -> Iterator[str]:
    """Yield each plot as a figure."""
    series = points(demo.turns)
    days = [point.day for point in series]
    marks = [
        (earlier.day, later.stage)
        for earlier, later in itertools.pairwise(series)
        if earlier.stage != later.stage
    ]
    for figure in _figures(series):
        lines = [*figure.lines, *_limit(demo, figure)]
        scaled = [
            attrs.evolve(line, values=_times(line, figure.scale)) for line in lines
        ]
        drawn = plot(days, scaled, marks, title=figure.title)
        caption = f"<figcaption>{figure.title}</figcaption>"
        yield f"<figure>{caption}<div class='scroll'>{drawn}</div></figure>"


def _figures(series: Sequence[Point]) -> Iterator[_Figure]:
    yield _Figure(
        title="Latency p95, milliseconds",
        lines=_arms([point.latency_p95 for point in series]),
        metric="latency_p95",
        scale=1000.0,
    )
    yield _Figure(
        title="Requests that failed, per cent",
        lines=_arms([point.error_rate for point in series]),
        metric="error_rate",
    )
    yield _Figure(
        title="Answers reused, per cent of look-ups",
        lines=_arms([point.hit_rate for point in series]),
        metric="cache_hit_rate",
        trigger=False,
    )
    yield _Figure(
        title="Mirrored answers that differ from the control's, per cent",
        lines=[Line("candidate", [point.disagreement for point in series], "two")],
        metric="disagreement",
    )
    yield _Figure(
        title="Memory, per cent of the limit of this machine",
        lines=[Line("process", [point.memory for point in series], "two")],
        metric="memory_usage",
    )


def _arms(values: Sequence[dict[Arm, float | None]]) -> list[Line]:
    return [
        Line(arm.value, [one[arm] for one in values], style)
        for arm, style in ((Arm.CONTROL, "one"), (Arm.CANDIDATE, "two"))
    ]


def _limit(demo: Demo, figure: _Figure) -> Iterator[Line]:
    """Yield the limit that was in force at each check, where there was one."""
    values = [
        next(
            (
                finding.limit
                for finding in turn.decision.findings
                if finding.metric == figure.metric
                and is_trigger(finding) is figure.trigger
            ),
            None,
        )
        for turn in demo.turns
    ]
    if any(value is not None for value in values):
        yield Line("trigger" if figure.trigger else "target", values, "limit")


def _times(line: Line, scale: float) -> list[float | None]:
    return [None if value is None else value * scale for value in line.values]
