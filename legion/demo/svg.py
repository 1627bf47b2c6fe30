"""Line plots as SVG, without a library and without a script."""

from __future__ import annotations

import html
import math

from collections.abc import Iterator, Sequence

import attrs


_WIDTH, _HEIGHT = 900, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 110, 16, 30
_COLOURS = ("#57606a", "#0969da", "#bf8700")


@attrs.frozen
class Line:
    """
    A named series.

    Attributes:
        name: What the legend calls it.
        values: One a point; None where nothing was measured, which leaves a gap.
    """

    name: str
    values: Sequence[float | None]


@attrs.frozen
class _Scale:
    last: float
    top: float

    def x(self, day: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * day / self.last

    def y(self, value: float) -> float:
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * value / self.top


def plot(
    days: Sequence[float], lines: Sequence[Line], marks: Sequence[tuple[float, str]]
) -> str:
    """
    Draw series over days.

    Args:
        days: The x of every point.
        lines: The series, each as long as *days*.
        marks: Vertical lines with a word, such as the start of a stage.
    """
    measured = [y for line in lines for y in line.values if y is not None]
    if not measured:
        return "<p class='none'>not measured</p>"
    scale = _Scale(max(days[-1], 1e-9), _round_up(max(measured)))
    parts = [
        f"<svg viewBox='0 0 {_WIDTH} {_HEIGHT}' role='img'"
        " font-family='system-ui, sans-serif' font-size='12'>",
        *_axes(scale),
        *_marks(marks, scale),
    ]
    for number, line in enumerate(lines):
        parts.extend(
            _drawn(days, line, scale, _COLOURS[number % len(_COLOURS)], number)
        )
    return "".join([*parts, "</svg>"])


def _round_up(value: float) -> float:
    if value <= 0:
        return 1.0
    step = 10 ** math.floor(math.log10(value))
    return float(next(m * step for m in (1, 2, 2.5, 5, 10) if m * step >= value))


def _axes(scale: _Scale) -> Iterator[str]:
    for part in range(5):
        value = scale.top * part / 4
        y = scale.y(value)
        yield (
            f"<line x1='{_LEFT}' x2='{_WIDTH - _RIGHT}' y1='{y:.1f}' y2='{y:.1f}'"
            " stroke='#e0e1e6'/>"
            f"<text x='{_LEFT - 8}' y='{y + 4:.1f}' text-anchor='end' fill='#57606a'>"
            f"{value:g}</text>"
        )
    for day in range(0, math.floor(scale.last) + 1, max(1, math.ceil(scale.last / 12))):
        yield (
            f"<text x='{scale.x(day):.1f}' y='{_HEIGHT - 10}' text-anchor='middle'"
            f" fill='#57606a'>day {day}</text>"
        )


def _marks(marks: Sequence[tuple[float, str]], scale: _Scale) -> Iterator[str]:
    for day, word in marks:
        x = scale.x(day)
        yield (
            f"<line x1='{x:.1f}' x2='{x:.1f}' y1='{_TOP}' y2='{_HEIGHT - _BOTTOM}'"
            " stroke='#8c959f' stroke-dasharray='3 3'/>"
            f"<text x='{x + 4:.1f}' y='{_TOP + 8}' fill='#57606a'>"
            f"{html.escape(word or 'baseline')}</text>"
        )


def _drawn(
    days: Sequence[float], line: Line, scale: _Scale, colour: str, number: int
) -> Iterator[str]:
    path, pen = [], "M"
    for day, value in zip(days, line.values, strict=True):
        if value is None:
            pen = "M"
            continue
        path.append(f"{pen}{scale.x(day):.1f} {scale.y(value):.1f}")
        pen = "L"
        yield (
            f"<circle cx='{scale.x(day):.1f}' cy='{scale.y(value):.1f}' r='1.8'"
            f" fill='{colour}'/>"
        )
    yield f"<path d='{' '.join(path)}' fill='none' stroke='{colour}' stroke-width='1.6'/>"
    y = _TOP + 12 + 18 * number
    yield (
        f"<rect x='{_WIDTH - _RIGHT + 12}' y='{y - 8}' width='12' height='3'"
        f" fill='{colour}'/><text x='{_WIDTH - _RIGHT + 30}' y='{y - 2}'>"
        f"{html.escape(line.name)}</text>"
    )
