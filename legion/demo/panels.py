"""The panels of the dashboard: each figure measured, or said not to be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from ..model import Arm, Level, Verdict, Window
from ..wheel import Turn
from .rollout import Demo


NOT_MEASURED = "not measured"

_Row: TypeAlias = tuple[str, Text, Text, Text]
"""A label, the candidate's figure, the control's, and what the criterion says."""
_MARKS = {
    Level.OK: ("ok", "green"),
    Level.WARNING: ("warn", "yellow"),
    Level.ALERT: ("ALERT", "red"),
    Level.CRITICAL: ("CRIT", "bold red"),
}
_NONE = Text("")
_BLANK = (_NONE, _NONE)
HEIGHT = 7
"""Lines of each panel, its border among them."""


def panels(demo: Demo) -> Sequence[Panel]:
    """Return the four panels, of the same height."""
    turn = demo.turns[-1]
    seen = turn.observation.candidate
    control = turn.observation.control or Window()
    both = (seen, control)
    judged = {verdict.criterion: verdict for verdict in turn.report.verdicts}
    return (
        _panel("performance", _performance(both, judged), arms=True),
        _panel("watchdog", _watchdog(turn)),
        _panel("cache", _cache(demo, both, judged), arms=True),
        _panel("learning loop, agent", _absent(seen)),
    )


def _performance(
    both: tuple[Window, Window], judged: dict[str, Verdict]
) -> Iterator[_Row]:
    ours, theirs = (_plain(share(window.share("error_rate"))) for window in both)
    yield "error rate", ours, theirs, _mark(judged, "error_rate")
    times = (window.quantile("latency", 0.95) for window in both)
    ours, theirs = (_plain(milliseconds(time)) for time in times)
    yield "latency p95", ours, theirs, _mark(judged, "latency_p95")
    for name, metric in (("memory", "memory_usage"), ("CPU", "cpu_usage")):
        # One process serves both versions, so there is one figure.
        figure = _plain(share(both[0].gauge(metric)))
        yield name, figure, _NONE, _mark(judged, metric)


def _watchdog(turn: Turn) -> Iterator[_Row]:
    levels = [v.level for v in turn.report.verdicts if v.level is not None]
    counts = [
        (name, sum(one is level for one in levels), style)
        for name, level, style in (
            ("critical", Level.CRITICAL, "bold red"),
            ("alerts", Level.ALERT, "red"),
            ("warnings", Level.WARNING, "yellow"),
        )
    ]
    yield "criteria", _plain(f"{len(levels)} of {len(turn.report.verdicts)}"), *_BLANK
    for name, number, style in counts:
        text = Text(str(number), style=style if number else "")
        yield name, text if levels else _plain(NOT_MEASURED), *_BLANK
    healthy = (
        Text("healthy", "green") if turn.report.healthy else Text("unhealthy", "red")
    )
    yield "health", healthy if levels else _plain(NOT_MEASURED), *_BLANK


def _cache(
    demo: Demo, both: tuple[Window, Window], judged: dict[str, Verdict]
) -> Iterator[_Row]:
    ours, theirs = (demo.version(arm).reuse for arm in (Arm.CANDIDATE, Arm.CONTROL))
    rates = [_plain(share(window.share("cache_hit_rate"))) for window in both]
    yield "hit rate", rates[0], rates[1], _mark(judged, "cache_hit_rate")
    sizes = [Text(f"{one.size} of {one.capacity}") for one in (ours, theirs)]
    yield "size", sizes[0], sizes[1], _NONE
    near = [Text("-" if one.near is None else str(one.near)) for one in (ours, theirs)]
    yield "near matches", near[0], near[1], _NONE
    differ = _plain(share(both[0].share("disagreement")))
    yield "answers differ", differ, _NONE, _NONE


def _absent(seen: Window) -> Iterator[_Row]:
    """Yield what the demo does not run; a plugin that supplied it would be shown."""
    for name, text in (
        ("cycles", _count(seen.count("learning_cycles_succeeded"))),
        ("patches", _count(seen.count("patches_applied"))),
        ("taken back", share(seen.share("patch_rollback_rate"))),
        ("agent success", share(seen.share("mobile_success"))),
        ("self-healing", share(seen.share("self_healing_success"))),
    ):
        yield name, _plain(text), *_BLANK


def _panel(title: str, rows: Iterator[_Row], *, arms: bool = False) -> Panel:
    table = Table.grid(padding=(0, 1, 0, 0), expand=True)
    table.add_column(style="dim", no_wrap=True, width=14 if arms else 13)
    for _ in range(2 if arms else 1):
        table.add_column(no_wrap=True, justify="right" if arms else "left", ratio=1)
    if arms:
        table.add_column(no_wrap=True, width=5)
        table.add_row("", _plain("candidate", "dim"), _plain("control", "dim"), "")
    for name, ours, theirs, mark in rows:
        table.add_row(name, *((ours, theirs, mark) if arms else (ours,)))
    return Panel(table, title=title, height=HEIGHT)


def _plain(text: str, style: str = "") -> Text:
    return Text(text, style="dim" if text == NOT_MEASURED else style)


def _mark(judged: dict[str, Verdict], criterion: str) -> Text:
    verdict = judged.get(criterion)
    if verdict is None or verdict.level is None:
        return _NONE
    word, style = _MARKS[verdict.level]
    return Text(word, style=style)


def share(value: float | None) -> str:
    """Return a share of 0..1 in per cent."""
    return NOT_MEASURED if value is None else f"{value:.1%}"


def milliseconds(value: float | None) -> str:
    """Return seconds in milliseconds."""
    return NOT_MEASURED if value is None else f"{value * 1000:.2f} ms"


def _count(value: int | None) -> str:
    return NOT_MEASURED if value is None else str(value)
