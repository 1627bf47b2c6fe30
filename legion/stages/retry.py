"""What a rollout takes over from the one that it tries again."""

from __future__ import annotations

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
    continuation). That asks that each factor is an e-value whatever the tries before
    have shown. So each try splits the units anew, by its own name: who would have
    fared worse anyhow is then in either arm by a chance of its own, and who went bad
    before counts again, as they do in both arms.

    Attributes:
        log_e: Evidence of harm of the tries before, as a log e-value in nats.
    """

    log_e: float = 0.0

    @classmethod
    def of(cls, plan: Plan, database: Database) -> Retry:
        """
        Return what *plan* begins with.

        Raises:
            StateError: What it tries again is not known here, is not over, has been
                tried again already, or has been proven to do harm.
        """
        if not plan.retry_of:
            return cls()
        earlier = StateFile.of(database, plan.retry_of)
        state = earlier.load()
        if state is None:
            raise _refused(plan, "is not known here; write the name of an earlier plan")
        if (newer := _newest(earlier, plan)) is not None:
            why = f"was tried again by {newer} already; write retry_of: {newer}"
            raise _refused(plan, why)
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
        return cls(log_e=budget.log_e)


def _newest(file: StateFile, plan: Plan) -> str | None:
    """Return the last of the other tries after the one that *plan* names, or None."""
    after = {
        one.retry_of: one.name
        for one in file.plans()
        if one.name != plan.name
        and StateFile.of(file.database, one.name).load() is not None
    }
    newest = None
    while (newer := after.pop(newest or plan.retry_of, None)) is not None:
        newest = newer
    return newest


def _refused(plan: Plan, why: str) -> StateError:
    return StateError(plan.name, f"retry_of: {plan.retry_of} {why}")
