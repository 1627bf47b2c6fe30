"""What is handed to a cache, refused where it could only go wrong later."""

from __future__ import annotations

import inspect
import os

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from numbers import Real
from pathlib import Path
from reprlib import repr as brief
from types import FunctionType

from .embedding import Embed, given_name
from .hit import Hit, V


SAME = 1 - 32 * 2**-23
"""Cosine from which two vectors of float32 may be the same one: rounding's 16, twice."""


def refuse_embed(embed: object) -> None:
    """
    Raise if *embed* cannot turn texts into vectors.

    Raises:
        TypeError: It cannot be called, or answers with a coroutine.
    """
    if not callable(embed) or is_async(embed):
        what = "an async function" if callable(embed) else brief(embed)
        msg = (
            f"cache: got embed={what}; write a plain function from a list of n texts to"
            " an array of shape (n, dim)"
        )
        raise TypeError(msg)


def whole_number(who: str, name: str, given: object) -> None:
    """
    Raise if *given* is not a whole number from 1 up.

    Raises:
        ValueError: It is not; the message names *who* and *name*.
    """
    if isinstance(given, bool) or not isinstance(given, int) or given < 1:
        msg = f"{who}: got {name}={brief(given)}; write a whole number from 1 up"
        raise ValueError(msg)


def refuse_unknown(name: str, given: object, known: Iterable[str]) -> None:
    """
    Raise if *given* is none of the *known* words.

    Raises:
        ValueError: It is not; the message names *name*.
    """
    words = sorted(known)
    if given not in words:
        msg = f"cache: got {name}={brief(given)}; write one of {words}"
        raise ValueError(msg)


def refuse_unable(name: str, given: object, method: str) -> None:
    """
    Raise if *given* is not None and lacks a method that the cache calls.

    Raises:
        TypeError: It does; the message names *name* and the method.
    """
    if given is not None and not callable(getattr(given, method, None)):
        msg = (
            f"cache: got {name}={brief(given)}; write an object with {method}(), or "
            f"leave it out"
        )
        raise TypeError(msg)


def file_path(path: str | os.PathLike[str]) -> Path:
    """
    Return the path of a file.

    Raises:
        TypeError: *path* is neither text nor a path.
        ValueError: It names no file.
    """
    try:
        given = Path(path)
    except TypeError as error:
        msg = f"cache: got path={brief(path)}; write the path of a file as text"
        raise TypeError(msg) from error
    if not given.name or "\0" in str(given):
        msg = f"cache: got path={brief(path)}; write the path of a file"
        raise ValueError(msg)
    return given


def cosine(threshold: float | None) -> float:
    """
    Return the threshold, .85 where none is given.

    It is `SAME` at most: the same vector twice has a cosine that rounding leaves up to
    16 units in the last place of a float32 below 1, in 4096 dimensions.

    Raises:
        ValueError: It is none that a cosine could reach, or that any would.
    """
    threshold = 0.85 if threshold is None else threshold
    if not _is_number(threshold) or not 0 < threshold <= 1:
        msg = f"cache: got threshold={brief(threshold)}; write a cosine above 0, at most 1"
        raise ValueError(msg)
    return min(threshold, SAME)


def _is_number(given: object) -> bool:
    return isinstance(given, Real)


def refuse_threshold(threshold: float | None) -> None:
    """
    Raise if a threshold is given beside an error that is promised.

    Raises:
        ValueError: It is.
    """
    if threshold is not None:
        msg = (
            f"cache: got threshold={threshold} and max_error; write one of them:"
            " max_error finds out by itself what is near enough"
        )
        raise ValueError(msg)


def refuse_without_file(
    path: object, *, readonly: bool, repair: bool, overflow_bytes: int | None
) -> None:
    """
    Raise if something is asked of a file that there is not, or that is only read.

    Raises:
        ValueError: It is.
    """
    if path is None and (readonly or repair or overflow_bytes is not None):
        msg = (
            "cache: got readonly, repair or overflow_bytes without a file; write its"
            " path"
        )
        raise ValueError(msg)
    if overflow_bytes is None:
        return
    whole_number("cache", "overflow_bytes", overflow_bytes)
    if readonly:
        msg = (
            "cache: got overflow_bytes with readonly=True; write it where the file is"
            " written: who reads it has of the overflow what fits its capacity"
        )
        raise ValueError(msg)


def shared_by(tier: object, embed: Embed) -> str:
    """
    Return the name of the embedder whose answers are shared by *tier*.

    Raises:
        TypeError: *tier* is none.
        ValueError: The embedder has no name, so others' vectors might be another one's.
    """
    if not all(callable(getattr(tier, n, None)) for n in ("get", "put", "invalidate")):
        msg = (
            f"cache: got shared={brief(tier)}; write an object with get, put and"
            " invalidate, such as legion.cache.shared.SqliteTier(path)"
        )
        raise TypeError(msg)
    name = given_name(embed)
    if name is None:
        msg = (
            "cache: got shared with an embedder that has no name; give it one that"
            " changes with its model, as in embed.name = 'my-model-1'"
        )
        raise ValueError(msg)
    return name


def refuse_judging(**given: object) -> None:
    """
    Raise if something is given that only an error that is promised makes use of.

    Raises:
        ValueError: It is.
    """
    names = [name for name, value in given.items() if value is not None]
    if names:
        msg = (
            f"cache: got {' and '.join(names)} without max_error; write max_error=0.01"
        )
        raise ValueError(msg)


def error_share(max_error: float) -> float:
    """
    Return the share of wrong answers that is promised.

    Raises:
        ValueError: It is none above 0 and below 1.
    """
    if not _is_number(max_error) or not 0 < max_error < 1:
        msg = (
            f"cache: got max_error={brief(max_error)}; write a share of the requests above 0"
            " and below 1, such as 0.01"
        )
        raise ValueError(msg)
    return max_error


def judged_share(judge: object, judged: float | None) -> float:
    """
    Return the share of possible hits that is judged.

    Raises:
        ValueError: It is no share, or 0 beside a judge.
        TypeError: *judge* cannot be called.
    """
    if judge is not None and not callable(judge):
        msg = (
            f"cache: got judge={brief(judge)}; write a function of a question and the"
            " value found for it that returns whether that is right"
        )
        raise TypeError(msg)
    if judged is None:
        return 0.0 if judge is None else 0.3
    share = _is_number(judged) and 0 <= judged <= 1
    if not share or (judge is not None and not judged):
        least = "above 0" if judge is not None else "from 0"
        msg = f"cache: got judged={brief(judged)}; write a share {least} to 1"
        raise ValueError(msg)
    return judged


def refuse_hit(given: object) -> None:
    """
    Raise if *given* is nothing that a cache could forget.

    Raises:
        TypeError: It is no hit.
    """
    if not isinstance(given, Hit):
        msg = f"forget: got {brief(given)}; write a hit, as get returns one"
        raise TypeError(msg)


def refuse_view(given: object) -> None:
    """
    Raise if *given* is no view of a cache.

    Raises:
        TypeError: It is none.
    """
    if not hasattr(given, "_shelf"):
        msg = f"limit: got {brief(given)}; write a view, as scope() returns one"
        raise TypeError(msg)


def refuse_async(compute: object) -> None:
    """
    Raise if what *compute* returns would be a coroutine and no answer.

    Raises:
        TypeError: It is async, or cannot be called.
    """
    refuse_uncallable("get_or_compute", compute)
    if is_async(compute):
        raise TypeError(_ASYNC)


def refuse_uncallable(who: str, compute: object) -> None:
    """
    Raise if *compute* cannot be called.

    Raises:
        TypeError: It cannot; the message names *who*.
    """
    if not callable(compute):
        msg = f"{who}: got {brief(compute)}; write a function of the question"
        raise TypeError(msg)


def several(questions: Iterable[str]) -> list[str]:
    """
    Return several questions.

    Raises:
        TypeError: They are one text, whose letters are none.
    """
    if isinstance(questions, str):
        msg = f"get_many: got {brief(questions)}, which is one question; write a list"
        raise TypeError(msg)
    return list(questions)


def plain(answer: V) -> V:
    """
    Return *answer*, which a plain function returned.

    Raises:
        TypeError: It is a coroutine, which is closed, or can be read only once.
    """
    if inspect.iscoroutine(answer):
        answer.close()
        raise TypeError(_ASYNC)
    return lasting(answer)


def lasting(answer: V) -> V:
    """
    Return *answer*, which the next one can read, too.

    Raises:
        TypeError: It can be read only once; a coroutine is closed.
    """
    if inspect.iscoroutine(answer) or _is_its_own_iterator(answer):
        if inspect.iscoroutine(answer):
            answer.close()
        msg = (
            f"cache: got the answer {answer!r}, which can be read only once; write a"
            " list of what it yields, await it first, or decorate the generator function"
            " itself with cached()"
        )
        raise TypeError(msg)
    return answer


def _is_its_own_iterator(answer: object) -> bool:
    if isinstance(answer, Iterator):
        return iter(answer) is answer
    return isinstance(answer, AsyncIterator) and aiter(answer) is answer


def refuse_plain(answer: object) -> None:
    """
    Raise if *answer* cannot be awaited.

    Raises:
        TypeError: The function is a plain one, which would hold the loop up.
    """
    if not inspect.isawaitable(answer):
        msg = (
            f"aget_or_compute: the function returned {brief(answer)}, which cannot be"
            " awaited; write an async function, or get_or_compute in a thread"
        )
        raise TypeError(msg)


def pair(given: tuple[str, V]) -> tuple[str, V]:
    """
    Return a question and its answer.

    Raises:
        TypeError: *given* is something else.
    """
    given_as: object = given
    kind = isinstance(given_as, Sequence) and not isinstance(given_as, str | bytes)
    if not kind or len(given) != 2:
        msg = f"put_many: got {brief(given)}; write pairs of (question, answer)"
        raise TypeError(msg)
    question, answer = given
    return question, answer


_ASYNC = (
    "get_or_compute: got an async function, whose coroutine is no answer; write await"
    " aget_or_compute(question, function)"
)


def is_async(function: object) -> bool:
    """Whether a call of *function* answers with a coroutine."""
    # What inspect says of most, in a tenth of its time; it may mark the others.
    if type(function) is FunctionType and not function.__dict__:
        return bool(function.__code__.co_flags & inspect.CO_COROUTINE)
    call = getattr(type(function), "__call__", None)  # noqa: B004 - of an object's class
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call)
