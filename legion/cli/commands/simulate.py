"""``legion simulate``: how often a plan errs, and how fast it sees."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util

from collections.abc import Callable, Iterator
from pathlib import Path

from ...exceptions import LegionError
from ...planner import Bursts, Fault, Rate, Scenario, Simulation, Units
from ...planner.said import spell, spell_rate, spell_share
from ...stages import Plan
from .. import quantities
from ..main import Commands, command
from ..output import Output


_TEACHES = """\
Whole rollouts are simulated, with every path that can roll back by chance and a look at
each check: traffic is made up, the e-values and their budget are the engine's.

  legion simulate rollout.yaml                        how often it goes back for nothing
  legion simulate rollout.yaml --fault errors=x3      how fast it sees three times the errors
  legion simulate rollout.yaml --fault latency=+50% --since canary
  legion simulate rollout.yaml --fault errors=x5 --in tenant=3
  legion simulate rollout.yaml --units sticky --bursts --daily --runs 2000

Exit code 1: nothing is worse, and more rollouts go back than the plan promises (a
binomial test at .001; 400 runs find a true 2 % in about half of the cases).
"""


def add(commands: Commands) -> None:
    """Add ``legion simulate``."""
    one = command(
        commands,
        "simulate",
        simulate,
        says="simulate whole rollouts: how often a plan errs, and how fast it sees",
        teaches=_TEACHES,
    )
    one.add_argument("plan", metavar="PLAN", help="a .yaml or .toml file")
    one.add_argument(
        "--fault",
        action="append",
        default=[],
        metavar="NAME=SIZE",
        help="what the candidate does worse: errors=x3, latency=+50%%; may be repeated",
    )
    one.add_argument(
        "--since", default="", metavar="STAGE", help="the stage in which it begins"
    )
    one.add_argument(
        "--in",
        default="",
        dest="slice",
        metavar="SLICE",
        help="the slice it hurts alone: tenant=3 is the third largest of the tenants",
    )
    _traffic(one)
    _circumstances(one)
    one.add_argument("--plot", type=Path, metavar="FILE", help="write a plot, as .svg")


def _traffic(one: argparse.ArgumentParser) -> None:
    one.add_argument(
        "--runs",
        type=quantities.whole,
        default=400,
        metavar="N",
        help="how many rollouts (default: %(default)s)",
    )
    one.add_argument(
        "--seed",
        type=quantities.seed,
        default=1,
        metavar="N",
        help="the same gives the same (default: %(default)s)",
    )
    one.add_argument(
        "--traffic",
        type=quantities.traffic,
        default=10.0,
        metavar="N/s",
        help="units of both arms (default: 10/s)",
    )
    one.add_argument(
        "--error-rate",
        type=quantities.inner_share,
        default=0.01,
        metavar="SHARE",
        help="share of bad units while nothing is wrong (default: 1%%)",
    )


def _circumstances(one: argparse.ArgumentParser) -> None:
    one.add_argument(
        "--units",
        choices=[each.value for each in Units],
        help="what is randomised (default: tasks where the plan says task, else sticky)",
    )
    one.add_argument(
        "--people",
        type=quantities.whole,
        default=2_000,
        metavar="N",
        help="how many sticky units there are (default: %(default)s)",
    )
    one.add_argument(
        "--late",
        type=quantities.seconds,
        default=0.0,
        metavar="TIME",
        help="control's bad outcomes are known so much later, as 30m",
    )
    one.add_argument(
        "--values",
        type=quantities.whole,
        default=20,
        metavar="N",
        help="how many tenants, or what else the plan's slices are, there are; the"
        " k-th has a share as 1/k (default: %(default)s)",
    )
    one.add_argument(
        "--bursts", action="store_true", help="with incidents that hit both arms"
    )
    one.add_argument(
        "--daily", action="store_true", help="with load and errors that swing by day"
    )


def simulate(arguments: argparse.Namespace, output: Output) -> int:
    """Simulate a plan and print what came of it."""
    plan = Plan.load(arguments.plan)
    faults = [
        Fault.read(each, plan, since=arguments.since, slice=arguments.slice)
        for each in arguments.fault
    ]
    for option, given in (("--since", arguments.since), ("--in", arguments.slice)):
        if given and not faults:
            msg = f"{option}: got {given!r} without a fault; write --fault, too"
            raise LegionError(msg)
    _writable(arguments.plot)
    from ...planner import simulate as run

    with _progress(arguments.runs, output) as progress:
        found = run(
            plan,
            traffic_per_s=arguments.traffic,
            bad_rate=arguments.error_rate,
            faults=faults,
            scenario=_scenario(plan, arguments),
            runs=arguments.runs,
            seed=arguments.seed,
            progress=progress,
        )
    _say(found, output)
    output.document(found.to_json())
    if arguments.plot is not None:
        from ..plots import drawn

        arguments.plot.write_text(drawn(plan, found), "utf-8")
        output.line(f"  plotted in {arguments.plot}")
    return 0 if found.kept else 1


def _writable(plot: Path | None) -> None:
    if plot is None:
        return
    if plot.suffix != ".svg" or plot.is_dir() or not plot.parent.is_dir():
        msg = f"--plot: got {plot}; write a file that ends in .svg, where it can be put"
        raise LegionError(msg)


def _scenario(plan: Plan, arguments: argparse.Namespace) -> Scenario:
    usual = Units.TASKS if plan.unit == "task" else Units.STICKY
    return Scenario(
        units=Units(arguments.units) if arguments.units else usual,
        people=arguments.people,
        late_s=arguments.late,
        bursts=Bursts() if arguments.bursts else None,
        daily=arguments.daily,
        values=arguments.values,
    )


@contextlib.contextmanager
def _progress(runs: int, output: Output) -> Iterator[Callable[[int], object] | None]:
    """Show a bar to whoever watches, if rich is there to draw it."""
    if not output.live or importlib.util.find_spec("rich") is None:
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(file=output.stream), transient=True) as bar:
        task = bar.add_task("simulating", total=runs)
        yield lambda done: bar.update(task, completed=done)


def _say(found: Simulation, output: Output) -> None:
    fault = " and ".join(found.faults) or "nothing is worse"
    output.line(
        f"{output.paint(found.plan, 'bold')}: {found.runs:,} simulated rollouts at"
        f" {spell_rate(found.traffic_per_s)}, seed {found.seed}"
    )
    output.line(f"  {found.scenario}; {fault}")
    output.line()
    _say_rates(found, output)
    output.line()
    output.table(_stages(found))
    if untold := len(found.not_simulated):
        output.line()
        output.line(
            f"  {untold} rules have figures that nobody told; they are taken as met."
        )


def _say_rates(found: Simulation, output: Output) -> None:
    said = _rate(found.rolled_back)
    if found.faults:
        output.line(f"  detected     {said}")
    else:
        promise = f"promised are {spell_share(found.promised)} at the most"
        output.mark(f"rolled back for nothing: {said}; {promise}", ok=found.kept)
    for cause, count in found.causes.items():
        output.line(f"    {count:>5}  {cause}")
    output.line(f"  frozen       {_rate(found.frozen)}")
    output.line(f"  completed    {_rate(found.completed)}")
    if found.detected_s is not None:
        output.line(
            f"  seen after   {spell(found.detected_s.median)}"
            f" (9 of 10 by {spell(found.detected_s.p90)})"
        )
    if found.harmed is not None:
        output.line(
            f"  harmed       {found.harmed.median:,.0f} units"
            f" (9 of 10 at most {found.harmed.p90:,.0f})"
        )


def _rate(rate: Rate) -> str:
    return (
        f"{rate.n:,} of {rate.of:,}, {rate.share:.2%}"
        f" (95 %: {rate.low:.2%} to {rate.high:.2%})"
    )


def _stages(found: Simulation) -> Iterator[tuple[str, ...]]:
    yield "stage", "entered", "back", "held", "starts after", "9 of 10 by"
    for stage in found.stages:
        starts = stage.starts_s
        yield (
            stage.name,
            f"{stage.entered:,}",
            f"{stage.rolled_back:,}",
            f"{stage.held:,}",
            "-" if starts is None else spell(starts.median),
            "-" if starts is None else spell(starts.p90),
        )
