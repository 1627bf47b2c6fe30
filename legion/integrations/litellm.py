"""The cache of LiteLLM's completions, by meaning."""

from __future__ import annotations

import asyncio
import json
import logging

from collections.abc import Callable, Mapping
from typing import Any

from ..cache import Hit, Scope, SemanticCache
from ..exceptions import EmbeddingError, MissingExtraError
from .chat import LONGEST, Prompt, Unfit, is_whole


try:
    from litellm.caching.caching import Cache
except ModuleNotFoundError as error:
    _EXTRA = "adapters"
    raise MissingExtraError(_EXTRA, "litellm") from error


_log = logging.getLogger("legion")

# What a request carries about itself, and the key that LiteLLM made of all of it.
_NO_PART = frozenset(
    {"cache_key", "dynamic_cache_object", "litellm_params", "messages", "metadata"}
)


class LiteLLMCache(Cache):
    """
    A `SemanticCache` as LiteLLM asks one.

        litellm.cache = LiteLLMCache(cache, tenant="acme")

    Completions only, streamed or not. Whatever LiteLLM's own key is made of parts the
    answers, ``extra_body``, and what was said before the last question; other parameters
    of one provider are part of it where ``litellm.enable_caching_on_provider_specific_optional_params`` is
    true. Tool calls and answers that were cut off are never stored. A question that
    cannot be embedded is asked past the cache, with a warning in the log.

    Args:
        cache: Answers lie in its scopes as JSON.
        tenant: Whose questions they are, or a function from the request's arguments to
            that: no other tenant is served these answers.
        longest: How many messages, system ones apart, a conversation that is looked up
            may have.

    .. versionadded:: 0.1
    """

    def __init__(
        self,
        cache: SemanticCache[Any],
        *,
        tenant: str | Callable[[Mapping[str, Any]], str],
        longest: int = LONGEST,
    ) -> None:
        super().__init__(supported_call_types=["completion", "acompletion"])
        self._semantic = cache
        self._tenant = tenant
        self._longest = longest

    def get_cache(
        self, dynamic_cache_object: object = None, **kwargs: Any
    ) -> dict[str, Any] | None:
        """Return the answer to this request, or to one that is near enough, or None."""
        found = self._find(kwargs)
        if found is None:
            return None
        scope, question = found
        try:
            hit = scope.get(question)
        except EmbeddingError as error:
            _log.warning("LiteLLMCache: asked past the cache: %s", error)
            return None
        return _answer(hit, kwargs)

    def add_cache(self, result: object, **kwargs: Any) -> None:
        """Store an answer, if it may be given to somebody else."""
        found = self._find(kwargs)
        answer = _json(result)
        if found is None or not is_whole(json.loads(answer).get("choices")):
            return
        scope, question = found
        scope._put_answered(question, answer)

    async def async_get_cache(
        self, dynamic_cache_object: object = None, **kwargs: Any
    ) -> dict[str, Any] | None:
        """Do as `get_cache` does, for asyncio."""
        found = self._find(kwargs)
        if found is None:
            return None
        scope, question = found
        try:
            hit = await scope.aget(question)
        except EmbeddingError as error:
            _log.warning("LiteLLMCache: asked past the cache: %s", error)
            return None
        return _answer(hit, kwargs)

    async def async_add_cache(
        self, result: object, dynamic_cache_object: object = None, **kwargs: Any
    ) -> None:
        """Do as `add_cache` does, in a thread."""
        await asyncio.to_thread(self.add_cache, result, **kwargs)

    def _find(self, kwargs: dict[str, Any]) -> tuple[Scope[Any], str] | None:
        """Return the scope and the question of a request, or None if it is unfit."""
        if self.should_use_cache(**kwargs) is not True:
            return None
        rest = {key: value for key, value in kwargs.items() if key not in _NO_PART}
        request = {
            "messages": kwargs.get("messages"),
            "model": kwargs.get("model"),
            "key": self.get_cache_key(**rest),
            "extra_body": kwargs.get("extra_body"),
        }
        prompt = Prompt.of(request, longest=self._longest)
        if isinstance(prompt, Unfit):
            return None
        tenant = self._tenant if isinstance(self._tenant, str) else self._tenant(kwargs)
        scope = self._semantic.scope(tenant, model=prompt.model, rest=prompt.rest)
        return scope, prompt.question


def _answer(hit: Hit[Any] | None, kwargs: dict[str, Any]) -> dict[str, Any] | None:
    """Return what was stored, if it is as new as the request wants it."""
    asked = kwargs.get("cache") or {}
    most_s = asked.get("s-maxage") or asked.get("s-max-age")
    if hit is None or (most_s is not None and hit.age_s > most_s):
        return None
    answer: dict[str, Any] = json.loads(hit.value)
    return answer


def _json(result: object) -> str:
    """Return an answer, which comes as an object or written already, as JSON."""
    dump = getattr(result, "model_dump_json", None)
    return str(result) if dump is None else dump(exclude_unset=True)
