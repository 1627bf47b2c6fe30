"""``legion check``: a plan before its rollout."""

from __future__ import annotations

import argparse

from collections.abc import Iterator

from ...canonical import JSON
from ...metrics import METRICS
from ...plugins import Plugins
from ...stages import Plan, Stage
from ..main import Commands, command
from ..output import Output
from ..standing import percent


def add(commands: Commands) -> None:
    """Add ``legion check``."""
    one = command(
        commands,
        "check",
        check,
        says="say whether a plan can be rolled out, and what each stage needs",
        teaches=(
            "Every fault is listed at once, with its line and what to write. What may"
            "\nnot be meant is warned about, and is no fault.\n\n"
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
    warnings = list(_warnings(plan))
    for warning in warnings:
        output.hanging(f"  {output.paint('careful', 'care')}: ", warning)
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
            "warnings": list[JSON](warnings),
            "false_rollback_enforced": False,
        }
    )
    return 0


def _warnings(plan: Plan) -> Iterator[str]:
    """Yield what can be rolled out and may not be what was meant."""
    last = plan.stages[-1]
    if last.traffic < 1:
        yield (
            f"it ends in {last.name}, and is complete with {percent(last.traffic)} of"
            f" the units; the others keep {plan.baseline} until a new plan."
            " Write a last stage with traffic: 100% if that is not meant"
        )
    longest_s = max(stage.check_interval_s for stage in plan.stages)
    late: dict[float, list[str]] = {}
    for trigger in plan.triggers:
        if 0 < trigger.within_s < longest_s:
            late.setdefault(trigger.within_s, []).append(trigger.rule.metric)
    for within_s, metrics in late.items():
        yield (
            f"triggers within {_length(within_s)} ({', '.join(dict.fromkeys(metrics))}):"
            f" up to {_length(longest_s)} pass until anybody looks."
            " Write a shorter check_interval if that is not meant"
        )


def _row(plan: Plan, stage: Stage, criteria: frozenset[str]) -> tuple[str, ...]:
    dwell = "-" if stage.dwell_s is None else _length(stage.dwell_s)
    required = plan.requires(stage, criteria)
    return (
        stage.name,
        percent(stage.traffic),
        percent(stage.mirror),
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
