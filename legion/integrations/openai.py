"""A client of the chat completions API that asks a cache first."""

from __future__ import annotations

import asyncio
import functools
import logging

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, NoReturn, TypeVar, cast

import attrs

from ..cache import Cost, Scope, SemanticCache
from ..exceptions import EmbeddingError, MissingExtraError
from .chat import LONGEST, Prompt, Unfit, is_whole


try:
    from openai import AsyncOpenAI, AsyncStream, OpenAI, Stream
    from openai.types.chat import ChatCompletion, ChatCompletionChunk
except ModuleNotFoundError as error:
    _EXTRA = "adapters"
    raise MissingExtraError(_EXTRA, "openai") from error


_log = logging.getLogger("legion")

C = TypeVar("C", OpenAI, AsyncOpenAI)


def cached(
    client: C,
    cache: SemanticCache[Any],
    *,
    tenant: str,
    longest: int = LONGEST,
) -> C:
    """
    Return a copy of *client* whose ``chat.completions.create`` asks *cache* first.

        client = cached(OpenAI(), cache, tenant="acme")

    Everything but what the user said last parts the answers: model, temperature, tools,
    system prompt, what was said before. Plain answers of the same meaning asked at once
    are computed once. Streams are replayed as streams; one that is not read to its end
    is not stored. Tool calls, refusals and answers that were cut off are passed on and
    never stored, nor given to another who waits. Whatever else the client does goes
    past the cache, and so does a request that `legion.integrations.chat.Prompt.of` says
    is unfit, or whose question cannot be embedded. What ``with_options`` of the copy
    returns asks the cache, too.

    Args:
        client: It stays as it is; both use the same connections.
        cache: Answers lie in its scopes as JSON.
        tenant: Whose questions they are: no other tenant is served these answers.
        longest: How many messages, system ones apart, a conversation that is looked up
            may have.

    .. versionadded:: 0.1
    """
    copy: Any = client.copy()
    completions = copy.chat.completions

    def with_options(**options: Any) -> C:
        return cached(client.copy(**options), cache, tenant=tenant, longest=longest)

    copy.copy = copy.with_options = with_options
    find = functools.partial(_find, cache, tenant, longest)
    make = _acreate if isinstance(client, AsyncOpenAI) else _create
    completions.create = make(completions.create, find)
    return cast("C", copy)


def cost_of(stored: Any) -> Cost:
    """
    Return the tokens that a stored answer cost, for `legion.cache.Meter`.

    They are what the server said it used; of a stream it says so only where it was
    asked to, by ``stream_options={"include_usage": True}``.
    """
    parts = stored if isinstance(stored, list) else [stored]
    used = [usage["total_tokens"] for part in parts if (usage := part.get("usage"))]
    return Cost(tokens=used[-1] if used else 0)


class _NotKeptError(Exception):
    """An answer was nobody else's; who waited for it asks for one of their own."""


@attrs.frozen
class _Asked:
    """Where the answer to a request lies, and under which question."""

    scope: Scope[Any]
    question: str

    def stored(self) -> Any:
        """Return what is stored, or None."""
        try:
            hit = self.scope.get(self.question)
        except EmbeddingError as error:
            _log.warning("cached: asked past the cache: %s", error)
            return None
        return None if hit is None else hit.value

    async def astored(self) -> Any:
        """Do as `stored` does, for asyncio."""
        try:
            hit = await self.scope.aget(self.question)
        except EmbeddingError as error:
            _log.warning("cached: asked past the cache: %s", error)
            return None
        return None if hit is None else hit.value

    def store(self, chunks: list[ChatCompletionChunk]) -> None:
        """Store a stream that was read to its end, if it is anybody else's."""
        if not _is_whole(chunks):
            return
        stored = [chunk.model_dump(mode="json", exclude_unset=True) for chunk in chunks]
        self.scope._put_answered(self.question, stored)


def _find(
    cache: SemanticCache[Any], tenant: str, longest: int, request: dict[str, Any]
) -> _Asked | None:
    # Before 2.0 openai said NotGiven for what it now says Omit.
    given = {
        key: value
        for key, value in request.items()
        if type(value).__name__ not in {"NotGiven", "Omit"}
    }
    prompt = Prompt.of(given, longest=longest)
    if isinstance(prompt, Unfit):
        return None
    scope = cache.scope(tenant, model=prompt.model, rest=prompt.rest)
    return _Asked(scope, prompt.question)


_Find = Callable[[dict[str, Any]], _Asked | None]


def _create(create: Callable[..., Any], find: _Find) -> Callable[..., Any]:
    @functools.wraps(create)
    def ask(**request: Any) -> Any:
        asked = find(request)
        if asked is None:
            return create(**request)
        if request.get("stream"):
            stored = asked.stored()
            return _Chunks(_read(stored)) if stored else _live(create(**request), asked)
        mine: list[object] = []

        def compute(_: str) -> dict[str, Any]:
            mine.append(create(**request))
            return _kept(mine[0])

        try:
            stored = asked.scope.get_or_compute(asked.question, compute)
        except _NotKeptError:
            return mine[0] if mine else create(**request)
        except EmbeddingError as error:
            _log.warning("cached: asked past the cache: %s", error)
            return create(**request)
        return mine[0] if mine else ChatCompletion.model_validate(stored)

    return ask


def _acreate(
    create: Callable[..., Awaitable[Any]], find: _Find
) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(create)
    async def ask(**request: Any) -> Any:
        asked = find(request)
        if asked is None:
            return await create(**request)
        if request.get("stream"):
            stored = await asked.astored()
            if stored:
                return _AsyncChunks(_aread(stored))
            return _alive(await create(**request), asked)
        mine: list[object] = []

        async def compute(_: str) -> dict[str, Any]:
            mine.append(await create(**request))
            return _kept(mine[0])

        try:
            stored = await asked.scope.aget_or_compute(asked.question, compute)
        except _NotKeptError:
            return mine[0] if mine else await create(**request)
        except EmbeddingError as error:
            _log.warning("cached: asked past the cache: %s", error)
            return await create(**request)
        return mine[0] if mine else ChatCompletion.model_validate(stored)

    return ask


def _kept(answer: object) -> dict[str, Any]:
    """
    Return *answer* as it is stored.

    Raises:
        _NotKeptError: It is nobody else's.
    """
    if isinstance(answer, ChatCompletion):
        stored: dict[str, Any] = answer.model_dump(mode="json", exclude_unset=True)
        if is_whole(stored.get("choices")):
            return stored
    raise _NotKeptError


def _is_whole(chunks: list[ChatCompletionChunk]) -> bool:
    """Say whether the answer these chunks make may be given to somebody else."""
    choices: dict[int, dict[str, Any]] = {}
    for chunk in chunks:
        for choice in chunk.choices:
            whole = choices.setdefault(choice.index, {"message": {"content": ""}})
            delta = choice.delta.model_dump(exclude_none=True)
            whole["message"]["content"] += delta.pop("content", "")
            whole["message"].update(delta)
            whole["finish_reason"] = choice.finish_reason or whole.get("finish_reason")
    return is_whole(list(choices.values()))


class _Chunks(Stream[ChatCompletionChunk]):
    """A stream of chunks that are all there, or that a live one goes on sending."""

    def __init__(
        self,
        chunks: Iterator[ChatCompletionChunk],
        live: Stream[ChatCompletionChunk] | None = None,
    ) -> None:
        self._iterator = chunks
        self._live = live
        if live is not None:
            self.response = live.response

    def __next__(self) -> ChatCompletionChunk:
        return next(self._iterator)

    def __iter__(self) -> Iterator[ChatCompletionChunk]:
        return self._iterator

    def __getattr__(self, name: str) -> NoReturn:
        raise _lacking(name)

    def close(self) -> None:
        self._iterator = iter(())
        if self._live is not None:
            self._live.close()


class _AsyncChunks(AsyncStream[ChatCompletionChunk]):
    """The same for asyncio."""

    def __init__(
        self,
        chunks: AsyncIterator[ChatCompletionChunk],
        live: AsyncStream[ChatCompletionChunk] | None = None,
    ) -> None:
        self._iterator = chunks
        self._live = live
        if live is not None:
            self.response = live.response

    async def __anext__(self) -> ChatCompletionChunk:
        return await anext(self._iterator)

    def __aiter__(self) -> AsyncIterator[ChatCompletionChunk]:
        return self._iterator

    def __getattr__(self, name: str) -> NoReturn:
        raise _lacking(name)

    async def close(self) -> None:
        self._iterator = _aread([])
        if self._live is not None:
            await self._live.close()


def _lacking(name: str) -> AttributeError:
    if name == "response":
        msg = (
            "cached: got .response of a stream that is replayed, for which no server "
            "was asked; ask past the cache, with the client that was given to cached"
        )
    else:
        msg = f"cached: a stream has no {name}"
    return AttributeError(msg, name=name)


def _live(stream: Any, asked: _Asked) -> Any:
    """Have *stream* stored once it has been read to its end."""
    if not isinstance(stream, Stream):
        return stream

    def record() -> Iterator[ChatCompletionChunk]:
        chunks = []
        for chunk in stream:
            chunks.append(chunk)
            yield chunk
        asked.store(chunks)

    return _Chunks(record(), stream)


def _alive(stream: Any, asked: _Asked) -> Any:
    """Do as `_live` does, for asyncio."""
    if not isinstance(stream, AsyncStream):
        return stream

    async def record() -> AsyncIterator[ChatCompletionChunk]:
        chunks = []
        async for chunk in stream:
            chunks.append(chunk)
            yield chunk
        await asyncio.to_thread(asked.store, chunks)

    return _AsyncChunks(record(), stream)


def _read(stored: list[dict[str, Any]]) -> Iterator[ChatCompletionChunk]:
    return iter([ChatCompletionChunk.model_validate(chunk) for chunk in stored])


async def _aread(stored: list[dict[str, Any]]) -> AsyncIterator[ChatCompletionChunk]:
    for chunk in _read(stored):
        yield chunk
