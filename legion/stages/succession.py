"""What a new rollout lets go of that earlier ones left in the state file."""

from __future__ import annotations

import logging

from ..exceptions import StateCorruptError
from ..store import Memory
from ..store.lease import Lease
from .persistence import StateFile
from .plan import Plan
from .state import Status
from .unit_rows import UnitRows


logger = logging.getLogger("legion")


def succeed(file: StateFile, plan: Plan) -> None:
    """
    Delete the units of the rollouts that end with *plan*, which begins.

    Who went bad, and how often each came, is known so that nobody counts twice in a
    rollout's evidence. One that went back decides on none any more. One that is complete
    is watched on, until a rollout begins from what it has brought, and nobody turns it.
    What each has spent of its budget stays, as do its state, its latch and its records.

    Call it in the transaction that begins the rollout.
    """
    for name in {one.name for one in file.plans() if _is_over(file, one, plan)}:
        UnitRows(file.database, name).clear()
        Memory(file.database, name).leave()


def _is_over(file: StateFile, one: Plan, plan: Plan) -> bool:
    if one.name == plan.name:
        return False
    try:
        state = StateFile(file.database, one.name, file.clock).load()
    except StateCorruptError:
        logger.warning("rollout %s stays as it is", one.name, exc_info=True)
        return False
    if state is None or state.unsettled or state.in_doubt is not None:
        return False
    if state.status is Status.COMPLETE:
        turned = Lease(file.database, one.name, file.clock).is_held
        return one.candidate == plan.baseline and not turned
    return state.status is Status.ROLLED_BACK
