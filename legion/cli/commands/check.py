"""``legion check``: a plan before its rollout."""

from __future__ import annotations

import argparse
import textwrap

from collections.abc import Iterator, Sequence

from ...canonical import JSON
from ...exceptions import LegionError
from ...metrics import METRICS
from ...model import as_json
from ...planner import Forecast, Milestone, StageForecast, calendar, forecast
from ...planner.doubts import doubts
from ...planner.said import spell, spell_rate, spell_share
from ...plugins import Plugins
from ...stages import Plan, Stage
from ...stages.plan import Unit
from .. import quantities
from ..main import Commands, command
from ..output import Output
from ..standing import percent


_WIDTH = 80
_TEACHES = """\
Every fault is listed at once, with its line and what to write. With --traffic it also
foretells what each stage sees and proves, and when: an estimate from formulas.

  legion check rollout.yaml
  legion check rollout.yaml --traffic 10/s --error-rate 1% --start 2025-12-01
  legion check rollout.yaml --traffic 10/s --repeats 5%    can the cache reach its target?

Exit code 1: this traffic cannot give what the plan asks for within its dwell.
"""


def add(commands: Commands) -> None:
    """Add ``legion check``."""
    one = command(
        commands,
        "check",
        check,
        says="say whether a plan can be rolled out, and what each stage needs and sees",
        teaches=_TEACHES,
    )
    one.add_argument("plan", metavar="PLAN", help="a .yaml or .toml file")
    one.add_argument(
        "--traffic",
        type=quantities.traffic,
        metavar="N/s",
        help="units of both arms, as 10/s: foretell what each stage sees",
    )
    one.add_argument(
        "--error-rate",
        type=quantities.inner_share,
        metavar="SHARE",
        help="share of bad units while nothing is wrong (default: 1%%)",
    )
    one.add_argument(
        "--repeats",
        type=quantities.share,
        metavar="SHARE",
        help="share of the requests that repeat an earlier one exactly",
    )
    one.add_argument(
        "--start", type=quantities.day, metavar="DATE", help="day 0, as 2025-12-01"
    )


def check(arguments: argparse.Namespace, output: Output) -> int:
    """Load a plan and print its stages, what they require, see and prove, and when."""
    plan = Plan.load(arguments.plan)
    foreseen = _forecast(plan, arguments)
    days = calendar(plan, start=arguments.start)
    hosts = _stages(plan, output)
    warnings = [*_warnings(plan), *doubts(plan)]
    for warning in warnings:
        output.hanging(f"  {output.paint('careful', 'care')}: ", warning)
    if foreseen is not None:
        days = foreseen.calendar
        _tell(plan, foreseen, output)
    _days(days, output)
    criteria = frozenset(Plugins().criteria)
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
            "calendar": [as_json(each) for each in days],
            "forecast": None if foreseen is None else foreseen.to_json(),
        }
    )
    return 0 if foreseen is None or foreseen.possible else 1


def _forecast(plan: Plan, arguments: argparse.Namespace) -> Forecast | None:
    if arguments.traffic is None:
        if arguments.error_rate is not None or arguments.repeats is not None:
            msg = (
                "--error-rate and --repeats: got no traffic; write --traffic 10/s, too"
            )
            raise LegionError(msg)
        return None
    return forecast(
        plan,
        traffic_per_s=arguments.traffic,
        bad_rate=arguments.error_rate,
        repeats=arguments.repeats,
        start=arguments.start,
    )


def _stages(plan: Plan, output: Output) -> list[str]:
    """Print the stages and what they require; return what the host must supply."""
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
        _wrapped(output, "    ", ", ".join(hosts))
    return hosts


def _warnings(plan: Plan) -> Iterator[str]:
    """Yield what can be rolled out and may not be what was meant."""
    last = plan.stages[-1]
    if last.traffic < 1:
        yield (
            f"it ends in {last.name}, and is complete with {percent(last.traffic)} of"
            f" the units; the others keep {plan.baseline} until a new plan."
            " Write a last stage with traffic: 100% if that is not meant"
        )
    if plan.unit is not Unit.TASK and plan.longest_s == 0:
        yield (
            f"a {plan.unit} comes back, and is judged at the first look after the first"
            " visit. Write matures: with the time that its visits take, such as 24h"
        )
    longest_s = max(stage.check_interval_s for stage in plan.stages)
    late: dict[float, list[str]] = {}
    for trigger in plan.triggers:
        if 0 < trigger.within_s < longest_s:
            late.setdefault(trigger.within_s, []).append(trigger.rule.metric)
    for within_s, metrics in late.items():
        yield (
            f"triggers within {spell(within_s)} ({', '.join(dict.fromkeys(metrics))}):"
            f" up to {spell(longest_s)} pass until anybody looks."
            " Write a shorter check_interval if that is not meant"
        )


def _row(plan: Plan, stage: Stage, criteria: frozenset[str]) -> tuple[str, ...]:
    dwell = "-" if stage.dwell_s is None else spell(stage.dwell_s)
    required = plan.requires(stage, criteria)
    return (
        stage.name,
        f"{stage.traffic:.0%}",
        f"{stage.mirror:.0%}",
        dwell,
        f"{len(required)} metrics",
    )


def _by_host(metric: str) -> bool:
    known = METRICS.get(metric)
    return known is None or known.source == "host"


def _tell(plan: Plan, foreseen: Forecast, output: Output) -> None:
    output.line()
    _wrapped(
        output,
        "",
        f"Foretold at {spell_rate(foreseen.traffic_per_s)}, by when in 9 of 10"
        f" rollouts. {foreseen.parts} paths share false_rollback,"
        f" {spell_share(foreseen.alpha)} each.",
    )
    for stage in foreseen.stages:
        output.line()
        _tell_stage(stage, output)
    output.line()
    output.line("Taken for granted:")
    for each in foreseen.assumptions:
        _wrapped(output, "  ", each)


def _tell_stage(stage: StageForecast, output: Output) -> None:
    lasts = f", {spell(stage.dwell_s)}" if stage.dwell_s else ""
    output.line(f"{output.paint(stage.name, 'bold')}: {stage.share:.0%}{lasts}")
    for told in stage.harm:
        _wrapped(output, "  sees   ", told.name)
        _wrapped(output, " " * 11, told.says)
    for told in stage.proofs:
        verb = {True: "proves ", False: "cannot ", None: "wants  "}[told.possible]
        _wrapped(output, f"  {verb}", told.name)
        _wrapped(output, " " * 11, told.says)
    for suggestion in stage.suggestions:
        _wrapped(output, "  write  ", suggestion)


def _days(days: Sequence[Milestone], output: Output) -> None:
    output.line()
    output.line("Calendar, with a day between stages to look at what was found:")
    for each in days:
        output.line(
            f"  day {each.day:<3} {each.date}{'  ' * bool(each.date)}{each.says}"
        )


def _wrapped(output: Output, head: str, text: str) -> None:
    lines = textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=head,
        subsequent_indent=" " * len(head),
        break_on_hyphens=False,
    )
    for line in lines:
        output.line(line)
