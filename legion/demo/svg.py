"""Line plots as SVG, without a library and without a script; colours come from CSS."""

from __future__ import annotations

import html
import itertools
import math

from collections.abc import Iterator, Sequence

import attrs


_WIDTH, _HEIGHT = 900, 230
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 180, 24, 30
_SHORTEST = 0.5
"""Days that the axis spans at least, so that one early point has a place of its own."""
_LETTER, _LINE = 7, 14
"""How wide a letter of the 12 pixel font is at most, nearly always, and how high."""


@attrs.frozen
class Line:
    """
    A named series.

    Attributes:
        name: What the legend calls it.
        values: One a point; None where nothing was measured, which leaves a gap.
        style: Its CSS class, such as ``one`` or ``two``; a ``limit`` is drawn as one.
    """

    name: str
    values: Sequence[float | None]
    style: str = "one"


@attrs.frozen(kw_only=True)
class _Mark:
    """A word above the plot, in a row where it has room."""

    x: float
    word: str
    row: int
    left: bool


@attrs.frozen(kw_only=True)
class _Scale:
    last: float
    top: float
    head: float = 0.0

    @property
    def height(self) -> float:
        return _HEIGHT + self.head

    @property
    def bottom(self) -> float:
        return self.height - _BOTTOM

    def x(self, day: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * day / self.last

    def y(self, value: float) -> float:
        return self.bottom - (_HEIGHT - _TOP - _BOTTOM) * value / self.top


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
    scale = _Scale(last=max(days[-1], _SHORTEST), top=_round_up(max(measured)))
    placed = _placed(marks, scale)
    rows = max((mark.row for mark in placed), default=0)
    scale = attrs.evolve(scale, head=float(_LINE * rows))
    parts = [
        f"<svg viewBox='0 0 {_WIDTH} {scale.height:g}' role='img'"
        f" aria-label='{html.escape(title, quote=True)}'>",
        *_axes(scale),
        *(_marked(mark, scale) for mark in placed),
    ]
    for number, line in enumerate(lines):
        parts.extend(_drawn(days, line, scale))
        parts.extend(_legend(line, number, scale))
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
            f"<text x='{scale.x(day):.1f}' y='{scale.height - 10:g}'"
            f" text-anchor='middle'>"
            f"day {day:g}</text>"
        )


def _placed(marks: Sequence[tuple[float, str]], scale: _Scale) -> list[_Mark]:
    """Give each word the first row, from below, in which it overprints no other."""
    taken: list[list[tuple[float, float]]] = []
    placed = []
    for day, word in marks:
        x, width = scale.x(day), _LETTER * len(word) + 8
        left = x + width > _WIDTH
        start, end = (x - width, x) if left else (x, x + width)
        for row in itertools.count():  # pragma: no branch - a new row has room
            if row == len(taken):
                taken.append([])
            if all(end <= other or start >= until for other, until in taken[row]):
                break
        taken[row].append((start, end))
        placed.append(_Mark(x=x, word=word, row=row, left=left))
    return placed


def _marked(mark: _Mark, scale: _Scale) -> str:
    y = _TOP - 10 + scale.head - _LINE * mark.row
    x, anchor = (mark.x - 4, "end") if mark.left else (mark.x + 4, "start")
    return (
        f"<line class='mark' x1='{mark.x:.1f}' x2='{mark.x:.1f}' y1='{y + 4:g}'"
        f" y2='{scale.bottom:g}'/><text x='{x:.1f}' y='{y:g}' text-anchor='{anchor}'>"
        f"{html.escape(mark.word)}</text>"
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


def _legend(line: Line, number: int, scale: _Scale) -> Iterator[str]:
    """Name the line, and its last value."""
    x, y = _WIDTH - _RIGHT + 12, _TOP + scale.head + 12 + 20 * number
    last = next((value for value in reversed(line.values) if value is not None), None)
    figure = "not measured" if last is None else f"{last:.3g}"
    yield (
        f"<rect class='{line.style}' x='{x}' y='{y - 6:g}' width='12' height='3'/>"
        f"<text x='{x + 18}' y='{y:g}'>{html.escape(line.name)}: {figure}</text>"
    )
