"""``legion demo``: a real change rolled out, and a bad one taken back."""

from __future__ import annotations

import argparse
import tempfile
import time

from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from ...exceptions import MissingExtraError
from ...stages import Status
from ..main import command
from ..output import Output


if TYPE_CHECKING:
    from ...demo.rollout import Demo


Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

_FAULTS = ("latency", "errors", "wrong-answers", "checksum")


def add(commands: Commands) -> None:
    """Add ``legion demo``."""
    one = command(
        commands,
        "demo",
        demo,
        says="roll out a real change on real questions, in about a minute",
        teaches=(
            "4.0.0 reuses an answer only for the identical question, 4.1.0 also for one\n"
            "that means nearly the same. Nothing is simulated: every request is answered,"
            "\nevery figure is measured, and a day of plan time is so many requests.\n\n"
            "  legion demo                         the good candidate, up to 100 %\n"
            "  legion demo --bad errors            a faulty one, taken back\n"
            "  legion demo --trace questions.csv   on your own questions\n\n"
            "Exit code 0: it ended as it should, in full rollout or, with --bad, back."
        ),
    )
    one.add_argument("--bad", choices=_FAULTS, help="a fault the candidate really has")
    one.add_argument("--trace", type=Path, metavar="FILE", help="CSV or JSONL")
    one.add_argument("--report", type=Path, metavar="FILE", help="write an HTML report")
    one.add_argument("--seed", type=int, default=1, help="orders the questions")
    one.add_argument("--state", type=Path, metavar="DIR", help="keep the state there")
    one.add_argument(
        "--requests-per-day",
        type=int,
        default=900,
        metavar="N",
        help="how many requests make a day of plan time (default: %(default)s)",
    )


def demo(arguments: argparse.Namespace, output: Output) -> int:
    """Run the demo, show it live, and say how it ended."""
    try:
        from ...demo import dashboard, report
        from ...demo.rollout import Demo
        from ...demo.trace import load
    except ModuleNotFoundError as error:
        extra = "demo"
        raise MissingExtraError(extra, str(error.name)) from error
    trace = load(arguments.trace)
    with tempfile.TemporaryDirectory() as folder:
        one = Demo(
            trace=trace,
            directory=arguments.state or Path(folder),
            seed=arguments.seed,
            bad=arguments.bad,
            requests_per_day=arguments.requests_per_day,
        )
        began_s = time.perf_counter()
        status = _shown(one, output)
        took_s = time.perf_counter() - began_s
        if arguments.report is not None:
            report.write(one, arguments.report, took_s=took_s)
        if output.coloured:
            from rich.console import Console

            dashboard.ending(one, Console())
        _say(one, output, took_s, report.sentence(one))
    wanted = Status.COMPLETE if arguments.bad is None else Status.ROLLED_BACK
    return 0 if status is wanted else 1


def _shown(one: Demo, output: Output) -> Status:
    from ...demo import dashboard

    if not output.coloured:
        return one.run(lambda demo: output.line(dashboard.line(demo)))
    from rich.live import Live

    with Live(refresh_per_second=8, screen=False, transient=True) as live:
        return one.run(lambda demo: live.update(dashboard.screen(demo)))


def _say(one: Demo, output: Output, took_s: float, sentence: str) -> None:
    from ...demo.figures import timeline
    from ...demo.report import last_findings

    events = timeline(one.turns)
    if not output.coloured:
        output.line()
        for event in events:
            output.line(f"day {event.day:5.1f}  {event.what}: {event.reason}")
    output.line()
    for stage, findings in last_findings(one).items():
        output.line(output.paint(stage, "bold"))
        for finding in findings:
            fired = bool(finding.evidence.get("trigger"))
            met = finding.met
            output.mark(
                f"{finding.rule}: {finding.reason}",
                ok=None if met is None else met != fired,
            )
    output.line()
    output.line(f"{sentence} ({took_s:.0f} s)")
    output.document(
        {
            "status": one.host.engine.state.status.value,
            "reason": one.host.engine.state.reason,
            "seed": one.seed,
            "bad": one.bad,
            "machine_s": took_s,
            "timeline": [
                {"day": e.day, "what": e.what, "reason": e.reason} for e in events
            ],
            "findings": {
                stage: [finding.to_json() for finding in findings]
                for stage, findings in last_findings(one).items()
            },
        }
    )
