"""``legion run``: a plan rolled out around an application."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import inspect
import sys
import traceback

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeAlias, cast

from ...exceptions import LegionError
from ...host import Host
from ...stages import Status
from ..main import Commands, command
from ..output import Output
from ..standing import headline


App: TypeAlias = Callable[[], object]

_TEACHES = """\
MODULE:FACTORY names a function that takes the host and returns what is to run, plain or
async. The wheel turns in a thread until that returns; started again, the rollout goes on
where it was.

  # shop.py
  def make(host):
      def serve():
          for task in tasks():
              host.engine.run_sync(task.id, control=old, candidate=new, args=(task,))
      return serve

  legion run rollout.yaml --app shop:make --state var/legion
"""


def add(commands: Commands) -> None:
    """Add ``legion run``."""
    one = command(
        commands,
        "run",
        run,
        says="roll a plan out around an application of yours",
        teaches=_TEACHES,
        state=True,
    )
    one.add_argument("plan", metavar="PLAN", help="a .yaml or .toml file")
    one.add_argument("--app", required=True, metavar="MODULE:FACTORY")
    # What the application and its plugins raise is theirs to see in full.
    one.set_defaults(tracebacks=True)


def run(arguments: argparse.Namespace, output: Output) -> int:
    """Open a host, run the application in it, and say how the rollout stands."""
    factory = _factory(arguments.app)
    with Host.open(arguments.plan, state=arguments.state) as host:
        ended = _ended(_app(arguments.app, factory, host), host)
        state = host.engine.state
        output.line(f"{host.plan.name}: {headline(host)}")
        output.document(
            {
                "plan": host.plan.name,
                "status": state.status.value,
                "stage": state.stage,
                "reason": state.reason,
            }
        )
    return 1 if state.status is Status.ROLLED_BACK or not ended else 0


def _factory(name: str) -> Callable[[Host], object]:
    module, _, attribute = name.partition(":")
    if not module or not attribute:
        raise _wrong(name, "is not MODULE:FACTORY")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except Exception as error:
        raise _wrong(name, _raised(error)) from error
    if not callable(found):
        raise _wrong(name, f"is a {type(found).__name__}, not a function")
    return cast("Callable[[Host], object]", found)


def _app(name: str, factory: Callable[[Host], object], host: Host) -> App:
    try:
        app = factory(host)
    except Exception as error:
        raise _wrong(name, _raised(error)) from error
    if inspect.iscoroutine(app):
        app.close()
        raise _wrong(name, "is async; only what it returns may be")
    if not callable(app):
        raise _wrong(name, f"returned {app!r}, which cannot be called")
    return app


def _wrong(name: str, why: str) -> LegionError:
    msg = (
        f"--app: {name!r} {why}; write MODULE:FACTORY, such as shop.app:make, a function"
        " that takes the host and returns what is to run"
    )
    return LegionError(msg)


def _raised(error: Exception) -> str:
    """Say what was raised, and where, if that is in the user's code."""
    said = f"raised {type(error).__name__}: {error}"
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename != __file__ and not frame.filename.startswith("<frozen")
    ]
    if not frames or frames[-1].filename == importlib.__file__:
        return said
    return f"{said} ({Path(frames[-1].filename).name}, line {frames[-1].lineno})"


def _ended(app: App, host: Host) -> bool:
    """Run *app* while the wheel turns; print what it raises, as Python would."""
    try:
        host.start()
        running = app()
        if inspect.isawaitable(running):
            asyncio.run(_awaited(running, host))
    except Exception as error:  # noqa: BLE001 - theirs; the rollout stands apart from it
        traceback.print_exception(error)
        return False
    return True


async def _awaited(running: Awaitable[object], host: Host) -> None:
    await running
    await host.engine.traffic.mirror.join()
