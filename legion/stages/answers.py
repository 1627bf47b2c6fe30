"""How an arm is asked for its answer: at once, awaited, or part by part."""

from __future__ import annotations

import inspect

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import aclosing, closing
from types import AsyncGeneratorType, CoroutineType, FunctionType, GeneratorType
from typing import Any, NoReturn, TypeAlias, TypeVar, cast

from .trial import Trial


T = TypeVar("T")
Ask: TypeAlias = Callable[..., Any]
Later: TypeAlias = Callable[[Any], object] | None
"""What is to be done with the whole answer: mirror it, or nothing."""

_ASYNC = inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
_STREAMS = (GeneratorType, AsyncGeneratorType)
_PROMISES = frozenset({CoroutineType, *_STREAMS})


def yields(ask: Ask) -> bool:
    """Tell whether *ask* is a generator function."""
    # Most are plain functions, and this is ten times as quick as a call.
    if type(ask) is FunctionType:
        return bool(ask.__code__.co_flags & inspect.CO_GENERATOR)
    return inspect.isgeneratorfunction(ask) or inspect.isgeneratorfunction(
        getattr(type(ask), "__call__", None)  # noqa: B004 - not whether, but which
    )


def yields_async(ask: Ask) -> bool:
    """Tell whether *ask* is an async generator function."""
    if type(ask) is FunctionType:
        return bool(ask.__code__.co_flags & inspect.CO_ASYNC_GENERATOR)
    return inspect.isasyncgenfunction(ask) or inspect.isasyncgenfunction(
        getattr(type(ask), "__call__", None)  # noqa: B004 - not whether, but which
    )


def parts_of(
    trial: Trial, ask: Ask, args: tuple[object, ...], *, later: Later
) -> Generator[Any, None, None]:
    """
    Yield the parts of an answer, each made in *trial*, which ends with the last one.

    It begins with the first: what nobody reads, nobody is exposed to.

    Args:
        trial: The unit's turn.
        ask: A generator function.
        args: Positional arguments.
        later: Is given all parts, once they are read.
    """
    kept: list[object] = []
    with trial, closing(ask(*args)) as parts:
        for part in parts:
            if later is not None:
                kept.append(part)
            with trial.aside():
                yield part
    if later is not None:
        later(kept)


async def aparts_of(
    trial: Trial, ask: Ask, args: tuple[object, ...], *, later: Later
) -> AsyncGenerator[Any, None]:
    """Do as `parts_of` does, of an async generator function."""
    kept: list[object] = []
    async with trial, aclosing(ask(*args)) as parts:
        async for part in parts:
            if later is not None:
                kept.append(part)
            with trial.aside():
                yield part
    if later is not None:
        later(kept)


async def settled(ask: Callable[..., Awaitable[T] | T], args: tuple[object, ...]) -> T:
    """Return the answer of *ask*, awaited if it can be."""
    answer = ask(*args)
    if inspect.isawaitable(answer):
        return await cast("Awaitable[T]", answer)
    if type(answer) in _STREAMS:
        _refuse_promise(answer, ask)
    return answer


def plain(ask: Callable[..., T], args: tuple[object, ...]) -> T:
    """Return the answer of *ask*, which is plain code."""
    answer = ask(*args)
    if type(answer) in _PROMISES:
        _refuse_promise(answer, ask)
    return answer


async def whole(ask: Ask, args: tuple[object, ...]) -> Any:
    """Return the answer of *ask*, or the list of its parts."""
    if yields_async(ask):
        return [part async for part in ask(*args)]
    if yields(ask):
        return list(ask(*args))
    return await settled(ask, args)


def whole_plain(ask: Ask, args: tuple[object, ...]) -> Any:
    """Return the answer of *ask*, which is plain code, or the list of its parts."""
    return list(ask(*args)) if yields(ask) else plain(ask, args)


def refuse_async(ask: Ask) -> None:
    """Raise TypeError where *ask* is async: it would return before it has begun."""
    if type(ask) is FunctionType:
        is_async = bool(ask.__code__.co_flags & _ASYNC)
    else:
        is_async = (
            inspect.iscoroutinefunction(ask)
            or inspect.isasyncgenfunction(ask)
            or inspect.iscoroutinefunction(type(ask).__call__)
            or inspect.isasyncgenfunction(type(ask).__call__)
        )
    if is_async:
        raise _would_not_run(ask)


def _refuse_promise(answer: object, ask: Ask) -> NoReturn:
    if inspect.iscoroutine(answer):
        answer.close()
    if type(answer) in _STREAMS:
        msg = (
            f"run: {_name(ask)} returned a generator, which has not begun; write the"
            " generator function itself, or one that yields from it"
        )
        raise TypeError(msg)
    raise _would_not_run(ask)


def _would_not_run(ask: Ask) -> TypeError:
    return TypeError(
        f"run_sync: got {_name(ask)}, which is async; write await engine.run"
    )


def _name(ask: Ask) -> str:
    return getattr(ask, "__qualname__", type(ask).__name__)
