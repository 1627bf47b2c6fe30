"""``legion check`` and ``legion run``: a plan before, and during, its rollout."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import inspect
import sys

from collections.abc import Callable, Coroutine
from typing import TypeAlias, cast

from ...exceptions import LegionError
from ...host import Host
from ...metrics import METRICS
from ...plugins import Plugins
from ...stages import Plan, Stage, Status
from ..main import command
from ..output import Output


Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
App: TypeAlias = Callable[[], object]


def add_check(commands: Commands) -> None:
    """Add ``legion check``."""
    one = command(
        commands,
        "check",
        check,
        says="say whether a plan can be rolled out, and what each stage needs",
        teaches="Every fault is listed at once, with its line and what to write.",
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
    dwell = "-" if stage.dwell_s is None else f"{stage.dwell_s / 3600:g} h"
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


def add_run(commands: Commands) -> None:
    """Add ``legion run``."""
    one = command(
        commands,
        "run",
        run,
        says="roll a plan out around an application of yours",
        teaches=(
            "MODULE:FACTORY names a function that takes the host and returns what is to"
            "\nrun, plain or async. The wheel turns in a thread until it returns."
        ),
        state=True,
    )
    one.add_argument("plan", metavar="PLAN", help="a .yaml or .toml file")
    one.add_argument("--app", required=True, metavar="MODULE:FACTORY")


def run(arguments: argparse.Namespace, output: Output) -> int:
    """Open a host, run the application in it, and say how the rollout stands."""
    factory = _factory(arguments.app)
    with Host.open(arguments.plan, state=arguments.state) as host:
        app = factory(host)
        host.start()
        if inspect.iscoroutinefunction(app):
            asyncio.run(cast("Callable[[], Coroutine[None, None, None]]", app)())
        else:
            app()
        state = host.engine.state
        output.line(f"{host.plan.name}: {state.status} in {state.stage or 'no stage'}")
        output.document({"status": state.status.value, "stage": state.stage})
    return 1 if state.status is Status.ROLLED_BACK else 0


def _factory(name: str) -> Callable[[Host], App]:
    module, _, attribute = name.partition(":")
    if not module or not attribute:
        msg = f"--app: got {name!r}; write MODULE:FACTORY, such as shop.app:make"
        raise LegionError(msg)
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        msg = f"--app: {error}; write MODULE:FACTORY of something that can be imported"
        raise LegionError(msg) from error
    return cast("Callable[[Host], App]", found)
