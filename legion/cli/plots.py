"""The plot of a simulation: a file that needs nothing else."""

from __future__ import annotations

import bisect
import html

from ..demo.svg import Line, plot
from ..planner import Simulation
from ..stages import Plan


_POINTS = 200
_DAY_S = 86_400.0
_STYLE = """<style>
svg { background: #fff; font: 12px sans-serif; }
path { fill: none; stroke-width: 2; }
path.one { stroke: #2563eb; } circle.one, rect.one { fill: #2563eb; }
path.limit { stroke: #dc2626; stroke-dasharray: 5 4; }
circle.limit, rect.limit { fill: #dc2626; }
circle { r: 0; } .grid { stroke: #e5e7eb; } .mark { stroke: #9ca3af; }
</style>"""


def drawn(plan: Plan, found: Simulation) -> str:
    """Return how many of the simulated rollouts had gone back by which day, as SVG."""
    starts = [
        (stage.starts_s.median / _DAY_S, stage.name)
        for stage in found.stages
        if stage.starts_s is not None
    ]
    last = max([*(s / _DAY_S for s in found.went_back_s), starts[-1][0], 0.5])
    if found.completed.n:
        last += (plan.stages[-1].unbroken_for_s or 0.0) / _DAY_S
    days = [last * i / _POINTS for i in range(_POINTS + 1)]
    back: list[float | None] = [
        100 * bisect.bisect_right(found.went_back_s, day * _DAY_S) / found.runs
        for day in days
    ]
    lines = [Line("% gone back", back)]
    if not found.faults:
        promise: list[float | None] = [100 * found.promised] * len(days)
        lines.append(Line("% promised", promise, "limit"))
    title = f"{found.plan}, simulated: rollouts that went back, per cent"
    svg = plot(days, lines, starts, title=title)
    head = "<svg xmlns='http://www.w3.org/2000/svg' "
    body = svg.removeprefix("<svg ")
    opened, _, rest = body.partition(">")
    return f"{head}{opened}>{_STYLE}<title>{html.escape(title)}</title>{rest}\n"
