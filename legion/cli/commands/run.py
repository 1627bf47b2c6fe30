"""``legion run``: a plan rolled out around an application."""

from __future__ import annotations

import argparse
import asyncio
import inspect
import traceback

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from ...host import Host
from ...stages import Status
from ..factory import Factory
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


_WRITE = (
    "MODULE:FACTORY, such as shop.app:make, a function that takes the host and returns"
    " what is to run"
)


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
    factory = Factory("--app", arguments.app, _WRITE)
    factory.refuse_unless_there()
    with Host.open(arguments.plan, state=arguments.state) as host:
        ended = _ended(_app(factory, host), host)
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


def _app(factory: Factory, host: Host) -> App:
    app = factory(host)
    if inspect.iscoroutine(app):
        app.close()
        raise factory.wrong(why="is async; only what it returns may be")
    if not callable(app):
        raise factory.wrong(why=f"returned {app!r}, which cannot be called")
    return app


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
