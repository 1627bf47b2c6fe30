"""The plot of a simulation: a file that needs nothing else."""

from __future__ import annotations

import bisect
import html

from ..demo.svg import Line, plot
from ..planner import Simulation
from ..stages import Plan


_POINTS = 200
_UNITS = ((3 * 86_400.0, 86_400.0, "day {:g}"), (3 * 3_600.0, 3_600.0, "{:g} h"))
"""From how many seconds on the time is told in which unit; below, in minutes."""
_MINUTE = (60.0, "{:g} min")
_STYLE = """<style>
svg { background: #fff; font: 12px sans-serif; }
path { fill: none; stroke-width: 2; }
path.one { stroke: #2563eb; } circle.one, rect.one { fill: #2563eb; }
path.limit { stroke: #dc2626; stroke-dasharray: 5 4; }
circle.limit, rect.limit { fill: #dc2626; }
circle { r: 0; } .grid { stroke: #e5e7eb; } .mark { stroke: #9ca3af; }
</style>"""


def drawn(plan: Plan, found: Simulation) -> str:
    """Return how many of the simulated rollouts had gone back by when, as SVG."""
    starts = [
        (stage.starts_s.median, stage.name)
        for stage in found.stages
        if stage.starts_s is not None
    ]
    last_s = max([*(1.25 * s for s in found.went_back_s[-1:]), starts[-1][0], 60.0])
    if found.completed.n:
        last_s = max(last_s, starts[-1][0] + (plan.stages[-1].unbroken_for_s or 0.0))
    unit_s, axis = next(
        ((unit, words) for since, unit, words in _UNITS if last_s >= since), _MINUTE
    )
    times = [last_s * i / _POINTS for i in range(_POINTS + 1)]
    back: list[float | None] = [
        100 * bisect.bisect_right(found.went_back_s, time) / found.runs
        for time in times
    ]
    lines = [Line("% gone back", back)]
    if not found.faults:
        promise: list[float | None] = [100 * found.promised] * len(times)
        lines.append(Line("% promised", promise, "limit"))
    title = f"{found.plan}, simulated: rollouts that went back, per cent"
    svg = plot(
        [time / unit_s for time in times],
        lines,
        [(start / unit_s, name) for start, name in starts],
        title=title,
        axis=axis,
    )
    head = "<svg xmlns='http://www.w3.org/2000/svg' "
    body = svg.removeprefix("<svg ")
    opened, _, rest = body.partition(">")
    return f"{head}{opened}>{_STYLE}<title>{html.escape(title)}</title>{rest}\n"
