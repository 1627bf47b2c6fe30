"""The hot path: which arm a unit gets, and what it records. Never touches the disk."""

from __future__ import annotations

import inspect
import operator

from collections.abc import Awaitable, Callable, Iterable, Mapping
from types import AsyncGeneratorType, CoroutineType, FunctionType, GeneratorType
from typing import TYPE_CHECKING, NoReturn, TypeVar, cast, overload

import attrs

from ..model import Arm, Clock
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

_ASYNC = inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR

_STREAMS = frozenset({GeneratorType, AsyncGeneratorType})
_UNDONE = _STREAMS | {CoroutineType}
"""What a function returns that has not begun."""


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
    """

    exposure: Exposure
    mirror: Mirror
    _splitter: Order = attrs.field(alias="splitter")
    _telemetry: Recording = attrs.field(alias="telemetry")
    _clock: Clock = attrs.field(alias="clock")
    _slices: tuple[str, ...] = attrs.field(alias="slices", default=())
    _place: Callable[[str], int] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        # Looked up once: each request pays for what is looked up.
        self._place = self._splitter.hash

    def assign(self, unit: str) -> Arm:
        """Return the arm of *unit*; the same one as long as the share does not fall."""
        try:
            fits = 0 < len(unit) <= LONGEST
            inside = fits and self._place(unit) < self.exposure.threshold
        except (AttributeError, TypeError, ValueError) as error:
            refuse([unit], "assign", error)
        if not fits:
            refuse([unit], "assign", ValueError())
        return _CANDIDATE if inside else _CONTROL

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

        Inside a trial of this plan, a mirrored run included, the arm of that trial
        counts, and what was exposed when it began.
        """
        trial = trial_of(self.exposure.plan)
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
        control: Callable[..., Awaitable[T] | T],
        candidate: Callable[..., Awaitable[T] | T],
        args: tuple[object, ...] = (),
        mirror: Callable[..., Awaitable[T] | T] | None = None,
        agree: Callable[[T, T], bool] = operator.eq,
        slices: Mapping[str, str] | None = None,
    ) -> T:
        """
        Answer with the unit's arm, time it, and mirror it where the stage says so.

        What the callables return is awaited if it can be; a plain function is as good
        as an async one.

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
                plain function. Where it raises, the two are not compared.
            slices: As in `trial`.

        Returns:
            The answer of the unit's arm.

        Raises:
            TypeError: The answer is a generator: it would count before it has begun.
        """
        trial = self.trial(unit, slices=slices)
        mirrors = mirror is not None and self._mirrors(trial)
        if mirrors:
            trial.calls.keeps = True
        async with trial:
            ask = candidate if trial.arm is _CANDIDATE else control
            answer = await _settled(ask, args)
        if mirror is not None and mirrors:
            shadow = Shadow.of(trial)

            async def answer_too() -> None:
                if self._is_over(shadow):
                    return
                async with shadow:
                    other = await _settled(mirror, args)
                shadow.compare(agree, answer, other)

            if not self.mirror.spawn(answer_too, dropped=shadow.drop):
                shadow.drop()
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
        slices: Mapping[str, str] | None = None,
    ) -> T:
        """
        Do as `run` does, in plain code.

        A mirrored run waits until ``host.tick()`` drains the queue, or a thread of a
        started host comes to it. If the exposure has moved by then, it is dropped.

        Raises:
            TypeError: A callable is async, or its answer a generator: it would return
                before it has begun.
        """
        for ask in (control, candidate):
            # Most are plain functions, and this is ten times as quick as a call.
            if type(ask) is not FunctionType or ask.__code__.co_flags & _ASYNC:
                _refuse_async(ask)
        if mirror is not None:
            _refuse_async(mirror)
        trial = self.trial(unit, slices=slices)
        mirrors = mirror is not None and self._mirrors(trial)
        if mirrors:
            trial.calls.keeps = True
        with trial:
            ask = candidate if trial.arm is _CANDIDATE else control
            answer = ask(*args)
            if type(answer) in _UNDONE:
                _refuse_undone(answer, ask)
        if mirror is not None and mirrors:
            shadow = Shadow.of(trial)

            def answer_too() -> None:
                if self._is_over(shadow):
                    return
                with shadow:
                    other = _plain(mirror, args)
                shadow.compare(agree, answer, other)

            if not self.mirror.queue(answer_too):
                shadow.drop()
        return answer

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


async def _settled(ask: Callable[..., Awaitable[T] | T], args: tuple[object, ...]) -> T:
    answer = ask(*args)
    if inspect.isawaitable(answer):
        answer = await cast("Awaitable[T]", answer)
    if type(answer) in _STREAMS:
        _refuse_undone(answer, ask)
    return answer


def _plain(ask: Callable[..., T], args: tuple[object, ...]) -> T:
    answer = ask(*args)
    if type(answer) in _UNDONE:
        _refuse_undone(answer, ask)
    return answer


def _refuse_async(ask: Callable[..., object]) -> None:
    if (
        inspect.iscoroutinefunction(ask)
        or inspect.isasyncgenfunction(ask)
        or inspect.iscoroutinefunction(type(ask).__call__)
    ):
        raise _would_not_run(ask)


def _refuse_undone(answer: object, ask: Callable[..., object]) -> NoReturn:
    if inspect.iscoroutine(answer):
        answer.close()
        raise _would_not_run(ask)
    msg = (
        f"got {_name(ask)}, whose answer is a generator that nobody has read; write "
        "`with engine.trial(unit)` around what reads it to its end"
    )
    raise TypeError(msg)


def _would_not_run(ask: Callable[..., object]) -> TypeError:
    return TypeError(
        f"run_sync: got {_name(ask)}, which is async; write await engine.run"
    )


def _name(ask: Callable[..., object]) -> str:
    return getattr(ask, "__qualname__", type(ask).__name__)
