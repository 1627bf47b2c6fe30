"""An asyncio orchestrator that rolls out a new planner with legion.

It keeps its own objects and its own loop. legion decides who gets the new planner,
times both, judges them, and goes on or back. Run it: ``python examples/orchestrator.py``.
"""

from __future__ import annotations

import asyncio
import tempfile

import attrs

import legion


CLEAN = {"metric": "error_rate", "below": "5%"}
WORSE = {"metric": "error_rate", "versus": "baseline", "worse_by": "50%"}
PLAN = {
    "plan": "planner-2",
    "candidate": "2.0.0",
    "baseline": "1.0.0",
    "unit": "task",
    "check_interval": "1s",
    "rollback": {"to": "planner-1", "within": "1m"},
    "triggers": {
        "immediate": [{"metric": "safety_gate_bypasses", "above": 0}],
        "within 1m": [WORSE],
    },
    "stages": [
        {"name": "canary", "traffic": "25%", "dwell": "2s", "validate": [CLEAN]},
        {"name": "everyone", "traffic": "100%", "dwell": "1s", "validate": [CLEAN]},
    ],
}


@attrs.frozen
class Task:
    """Something an agent is asked to do."""

    name: str
    steps: tuple[str, ...]


async def plan_one_by_one(task: Task) -> list[str]:
    """Plan as it has been done so far: one step after the other."""
    done = []
    for step in task.steps:
        await asyncio.sleep(0)
        done.append(step)
    return done


async def plan_at_once(task: Task) -> list[str]:
    """Plan the new way: all steps at once."""
    return list(await asyncio.gather(*(_step(step) for step in task.steps)))


async def _step(step: str) -> str:
    await asyncio.sleep(0)
    return step


async def send(report: str) -> str:
    """Do something that cannot be undone."""
    return f"sent: {report}"


async def orchestrate(host: legion.Host) -> int:
    """Work on tasks until the rollout is over; return how many were done."""
    done = 0
    while not host.engine.state.status.over:
        task = Task(f"task-{done}", ("read", "think", "write"))
        await host.engine.run(
            task.name, control=plan_one_by_one, candidate=plan_at_once, args=(task,)
        )
        done += 1
    return done


async def main() -> None:
    """Roll the planner out, then send a report through the gate."""
    with tempfile.TemporaryDirectory() as folder:
        host = legion.Host.open(legion.Plan.from_dict(PLAN), state=folder)
        async with host:
            done = await asyncio.wait_for(orchestrate(host), timeout=60)
            action = legion.Action(kind="tool", name="send", args={"n": done}, risk=0.2)
            sent = await host.gate.aexecute(action, send, f"{done} tasks")
            state = host.engine.state
            print(f"{state.status.value} after {done} tasks: {state.reason}")
            print(sent.value)
            assert host.journal.verify().ok


if __name__ == "__main__":
    asyncio.run(main())
