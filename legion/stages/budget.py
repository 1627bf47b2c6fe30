"""One budget for every path that can go back by itself."""

from __future__ import annotations

import math

from collections.abc import Iterator, Mapping
from typing import cast

import attrs

from ..model import Finding
from ..stats import WeightedSum, decides, e_value, freezes
from .evidence import CRITICAL, TRIGGER, part
from .state import RolloutState


_LEAST = 1e-300

KEPT_BACK = 0.1
"""Where units come back: the share of what a stay may stake that later stays have."""


@attrs.frozen(kw_only=True)
class Spent:
    """
    What one path has spent of the budget.

    Attributes:
        key: The path, as in `RolloutState.findings`.
        stage: In which stage.
        weight: Its share of the budget, 0..1.
        e: Its e-value, of all stays in the stage.
        log_term: Log of the two multiplied, in nats.
    """

    key: str
    stage: str
    weight: float
    e: float
    log_term: float


@attrs.frozen(kw_only=True)
class Budget:
    """
    All evidence of harm, weighed together: `legion.stats.WeightedSum`.

    Parts that have not started count as 1, those of stages that were left keep their
    last value, so what was spent stays spent; that of an earlier try is a factor of it
    all (see `legion.stages.retry`). The ladder freezes at 10 and goes back at
    1 / *alpha*.

    A stage that is lowered to and entered again bets on. Tasks are others then, so all
    that the part has is staked on their e-value, and the two multiply. Users who come
    back have the arms that they had, and what they did once they do again: a product
    would count the same luck in each stay. So stay k stakes a share fixed beforehand,
    .9 x .1 ** (k - 1) of the part: a weighted sum of e-values, which is one whatever
    they have to do with each other.

    Attributes:
        alpha: The plan's ``false_rollback``.
        log_e: Log of the combined e-value, in nats.
        parts: What each path has spent, the greatest first.
        run_length_s: Where nobody has the control: on average no false alarm in this
            time, in seconds; else None.
    """

    alpha: float
    log_e: float
    parts: tuple[Spent, ...]
    run_length_s: float | None = None

    @classmethod
    def of(cls, state: RolloutState, *, alpha: float) -> Budget:
        """Return where the budget of *state* stands."""
        if not state.weights:
            return cls(alpha=alpha, log_e=state.before, parts=())
        values = {**state.spent, **dict(_running(state))}
        known = {name: log_e for name, log_e in values.items() if name in state.weights}
        total = WeightedSum(weights=state.weights)
        terms = total.terms(known)
        parts = [
            Spent(
                key=name.partition(" | ")[2],
                stage=name.partition(" | ")[0],
                weight=state.weights[name],
                e=e_value(known[name]),
                log_term=terms[name],
            )
            for name in known
        ]
        parts.sort(key=lambda spent: (-spent.log_term, spent.stage, spent.key))
        lengths = [f.evidence.get("run_length_s") for f in state.findings.values()]
        found = [float(each) for each in lengths if isinstance(each, int | float)]
        return cls(
            alpha=alpha,
            log_e=state.before + total.log_e(known),
            parts=tuple(parts),
            run_length_s=min(found, default=None),
        )

    @property
    def e(self) -> float:
        """The combined e-value."""
        return e_value(self.log_e)

    @property
    def freezes(self) -> bool:
        """Whether the ladder must not be climbed for now."""
        return freezes(self.log_e)

    @property
    def decides(self) -> bool:
        """Whether it is proven that something got worse."""
        return decides(self.log_e, alpha=self.alpha)


def spent_after(state: RolloutState) -> Mapping[str, float]:
    """Return what is spent for good once the stage of *state* is left."""
    return {**state.spent, **dict(_running(state))} if state.stage else state.spent


def _running(state: RolloutState) -> Iterator[tuple[str, float]]:
    for key, finding in harmful(state.findings):
        name = part(state.stage, key)
        before = state.spent.get(name, 0.0)
        log_e = math.log(max(finding.bad, _LEAST))
        if state.kept_back:
            stake = (1 - state.kept_back) * state.kept_back ** state.left(state.stage)
            e = math.exp(before) + stake * math.expm1(log_e)
            yield name, math.log(max(e, _LEAST))
        else:
            yield name, before + log_e


def excess_of(finding: Finding) -> float | None:
    """
    Return how many more units went bad than at control's rate.

    Where nobody has the control: than at the limit that they are held to there. None
    where nothing of control is of age, or there is neither.
    """
    seen = finding.evidence
    rate = seen.get("bad_share")
    if control := seen.get("control_units"):
        rate = cast("float", seen["control_bad_units"]) / cast("int", control)
    if not isinstance(rate, int | float):
        return None
    return cast("float", seen["bad_units"]) - cast("float", seen["units"]) * rate


def harmful(findings: Mapping[str, Finding]) -> Iterator[tuple[str, Finding]]:
    """Yield the findings that spend from the budget."""
    for key, finding in findings.items():
        if key.startswith((TRIGGER, CRITICAL)) and not finding.fact:
            yield key, finding
