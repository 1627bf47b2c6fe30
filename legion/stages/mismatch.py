"""Sample-ratio mismatch: does each arm get the units it should?"""

from __future__ import annotations

from collections.abc import Mapping

from ..canonical import JSON
from ..model import Observation
from ..stats import RatioMismatch, decides, e_value
from .plan import Plan, Stage, Unit


ALPHA = 0.001
"""How often a stage of a splitter that is right may be held for nothing."""

REMEMBERED = 131_072
"""Units that telemetry surely knows again; what comes later may be counted twice."""


def applies(plan: Plan, stage: Stage) -> bool:
    """Tell whether units are split in *stage*, and each is in one arm alone."""
    return 0 < plan.share(stage) < 1 and not stage.mirror


def exposed(
    before: Mapping[str, JSON] | None,
    observation: Observation,
    *,
    plan: Plan,
    stage: Stage,
) -> Mapping[str, JSON] | None:
    """
    Return the test of a stage's split with the units exposed since the last look.

    What was lost, or not followed, may be of one arm alone: such a window is left out.
    Units that come back are counted for as long as all of them are remembered.

    Args:
        before: What this returned last, or None at the start of the stage.
        observation: What was seen since then.
        plan: The plan.
        stage: The stage.
    """
    share = plan.share(stage)
    control = observation.control
    if not applies(plan, stage) or control is None:
        return before
    test = (
        RatioMismatch.of(share, 1 - share)
        if before is None
        else RatioMismatch.from_json(before)
    )
    counts = [window.exposed for window in (observation.candidate, control)]
    forgotten = plan.unit is not Unit.TASK and max(test.counts) >= REMEMBERED
    if observation.lost or forgotten or None in counts:
        return test.to_json()
    return test.update(*(n for n in counts if n is not None)).to_json()


def mismatch(test: Mapping[str, JSON] | None) -> str:
    """Return what does not fit the planned shares, or "" while nothing does."""
    if test is None:
        return ""
    found = RatioMismatch.from_json(test)
    if not decides(found.log_e, alpha=ALPHA):
        return ""
    candidate, all_units = found.counts[0], sum(found.counts)
    return (
        f"units are not split as planned: {candidate:,} of {all_units:,} had the"
        f" candidate, {candidate / all_units:.3g} where {found.shares[0]:.3g} was"
        f" planned, E {e_value(found.log_e):.3g} of {1 / ALPHA:.4g}; arms cannot be"
        " compared. Look for units that crash or leave before anything of them is"
        " recorded, for events that one arm alone records, and for a cache or a"
        " splitter of its own in front"
    )
