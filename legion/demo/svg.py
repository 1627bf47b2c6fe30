"""Line plots as SVG, without a library and without a script; colours come from CSS."""

from __future__ import annotations

import html
import math

from collections.abc import Iterator, Sequence

import attrs


_WIDTH, _HEIGHT = 900, 230
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 150, 24, 30
_SHORTEST = 0.5
"""Days that the axis spans at least, so that one early point has a place of its own."""


@attrs.frozen
class Line:
    """
    A named series.

    Attributes:
        name: What the legend calls it.
        values: One a point; None where nothing was measured, which leaves a gap.
        style: Its CSS class: ``one``, ``two`` or ``limit``.
    """

    name: str
    values: Sequence[float | None]
    style: str = "one"


@attrs.frozen
class _Scale:
    last: float
    top: float

    def x(self, day: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * day / self.last

    def y(self, value: float) -> float:
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * value / self.top


def plot(
    days: Sequence[float],
    lines: Sequence[Line],
    marks: Sequence[tuple[float, str]],
    *,
    title: str,
) -> str:
    """
    Draw series over days.

    Args:
        days: The x of every point.
        lines: The series, each as long as *days*.
        marks: Vertical lines with a word, such as the start of a stage.
        title: What it shows, for those who do not see it.
    """
    measured = [y for line in lines for y in line.values if y is not None]
    if not any(y is not None for line in lines for y in _own(line)):
        return "<p class='none'>not measured</p>"
    scale = _Scale(max(days[-1], _SHORTEST), _round_up(max(measured)))
    parts = [
        f"<svg viewBox='0 0 {_WIDTH} {_HEIGHT}' role='img'"
        f" aria-label='{html.escape(title, quote=True)}'>",
        *_axes(scale),
        *_marks(marks, scale),
    ]
    for number, line in enumerate(lines):
        parts.extend(_drawn(days, line, scale))
        parts.extend(_legend(line, number))
    return "".join([*parts, "</svg>"])


def _own(line: Line) -> Sequence[float | None]:
    """Return what was measured of *line*; a limit is not."""
    return () if line.style == "limit" else line.values


def _round_up(value: float) -> float:
    if value <= 0:
        return 1.0
    step = 10 ** math.floor(math.log10(value))
    return float(next(m * step for m in (1, 2, 2.5, 4, 5, 10) if m * step >= value))


def _axes(scale: _Scale) -> Iterator[str]:
    for part in range(5):
        value = scale.top * part / 4
        y = scale.y(value)
        yield (
            f"<line class='grid' x1='{_LEFT}' x2='{_WIDTH - _RIGHT}' y1='{y:.1f}'"
            f" y2='{y:.1f}'/><text x='{_LEFT - 8}' y='{y + 4:.1f}' text-anchor='end'>"
            f"{value:g}</text>"
        )
    step = max(1, math.ceil(scale.last / 12)) if scale.last > 1 else 0.25
    for number in range(math.floor(scale.last / step) + 1):
        day = number * step
        yield (
            f"<text x='{scale.x(day):.1f}' y='{_HEIGHT - 10}' text-anchor='middle'>"
            f"day {day:g}</text>"
        )


def _marks(marks: Sequence[tuple[float, str]], scale: _Scale) -> Iterator[str]:
    for day, word in marks:
        x = scale.x(day)
        yield (
            f"<line class='mark' x1='{x:.1f}' x2='{x:.1f}' y1='{_TOP - 6}'"
            f" y2='{_HEIGHT - _BOTTOM}'/><text x='{x + 4:.1f}' y='{_TOP - 10}'>"
            f"{html.escape(word)}</text>"
        )


def _drawn(days: Sequence[float], line: Line, scale: _Scale) -> Iterator[str]:
    path, pen = [], "M"
    before = days[0]
    few = sum(value is not None for value in line.values) < 4
    for day, value in zip(days, line.values, strict=True):
        if value is None:
            pen, before = "M", day
            continue
        x, y = scale.x(day), scale.y(value)
        if line.style == "limit" and pen == "M":
            # It was in force since the check before.
            path.append(f"M{scale.x(before):.1f} {y:.1f}")
            pen = "L"
        path.append(f"{pen}{x:.1f} {y:.1f}")
        pen = "L"
        yield (
            f"<circle class='{line.style}' cx='{x:.1f}' cy='{y:.1f}'"
            f" r='{4 if few else 1.8}'/>"
        )
    yield f"<path class='{line.style}' d='{' '.join(path)}'/>"


def _legend(line: Line, number: int) -> Iterator[str]:
    """Name the line, and its last value."""
    x, y = _WIDTH - _RIGHT + 12, _TOP + 12 + 20 * number
    last = next((value for value in reversed(line.values) if value is not None), None)
    figure = "not measured" if last is None else f"{last:.3g}"
    yield (
        f"<rect class='{line.style}' x='{x}' y='{y - 6}' width='12' height='3'/>"
        f"<text x='{x + 18}' y='{y}'>{html.escape(line.name)}: {figure}</text>"
    )
