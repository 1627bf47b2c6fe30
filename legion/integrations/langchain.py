"""The cache of LangChain's language models, by meaning."""

from __future__ import annotations

import asyncio
import json
import logging

from collections.abc import Sequence
from typing import Any

from ..cache import Hit, Scope, SemanticCache
from ..exceptions import EmbeddingError, MissingExtraError
from .chat import LONGEST, Prompt, Unfit, is_whole


try:
    from langchain_core.caches import BaseCache
    from langchain_core.messages import AIMessage, message_to_dict, messages_from_dict
    from langchain_core.outputs import ChatGeneration, Generation
except ModuleNotFoundError as error:
    _EXTRA = "adapters"
    raise MissingExtraError(_EXTRA, "langchain-core") from error


_log = logging.getLogger("legion")

_ROLES = {"human": "user", "ai": "assistant"}
_ENDED = frozenset({"complete", "end_turn", "eos", "stop", "stop_sequence"})


class LangChainCache(BaseCache):
    """
    A `SemanticCache` as LangChain's models ask one.

        set_llm_cache(LangChainCache(cache, tenant="acme"))

    Everything but what the user said last parts the answers: the model and how it is
    called, tools, system prompt, what was said before. Tool calls and answers that were
    cut off are never stored. A question that cannot be embedded is asked past the
    cache, and an answer that is no JSON is not stored, with a warning in the log.

    Args:
        cache: Answers lie in its scopes as JSON.
        tenant: Whose questions they are: no other tenant is served these answers.
        longest: How many messages, system ones apart, a conversation that is looked up
            may have.

    .. versionadded:: 0.1
    """

    def __init__(
        self, cache: SemanticCache[Any], *, tenant: str, longest: int = LONGEST
    ) -> None:
        self._cache = cache
        self._tenant = tenant
        self._longest = longest
        self._tag = f"LangChainCache of {tenant}"

    def lookup(self, prompt: str, llm_string: str) -> list[Generation] | None:
        """Return what was generated for this prompt, or for one that is near enough."""
        found = self._find(prompt, llm_string)
        if found is None:
            return None
        scope, question = found
        try:
            hit = scope.get(question)
        except EmbeddingError as error:
            _log.warning("LangChainCache: asked past the cache: %s", error)
            return None
        return _generations(hit)

    def update(
        self, prompt: str, llm_string: str, return_val: Sequence[Generation]
    ) -> None:
        """Store what was generated, if it may be given to somebody else."""
        found = self._find(prompt, llm_string)
        if found is None or not is_whole([_choice(each) for each in return_val]):
            return
        scope, question = found
        try:
            stored = json.dumps(list(map(_stored, return_val)), allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            _log.warning("LangChainCache: an answer was not stored: %s", error)
            return
        scope._put_answered(question, json.loads(stored), tags=[self._tag])

    def clear(self, **kwargs: Any) -> None:
        """Take out what models stored for this tenant, and no other's."""
        self._cache.invalidate(self._tag)

    async def alookup(self, prompt: str, llm_string: str) -> list[Generation] | None:
        """Do as `lookup` does, for asyncio."""
        found = self._find(prompt, llm_string)
        if found is None:
            return None
        scope, question = found
        try:
            hit = await scope.aget(question)
        except EmbeddingError as error:
            _log.warning("LangChainCache: asked past the cache: %s", error)
            return None
        return _generations(hit)

    async def aupdate(
        self, prompt: str, llm_string: str, return_val: Sequence[Generation]
    ) -> None:
        """Do as `update` does, in a thread."""
        await asyncio.to_thread(self.update, prompt, llm_string, return_val)

    def _find(self, prompt: str, llm_string: str) -> tuple[Scope[Any], str] | None:
        """Return the scope and the question of a request, or None if it is unfit."""
        request = {"messages": _messages(prompt), "llm": llm_string}
        found = Prompt.of(request, longest=self._longest)
        if isinstance(found, Unfit):
            return None
        return self._cache.scope(self._tenant, rest=found.rest), found.question


def _messages(prompt: str) -> list[dict[str, Any]]:
    """Return the messages of a chat model's prompt, or the text of another's as one."""
    try:
        given = json.loads(prompt)
    except ValueError:
        given = None
    if not (isinstance(given, list) and given and all(map(_is_message, given))):
        return [{"role": "user", "content": prompt}]
    messages = []
    for each in given:
        fields = {key: value for key, value in each["kwargs"].items() if value}
        kind = fields.pop("type", each["id"][-1])
        messages.append({"role": _ROLES.get(kind, kind), **fields})
    return messages


def _is_message(given: object) -> bool:
    return isinstance(given, dict) and {"lc", "id", "kwargs"} <= set(given)


def _choice(generation: Generation) -> dict[str, Any]:
    """Return *generation* as a choice of the chat completions API."""
    message = getattr(generation, "message", None)
    said = {"content": generation.text}
    info = dict(generation.generation_info or {})
    if isinstance(message, AIMessage):
        info |= message.response_metadata
        more = message.additional_kwargs
        said = {
            "content": generation.text,
            "tool_calls": message.tool_calls
            or message.invalid_tool_calls
            or more.get("tool_calls"),
            "function_call": more.get("function_call"),
            "refusal": more.get("refusal"),
        }
    reason = info.get("finish_reason") or info.get("stop_reason") or "stop"
    ended = str(reason).lower() in _ENDED
    return {"finish_reason": "stop" if ended else reason, "message": said}


def _stored(generation: Generation) -> dict[str, Any]:
    message = getattr(generation, "message", None)
    return {
        "text": generation.text,
        "info": generation.generation_info,
        "message": None if message is None else message_to_dict(message),
    }


def _generations(hit: Hit[Any] | None) -> list[Generation] | None:
    return None if hit is None else [_generation(each) for each in hit.value]


def _generation(stored: dict[str, Any]) -> Generation:
    if stored["message"] is None:
        return Generation(text=stored["text"], generation_info=stored["info"])
    (message,) = messages_from_dict([stored["message"]])
    return ChatGeneration(message=message, generation_info=stored["info"])
