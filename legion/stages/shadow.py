"""The candidate's unseen turn on a unit of control."""

from __future__ import annotations

import inspect
import logging

from collections.abc import Callable
from types import TracebackType
from typing import Self, TypeVar

import attrs

from ..metrics import CONTAINMENT, DISAGREEMENT, TOOL_PLAN
from ..model import Arm
from ..telemetry import NAMES, TRIAL, UNMIRRORED
from ..tools import Fence
from .trial import Trial


logger = logging.getLogger("legion")

T = TypeVar("T")


@attrs.define(eq=False)
class Shadow(Trial):
    """
    A trial of the candidate on a unit of control, whose answer nobody gets.

    A fence stands around it: tools with effects do not run, their stand-ins answer. A
    run that calls what control did not, and nobody can answer, has no outcome: the
    candidate did not fail, it went elsewhere. It has no answer to compare either, and
    counts as disagreeing, or it would be in no metric at all and look like health.

    Attributes:
        fence: The fence.
    """

    fence: Fence = attrs.field(init=False)

    @classmethod
    def of(cls, trial: Trial) -> Self:
        """Return the shadow of control's *trial*."""
        shadow = cls(
            trial.unit,
            Arm.CANDIDATE,
            trial.exposure,
            trial.place,
            trial._telemetry,
            trial._clock,
            trial.slices,
        )
        shadow.fence = Fence(trial.calls, shadow._violated)
        return shadow

    def _violated(self) -> None:
        # Of no exposure: it is a fact of the candidate's code, and one that comes after
        # the pointer has moved must not be left out as stale.
        self._telemetry.add(CONTAINMENT, self.arm, unit=self.place)

    def drop(self) -> None:
        """Record that its answer will not come."""
        self.fence.recorded.forget()
        # Of no exposure: its own may be over by now, and would be left out as stale.
        arm, at_s = NAMES[self.arm], self._clock.machine()
        self._telemetry.record((TRIAL, arm, self.place, "", at_s, UNMIRRORED))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # Whatever the candidate made of it, or raised later.
        departed = self.fence.departed
        super().__exit__(kind, departed or error, traceback)
        self.fence.recorded.forget()
        if departed is not None:
            self.event(DISAGREEMENT, flag=True)
            self.event(TOOL_PLAN, flag=True)

    def compare(self, agree: Callable[[T, T], bool], answer: T, other: T) -> None:
        """
        Record whether answers and tool plans differ, once this trial is over.

        It is no part of the trial: an *agree* that is slow or raises says nothing of
        the candidate. Without its answer the evidence is missing, and the window says
        why. Of a pair that called no marked tool there is no tool plan to compare.
        """
        if self.fence.departed is not None:
            return
        control, calls = self.fence.recorded, self.calls
        if control.made or calls.made:
            self.event(TOOL_PLAN, not control.agrees(calls))
        self._compare_answers(agree, answer, other)

    def _compare_answers(
        self, agree: Callable[[T, T], bool], answer: T, other: T
    ) -> None:
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
