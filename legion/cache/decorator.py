"""A function whose answers are found in a cache, whatever kind it is of."""

from __future__ import annotations

import functools
import inspect

from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Generator,
    Sequence,
)
from contextlib import aclosing, closing
from typing import TYPE_CHECKING, Any, TypeVar, cast

import attrs

from .given import is_async


if TYPE_CHECKING:
    from .scope import Scope


F = TypeVar("F", bound=Callable[..., Any])

_SEVERAL = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD


def cached(
    function: F,
    scope: Scope[Any],
    *,
    question: str | Callable[..., str] | None,
    scope_of: Callable[..., Scope[Any]] | None,
) -> F:
    """
    Return *function* as `Scope.cached` describes it.

    Raises:
        TypeError: It has no name, or no parameter for its question.
        ValueError: It depends on more than its question, and nobody says how that parts
            its answers.
    """
    if isinstance(function, classmethod | staticmethod):
        kind = type(function).__name__
        msg = f"cached: got a {kind}; write @{kind} above @cache.cached(...), not below"
        raise TypeError(msg)
    asked = Asked.of(function, scope, question=question, scope_of=scope_of)
    if inspect.isasyncgenfunction(function):
        wrapper: object = _async_stream(function, asked)
    elif inspect.isgeneratorfunction(function):
        wrapper = _stream(function, asked)
    elif is_async(function):
        wrapper = _async(function, asked)
    else:
        wrapper = _plain(function, asked)
    return cast("F", wrapper)


def name_of(function: object) -> str:
    """
    Return what tells a function's answers from those of others, in every process.

    Raises:
        TypeError: It has no name of its own.
    """
    name = getattr(function, "__qualname__", None)
    nameless = name is None or name.endswith("<lambda>")
    if nameless or not hasattr(function, "__module__"):
        msg = f"cached: got {function!r}, which has no name; write def"
        raise TypeError(msg)
    return f"{function.__module__}.{name}"


def _beside_arguments(function: Callable[..., Any]) -> str | None:
    """
    Say on what answers depend that neither arguments nor `name_of` tell, or None.

    A wrapper is taken for what it wraps: what a decorator remembers, as how often it
    tries, is its own.
    """
    while True:
        owner = getattr(function, "__self__", None)
        if owner is not None and not _named_after(owner, function):
            of_class = isinstance(owner, type)
            what = f"class {owner.__name__}" if of_class else type(owner).__name__
            return f"the {what} that it is bound to"
        if isinstance(function, functools.partial):
            return "the arguments that a partial gives"
        wrapped = getattr(function, "__wrapped__", None)
        if wrapped is None:
            break
        function = wrapped
    code = getattr(function, "__code__", None)
    variables = () if code is None else code.co_freevars
    return f"{', '.join(variables)}, of a function around it" if variables else None


def _named_after(owner: object, function: Callable[..., Any]) -> bool:
    """Whether there is one *owner* of that name: a module, or the class that has it."""
    if inspect.ismodule(owner):
        return True
    if not isinstance(owner, type) or "<locals>" in owner.__qualname__:
        return False
    named = f"{owner.__module__}.{owner.__qualname__}.{function.__name__}"
    return named == name_of(function)


@attrs.frozen(kw_only=True)
class Asked:
    """
    How the arguments of a call become a question and a scope.

    Attributes:
        function: The function.
        question: From the arguments to the question.
        scope_of: From the arguments to the scope, or None where it is always *view*.
        view: Where the answers lie where nothing parts them.
    """

    function: Callable[..., Any]
    question: Callable[..., str]
    scope_of: Callable[..., Scope[Any]] | None
    view: Scope[Any]

    @classmethod
    def of(
        cls,
        function: Callable[..., Any],
        scope: Scope[Any],
        *,
        question: str | Callable[..., str] | None,
        scope_of: Callable[..., Scope[Any]] | None,
    ) -> Asked:
        """Read it off the signature of *function*."""
        name, parameters = name_of(function), inspect.signature(function).parameters
        single = [
            each.name for each in parameters.values() if each.kind not in _SEVERAL
        ]
        if question is None and len(parameters) == 1:
            question = next(iter(parameters))
        shown = f"{name}({', '.join(map(str, parameters.values()))})"
        if question is None or (isinstance(question, str) and question not in single):
            msg = (
                f"cached: got question={question!r} for {shown}; write the name of the "
                "parameter that holds the question, or a function of the arguments"
            )
            raise TypeError(msg)
        if scope_of is None:
            more = _beside_arguments(function)
            if more is None and not len(parameters) == len(single) == 1:
                more = "more than its question"
            if more is not None:
                msg = (
                    f"cached: {shown} depends on {more}; write scope=, a function of the"
                    " same arguments to the scope whose answers they may share, such as"
                    " lambda question: cache.scope(tenant, model=model)"
                )
                raise ValueError(msg)
        return cls(
            function=function,
            question=_parameter(function, question)
            if isinstance(question, str)
            else question,
            scope_of=scope_of,
            view=scope.of(function),
        )

    def __call__(self, *args: Any, **kwargs: Any) -> tuple[Scope[Any], str]:
        """Return where to look, and for what."""
        question = self.question(*args, **kwargs)
        if self.scope_of is None:
            return self.view, question
        from .scope import Scope

        scope: object = self.scope_of(*args, **kwargs)
        if not isinstance(scope, Scope):
            msg = f"cached: scope= returned {scope!r}; return cache.scope(...)"
            raise TypeError(msg)
        return scope.of(self.function), question


def _parameter(function: Callable[..., Any], name: str) -> Callable[..., str]:
    """Return what finds the argument *name* among those of a call."""
    signature = inspect.signature(function)
    place = list(signature.parameters).index(name)
    placed = signature.parameters[name].kind is not inspect.Parameter.KEYWORD_ONLY

    def argument(*args: Any, **kwargs: Any) -> str:
        if name in kwargs:
            return cast("str", kwargs[name])
        if placed and place < len(args):
            return cast("str", args[place])
        bound = signature.bind(*args, **kwargs)  # says what is missing
        bound.apply_defaults()
        return cast("str", bound.arguments[name])

    return argument


def _plain(function: Callable[..., Any], asked: Asked) -> Callable[..., Any]:
    @functools.wraps(function)
    def answer(*args: Any, **kwargs: Any) -> Any:
        view, question = asked(*args, **kwargs)
        return view.get_or_compute(question, lambda _: function(*args, **kwargs))

    return answer


def _async(
    function: Callable[..., Awaitable[Any]], asked: Asked
) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(function)
    async def answer(*args: Any, **kwargs: Any) -> Any:
        view, question = asked(*args, **kwargs)
        return await view.aget_or_compute(question, lambda _: function(*args, **kwargs))

    return answer


def _stream(
    function: Callable[..., Generator[Any, None, None]], asked: Asked
) -> Callable[..., Generator[Any, None, None]]:
    @functools.wraps(function)
    def stream(*args: Any, **kwargs: Any) -> Generator[Any, None, None]:
        view, question = asked(*args, **kwargs)
        hit = view.get(question)
        if hit is not None:
            yield from _recorded(hit.value)
            return
        chunks = []
        with closing(function(*args, **kwargs)) as live:
            for chunk in live:
                chunks.append(chunk)
                yield chunk
        view._put_answered(question, chunks)

    return stream


def _async_stream(
    function: Callable[..., AsyncGenerator[Any, None]], asked: Asked
) -> Callable[..., AsyncGenerator[Any, None]]:
    @functools.wraps(function)
    async def stream(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, None]:
        view, question = asked(*args, **kwargs)
        hit = await view.aget(question)
        if hit is not None:
            for chunk in _recorded(hit.value):
                yield chunk
            return
        chunks = []
        async with aclosing(function(*args, **kwargs)) as live:
            async for chunk in live:
                chunks.append(chunk)
                yield chunk
        await view._aput_answered(question, chunks)

    return stream


def _recorded(value: object) -> Sequence[Any]:
    """Return the chunks that a stream left behind."""
    if not isinstance(value, list):
        msg = f"cached: found {value!r} for a stream; put a list of its chunks"
        raise TypeError(msg)
    return value
