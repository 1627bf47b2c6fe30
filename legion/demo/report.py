"""The report of a demo: one self-contained HTML file, plots as inline SVG."""

from __future__ import annotations

import html

from importlib.resources import files
from pathlib import Path

from ..exceptions import LegionError
from . import tables
from .ending import sentence
from .plots import plots
from .rollout import Demo


def write(demo: Demo, path: Path, *, took_s: float) -> None:
    """
    Write the report of *demo* to *path*.

    Args:
        demo: A run that is over.
        path: The file; one that is there is written over.
        took_s: Machine time the run took, in seconds.

    Raises:
        LegionError: The file cannot be written.
    """
    page = _page(demo, took_s)
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        msg = f"{path}: {error.strerror}; write the name of a file that can be written"
        raise LegionError(msg) from error


def _page(demo: Demo, took_s: float) -> str:
    style = files("legion.demo").joinpath("report.css").read_text("utf-8")
    body = [
        f"<h1>{html.escape(demo.plan.name)}</h1>",
        f"<p class='lead'>{html.escape(sentence(demo))}.</p>",
        _about(demo, took_s),
        "<h2>Figures against the plan's targets</h2>",
        tables.targets(demo),
        "<h2>Triggers that take it back</h2>",
        tables.triggers(demo),
        "<h2>What was seen</h2>",
        "<p class='soft'>One point a check; a gap is a check that measured nothing.</p>",
        *plots(demo),
        "<h2>Timeline</h2>",
        tables.timeline(demo),
        "<h2>Every decision</h2>",
        tables.decisions(demo),
    ]
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>{html.escape(demo.plan.name)}</title><style>{style}</style></head>"
        f"<body>{''.join(body)}</body></html>\n"
    )


def _about(demo: Demo, took_s: float) -> str:
    fault = "the good candidate" if demo.bad is None else f"fault: {demo.bad}"
    source = html.escape(Path(demo.trace.source).name)
    return (
        f"<p class='soft'>{demo.served:,} requests from {source}, {fault}, seed"
        f" {demo.seed}: {demo.day:.1f} days of plan time, {demo.clock.requests_per_day:,}"
        f" requests a day, in {took_s:.0f} s of machine time. Every figure was measured"
        " while it ran. Plan time passes with the requests; latency and deadlines are"
        " machine time, which is never scaled.</p>"
    )
