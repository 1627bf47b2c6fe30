"""The curves of a cache's quality: a file that needs nothing else."""

from __future__ import annotations

import html

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ..demo.svg import Line, plot


if TYPE_CHECKING:
    from ..cache.quality import Replay
    from .commands.cache import Promised


_HEIGHT, _WIDTH = 250, 900
_STYLES = ("one", "two", "three", "four")
_STYLE = """<style>
svg { background: #fff; font: 12px sans-serif; }
path { fill: none; stroke-width: 2; }
path.one { stroke: #2563eb; } circle.one, rect.one { fill: #2563eb; }
path.two { stroke: #d97706; } circle.two, rect.two { fill: #d97706; }
path.three { stroke: #059669; } circle.three, rect.three { fill: #059669; }
path.four { stroke: #7c3aed; } circle.four, rect.four { fill: #7c3aed; }
.grid { stroke: #e5e7eb; }
</style>"""


def drawn(
    fixed: Mapping[float, Replay], promised: Sequence[Promised], *, title: str
) -> str:
    """Return errors over hits, and precision and recall over thresholds, as SVG."""
    plots = [_errors(fixed, promised, title), _precision(fixed, title)]
    placed = [
        each.replace("<svg ", f"<svg y='{i * _HEIGHT}' height='{_HEIGHT}' ", 1)
        for i, each in enumerate(plots)
    ]
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {_WIDTH}"
        f" {_HEIGHT * len(plots)}'>{_STYLE}<title>{html.escape(title)}</title>"
        f"{''.join(placed)}</svg>\n"
    )


def _errors(
    fixed: Mapping[float, Replay], promised: Sequence[Promised], title: str
) -> str:
    """Draw a point a threshold, joined, and a line a share that was judged."""
    points = {100 * r.hit_rate: 100 * r.error for r in fixed.values()}
    lines = {"% wrong, fixed threshold": points}
    for one in promised:
        name = f"% wrong, {one.judged:.0%} judged"
        at = 100 * one.replay.hit_rate
        lines.setdefault(name, {})[at] = 100 * one.replay.error
    hits = sorted({x for line in lines.values() for x in line})
    return plot(
        hits,
        [
            Line(name, _through(line, hits), _STYLES[i % len(_STYLES)])
            for i, (name, line) in enumerate(lines.items())
        ],
        [],
        title=f"{title}: wrong answers per request over hits per request, per cent",
        axis="{:g} % hits",
    )


def _through(line: Mapping[float, float], xs: Sequence[float]) -> list[float | None]:
    """Return the line's values at all *xs*, straight from one point to the next."""
    own = sorted(line)
    values: list[float | None] = []
    for x in xs:
        left = max((each for each in own if each <= x), default=None)
        right = min((each for each in own if each >= x), default=None)
        if left is None or right is None:
            values.append(None)
        elif left == right:
            values.append(line[left])
        else:
            part = (x - left) / (right - left)
            values.append(line[left] + part * (line[right] - line[left]))
    return values


def _precision(fixed: Mapping[float, Replay], title: str) -> str:
    thresholds = sorted(fixed)
    precision = [fixed[each].precision for each in thresholds]
    recall = [fixed[each].recall for each in thresholds]
    return plot(
        [100 * each for each in thresholds],
        [
            Line("% precision", [None if y is None else 100 * y for y in precision]),
            Line("% recall", [None if y is None else 100 * y for y in recall], "two"),
        ],
        [],
        title=f"{title}: precision and recall over fixed thresholds, per cent",
        axis="cosine {:g} %",
    )
