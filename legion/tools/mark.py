"""The mark on a function that an agent calls as a tool."""

from __future__ import annotations

import contextlib
import contextvars
import functools
import inspect

from collections.abc import Awaitable, Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar, cast, overload

import attrs

from .answer import Answer
from .arguments import digest_of, takes_more
from .calls import Call, Calls
from .run import Fence, Run, current_run, fence, runs


P = ParamSpec("P")
T = TypeVar("T")

_inside: contextvars.ContextVar[Run | None] = contextvars.ContextVar(
    "legion_inside", default=None
)
"""The run that a tool with effects is at work for: what it calls is its own affair."""


@attrs.frozen(kw_only=True)
class Mark:
    """
    What a host says of a tool.

    Attributes:
        name: What it is called.
        effects: Whether it changes anything.
        stand_in: Answers in its place in a mirrored run; None answers as control's.
        signature: Names of its parameters, or None where they cannot be told.
        ignore: Parameters whose values make no other call.
    """

    name: str
    effects: bool
    stand_in: Callable[..., object] | None
    signature: inspect.Signature | None
    ignore: frozenset[str]


@attrs.define(eq=False)
class Visit:
    """
    One call of a marked tool inside of a trial, as ``with``.

    Attributes:
        mark: Of the tool.
        args: Positional arguments.
        kwargs: Keyword arguments.
        fence: The fence it stands before, where it must not run.
    """

    mark: Mark
    args: tuple[object, ...]
    kwargs: Mapping[str, object]
    fence: Fence | None = attrs.field(init=False, default=None)
    _noted: list[tuple[Run, Calls, Call]] = attrs.field(init=False, factory=list)
    _token: contextvars.Token[Run | None] | None = attrs.field(init=False, default=None)

    def __enter__(self) -> Self:
        mark = self.mark
        arguments = digest_of(
            mark.signature, self.args, self.kwargs, ignore=mark.ignore
        )
        inside = _inside.get()
        for run in runs():
            if run is inside:
                break
            calls = run.calls
            self._noted.append((run, calls, calls.begin(self.mark.name, arguments)))
        if self.mark.effects:
            self.fence = fence()
            self._token = _inside.set(next(runs(), None))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(error, Exception):
            self._keep(functools.partial(Answer.raised, error))
        for _, calls, call in self._noted:
            calls.end(call)
        if self._token is not None:
            # A coroutine that is thrown away is closed in another context.
            with contextlib.suppress(ValueError):
                _inside.reset(self._token)

    def returned(self, value: T) -> T:
        """Keep what the tool returned, where a mirrored run may ask for it."""
        self._keep(functools.partial(Answer.returned, value))
        return value

    def _keep(self, answer: Callable[[], Answer | None]) -> None:
        if self.mark.effects and self.mark.stand_in is None:
            for _, calls, call in self._noted:
                if calls.keeps:
                    call.answer = answer()

    def stood_in(self) -> object:
        """Return what stands in for the tool's answer."""
        assert self.fence is not None
        if self.mark.stand_in is not None:
            return self.mark.stand_in(*self.args, **self.kwargs)
        mine = (call for run, _, call in self._noted if run.fence is self.fence)
        answer = self.fence.answer(next(mine, None), self.mark.name)
        return self.returned(answer)


@overload
def tool(
    fn: Callable[P, T],
    /,
    *,
    effects: bool,
    stand_in: Callable[..., object] | None = None,
    name: str | None = None,
    ignore: Iterable[str] = (),
) -> Callable[P, T]: ...


@overload
def tool(
    *,
    effects: bool,
    stand_in: Callable[..., object] | None = None,
    name: str | None = None,
    ignore: Iterable[str] = (),
) -> Callable[[Callable[P, T]], Callable[P, T]]: ...


def tool(
    fn: Callable[P, T] | None = None,
    /,
    *,
    effects: bool,
    stand_in: Callable[..., object] | None = None,
    name: str | None = None,
    ignore: Iterable[str] = (),
) -> Callable[P, T] | Callable[[Callable[P, T]], Callable[P, T]]:
    """
    Mark a function that an agent calls, and say whether it changes anything.

    Outside of a trial it is the function as it was. Inside, each call is noted: name,
    digest of the arguments, machine time. Inside of a mirrored run a tool with effects
    does not run: its stand-in answers.

        @legion.tool(effects=True)
        def refund(order: str, amount: float) -> str: ...

        search = legion.tool(search, effects=False)

    It is known by the context, which tasks and `asyncio.to_thread` carry along. A plain
    thread does not: start it by ``contextvars.copy_context().run``.

    Args:
        fn: The function, plain or async; without it, a decorator is returned.
        effects: Whether it changes anything: sends, pays, writes. One that only reads
            runs in mirrored runs too.
        stand_in: Answers in a mirrored run, given the same arguments; what it raises
            is raised. By default the answer is what control's same call of this very
            trial was answered: the same tool, the same arguments, the n-th time. Where
            there is none, the mirrored run ends there: `NoStandIn`.
        name: What it is called in the tool plan; the function's name by default.
        ignore: Parameters whose values make no other call: what is made anew each time,
            as an idempotency key, an id or an instant. The tool gets them all the same.

    Raises:
        TypeError: *fn* is no function that can be marked, or *stand_in* or *ignore*
            does not fit.

    .. versionadded:: 0.1
    """
    if fn is None:
        return cast(
            "Callable[[Callable[P, T]], Callable[P, T]]",
            functools.partial(
                tool, effects=effects, stand_in=stand_in, name=name, ignore=ignore
            ),
        )
    called = str(name or getattr(fn, "__name__", type(fn).__name__))
    _refuse(fn, called, effects=effects, stand_in=stand_in)
    signature = _signature(fn)
    mark = Mark(
        name=called,
        effects=effects,
        stand_in=stand_in,
        signature=signature,
        ignore=_ignored(ignore, signature, called),
    )
    made = _later(fn, mark) if _is_async(fn) else _now(fn, mark)
    marked = cast("Callable[P, T]", functools.wraps(fn)(made))
    if effects:
        # The one way around the mark that Python itself opens.
        marked.__wrapped__ = _unmarked(fn, called)  # type: ignore[attr-defined]
    return marked


def _now(fn: Callable[..., T], mark: Mark) -> Callable[..., T]:
    def marked(*args: object, **kwargs: object) -> T:
        if current_run.get() is None:
            return fn(*args, **kwargs)
        with Visit(mark, args, kwargs) as visit:
            if visit.fence is not None:
                return cast("T", visit.stood_in())
            return visit.returned(fn(*args, **kwargs))

    return marked


def _later(fn: Callable[..., Any], mark: Mark) -> Callable[..., Awaitable[object]]:
    async def marked(*args: object, **kwargs: object) -> object:
        if current_run.get() is None:
            return await fn(*args, **kwargs)
        with Visit(mark, args, kwargs) as visit:
            if visit.fence is None:
                return visit.returned(await fn(*args, **kwargs))
            answer = visit.stood_in()
            if mark.stand_in is not None and inspect.isawaitable(answer):
                return await answer
            return answer

    return marked


def _unmarked(fn: Callable[..., T], name: str) -> Callable[..., T]:
    """Return *fn* so that a mirrored run cannot reach it."""

    def real(*args: object, **kwargs: object) -> T:
        around = fence()
        if around is not None:
            raise around.violation(name)
        return fn(*args, **kwargs)

    real.__signature__ = _signature(fn)  # type: ignore[attr-defined]
    return real


def _is_async(fn: object) -> bool:
    return inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(
        getattr(type(fn), "__call__", None)  # noqa: B004 - not whether, but which
    )


def _signature(fn: Callable[..., object]) -> inspect.Signature | None:
    try:
        return inspect.signature(fn)
    except (TypeError, ValueError):
        return None


def _ignored(
    given: object, signature: inspect.Signature | None, name: str
) -> frozenset[str]:
    """Return the parameters to ignore, or raise TypeError where that says nothing."""
    who = f"legion.tool: {name}"
    if isinstance(given, str):
        msg = f"{who}: got ignore={given!r:.80}; write [{given!r:.80}]"
        raise TypeError(msg)
    all_given = list(given) if isinstance(given, Iterable) else [given]
    names = [one for one in all_given if isinstance(one, str)]
    if len(names) < len(all_given):
        msg = f"{who}: got ignore={given!r:.80}; write names of its parameters"
        raise TypeError(msg)
    known = () if signature is None else signature.parameters
    unknown = [one for one in names if one not in known]
    if unknown and takes_more(signature) is None:
        msg = f"{who} takes no {unknown[0]!r:.80}; write some of {', '.join(known)}"
        raise TypeError(msg)
    return frozenset(names)


def _refuse(fn: object, name: str, *, effects: object, stand_in: object) -> None:
    who = f"legion.tool: {name}"
    if not callable(fn):
        msg = f"legion.tool: got {fn!r:.80}; write the function that does it"
        raise TypeError(msg)
    if inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn):
        msg = f"{who} is a generator; mark the function that reads it to its end"
        raise TypeError(msg)
    if not isinstance(effects, bool):
        msg = f"{who}: got effects={effects!r:.80}; write True or False"
        raise TypeError(msg)
    if stand_in is None:
        return
    if not callable(stand_in):
        msg = (
            f"{who}: got stand_in={stand_in!r:.80}; write a function that takes the"
            " same arguments"
        )
        raise TypeError(msg)
    if not effects:
        msg = f"{who} runs in mirrored runs; leave stand_in out, or write effects=True"
        raise TypeError(msg)
    if _is_async(stand_in) and not _is_async(fn):
        msg = f"{who}: its stand_in is async and it is not; write a plain function"
        raise TypeError(msg)
