"""What users type, as type checkers see it; never run."""

from __future__ import annotations

import legion

from legion.testing import Rollout, check_criterion


@legion.criterion(unit="share", warning=0.01, critical=0.05, min_events=100)
def toxicity(window: legion.Window) -> float | None:
    """Share of the answers that were toxic."""
    return window.share("toxic")


check_criterion(toxicity)
plan: legion.Plan = legion.Plan.load("rollout.yaml")
plugins = legion.Plugins(toxicity)
decision: str = Rollout(plan, plugins).feed(errors="3x").run().decision

with legion.Host.open(plan, state="var/legion", plugins=plugins) as host:
    turn = host.tick()
    moved: legion.Outcome | None = turn.outcome
    arm: legion.Arm = host.engine.assign("user-1")
    answer: str = host.engine.run_sync("user-1", control=str, candidate=repr, args=(1,))


async def old(order: str) -> str:
    return order


async def serve(engine: legion.StageEngine) -> str:
    plain: str = await engine.run("user-1", control=str, candidate=repr, args=(1,))
    return plain + await engine.run("user-1", control=old, candidate=old, args=("A",))


@legion.tool(effects=True)
def refund(order: str, amount: float) -> str:
    return order


async def look_up(order: str) -> float:
    return 1.0


search = legion.tool(look_up, effects=False, name="search")
paid: str = refund("A", amount=5)


async def agent(order: str) -> str:
    trial = legion.current_trial()
    if trial is not None:
        trial.score("cost", 0.01)
    return refund(order, await search(order))


cache: legion.SemanticCache[str] = legion.SemanticCache(lambda texts: [[1.0, 0.0]])
hit = cache.get("question")
value: str | None = None if hit is None else hit.value
answered: str = cache.get_or_compute("question", str.upper)


def of_length(text: str, n: int) -> legion.cache.Scope[str]:
    return cache.scope(str(n))


@cache.cached(question="text", scope=of_length)
def shorten(text: str, n: int) -> str:
    return text[:n]


shortened: str = shorten("text", n=2)

with legion.Host.reopen("var/legion", readonly=True) as looked_at:
    share: float = looked_at.engine.exposure.share


# What must be told while it is typed: both checkers complain if it is not.
@legion.criterion  # type: ignore[arg-type]
def without_brackets(window: legion.Window) -> float | None:
    return window.share("toxic")


refund(5, 5.0)  # type: ignore[arg-type]
legion.tool(effects="yes")  # type: ignore[call-overload]
cache.put_many([("question",)])  # type: ignore[list-item]
shorten("text", n="2")  # type: ignore[arg-type]
