"""What each move makes of a rollout's state; no clock, no file, no world."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from ..model import Change, Move
from .budget import spent_after
from .exposure import Exposure
from .rungs import Rungs
from .state import RolloutState, Status


UPDATE = "update"
"""Kind of a change that exposes other code in the same stage."""


def marked(
    state: RolloutState, move: Move, reason: str, *, rungs: Rungs
) -> RolloutState:
    """Return where the ladder stands after a decision that moves no pointer."""
    status = {
        (Move.FREEZE, Status.RUNNING): Status.FROZEN,
        (Move.ADVANCE, Status.RUNNING): Status.COMPLETE,
        (Move.ADVANCE, Status.FROZEN): Status.COMPLETE,
        (Move.HOLD, Status.FROZEN): Status.RUNNING,
    }.get((move, state.status), state.status)
    if status is Status.COMPLETE and rungs.next_stage(state.stage):
        status = state.status  # Only the last stage completes.
    if status is state.status:
        return state
    return attrs.evolve(state, status=status, reason=reason)


def intended(state: RolloutState, change: Change) -> RolloutState:
    """Return the state while it is not known whether *change* was made."""
    return attrs.evolve(state, in_doubt=change)


def arrived(
    state: RolloutState,
    change: Change,
    exposure: Exposure,
    reason: str,
    *,
    rungs: Rungs,
) -> RolloutState:
    """Return the state once *change* has brought it forward to *exposure*."""
    if change.kind == UPDATE:
        proofs = rungs.proofs(rungs.plan.stage(exposure.stage))
        return state.renewed(exposure.digest, reason, proofs=proofs)
    moved = state.entered(
        exposure.stage,
        exposure.digest,
        reason,
        control=exposure.share < 1,
        spent=spent_after(state),
    )
    if state.weights:
        return moved
    return attrs.evolve(moved, weights=rungs.weights(), kept_back=rungs.kept_back)


def undone(state: RolloutState) -> RolloutState:
    """Return the state once it is known that the change was not made."""
    return attrs.evolve(state, in_doubt=None, mover="")


def rehearsed(
    state: RolloutState, *, took_s: float | None, reason: str, returned: bool
) -> RolloutState:
    """
    Return the state after a rehearsal.

    Args:
        state: The state during it.
        took_s: Machine time of the way back, or None where that was no success.
        reason: What came of it.
        returned: Whether it is back where it was; if not, that is in doubt.
    """
    return attrs.evolve(
        state,
        in_doubt=None if returned else state.in_doubt,
        mover="" if returned else state.mover,
        rehearsed_s=took_s,
        rehearsal=reason,
    )


def lowered(
    state: RolloutState, exposure: Exposure, code: str, reason: str
) -> RolloutState:
    """Return the state at the start of a lower stage, before the world agrees."""
    entered = _counted(state, code).entered(
        exposure.stage,
        exposure.digest,
        reason,
        control=True,
        spent=spent_after(state),
    )
    return attrs.evolve(entered, unsettled=True)


def rolled_back(
    state: RolloutState, exposure: str, code: str, reason: str, *, verified: bool
) -> RolloutState:
    """Return the state once everybody has the baseline, for good."""
    return attrs.evolve(
        _counted(state, code),
        status=Status.ROLLED_BACK,
        stage="",
        exposure=exposure,
        spent=spent_after(state),
        in_doubt=None,
        mover="",
        unsettled=not verified,
        reason=reason,
    )


def settled(state: RolloutState, reason: str) -> RolloutState:
    """Return the state once a retreat that was left open is verified."""
    back = state.status is Status.ROLLED_BACK
    return attrs.evolve(state, unsettled=False, reason=reason if back else state.reason)


def switched_off(
    state: RolloutState, names: frozenset[str], exposure: str, *, verified: bool
) -> RolloutState:
    """Return the state once features are off for good."""
    return attrs.evolve(
        state,
        exposure=exposure,
        off=state.off | names,
        unsettled=state.unsettled or not verified,
    )


def _counted(state: RolloutState, code: str) -> RolloutState:
    again = state.status is Status.ROLLED_BACK
    by_itself = code.startswith(("trigger:", "critical:"))
    return attrs.evolve(
        state,
        rollbacks=state.rollbacks + (not again),
        unplanned=state.unplanned + (by_itself and not again),
    )


def code_of(change: Change) -> Mapping[str, str] | None:
    """Return the code that *change* says it exposes, by arm, or None."""
    code = change.detail.get("code")
    return {k: str(v) for k, v in code.items()} if isinstance(code, Mapping) else None
