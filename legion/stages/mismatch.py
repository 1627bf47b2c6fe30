"""Sample-ratio mismatch: does each arm get, and keep, the units it should?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self, cast

import attrs

from ..canonical import JSON
from ..model import Observation, Window
from ..stats import RatioMismatch, decides, e_value
from .plan import Plan, Stage, Unit


ALPHA = 0.001
"""How often a stage of a splitter that is right may be held for nothing."""

REMEMBERED = 131_072
"""Units that telemetry surely knows again; what comes later may be counted twice."""


@attrs.frozen(kw_only=True)
class Split:
    """
    Whether arms of one stage can be compared at all.

    Both tests spend half of `ALPHA`. What was found once stays: looked at often enough,
    any evidence falls again, and what it was found in is still among the stage's own.

    Attributes:
        exposed: Of the units that were exposed.
        cancelled: Of those that were cut off and have no outcome.
        found: What does not fit the planned shares, or "".
    """

    exposed: RatioMismatch
    cancelled: RatioMismatch
    found: str = ""

    @classmethod
    def of(cls, share: float) -> Self:
        """Start the tests of a stage that gives the candidate this *share*."""
        blank = RatioMismatch.of(share, 1 - share)
        return cls(exposed=blank, cancelled=blank)

    def seen(self, candidate: Window, control: Window, *, counted: bool) -> Self:
        """
        Return the tests after one more look.

        Args:
            candidate: What was recorded of it.
            control: What was recorded of control.
            counted: Whether the exposed units are surely counted, each once.
        """
        split = attrs.evolve(
            self,
            cancelled=self.cancelled.update(candidate.cancelled, control.cancelled),
        )
        if counted and candidate.exposed is not None and control.exposed is not None:
            more = self.exposed.update(candidate.exposed, control.exposed)
            split = attrs.evolve(split, exposed=more)
        return attrs.evolve(split, found=self.found or split._finds())

    def _finds(self) -> str:
        if decides(self.exposed.log_e, alpha=ALPHA / 2):
            return (
                f"units are not split as planned: {_said(self.exposed)}; arms cannot be"
                " compared. Look for units that crash or leave before anything of them"
                " is recorded, for events that one arm alone records, and for a cache"
                " or a splitter of its own in front"
            )
        if decides(self.cancelled.log_e, alpha=ALPHA / 2):
            return (
                f"one arm's units are cut off more often: {_said(self.cancelled)}; they"
                " have no outcome, and those that are left look better. Put timeouts"
                " inside of what `run` calls, where they count as failures"
            )
        return ""

    def to_json(self) -> dict[str, JSON]:
        """Return what `from_json` reads back to equal tests."""
        return {
            "exposed": self.exposed.to_json(),
            "cancelled": self.cancelled.to_json(),
            "found": self.found,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, JSON]) -> Self:
        """Read what `to_json` wrote."""
        return cls(
            exposed=RatioMismatch.from_json(_mapping(value["exposed"])),
            cancelled=RatioMismatch.from_json(_mapping(value["cancelled"])),
            found=str(value["found"]),
        )


def exposed(
    before: Mapping[str, JSON] | None,
    observation: Observation,
    *,
    plan: Plan,
    stage: Stage,
    once: bool = True,
) -> Mapping[str, JSON] | None:
    """
    Return the tests of a stage's split with what came since the last look.

    What was lost, or not followed, may be of one arm alone: such a window is left out.
    Units that come back are counted for as long as all of them are remembered.

    Args:
        before: What this returned last, or None at the start of the stage.
        observation: What was seen since then.
        plan: The plan.
        stage: The stage.
        once: Whether whoever is new here is surely new.
    """
    control, share = observation.control, plan.share(stage)
    if control is None or stage.mirror or not 0 < share < 1:
        return before
    split = Split.of(share) if before is None else Split.from_json(before)
    if observation.lost:
        return split.to_json()
    most = max(split.exposed.counts)
    forgotten = plan.unit is not Unit.TASK and most >= REMEMBERED
    seen = split.seen(observation.candidate, control, counted=once and not forgotten)
    return seen.to_json()


def mismatch(test: Mapping[str, JSON] | None) -> str:
    """Return what does not fit the planned shares, or "" while nothing did."""
    return "" if test is None else str(test["found"])


def _said(test: RatioMismatch) -> str:
    candidate, all_units = test.counts[0], sum(test.counts)
    return (
        f"{candidate:,} of {all_units:,} had the candidate, {candidate / all_units:.3g}"
        f" where {test.shares[0]:.3g} was planned, E {e_value(test.log_e):.3g} of"
        f" {2 / ALPHA:.4g}"
    )


def _mapping(value: JSON) -> Mapping[str, JSON]:
    return cast("Mapping[str, JSON]", value)
