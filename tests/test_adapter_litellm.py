"""LiteLLM's completions, with a cache in front of a server on loopback."""

from __future__ import annotations

import asyncio
import logging
import os

import pytest

from chat_server import chat_server

from legion import SemanticCache


pytestmark = pytest.mark.filterwarnings("ignore")  # of LiteLLM and pydantic

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # it would fetch one
litellm = pytest.importorskip(
    "litellm", reason="the package litellm is missing: nox -s adapters installs it"
)

LETTERS = "abcdefghijklmnopqrstuvwxyz"
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def embed(texts):
    return [[1 + text.lower().count(c) for c in LETTERS] for text in texts]


@pytest.fixture
def server():
    with chat_server() as server:
        yield server


def use(cache, tenant="a"):
    from legion.integrations.litellm import LiteLLMCache

    litellm.cache = LiteLLMCache(cache, tenant=tenant)


@pytest.fixture
def cache():
    cache = SemanticCache(embed, threshold=0.95)
    use(cache)
    yield cache
    litellm.cache = None


def request(server, text, **more):
    messages = [{"role": "user", "content": text}]
    return {
        "model": "openai/m",
        "messages": messages,
        "api_base": server.url,
        "api_key": "none",
        "caching": True,
        **more,
    }


def ask(server, text, **more):
    return litellm.completion(**request(server, text, **more))


def said(answer):
    return answer.choices[0].message.content


def test_a_paraphrase_is_answered_without_the_server(server, cache):
    """With a response like the first."""
    first = ask(server, "Where is my parcel right now?")
    second = ask(server, "Where is my parcel now?")

    assert server.asked == ["Where is my parcel right now?"]
    assert said(first) == said(second) == "re: Where is my parcel right now?"
    assert isinstance(second, litellm.ModelResponse)
    assert cache.stats().semantic_hits == 1


async def until_stored(cache):
    for _ in range(1_000):  # LiteLLM stores behind its answer's back
        if len(cache):
            break
        await asyncio.sleep(0.01)


def test_asyncio_asks_the_cache_too(server, cache):
    """What one task stored, another finds."""

    async def story():
        first = await litellm.acompletion(**request(server, "Where is it right now?"))
        await until_stored(cache)
        return first, await litellm.acompletion(**request(server, "Where is it now?"))

    first, second = asyncio.run(story())

    assert len(server.requests) == 1
    assert said(first) == said(second)


def test_an_async_judge_is_asked_on_the_loop(server, cache):
    """Only a loop can ask it, and `acompletion` has one."""

    async def judge(question, answer):
        return True

    judged = SemanticCache(embed, max_error=0.1, judge=judge)
    use(judged)  # until `cache` takes it away

    async def story():
        await litellm.acompletion(**request(server, "q"))
        await until_stored(judged)
        await litellm.acompletion(**request(server, "q"))

    asyncio.run(story())

    assert len(server.requests) == 1
    assert judged.stats().exact_hits == 1


@pytest.mark.parametrize(
    "other",
    [
        {"model": "openai/other"},
        {"temperature": 0.5},
        {"extra_body": {"guided_choice": ["yes", "no"]}},
        {"tools": [{"type": "function", "function": {"name": "f"}}]},
        {
            "messages": [
                {"role": "system", "content": "Answer in French."},
                {"role": "user", "content": "q"},
            ]
        },
    ],
    ids=lambda other: next(iter(other)),
)
def test_whatever_else_the_answer_depends_on_parts_the_answers(server, cache, other):
    """The same question is asked again, and found again under the same conditions."""
    ask(server, "q")
    for _ in range(2):
        ask(server, "q", **other)
    ask(server, "q")

    assert server.asked == ["q", "q"]


def test_tenants_do_not_share_answers(server, cache):
    """Told apart by the request, as a proxy has to."""
    use(cache, tenant=lambda request: request["user"])
    for tenant in ("a", "b", "a"):
        ask(server, "q", user=tenant)

    assert len(server.requests) == 2
    assert len(cache) == 2


def test_a_long_conversation_goes_past_the_cache(server, cache):
    """What a question means then depends on what was said."""
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    messages = [*turns, *turns, {"role": "user", "content": "q"}]
    for _ in range(2):
        ask(server, "", messages=messages)

    assert len(server.requests) == 2
    assert not cache.stats().lookups


@pytest.mark.parametrize(
    ("message", "finish_reason"),
    [
        ({"role": "assistant", "content": None, "tool_calls": [CALL]}, "tool_calls"),
        ({"role": "assistant", "content": "cut o"}, "length"),
    ],
    ids=["tool call", "cut off"],
)
def test_what_is_not_a_whole_text_is_not_stored(server, cache, message, finish_reason):
    """A tool call is an act, and half an answer nobody's."""
    server.reply, server.finish_reason = lambda _: message, finish_reason
    for _ in range(2):
        assert ask(server, "q").choices[0].finish_reason == finish_reason

    assert (len(server.requests), len(cache)) == (2, 0)


def test_whoever_wants_a_fresh_answer_gets_one(server, cache):
    """As LiteLLM's cache controls say."""
    ask(server, "q")
    ask(server, "q", cache={"no-cache": True})

    assert len(server.requests) == 2


def test_a_stream_is_replayed_as_one(server, cache):
    """LiteLLM makes the chunks of what was stored."""

    def text():
        chunks = list(ask(server, "Where is it?", stream=True))
        return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)

    first = text()
    assert (first.strip(), len(cache)) == ("re: Where is it?", 1)
    assert text() == first
    assert len(server.requests) == 1


def test_an_embedder_that_fails_does_not_stand_in_the_way(server, caplog):
    """The server is asked, and the log says that the cache was not."""

    def broken(texts):
        raise ConnectionError("embedder: down")

    use(SemanticCache(broken))
    try:
        with caplog.at_level(logging.WARNING, "legion"):
            assert said(ask(server, "q")) == "re: q"
    finally:
        litellm.cache = None
    assert "embedder: down" in caplog.text
