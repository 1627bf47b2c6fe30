"""The hot path: which arm a unit gets, and what it records. Never touches the disk."""

from __future__ import annotations

import operator

from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import attrs

from ..model import Arm, Clock
from .exposure import Exposure
from .mirror import Mirror
from .plan import Feature
from .splitter import Order, before
from .trial import Recording, Trial, is_interruption, trial_of


if TYPE_CHECKING:
    import numpy as np

    from numpy.typing import NDArray


P = ParamSpec("P")
T = TypeVar("T")

# Looking a member up in its class costs as much as a call before Python 3.12.
_CANDIDATE, _CONTROL = Arm.CANDIDATE, Arm.CONTROL

_HALF = 32
_LOW = (1 << _HALF) - 1


@attrs.define(eq=False)
class Traffic:
    """
    Sends each unit to its arm and records how it went.

    It reads one immutable exposure; moving the pointer is one assignment, so a request
    sees either the old exposure or the new one, never a mixture.

    Attributes:
        exposure: What is exposed right now.
        mirror: Where mirrored runs wait.
    """

    exposure: Exposure
    mirror: Mirror
    _splitter: Order = attrs.field(alias="splitter")
    _telemetry: Recording = attrs.field(alias="telemetry")
    _clock: Clock = attrs.field(alias="clock")

    def assign(self, unit: str) -> Arm:
        """Return the arm of *unit*; the same one as long as the share does not fall."""
        inside = self._splitter.hash(unit) < self.exposure.threshold
        return _CANDIDATE if inside else _CONTROL

    def assign_many(self, units: Iterable[str]) -> NDArray[np.bool_]:
        """Return which of *units* get the candidate, shape (n,), dtype bool."""
        return before(self._splitter.hash_many(units), self.exposure.share)

    def feature(self, name: str, unit: str) -> Feature:
        """
        Return the flag and settings of a feature as *unit* has it.

        Inside a trial of this plan, a mirrored run included, the arm of that trial
        counts, and what was exposed when it began.
        """
        trial = trial_of(self.exposure.plan)
        if trial is not None:
            return trial.feature(name)
        return self.exposure.feature(name, self.assign(unit))

    def trial(self, unit: str) -> Trial:
        """Return the unit's turn, to be entered with ``with`` or ``async with``."""
        exposure = self.exposure
        place = self._splitter.hash(unit)
        arm = _CANDIDATE if place < exposure.threshold else _CONTROL
        return Trial(unit, arm, exposure, place, self._telemetry, self._clock)

    async def run(
        self,
        unit: str,
        *,
        control: Callable[..., Awaitable[T]],
        candidate: Callable[..., Awaitable[T]],
        args: tuple[object, ...] = (),
        mirror: Callable[..., Awaitable[T]] | None = None,
        agree: Callable[[T, T], bool] = operator.eq,
    ) -> T:
        """
        Answer with the unit's arm, time it, and mirror it where the stage says so.

        Args:
            unit: What is randomised: a task, a session or a user.
            control: The way it has been done so far.
            candidate: The way it is to be done.
            args: Positional arguments of both.
            mirror: The candidate with stand-ins for everything that has effects. It is
                run beside control, in the background, and its answer is thrown away.
                Without it nothing is mirrored.
            agree: Tells whether control's answer and the mirrored one are the same.

        Returns:
            The answer of the unit's arm.
        """
        async with self.trial(unit) as trial:
            ask = candidate if trial.arm is _CANDIDATE else control
            answer = await ask(*args)
        if mirror is not None and self._mirrors(trial):

            async def shadow() -> None:
                async with self._shadow(trial) as second:
                    other = await mirror(*args)
                    second.event("disagreement", not agree(answer, other))

            self.mirror.spawn(lambda: _unless_failed(shadow))
        return answer

    def run_sync(
        self,
        unit: str,
        *,
        control: Callable[..., T],
        candidate: Callable[..., T],
        args: tuple[object, ...] = (),
        mirror: Callable[..., T] | None = None,
        agree: Callable[[T, T], bool] = operator.eq,
    ) -> T:
        """
        Do as `run` does, in plain code.

        A mirrored run waits until ``host.tick()`` or the host's thread drains the
        queue.
        """
        with self.trial(unit) as trial:
            ask = candidate if trial.arm is _CANDIDATE else control
            answer = ask(*args)
        if mirror is not None and self._mirrors(trial):

            def shadow() -> None:
                try:
                    with self._shadow(trial) as second:
                        other = mirror(*args)
                        second.event("disagreement", not agree(answer, other))
                except Exception as error:
                    # The trial has counted it; nobody waits for this answer.
                    if is_interruption(error):
                        raise

            self.mirror.queue(shadow)
        return answer

    def _mirrors(self, trial: Trial) -> bool:
        # The other half of the hash, so that mirroring is independent of the share.
        place = trial.place
        swapped = (place >> _HALF) | ((place & _LOW) << _HALF)
        return trial.arm is _CONTROL and swapped < trial.exposure.mirror_threshold

    def _shadow(self, trial: Trial) -> Trial:
        return Trial(
            trial.unit,
            _CANDIDATE,
            trial.exposure,
            trial.place,
            self._telemetry,
            self._clock,
        )


async def _unless_failed(shadow: Callable[[], Awaitable[None]]) -> None:
    try:
        await shadow()
    except Exception as error:
        # The trial has counted it; nobody waits for this answer.
        if is_interruption(error):
            raise
