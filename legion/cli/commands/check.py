"""``legion check``: a plan before its rollout."""

from __future__ import annotations

import argparse

from ...metrics import METRICS
from ...plugins import Plugins
from ...stages import Plan, Stage
from ..main import Commands, command
from ..output import Output


def add(commands: Commands) -> None:
    """Add ``legion check``."""
    one = command(
        commands,
        "check",
        check,
        says="say whether a plan can be rolled out, and what each stage needs",
        teaches=(
            "Every fault is listed at once, with its line and what to write.\n\n"
            "  legion check rollout.yaml"
        ),
    )
    one.add_argument("plan", metavar="PLAN", help="a .yaml or .toml file")


def check(arguments: argparse.Namespace, output: Output) -> int:
    """Load a plan and print its stages and what they require."""
    plan = Plan.load(arguments.plan)
    criteria = frozenset(Plugins().criteria)
    output.line(
        f"{output.paint(plan.name, 'bold')}: {plan.candidate} over {plan.baseline},"
        f" randomised by {plan.unit}"
    )
    output.table(
        [
            ("stage", "traffic", "mirror", "dwell", "requires"),
            *(_row(plan, stage, criteria) for stage in plan.stages),
        ]
    )
    hosts = sorted(
        {m for s in plan.stages for m in plan.requires(s, criteria) if _by_host(m)}
    )
    if hosts:
        output.line(
            "  Your host must supply these, or the stages that require them hold:"
        )
        output.line(f"    {', '.join(hosts)}")
    output.line(
        "  false_rollback is not enforced: triggers are plain thresholds with enough"
        " evidence."
    )
    output.document(
        {
            "plan": plan.name,
            "digest": plan.digest,
            "stages": [
                {"name": s.name, "requires": list(plan.requires(s, criteria))}
                for s in plan.stages
            ],
            "supplied_by_the_host": hosts,
            "false_rollback_enforced": False,
        }
    )
    return 0


def _row(plan: Plan, stage: Stage, criteria: frozenset[str]) -> tuple[str, ...]:
    dwell = "-" if stage.dwell_s is None else _length(stage.dwell_s)
    required = plan.requires(stage, criteria)
    return (
        stage.name,
        f"{stage.traffic:.0%}",
        f"{stage.mirror:.0%}",
        dwell,
        f"{len(required)} metrics",
    )


def _length(seconds: float) -> str:
    for unit, size_s in (("h", 3600), ("min", 60)):
        if seconds >= size_s:
            return f"{seconds / size_s:g} {unit}"
    return f"{seconds:g} s"


def _by_host(metric: str) -> bool:
    known = METRICS.get(metric)
    return known is None or known.source == "host"
