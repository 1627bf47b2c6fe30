"""
What a mark on a tool costs its caller, beside the bare call in the same run.

    python benchmarks/bench_tool.py [ROUNDS]

Outside of a trial the mark reads one context variable. Inside it digests the arguments
and notes the call; in a mirrored run it looks up what control was answered. The tool
does nothing, so the difference is the mark's. CPU time of this thread, the loop included.
"""

from __future__ import annotations

import asyncio
import sys

from collections.abc import Callable

from canary import opened
from rounds import cpu_ns, show, take_turns

import legion


CALLS = 500
"""Calls in a trial: fewer than are noted."""


def bare(order: str, amount: float) -> str:
    """Answer at once."""
    return order


async def abare(order: str, amount: float) -> str:
    """Answer at once."""
    return order


marked = legion.tool(bare, effects=True)
amarked = legion.tool(abare, effects=True)


def loop_of(call: Callable[[str, float], str]) -> Callable[[], object]:
    """Return so many calls of a plain tool."""

    def calls() -> None:
        for _ in range(CALLS):
            call("order-1", 5.0)

    return calls


def aloop_of(call: Callable[[str, float], object]) -> Callable[[], object]:
    """Return so many calls of an async tool."""

    async def calls() -> None:
        for _ in range(CALLS):
            await call("order-1", 5.0)  # type: ignore[misc]

    loop = asyncio.new_event_loop()
    return lambda: loop.run_until_complete(calls())


def main(rounds: int) -> None:
    """Measure and print."""
    outside = {
        "bare call": loop_of(bare),
        "marked, outside of a trial": loop_of(marked),
        "bare await": aloop_of(abare),
        "marked await, outside of a trial": aloop_of(amarked),
    }
    with opened() as host:

        def inside() -> None:
            with host.engine.trial("user-1"):
                loop_of(marked)()

        runs = {**outside, "marked, inside of a trial": inside}

        def one_round() -> dict[str, float]:
            took = {name: cpu_ns(run) / CALLS for name, run in runs.items()}
            host.engine.telemetry.drain()
            return took

        times = take_turns(rounds, one_round)
    show("A tool that does nothing", times, unit="ns of CPU time a call")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 40)
