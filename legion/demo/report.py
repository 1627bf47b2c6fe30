"""The report of a demo: one self-contained HTML file, plots as inline SVG."""

from __future__ import annotations

import html
import itertools

from collections.abc import Iterable, Sequence
from pathlib import Path

from ..model import Arm, Finding
from .figures import Point, points, timeline
from .rollout import Demo
from .svg import Line, plot


_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 62rem;
  padding: 0 1rem; color: #1c2024; background: #fcfcfd }
h1 { margin-bottom: 0 } h2 { margin-top: 2.5rem }
.lead { font-size: 1.15rem; margin-top: .25rem }
table { border-collapse: collapse; width: 100%; font-size: .9rem }
th, td { text-align: left; padding: .35rem .6rem; border-bottom: 1px solid #e0e1e6;
  vertical-align: top }
td.n { font-variant-numeric: tabular-nums; white-space: nowrap }
.good { color: #1a7f37 } .bad { color: #cf222e } .none { color: #6e7781 }
figure { margin: 1.5rem 0 } figcaption { font-size: .9rem; color: #57606a }
svg { width: 100%; height: auto }
code { background: #f0f0f3; padding: 0 .25em; border-radius: 3px }
"""


def write(demo: Demo, path: Path, *, took_s: float) -> None:
    """Write the report of *demo* to *path*."""
    path.write_text(_page(demo, took_s), encoding="utf-8")


def sentence(demo: Demo) -> str:
    """Say in one sentence how the rollout ended."""
    state = demo.host.engine.state
    return f"{demo.plan.candidate} over {demo.plan.baseline}: {state.status.value}, {state.reason}"


def _page(demo: Demo, took_s: float) -> str:
    series = points(demo.turns)
    body = [
        f"<h1>{html.escape(demo.plan.name)}</h1>",
        f"<p class='lead'>{html.escape(sentence(demo))}.</p>",
        "<p>Every figure was measured while the demo ran"
        f" ({took_s:.0f} s of machine time for {series[-1].day:.1f} days of plan time,"
        f" {demo.requests_per_day} requests a day, seed {demo.seed}"
        f"{'' if demo.bad is None else f', fault: {demo.bad}'})."
        " Plan time passes with the requests; latency and deadlines are machine time and"
        " never scaled.</p>",
        "<h2>Figures against the plan</h2>",
        _targets(demo),
        "<h2>What was seen</h2>",
        *_plots(series),
        "<h2>Timeline</h2>",
        _timeline(demo),
        "<h2>Every decision</h2>",
        _decisions(demo),
    ]
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width'>"
        f"<title>{html.escape(demo.plan.name)}</title><style>{_STYLE}</style></head>"
        f"<body>{''.join(body)}</body></html>\n"
    )


def last_findings(demo: Demo) -> dict[str, tuple[Finding, ...]]:
    """Return the findings with which each stage was left, by stage."""
    return {
        turn.decision.stage: turn.decision.findings
        for turn in demo.turns
        if turn.decision.stage and turn.decision.findings
    }


def _targets(demo: Demo) -> str:
    rows = [
        (stage, one.rule, _value(one), _verdict(one))
        for stage, findings in last_findings(demo).items()
        for one in findings
    ]
    return _table(("stage", "rule", "measured", "holds"), rows)


def _value(finding: Finding) -> str:
    if finding.missing is not None:
        return f"<span class='none'>not measured ({finding.missing.value})</span>"
    return html.escape(finding.reason)


def _verdict(finding: Finding) -> str:
    if finding.met is None:
        return "<span class='none'>-</span>"
    # A trigger that is met has fired; a target that is met holds.
    fired = _is_trigger(finding)
    good = finding.met != fired
    word = ("fired" if finding.met else "quiet") if fired else "yes" if good else "no"
    return f"<span class='{'good' if good else 'bad'}'>{word}</span>"


def _is_trigger(finding: Finding) -> bool:
    return bool(finding.evidence.get("trigger"))


def _plots(series: Sequence[Point]) -> Iterable[str]:
    days = [point.day for point in series]
    marks = [
        (later.day, later.stage)
        for before, later in itertools.pairwise(series)
        if before.stage != later.stage
    ]
    for title, lines, scale in (
        ("Latency p95, milliseconds", _arms(series, "latency_p95"), 1000.0),
        ("Error rate, per cent", _arms(series, "error_rate"), 100.0),
        ("Answers reused, per cent of look-ups", _arms(series, "hit_rate"), 100.0),
        (
            "Mirrored answers that differ, per cent",
            [Line("candidate", [p.disagreement for p in series])],
            100.0,
        ),
        (
            "Memory, per cent of the limit",
            [Line("process", [p.memory for p in series])],
            100.0,
        ),
    ):
        scaled = [
            Line(line.name, [None if y is None else y * scale for y in line.values])
            for line in lines
        ]
        yield f"<figure><figcaption>{title}</figcaption>{plot(days, scaled, marks)}</figure>"


def _arms(series: Sequence[Point], figure: str) -> list[Line]:
    return [
        Line(arm.value, [getattr(point, figure)[arm] for point in series])
        for arm in (Arm.CONTROL, Arm.CANDIDATE)
    ]


def _timeline(demo: Demo) -> str:
    rows = [
        (
            f"day {event.day:.1f}",
            html.escape(event.what),
            html.escape(event.reason),
            "" if event.took_s is None else f"{event.took_s * 1000:.0f} ms",
        )
        for event in timeline(demo.turns)
    ]
    return _table(("when", "what", "why", "took"), rows)


def _decisions(demo: Demo) -> str:
    rows = [
        (
            str(number),
            turn.decision.stage or "-",
            f"{turn.decision.move.value} <code>{html.escape(turn.decision.code)}</code>",
            html.escape(turn.decision.reason),
            html.escape(turn.report.reason),
            f"<code>{turn.decision.digest[:12]}</code>",
        )
        for number, turn in enumerate(demo.turns, 1)
    ]
    return _table(("turn", "stage", "decision", "reason", "report", "digest"), rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    top = "".join(f"<th>{cell}</th>" for cell in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"
