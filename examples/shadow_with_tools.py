"""A support agent whose next version answers in shadow, without paying anybody twice.

The tools are marked, so the new agent itself can be mirrored: its refunds are answered
by what the old agent's refunds were answered. A node of a graph is a plain function of a
state, as LangGraph has it. Run it: ``python examples/shadow_with_tools.py``.
"""

from __future__ import annotations

import asyncio
import tempfile

from typing import TypedDict

import legion


PLAN = {
    "plan": "support-2",
    "candidate": "2.0.0",
    "baseline": "1.0.0",
    "check_interval": "1s",
    "rollback": {"to": "support-1", "within": "1m"},
    "triggers": {
        "within 1m": [
            {"metric": "latency_p95", "versus": "baseline", "worse_by": "100%"}
        ]
    },
    "stages": [
        {
            "name": "shadow",
            "traffic": "0%",
            "mirror": "100%",
            "dwell": "1h",
            "validate": [
                {"metric": "disagreement", "below": "5%"},
                {"metric": "tool_plan_disagreement", "below": "5%"},
                {"metric": "cost_p50", "versus": "baseline", "margin": "10%"},
            ],
        },
        {"name": "everyone", "traffic": "100%", "dwell": "1d"},
    ],
}

paid: list[tuple[str, float]] = []


class State(TypedDict, total=False):
    """What goes through the graph."""

    order: str
    price: float
    reply: str


@legion.tool(effects=False)
async def search(order: str) -> float:
    """Look up what an order cost: a mirrored run does that too."""
    await asyncio.sleep(0)
    return 5.0 + len(order)


@legion.tool(effects=True)
async def refund(order: str, amount: float) -> str:
    """Give money back: a mirrored run gets the answer that control got."""
    await asyncio.sleep(0)
    paid.append((order, amount))
    return f"refund {len(paid)}"


async def look(state: State) -> State:
    """Find the price."""
    return {**state, "price": await search(state["order"])}


async def pay(state: State) -> State:
    """Give it back, and say how much the model cost."""
    number = await refund(state["order"], state["price"])
    trial = legion.current_trial()
    if trial is not None:
        trial.score("cost", 0.01)
    return {**state, "reply": f"{state['price']} back, {number}"}


async def pay_half(state: State) -> State:
    """Do as `pay`, and wrongly now and then."""
    wrong = state["order"].endswith("7")
    return await pay({**state, "price": state["price"] / (2 if wrong else 1)})


async def control(state: State) -> State:
    """Run the graph as it has been."""
    return await pay(await look(state))


async def candidate(state: State) -> State:
    """Run the new graph."""
    return await pay_half(await look(state))


async def main() -> None:
    """Answer 200 customers, each with a mirrored run beside it, and look."""
    with (
        tempfile.TemporaryDirectory() as folder,
        legion.Host.open(legion.Plan.from_dict(PLAN), state=folder) as host,
    ):
        host.tick()
        for n in range(200):
            state: State = {"order": f"order-{n}"}
            await host.engine.run(
                f"task-{n}",
                control=control,
                candidate=candidate,
                mirror=candidate,
                args=(state,),
            )
        await host.engine.traffic.mirror.join()
        seen = host.tick().observation.candidate
    print(f"{len(paid)} refunds for 200 customers")
    for metric in ("disagreement", "tool_plan_disagreement"):
        print(f"{metric}: {seen.share(metric):.0%}")
    assert len(paid) == 200
    assert seen.share("tool_plan_disagreement") == 0.1
    assert seen.count("containment_violations") is None


if __name__ == "__main__":
    asyncio.run(main())
