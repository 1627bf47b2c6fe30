"""The client of the package openai, with a cache in front of a server on loopback."""

from __future__ import annotations

import asyncio
import logging
import threading

from concurrent.futures import ThreadPoolExecutor

import pytest

from chat_server import chat_server

from legion import SemanticCache
from legion.cache import Meter
from legion.integrations.chat import Prompt


openai = pytest.importorskip(
    "openai", reason="the package openai is missing: nox -s adapters installs it"
)

LETTERS = "abcdefghijklmnopqrstuvwxyz"
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {}}}


def embed(texts):
    return [[1 + text.lower().count(c) for c in LETTERS] for text in texts]


@pytest.fixture
def server():
    with chat_server() as server:
        yield server


@pytest.fixture
def cache():
    return SemanticCache(embed, threshold=0.95)


@pytest.fixture
def client(server, cache):
    from legion.integrations.openai import cached

    with openai.OpenAI(base_url=server.url, api_key="none", max_retries=0) as real:
        yield cached(real, cache, tenant="a")


def ask(client, text, **more):
    return client.chat.completions.create(
        **{"model": "m", "messages": [{"role": "user", "content": text}], **more}
    )


def with_async(server, cache, story):
    """Run *story* with an async client."""
    from legion.integrations.openai import cached

    async def run():
        async with openai.AsyncOpenAI(
            base_url=server.url, api_key="none", max_retries=0
        ) as real:
            return await story(cached(real, cache, tenant="a"))

    return asyncio.run(run())


def contents(chunks):
    return [chunk.choices[0].delta.content for chunk in chunks]


def test_a_paraphrase_is_answered_without_the_server(server, client):
    """With a completion like the first; the client is still one of OpenAI's."""
    first = ask(client, "Where is my parcel right now?")
    second = ask(client, "Where is my parcel now?")

    assert server.asked == ["Where is my parcel right now?"]
    assert first == second
    assert first is not second
    assert second.choices[0].message.content == "re: Where is my parcel right now?"
    assert isinstance(client, openai.OpenAI)


def test_the_client_that_was_given_is_left_alone(server, cache):
    """Only the copy asks the cache."""
    from legion.integrations.openai import cached

    with openai.OpenAI(base_url=server.url, api_key="none") as real:
        ask(cached(real, cache, tenant="a"), "q")
        ask(real, "q")
    assert server.asked == ["q", "q"]


@pytest.mark.parametrize(
    "other",
    [
        {"model": "other"},
        {"temperature": 0.5},
        {"tools": [TOOL]},
        {"seed": 1},
        {"user": "somebody"},
        {"extra_body": {"reasoning": True}},
        {"extra_headers": {"X-Tenant": "b"}},
        {
            "messages": [
                {"role": "system", "content": "Answer in French."},
                {"role": "user", "content": "q"},
            ]
        },
        {
            "messages": [
                {"role": "user", "content": "Hello"},
                {"role": "assistant", "content": "Hi"},
                {"role": "user", "content": "q"},
            ]
        },
        {"messages": [{"role": "user", "content": "q", "name": "Ann"}]},
    ],
    ids=lambda other: next(iter(other)),
)
def test_whatever_else_the_answer_depends_on_parts_the_answers(server, client, other):
    """The same question is asked again, and found again under the same conditions."""
    ask(client, "q")
    for _ in range(2):
        ask(client, "q", **other)
    ask(client, "q")

    assert server.asked == ["q", "q"]


@pytest.mark.parametrize(
    "same",
    [{"timeout": 20}, {"metadata": {"request": "7"}}, {"temperature": "omitted"}],
    ids=lambda same: next(iter(same)),
)
def test_how_a_request_travels_parts_nothing(server, client, same):
    """Nor does what is left out, however one says so."""
    if same == {"temperature": "omitted"}:
        same = {"temperature": getattr(openai, "omit", openai.NOT_GIVEN)}
    ask(client, "q")
    ask(client, "q", **same)

    assert server.asked == ["q"]


def test_tenants_do_not_share_answers(server, cache):
    """Two clients on one cache."""
    from legion.integrations.openai import cached

    with openai.OpenAI(base_url=server.url, api_key="none") as real:
        for tenant in ("a", "b", "a"):
            ask(cached(real, cache, tenant=tenant), "q")
    assert server.asked == ["q", "q"]


def test_a_long_conversation_goes_past_the_cache(server, client):
    """So do one that ends with no user's text, and a picture."""
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    question = {"role": "user", "content": "And now?"}
    picture = {"type": "image_url", "image_url": {"url": "data:,"}}
    text = {"type": "text", "text": "What is it?"}
    tool = {"role": "tool", "tool_call_id": "c", "content": "42"}
    for messages in (
        [*turns, *turns, question],
        [{"role": "user", "content": [text, picture]}],
        [
            {"role": "user", "content": "q"},
            {"role": "assistant", "tool_calls": [CALL]},
            tool,
        ],
        [{"role": "user", "content": " "}],
    ):
        for _ in range(2):
            ask(client, "", messages=messages)

    assert len(server.requests) == 8


def test_a_text_in_parts_and_an_earlier_answer_are_looked_up(server, client):
    """A message may be one that the client returned."""
    part = [{"type": "text", "text": "Where is it?"}]
    ask(client, "", messages=[{"role": "user", "content": part}])
    reply = ask(client, "Where is it?").choices[0].message
    follow_up = [
        {"role": "user", "content": "Where is it?"},
        reply,
        {"role": "user", "content": "Sure?"},
    ]
    for _ in range(2):
        ask(client, "", messages=follow_up)

    assert server.asked == ["Where is it?", "Sure?"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("message", "finish_reason"),
    [
        ({"role": "assistant", "content": None, "tool_calls": [CALL]}, "tool_calls"),
        ({"role": "assistant", "content": "calling", "tool_calls": [CALL]}, "stop"),
        ({"role": "assistant", "content": "cut o"}, "length"),
        ({"role": "assistant", "content": "..."}, "content_filter"),
        ({"role": "assistant", "content": ""}, "stop"),
    ],
    ids=["tool call", "text and tool call", "cut off", "filtered", "empty"],
)
def test_what_is_not_a_whole_text_is_passed_on_and_not_stored(
    server, client, cache, message, finish_reason, stream
):
    """A tool call is an act: each who asks has their own."""
    server.reply, server.finish_reason = lambda _: message, finish_reason
    for _ in range(2):
        answer = ask(client, "q", tools=[TOOL], stream=stream)
        if stream:
            ends = [chunk.choices[0].finish_reason for chunk in answer]
            assert ends[-1] == finish_reason
        else:
            assert answer.choices[0].finish_reason == finish_reason

    assert (len(server.requests), len(cache)) == (2, 0)


def test_an_error_of_the_server_is_the_client_s_and_not_stored(server, client):
    """The next request is sent."""
    server.reply = lambda _: 500
    with pytest.raises(openai.InternalServerError):
        ask(client, "q")
    del server.reply
    assert ask(client, "q").choices[0].message.content == "re: q"


def test_those_who_ask_at_once_make_one_request(server, client, cache):
    """The same and a paraphrase, from threads."""
    server.gate.clear()
    with ThreadPoolExecutor(3) as pool:
        asked = [pool.submit(ask, client, "Where is my parcel right now?")]
        until(lambda: server.requests)
        asked += [
            pool.submit(ask, client, text)
            for text in ("Where is my parcel right now?", "Where is my parcel now?")
        ]
        until(lambda: waiting(cache) == 4)
        server.gate.set()
        answers = {each.result(20).id for each in asked}

    assert (len(server.requests), answers) == (1, {"chatcmpl-1"})


def test_those_who_wait_for_a_tool_call_get_their_own(server, client, cache):
    """Nobody acts on a call that was made for somebody else."""
    server.reply = lambda _: {
        "role": "assistant",
        "content": None,
        "tool_calls": [CALL],
    }
    server.finish_reason = "tool_calls"
    server.gate.clear()
    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(ask, client, "q", tools=[TOOL]) for _ in range(2)]
        until(lambda: waiting(cache) == 2)
        server.gate.set()
        answers = {each.result(20).id for each in asked}

    assert answers == {"chatcmpl-1", "chatcmpl-2"}


def test_a_stream_is_recorded_and_replayed_as_one(server, client):
    """As chunks, in a with block too; a completion of the same question is another."""
    first = list(ask(client, "Where is my parcel right now?", stream=True))
    again = ask(client, "Where is my parcel now?", stream=True)
    with again as stream:
        second = list(stream)

    assert len(server.requests) == 1
    assert first == second
    assert contents(first)[:3] == ["", "re: ", "Where "]
    assert isinstance(again, openai.Stream)
    ask(client, "Where is my parcel now?")
    assert len(server.requests) == 2


def test_a_stream_comes_as_it_is_made(server, client, cache):
    """Nothing waits for its end; closed early, it is not stored."""
    live = ask(client, "q and more", stream=True)
    assert next(live).choices[0].delta.role == "assistant"
    live.close()
    assert list(live) == []
    assert len(cache) == 0


def test_a_stream_that_breaks_off_is_not_stored(server, client, cache):
    """Its chunks went out; the next one who asks has a whole one."""
    server.cut = 2
    with pytest.raises(openai.APIError):
        list(ask(client, "q and more", stream=True))
    assert len(cache) == 0
    server.cut = None
    assert len(list(ask(client, "q and more", stream=True))) == 6


def test_a_stream_that_cannot_be_stored_is_read_to_its_end(
    server, client, cache, caplog
):
    """It was paid for; the log says why nobody else will have it."""

    class Broken:
        def admit(self, query, value):
            msg = "the plugin is broken"
            raise ValueError(msg)

    cache._lookup.plugins = Broken()
    assert contents(list(ask(client, "q and more", stream=True)))[1] == "re: "
    assert "the plugin is broken" in caplog.text
    assert len(cache) == 0


def test_an_async_client_asks_the_cache_too(server, cache):
    """Ten at once make one request, and a paraphrase none."""

    async def story(client):
        first = await asyncio.gather(
            *(ask(client, "Where is my parcel right now?") for _ in range(10))
        )
        return [*first, await ask(client, "Where is my parcel now?")]

    answers = with_async(server, cache, story)

    assert len(server.requests) == 1
    assert {answer.id for answer in answers} == {"chatcmpl-1"}


def test_an_async_stream_is_recorded_and_replayed(server, cache):
    """Closed early it is not stored; read to its end it is."""

    async def story(client):
        live = await ask(client, "q", stream=True)
        await anext(live)
        await live.close()
        stored = len(cache)
        first = [chunk async for chunk in await ask(client, "q", stream=True)]
        async with await ask(client, "q", stream=True) as again:
            second = [chunk async for chunk in again]
        return stored, first, second

    stored, first, second = with_async(server, cache, story)

    assert (stored, len(server.requests)) == (0, 2)
    assert first == second
    assert contents(second)[1] == "re: "


def test_an_async_judge_is_asked_of_streams_too(server):
    """Only a loop can ask it, and an async client has one."""

    async def judge(question, answer):
        return True

    cache = SemanticCache(embed, max_error=0.1, judge=judge)

    async def story(client):
        return [
            [chunk async for chunk in await ask(client, "q", stream=True)]
            for _ in range(2)
        ]

    first, second = with_async(server, cache, story)

    assert first == second
    assert len(server.requests) == 1


def test_an_async_tool_call_is_each_one_s_own(server, cache):
    """As with threads."""
    server.reply = lambda _: {
        "role": "assistant",
        "content": None,
        "tool_calls": [CALL],
    }
    server.finish_reason = "tool_calls"

    async def story(client):
        return await asyncio.gather(*(ask(client, "q", tools=[TOOL]) for _ in range(3)))

    answers = with_async(server, cache, story)

    assert len({answer.id for answer in answers}) == len(server.requests) == 3


def test_an_embedder_that_fails_does_not_stand_in_the_way(server, caplog):
    """The server is asked, and the log says that the cache was not."""

    def broken(texts):
        raise ConnectionError("embedder: down")

    from legion.integrations.openai import cached

    cache = SemanticCache(broken)
    with openai.OpenAI(base_url=server.url, api_key="none") as real:
        client = cached(real, cache, tenant="a")
        with caplog.at_level(logging.WARNING, "legion"):
            assert ask(client, "q").choices[0].message.content == "re: q"
            assert len(list(ask(client, "q", stream=True))) == 4

    async def story(client):
        await ask(client, "q")
        return [chunk async for chunk in await ask(client, "q", stream=True)]

    assert len(with_async(server, cache, story)) == 4
    assert len(server.requests) == 4
    assert all("embedder: down" in each.message for each in caplog.records)


def test_the_tokens_that_hits_save_are_those_the_server_counted(server):
    """Of a stream, where it said how many they were."""
    from legion.integrations.openai import cached, cost_of

    cache = SemanticCache(embed, meter=Meter(cost_of=cost_of))
    with openai.OpenAI(base_url=server.url, api_key="none") as real:
        client = cached(real, cache, tenant="a")
        for _ in range(3):
            ask(client, "q")
        for _ in range(2):
            list(ask(client, "q", stream=True))

    assert cache.stats().saved_tokens == 30


def test_a_message_without_a_role_is_the_servers_to_refuse(server, client):
    """It is asked as it would be without a cache, and so it is for what is no JSON."""
    for messages in ([{"content": "q"}], [{"role": None, "content": "q"}]):
        for _ in range(2):
            client.chat.completions.create(model="m", messages=messages)
    assert len(server.requests) == 4

    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    prompt = Prompt.of({"messages": [{"role": "user", "content": deep}]})
    assert prompt.reason.startswith("it is no JSON")


def test_a_client_with_other_options_asks_the_cache_too(server, client):
    """As often as options are changed, by whichever of the two names."""
    ask(client, "q")
    for other in (
        client.with_options(timeout=5),
        client.copy(max_retries=0).with_options(timeout=7),
    ):
        assert ask(other, "q").choices[0].message.content == "re: q"
    assert len(server.requests) == 1
    assert other.timeout == 7
    assert other.max_retries == 0


def test_a_replayed_stream_says_that_it_has_no_response(server, client):
    """As the server was not asked; one that is live has its own."""
    live = ask(client, "q", stream=True)
    assert live.response.status_code == 200
    list(live)
    replayed = ask(client, "q", stream=True)
    with pytest.raises(AttributeError, match="for which no server was asked"):
        _ = replayed.response
    assert not hasattr(replayed, "other")


def test_raw_responses_go_past_the_cache(server, client):
    """They are responses of this request, with its headers."""
    for _ in range(2):
        raw = client.chat.completions.with_raw_response.create(
            model="m", messages=[{"role": "user", "content": "q"}]
        )
        assert raw.parse().choices[0].message.content == "re: q"
    assert len(server.requests) == 2


def until(holds):
    pause = threading.Event()
    for _ in range(2_000):
        if holds():
            return
        pause.wait(0.005)
    pytest.fail("the callers did not come together")


def waiting(cache):
    """Count those who wait for a flight, the first of each included."""
    return sum(flight.waiting for flight in list(cache._flights._flights.values()))
