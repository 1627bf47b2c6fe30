"""The candidate's unseen turn on a unit of control."""

from __future__ import annotations

import inspect
import logging

from collections.abc import Callable
from typing import Self, TypeVar

import attrs

from ..model import Arm
from ..telemetry import UNMIRRORED
from .trial import Trial


logger = logging.getLogger("legion")

T = TypeVar("T")

DISAGREEMENT = "disagreement"


@attrs.define(eq=False)
class Shadow(Trial):
    """A trial of the candidate on a unit of control, whose answer nobody gets."""

    @classmethod
    def of(cls, trial: Trial) -> Self:
        """Return the shadow of control's *trial*."""
        return cls(
            trial.unit,
            Arm.CANDIDATE,
            trial.exposure,
            trial.place,
            trial._telemetry,
            trial._clock,
            trial.slices,
        )

    def drop(self) -> None:
        """Record that it will not come, as too many wait."""
        self._mark(UNMIRRORED, self._clock.machine())

    def compare(self, agree: Callable[[T, T], bool], answer: T, other: T) -> None:
        """
        Record whether the answers differ, once this trial is over.

        It is no part of the trial: an *agree* that is slow or raises says nothing of
        the candidate. Without its answer the evidence is missing, and the window says
        why.
        """
        try:
            same: object = agree(answer, other)
            if inspect.iscoroutine(same):
                same.close()
                why = "agree returned a coroutine; write a plain function"
            else:
                self.event(DISAGREEMENT, not same)
                return
        except Exception as error:
            logger.warning("agree raised; the answers are not compared", exc_info=True)
            why = f"agree raised {type(error).__name__}"
        digest = self.exposure.digest
        self._telemetry.refuse(DISAGREEMENT, self.arm, why, exposure=digest)
