"""The hot path: which arm a unit gets, and what it records. Never touches the disk."""

from __future__ import annotations

import functools
import operator

from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Generator,
    Iterable,
    Mapping,
)
from typing import TYPE_CHECKING, Protocol, TypeVar, cast, overload

import attrs

from ..model import Arm, Clock
from .answers import (
    aparts_of,
    parts_of,
    plain,
    refuse_async,
    settled,
    whole,
    whole_plain,
    yields,
    yields_async,
)
from .exposure import Exposure
from .mirror import Mirror
from .plan import Feature
from .shadow import Shadow
from .slices import slices_of
from .splitter import Order, before
from .trial import Recording, Trial, trial_of
from .unit import LONGEST, refuse, several


if TYPE_CHECKING:
    import numpy as np

    from numpy.typing import NDArray


T = TypeVar("T")

# Looking a member up in its class costs as much as a call before Python 3.12.
_CANDIDATE, _CONTROL = Arm.CANDIDATE, Arm.CONTROL

_HALF = 32
_LOW = (1 << _HALF) - 1


class Assign(Protocol):
    """Tells the arm of a unit."""

    def __call__(self, unit: str) -> Arm:
        """Return the arm of *unit*."""
        ...


@attrs.define(eq=False)
class Traffic:
    """
    Sends each unit to its arm and records how it went.

    It reads one immutable exposure; moving the pointer is one assignment, so a request
    sees either the old exposure or the new one, never a mixture.

    A unit is a string of 1 to 4,096 characters. What is none, an empty one included, is
    an error of the caller's: a TypeError or a ValueError that says what to write.

    Attributes:
        exposure: What is exposed right now.
        mirror: Where mirrored runs wait.
        assign: Takes a unit; returns its arm, the same one as long as the share does
            not fall.
    """

    exposure: Exposure
    mirror: Mirror
    _splitter: Order = attrs.field(alias="splitter")
    _telemetry: Recording = attrs.field(alias="telemetry")
    _clock: Clock = attrs.field(alias="clock")
    _slices: tuple[str, ...] = attrs.field(alias="slices", default=())
    _place: Callable[[str], int] = attrs.field(init=False)
    assign: Assign = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        # Looked up once: each request pays for what is looked up.
        self._place = self._splitter.hash
        self.assign = _assign_by(self._place, self)

    def assign_many(
        self, units: Iterable[str] | NDArray[np.uint64]
    ) -> NDArray[np.bool_]:
        """
        Return which of *units* get the candidate, shape (n,), dtype bool.

        Args:
            units: Their names, or what `places` returned for them: comparing that is a
                hundred times as quick as hashing names, and may be done again as the
                share grows.
        """
        if getattr(units, "dtype", None) == "uint64":
            found = cast("NDArray[np.uint64]", units)
            return before(found, self.exposure.share)
        names = cast("Iterable[str]", units)
        return before(self._places(names, "assign_many"), self.exposure.share)

    def places(self, units: Iterable[str]) -> NDArray[np.uint64]:
        """
        Return where *units* stand in the plan's fixed order, shape (n,), dtype uint64.

        A place never changes, whatever the share.
        """
        return self._places(units, "places")

    def _places(self, units: Iterable[str], who: str) -> NDArray[np.uint64]:
        found = several(units, who)
        try:
            return self._splitter.hash_many(found)
        except (AttributeError, TypeError, ValueError) as error:
            refuse(found, who, error)

    def feature(self, name: str, unit: str) -> Feature:
        """
        Return the flag and settings of a feature as *unit* has it.

        Inside a trial of this very unit, a mirrored run included, the arm of that trial
        counts, and what was exposed when it began.
        """
        trial = trial_of(self.exposure.plan, unit)
        if trial is not None:
            return trial.feature(name)
        return self.exposure.feature(name, self.assign(unit))

    def trial(self, unit: str, *, slices: Mapping[str, str] | None = None) -> Trial:
        """
        Return the unit's turn, to be entered with ``with`` or ``async with``.

        Args:
            unit: What is randomised: a task, a session or a user.
            slices: What is known of it beforehand, such as ``{"tenant": "acme"}``. The
                plan says by which of these slices it judges; others are ignored.
        """
        exposure = self.exposure
        try:
            fits = 0 < len(unit) <= LONGEST
            place = self._place(unit) if fits else 0
        except (AttributeError, TypeError, ValueError) as error:
            refuse([unit], "trial", error)
        if not fits:
            refuse([unit], "trial", ValueError())
        arm = _CANDIDATE if place < exposure.threshold else _CONTROL
        mine = slices_of(self._slices, slices) if slices else ()
        return Trial(unit, arm, exposure, place, self._telemetry, self._clock, mine)

    # Checkers do not find T in a union, so each kind of callable is told by itself.
    @overload
    async def run(
        self,
        unit: str,
        *,
        control: Callable[..., AsyncGenerator[T, None]],
        candidate: Callable[..., AsyncGenerator[T, None]],
        args: tuple[object, ...] = (),
        mirror: Callable[..., AsyncGenerator[T, None]] | None = None,
        agree: Callable[[list[T], list[T]], bool] = operator.eq,
        slices: Mapping[str, str] | None = None,
    ) -> AsyncGenerator[T, None]: ...

    @overload
    async def run(
        self,
        unit: str,
        *,
        control: Callable[..., Awaitable[T]],
        candidate: Callable[..., Awaitable[T]],
        args: tuple[object, ...] = (),
        mirror: Callable[..., Awaitable[T]] | None = None,
        agree: Callable[[T, T], bool] = operator.eq,
        slices: Mapping[str, str] | None = None,
    ) -> T: ...

    @overload
    async def run(
        self,
        unit: str,
        *,
        control: Callable[..., T],
        candidate: Callable[..., T],
        args: tuple[object, ...] = (),
        mirror: Callable[..., T] | None = None,
        agree: Callable[[T, T], bool] = operator.eq,
        slices: Mapping[str, str] | None = None,
    ) -> T: ...

    async def run(
        self,
        unit: str,
        *,
        control: Callable[..., object],
        candidate: Callable[..., object],
        args: tuple[object, ...] = (),
        mirror: Callable[..., object] | None = None,
        agree: Callable[..., bool] = operator.eq,
        slices: Mapping[str, str] | None = None,
    ) -> object:
        """
        Answer with the unit's arm, time it, and mirror it where the stage says so.

        What the callables return is awaited if it can be; a plain function is as good
        as an async one. Of a generator function, plain or async, the answer is read
        part by part: the trial begins with the first part, fails with what is raised
        and ends with the last one. Whoever reads is not inside of it, and who stops
        early leaves it without an outcome.

        Args:
            unit: What is randomised: a task, a session or a user.
            control: The way it has been done so far.
            candidate: The way it is to be done.
            args: Positional arguments of both.
            mirror: The candidate with stand-ins for everything that has effects: the
                candidate itself where its tools are marked with `legion.tool`. It is
                run beside control, in the background, and its answer is thrown away.
                Without it nothing is mirrored.
            agree: Tells whether control's answer and the mirrored one are the same; a
                plain function. Of generator functions it gets the lists of the parts.
                Where it raises, the two are not compared.
            slices: As in `trial`.

        Returns:
            The answer of the unit's arm.

        Raises:
            TypeError: A function returned a generator, which has answered nothing yet.
        """
        trial, later = self.trial(unit, slices=slices), None
        if mirror is not None and self._mirrors(trial):
            trial.calls.keeps = True
            later = functools.partial(self._mirror, trial, mirror, args, agree)
        ask = candidate if trial.arm is _CANDIDATE else control
        if yields_async(ask):
            return aparts_of(trial, ask, args, later=later)
        if yields(ask):
            return parts_of(trial, ask, args, later=later)
        async with trial:
            answer = await settled(ask, args)
        if later is not None:
            later(answer)
        return answer

    def _mirror(
        self,
        trial: Trial,
        mirror: Callable[..., object],
        args: tuple[object, ...],
        agree: Callable[..., bool],
        answer: object,
    ) -> None:
        shadow = Shadow.of(trial)

        async def answer_too() -> None:
            if self._is_over(shadow):
                return
            async with shadow:
                other = await whole(mirror, args)
            shadow.compare(agree, answer, other)

        if not self.mirror.spawn(answer_too, dropped=shadow.drop):
            shadow.drop()

    @overload
    def run_sync(
        self,
        unit: str,
        *,
        control: Callable[..., Generator[T, None, None]],
        candidate: Callable[..., Generator[T, None, None]],
        args: tuple[object, ...] = (),
        mirror: Callable[..., Generator[T, None, None]] | None = None,
        agree: Callable[[list[T], list[T]], bool] = operator.eq,
        slices: Mapping[str, str] | None = None,
    ) -> Generator[T, None, None]: ...

    @overload
    def run_sync(
        self,
        unit: str,
        *,
        control: Callable[..., T],
        candidate: Callable[..., T],
        args: tuple[object, ...] = (),
        mirror: Callable[..., T] | None = None,
        agree: Callable[[T, T], bool] = operator.eq,
        slices: Mapping[str, str] | None = None,
    ) -> T: ...

    def run_sync(
        self,
        unit: str,
        *,
        control: Callable[..., object],
        candidate: Callable[..., object],
        args: tuple[object, ...] = (),
        mirror: Callable[..., object] | None = None,
        agree: Callable[..., bool] = operator.eq,
        slices: Mapping[str, str] | None = None,
    ) -> object:
        """
        Do as `run` does, in plain code.

        A mirrored run waits until ``host.tick()`` drains the queue, or a thread of a
        started host comes to it. If the exposure has moved by then, it is dropped.

        Raises:
            TypeError: A callable is async, or its answer a generator: it would return
                before it has begun.
        """
        for one in (control, candidate):
            refuse_async(one)
        if mirror is not None:
            refuse_async(mirror)
        trial, later = self.trial(unit, slices=slices), None
        if mirror is not None and self._mirrors(trial):
            trial.calls.keeps = True
            later = functools.partial(self._mirror_plain, trial, mirror, args, agree)
        ask = candidate if trial.arm is _CANDIDATE else control
        if yields(ask):
            return parts_of(trial, ask, args, later=later)
        with trial:
            answer = plain(ask, args)
        if later is not None:
            later(answer)
        return answer

    def _mirror_plain(
        self,
        trial: Trial,
        mirror: Callable[..., object],
        args: tuple[object, ...],
        agree: Callable[..., bool],
        answer: object,
    ) -> None:
        shadow = Shadow.of(trial)

        def answer_too() -> None:
            if self._is_over(shadow):
                return
            with shadow:
                other = whole_plain(mirror, args)
            shadow.compare(agree, answer, other)

        if not self.mirror.queue(answer_too):
            shadow.drop()

    def _is_over(self, shadow: Shadow) -> bool:
        """Drop *shadow* if what it was to be a shadow of is not exposed any more."""
        if shadow.exposure.digest == self.exposure.digest:
            return False
        shadow.drop()
        return True

    def _mirrors(self, trial: Trial) -> bool:
        # The other half of the hash, so that mirroring is independent of the share.
        place = trial.place
        swapped = (place >> _HALF) | ((place & _LOW) << _HALF)
        return trial.arm is _CONTROL and swapped < trial.exposure.mirror_threshold


def _assign_by(place: Callable[[str], int], shown: Traffic) -> Assign:
    # Each request pays for this: a method that is handed out would cost a tenth more.
    def assign(unit: str) -> Arm:
        """Return the arm of *unit*; the same one as long as the share does not fall."""
        try:
            if not 0 < len(unit) <= LONGEST:
                refuse([unit], "assign", ValueError())
            return _CANDIDATE if place(unit) < shown.exposure.threshold else _CONTROL
        except (AttributeError, TypeError, ValueError) as error:
            refuse([unit], "assign", error)

    return assign
