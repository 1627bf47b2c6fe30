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

cache: legion.SemanticCache[str] = legion.SemanticCache(lambda texts: [[1.0, 0.0]])
hit = cache.get("question")
value: str | None = None if hit is None else hit.value
answered: str = cache.get_or_compute("question", str.upper)

with legion.Host.reopen("var/legion", readonly=True) as looked_at:
    share: float = looked_at.engine.exposure.share


# What must be told while it is typed: both checkers complain if it is not.
@legion.criterion  # type: ignore[arg-type]
def without_brackets(window: legion.Window) -> float | None:
    return window.share("toxic")


cache.put_many([("question",)])  # type: ignore[list-item]
