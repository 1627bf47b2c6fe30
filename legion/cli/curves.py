"""The curves of a cache's quality: a file that needs nothing else."""

from __future__ import annotations

import html
import math

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import attrs


if TYPE_CHECKING:
    from ..cache.quality import Replay
    from .commands.cache import Promised


_WIDTH, _HEIGHT = 900, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 220, 50, 50
_SEEN = 3.0
"""Errors are drawn up to so many times the greatest that was promised."""
_STYLE = """<style>
svg { background: #fff; font: 12px sans-serif; }
.title { font-weight: bold; }
.grid { stroke: #e5e7eb; } .most { stroke: #dc2626; stroke-dasharray: 5 4; }
path { fill: none; stroke-width: 2; }
.blue { stroke: #2563eb; } .amber { stroke: #d97706; } .green { stroke: #059669; }
.violet { stroke: #7c3aed; } .teal { stroke: #0891b2; }
circle { fill: #fff; stroke-width: 2; }
</style>"""
_COLOURS = ("blue", "amber", "green", "violet", "teal")


@attrs.frozen(kw_only=True)
class Curve:
    """
    A named series of points.

    Attributes:
        name: What the legend calls it.
        points: In the order in which they are joined.
        colour: One of the style's.
    """

    name: str
    points: Sequence[tuple[float, float]]
    colour: str


@attrs.frozen(kw_only=True)
class Chart:
    """
    Curves in a frame, in per cent both ways.

    Attributes:
        title: What it shows.
        x_label: What goes to the right.
        x_range: From where to where.
        y_label: What goes up, from 0.
        y_most: To where; what is above is cut off.
        limits: Where lines are drawn across, with a name.
    """

    title: str
    x_label: str
    x_range: tuple[float, float]
    y_label: str
    y_most: float
    limits: Sequence[tuple[float, str]] = ()

    def drawn(self, curves: Sequence[Curve], *, number: int) -> str:
        """Return it as SVG, as the *number*-th of a page."""
        parts = [
            f"<svg y='{number * _HEIGHT}' width='{_WIDTH}' height='{_HEIGHT}'>",
            f"<clipPath id='frame{number}'><rect x='{_LEFT - 6}' y='{_TOP - 6}'"
            f" width='{_WIDTH - _LEFT - _RIGHT + 12}'"
            f" height='{_HEIGHT - _TOP - _BOTTOM + 12}'/></clipPath>",
            _text(_LEFT, 20, self.title, "start", style="title"),
            _text(_LEFT, 36, self.y_label, "start"),
            _text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 12, self.x_label, "middle"),
        ]
        parts += [
            _text(self._x(x), _HEIGHT - 32, f"{x:g}", "middle")
            for x in _ticks(*self.x_range)
        ]
        for y in _ticks(0, self.y_most):
            parts.append(_text(_LEFT - 10, self._y(y) + 4, f"{y:g}", "end"))
            parts.append(self._across(y, "grid"))
        for y, name in self.limits:
            parts.append(self._across(y, "most"))
            parts.append(_text(_WIDTH - _RIGHT + 6, self._y(y) + 4, name, "start"))
        parts.append(f"<g clip-path='url(#frame{number})'>")
        parts += [part for curve in curves for part in self._line(curve)]
        parts.append("</g>")
        for i, curve in enumerate(curves):
            x, y = _WIDTH - _RIGHT + 80, _TOP + 10 + 20 * i
            parts.append(f"<path class='{curve.colour}' d='M{x} {y}h14'/>")
            parts.append(_text(x + 20, y + 4, curve.name, "start"))
        return "".join([*parts, "</svg>"])

    def _x(self, value: float) -> float:
        low, high = self.x_range
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * (value - low) / (high - low)

    def _y(self, value: float) -> float:
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * value / self.y_most

    def _across(self, value: float, style: str) -> str:
        y = self._y(value)
        return (
            f"<line class='{style}' x1='{_LEFT}' x2='{_WIDTH - _RIGHT}' y1='{y:.1f}'"
            f" y2='{y:.1f}'/>"
        )

    def _line(self, curve: Curve) -> Iterator[str]:
        at = [(self._x(x), self._y(y)) for x, y in curve.points]
        if at:
            path = "L".join(f"{x:.1f} {y:.1f}" for x, y in at)
            yield f"<path class='{curve.colour}' d='M{path}'/>"
        for x, y in at:
            yield f"<circle class='{curve.colour}' cx='{x:.1f}' cy='{y:.1f}' r='3'/>"


def drawn(
    fixed: Mapping[float, Replay], promised: Sequence[Promised], *, title: str
) -> str:
    """Return errors over hits, and precision and recall over thresholds, as SVG."""
    charts = [_errors(fixed, promised, title), _precision(fixed, title)]
    height = _HEIGHT * len(charts)
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {_WIDTH} {height}'>"
        f"{_STYLE}<title>{html.escape(title)}</title>"
        f"<rect width='{_WIDTH}' height='{height}' fill='#fff'/>"
        + "".join(
            chart.drawn(curves, number=i) for i, (chart, curves) in enumerate(charts)
        )
        + "</svg>\n"
    )


def _errors(
    fixed: Mapping[float, Replay], promised: Sequence[Promised], title: str
) -> tuple[Chart, list[Curve]]:
    """Draw a point a threshold, joined, and a line a share that was judged."""
    series = {"fixed threshold": sorted((r.hit_rate, r.error) for r in fixed.values())}
    for one in promised:
        points = series.setdefault(f"{one.judged:.0%} judged", [])
        points.append((one.replay.hit_rate, one.replay.error))
    most = sorted({one.max_error for one in promised})
    rightmost = max(x for points in series.values() for x, _ in points)
    chart = Chart(
        title=f"{title}: how many wrong answers the hits cost",
        x_label="hits, % of the requests",
        x_range=(0, 100 * max(rightmost, 0.01)),
        y_label="wrong answers, % of the requests",
        y_most=100 * _SEEN * most[-1],
        limits=[(100 * each, f"max {each:.1%}") for each in most],
    )
    return chart, _curves(series)


def _precision(fixed: Mapping[float, Replay], title: str) -> tuple[Chart, list[Curve]]:
    thresholds = sorted(fixed)
    chart = Chart(
        title=f"{title}: precision and recall of fixed thresholds",
        x_label="threshold, cosine in %",
        x_range=(100 * thresholds[0], 100),
        y_label="%",
        y_most=100,
    )
    found = {
        "precision": [(t, fixed[t].precision) for t in thresholds],
        "recall": [(t, fixed[t].recall) for t in thresholds],
    }
    return chart, _curves(
        {
            name: [(t, share) for t, share in points if share is not None]
            for name, points in found.items()
        }
    )


def _curves(series: Mapping[str, Sequence[tuple[float, float]]]) -> list[Curve]:
    return [
        Curve(
            name=name,
            points=[(100 * x, 100 * y) for x, y in points],
            colour=_COLOURS[i % len(_COLOURS)],
        )
        for i, (name, points) in enumerate(series.items())
    ]


def _ticks(low: float, high: float) -> list[float]:
    """Return round numbers from *low* to *high*, nine at most."""
    rough = (high - low) / 8
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(i * step, 9) for i in range(first, last + 1)]


def _text(x: float, y: float, words: str, anchor: str, *, style: str = "") -> str:
    return (
        f"<text class='{style}' x='{x:.1f}' y='{y:.1f}' text-anchor='{anchor}'>"
        f"{html.escape(words)}</text>"
    )
