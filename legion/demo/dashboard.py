"""The live dashboard of a demo: each figure measured, or said not to be."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from .panels import HEIGHT, milliseconds, panels, share
from .rollout import Demo
from .timeline import day_of, timeline


_WIDE = 80
_HEAD = 3


def line(demo: Demo) -> str:
    """Return the newest turn as one line, for an output that is no terminal."""
    turn = demo.turns[-1]
    seen = turn.observation.candidate
    p95 = milliseconds(seen.quantile("latency", 0.95))
    return (
        f"day {day_of(turn):5.1f}  {turn.decision.stage or '-':<11}"
        f" {demo.host.engine.exposure.share:4.0%}  p95 {p95:<13}"
        f" errors {share(seen.share('error_rate')):<13} {turn.decision.move.value}"
    )


@attrs.frozen
class Screen:
    """
    The whole dashboard, as large as the terminal and never larger.

    Attributes:
        demo: What is shown, after its newest turn.
    """

    demo: Demo

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> RenderResult:
        """Lay the panels out: side by side where there is room, else in a column."""
        # One line less than there are, or the terminal scrolls at every refresh.
        height = console.size.height - 1
        yield _head(self.demo, options.max_width)
        height -= _HEAD
        columns = 2 if options.max_width >= _WIDE else 1
        shown = panels(self.demo)
        for left in range(0, len(shown), columns):
            if height < HEIGHT:
                return
            height -= HEIGHT
            yield _side_by_side(shown[left : left + columns])
        if height > 2:
            yield _events(self.demo, height)


def _side_by_side(shown: Sequence[Panel]) -> Table:
    grid = Table.grid(expand=True)
    for ratio, _ in zip((5, 3), shown, strict=False):
        grid.add_column(ratio=ratio)
    grid.add_row(*shown)
    return grid


def _head(demo: Demo, width: int) -> Panel:
    engine = demo.host.engine
    stage = engine.state.stage
    names = [one.name for one in demo.plan.stages]
    place = f" ({names.index(stage) + 1} of {len(names)})" if stage else ""
    days = demo.day
    text = Text.assemble(
        ("stage ", "dim"),
        ((stage or "none") + place, "bold"),
        ("  traffic ", "dim"),
        f"{engine.exposure.share:.0%}",
        ("  mirrored ", "dim"),
        f"{engine.exposure.mirror:.0%}",
        ("  uptime ", "dim"),
        f"{int(days)}d {int(days % 1 * 24):02d}h",
        no_wrap=True,
        overflow="ellipsis",
    )
    title = f"{demo.plan.candidate} over {demo.plan.baseline}"
    return Panel(
        text,
        title=f"{title}: {engine.state.status.value}",
        subtitle=f"{demo.served:,} requests, {demo.clock.requests_per_day:,} a day",
        width=width,
    )


def _events(demo: Demo, height: int) -> Panel:
    rows = [
        Text(
            f"day {event.when:<8} {event.what}: {event.reason}",
            no_wrap=True,
            overflow="ellipsis",
        )
        for event in timeline(demo)[-(height - 2) :]
    ]
    return Panel(Group(*rows), title="timeline", height=height)
