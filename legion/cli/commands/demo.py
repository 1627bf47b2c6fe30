"""``legion demo``: a real change rolled out, and a bad one taken back."""

from __future__ import annotations

import argparse
import tempfile
import time

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ...exceptions import LegionError, MissingExtraError
from ...stages import Status
from ..main import Commands, command
from ..output import Output


if TYPE_CHECKING:
    from ...demo.rollout import Demo


_FAULTS = ("latency", "errors", "wrong-answers", "checksum")
_REFRESH_S = 0.25
_TEACHES = """\
4.0.0 reuses an answer only for the identical question, 4.1.0 also for one that means
nearly the same. Nothing is simulated: every request is answered, every figure is
measured, and a day of plan time is so many requests.

  legion demo                         the good candidate, up to 100 %
  legion demo --bad errors            a faulty one, taken back
  legion demo --trace questions.csv   on your own questions
  legion demo --report report.html    every decision, with its reason and evidence

Exit code 0: it ended as it should, in full rollout or, with --bad, back at 4.0.0.
"""


def add(commands: Commands) -> None:
    """Add ``legion demo``."""
    one = command(
        commands,
        "demo",
        demo,
        says="roll out a real change on real questions, in about a minute",
        teaches=_TEACHES,
    )
    one.add_argument("--bad", choices=_FAULTS, help="a fault the candidate really has")
    one.add_argument("--trace", type=Path, metavar="FILE", help="CSV or JSONL")
    one.add_argument("--report", type=Path, metavar="FILE", help="write an HTML report")
    one.add_argument(
        "--seed", type=int, default=1, metavar="N", help="orders the questions"
    )
    one.add_argument("--state", type=Path, metavar="DIR", help="keep the state there")
    one.add_argument(
        "--requests-per-day",
        type=_at_least_one,
        default=900,
        metavar="N",
        help="how many requests make a day of plan time (default: %(default)s; with"
        " fewer than 300, a stage may see too little to be judged)",
    )


def _at_least_one(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        msg = f"got {text!r}; write a whole number, 1 or more"
        raise argparse.ArgumentTypeError(msg)
    return number


def demo(arguments: argparse.Namespace, output: Output) -> int:
    """Run the demo, show it live, and say how it ended."""
    try:
        from ...demo import dashboard, ending, report  # noqa: F401 - must be there
        from ...demo.clock import RequestClock
        from ...demo.rollout import Demo
        from ...demo.trace import load
    except ModuleNotFoundError as error:
        extra = "demo"
        raise MissingExtraError(extra, str(error.name)) from error
    _refuse(arguments.report, arguments.state)
    trace = load(arguments.trace)
    with tempfile.TemporaryDirectory() as folder:
        one = Demo(
            trace=trace,
            directory=arguments.state or Path(folder),
            seed=arguments.seed,
            bad=arguments.bad,
            clock=RequestClock(arguments.requests_per_day),
        )
        began_s = time.perf_counter()
        status = _shown(one, output)
        took_s = time.perf_counter() - began_s
        if arguments.report is not None:
            report.write(one, arguments.report, took_s=took_s)
        _say(one, output, took_s)
        output.document(ending.document(one, took_s=took_s))
    wanted = Status.COMPLETE if arguments.bad is None else Status.ROLLED_BACK
    return 0 if status is wanted else 1


def _refuse(report: Path | None, state: Path | None) -> None:
    """Say before the demo, and not after it, what it could not write."""
    if report is not None and (
        report.is_dir() or not report.absolute().parent.is_dir()
    ):
        msg = f"--report: got {report}; write the name of a file in a directory that exists"
        raise LegionError(msg)
    if state is None:
        return
    if state.exists() and not state.is_dir():
        msg = f"--state: got {state}, which is a file; write the name of a directory"
        raise LegionError(msg)
    if state.exists() and any(state.iterdir()):
        earlier = (state / "legion.db").exists()
        holds = "an earlier rollout" if earlier else "files of something else"
        msg = f"--state: {state} holds {holds}; write a new or an empty directory"
        raise LegionError(msg)


def _shown(one: Demo, output: Output) -> Status:
    from ...demo import dashboard

    if not output.live:
        return one.run(lambda demo: output.line(dashboard.line(demo)))
    from rich.console import Console
    from rich.live import Live

    # Painted between two requests, never beside one: that would be measured, too.
    with Live(console=Console(), auto_refresh=False, transient=True) as live:
        return one.run(
            served=_now_and_then(
                lambda demo: live.update(dashboard.Screen(demo), refresh=True)
            )
        )


def _now_and_then(paint: Callable[[Demo], None]) -> Callable[[Demo], None]:
    painted_s = 0.0

    def served(demo: Demo) -> None:
        nonlocal painted_s
        now_s = time.perf_counter()
        if now_s - painted_s >= _REFRESH_S:
            painted_s = now_s
            paint(demo)

    return served


def _say(one: Demo, output: Output, took_s: float) -> None:
    from ...demo import ending

    output.line()
    for event in ending.timeline(one):
        output.hanging(f"day {event.when:<8} ", f"{event.what}: {event.reason}")
    for stage, targets in ending.targets(one).items():
        output.line()
        output.line(output.paint(stage, "bold"))
        for target in targets:
            output.mark(target.text, ok=target.holds)
    output.line()
    output.hanging("", f"{ending.sentence(one)}. ({took_s:.0f} s)")
