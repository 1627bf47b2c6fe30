"""What a rollout takes over from the one that it tries again."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from ..exceptions import StateError
from ..store import Database
from .budget import Budget
from .persistence import StateFile
from .plan import Plan
from .state import Status


@attrs.frozen(kw_only=True)
class Retry:
    """
    What was known before the first look.

    The evidence of the tries before is a factor of all that comes: the product is one
    e-process over all tries, so the chance that any of them goes back for nothing stays
    the plan's ``false_rollback`` (Ramdas, Grunwald, Vovk, Shafer 2023, optional
    continuation).

    Attributes:
        salt: Name of the first try, by which units are split in all of them.
        log_e: Evidence of harm of the tries before, as a log e-value in nats.
        units: By metric, units that went bad in them, as 64-bit hashes.
    """

    salt: str
    log_e: float = 0.0
    units: Mapping[str, frozenset[int]] = attrs.field(factory=dict)

    @classmethod
    def of(cls, plan: Plan, database: Database) -> Retry:
        """
        Return what *plan* begins with.

        Raises:
            StateError: What it tries again is not known here, is not over, or has been
                proven to do harm.
        """
        if not plan.retry_of:
            return cls(salt=plan.name)
        earlier = StateFile.of(database, plan.retry_of)
        state = earlier.load()
        if state is None:
            raise _refused(plan, "is not known here; write the name of an earlier plan")
        if state.status is not Status.ROLLED_BACK:
            raise _refused(plan, f"is {state.status}; roll it back first")
        budget = Budget.of(state, alpha=plan.false_rollback)
        if budget.decides:
            why = (
                f"is proven to do harm, E {budget.e:.3g} of {1 / budget.alpha:.3g}, and"
                " would go back at once; mend the candidate, and roll that out without"
                " retry_of"
            )
            raise _refused(plan, why)
        units = {name: frozenset(bad) for name, bad in earlier.units.bad().items()}
        salt = state.salt or plan.retry_of
        return cls(salt=salt, log_e=budget.log_e, units=units)


def _refused(plan: Plan, why: str) -> StateError:
    return StateError(plan.name, f"retry_of: {plan.retry_of} {why}")
