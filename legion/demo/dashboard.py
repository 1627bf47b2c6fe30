"""The live dashboard of a demo: each figure measured, or said not to be."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from ..model import Arm, Level, Window
from .figures import timeline
from .rollout import EPOCH_S, Demo


NOT_MEASURED = "not measured"


def screen(demo: Demo) -> Group:
    """Return the whole dashboard after the newest turn."""
    return Group(_head(demo), _figures(demo), _events(demo))


def line(demo: Demo) -> str:
    """Return the newest turn as one line, for an output that is no terminal."""
    turn = demo.turns[-1]
    seen = turn.observation.candidate
    p95 = _milliseconds(seen.quantile("latency", 0.95))
    return (
        f"day {_day(demo):5.1f}  {turn.decision.stage or '-':<11}"
        f" {demo.host.engine.exposure.share:4.0%}  p95 {p95:<13}"
        f" errors {_share(seen.share('error_rate')):<13} {turn.decision.move.value}"
    )


def _day(demo: Demo) -> float:
    return (demo.turns[-1].report.at_s - EPOCH_S) / 86_400


def _head(demo: Demo) -> Panel:
    engine = demo.host.engine
    days = _day(demo)
    text = Text.assemble(
        ("stage ", "dim"),
        (engine.state.stage or engine.state.status.value, "bold"),
        ("   traffic ", "dim"),
        f"{engine.exposure.share:.0%}",
        ("   mirrored ", "dim"),
        f"{engine.exposure.mirror:.0%}",
        ("   uptime ", "dim"),
        f"{int(days)}d {int(days % 1 * 24):02d}h of plan time",
    )
    return Panel(text, title=f"{demo.plan.name}: {engine.state.status.value}")


def _figures(demo: Demo) -> Table:
    turn = demo.turns[-1]
    control = turn.observation.control or Window()
    table = Table(box=None, expand=True)
    for column in ("", "candidate", "control"):
        table.add_column(column, style="dim" if not column else "")
    for name, ours, theirs in _rows(turn.observation.candidate, control, demo):
        table.add_row(name, _cell(ours), _cell(theirs))
    return table


def _cell(text: str) -> Text:
    return Text(text, style="dim" if text == NOT_MEASURED else "")


def _rows(seen: Window, control: Window, demo: Demo) -> Iterator[tuple[str, str, str]]:
    levels = [v.level for v in demo.turns[-1].report.verdicts if v.level is not None]
    alerts = f"{sum(level is Level.CRITICAL for level in levels)} critical, "
    alerts += f"{sum(level is Level.ALERT for level in levels)} alerts, "
    alerts += f"{sum(level is Level.WARNING for level in levels)} warnings"
    both = (seen, control)
    yield "error rate", *_pair(_share(w.share("error_rate")) for w in both)
    latencies = (_milliseconds(w.quantile("latency", 0.95)) for w in both)
    yield "latency p95", *_pair(latencies)
    yield "memory", _share(seen.gauge("memory_usage")), ""
    yield "CPU", _share(seen.gauge("cpu_usage")), ""
    yield "watchdog", alerts if levels else NOT_MEASURED, ""
    yield "cache hit rate", *_pair(_share(w.share("cache_hit_rate")) for w in both)
    sizes = (str(demo.version(arm).reuse.size) for arm in (Arm.CANDIDATE, Arm.CONTROL))
    yield "cache size", *_pair(sizes)
    yield "answers that differ", _share(seen.share("disagreement")), ""
    yield "learning cycles", _count(seen.count("learning_cycles_succeeded")), ""
    yield "patches applied", _count(seen.count("patches_applied")), ""
    yield "agent success", _share(seen.share("mobile_success")), ""


def _pair(cells: Iterator[str]) -> tuple[str, str]:
    candidate, control = cells
    return candidate, control


def _share(value: float | None) -> str:
    return NOT_MEASURED if value is None else f"{value:.1%}"


def _milliseconds(value: float | None) -> str:
    return NOT_MEASURED if value is None else f"{value * 1000:.2f} ms"


def _count(value: int | None) -> str:
    return NOT_MEASURED if value is None else str(value)


def _events(demo: Demo) -> Panel:
    rows = [
        Text(f"day {event.day:4.1f}  {event.what}: {event.reason}", overflow="ellipsis")
        for event in timeline(demo.turns)[-6:]
    ]
    return Panel(Group(*rows), title="timeline", height=10)


def ending(demo: Demo, console: Console) -> None:
    """Print the timeline of a finished run."""
    table = Table("day", "what", "why", "took", box=None)
    for event in timeline(demo.turns):
        took = "" if event.took_s is None else f"{event.took_s * 1000:.0f} ms"
        table.add_row(f"{event.day:.1f}", event.what, event.reason, took)
    console.print(table)
