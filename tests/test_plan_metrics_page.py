"""
The page of the metrics is the table of the metrics.

Write it anew with ``python tests/test_plan_metrics_page.py > docs/metrics.md``.
"""

from __future__ import annotations

import sys

from pathlib import Path

from legion.metrics import METRICS, Kind


PAGE = Path(__file__).parents[1] / "docs/metrics.md"

INTRODUCTION = """\
# Metrics

What plans and criteria may name. legion measures what has another source than `host`;
what the host does not supply is *not measured*: a plan that names it loads, and the
stage that requires it holds.

- A **share** is events per opportunity, written as a percentage: `5%`.
- A **count** is a number of events, written as a number: `5`.
- A **time** is a quantile of recorded times, written with a unit: `100 ms`. Against the
  baseline, and in `criteria:`, it compares as a rise: `10%`. A **quantile** of other
  values is compared alike, and written as a number.
- A **gauge** is the newest sample of a level, in the unit of its row.

A metric with features is required by a stage only where one of them is on, or where
the stage's `validate` names it. A plan declares metrics of its own under `metrics:`,
see [write a plan](how-to/write-a-plan.md).

| metric | kind | unit | better | source | features | also called | what it is |
|---|---|---|---|---|---|---|---|
"""

SOURCES = {
    "run": "`engine.run` and `engine.trial`, of every request",
    "probe": "the process and its limits",
    "shadow": "`engine.run` of every pair where a stage mirrors: answers, tools, time",
    "cache": "`legion.SemanticCache`",
    "registry": "`legion.Registry`, when it verifies",
    "gate": "`legion.SafetyGate`",
    "watchdog": "`legion.Watchdog`, from its own verdicts",
    "engine": "`legion.StageEngine`, from its own decisions",
    "host": "your application, through a trial or `legion_observe`",
}


def code(names):
    return ", ".join(f"`{name}`" for name in names)


def kind(metric):
    if metric.kind is Kind.TIME:
        word = "time" if metric.unit == "s" else "quantile"
        return f"{word}, {metric.quantile:.0%}"
    return str(metric.kind)


def page():
    rows = []
    for metric in METRICS.values():
        better = "higher" if metric.higher_is_better else "lower"
        cells = (
            f"`{metric.name}`",
            kind(metric),
            metric.unit,
            better,
            metric.source,
            code(metric.features),
            code(metric.aliases),
            metric.summary,
        )
        rows.append(
            f"| {' | '.join(cells)} |".replace("|  |", "| |").replace("|  |", "| |")
        )
    used = {metric.source for metric in METRICS.values()}
    sources = [f"| {name} | {said} |" for name, said in SOURCES.items() if name in used]
    return (
        INTRODUCTION
        + "\n".join(rows)
        + "\n\n## Sources\n\n| source | measured by |\n|---|---|\n"
        + "\n".join(sources)
        + "\n"
    )


def test_the_page_is_up_to_date():
    """The documentation lists every metric with its unit, aliases and features."""
    assert PAGE.read_text("utf-8") == page()


def test_every_source_is_explained():
    """No metric comes from somewhere the page does not know."""
    assert {metric.source for metric in METRICS.values()} == set(SOURCES)


if __name__ == "__main__":
    sys.stdout.write(page())
