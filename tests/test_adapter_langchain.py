"""LangChain's models, with a cache in front of them."""

from __future__ import annotations

import asyncio
import logging

import pytest

from legion import SemanticCache


pytest.importorskip(
    "langchain_core",
    reason="the package langchain-core is missing: nox -s adapters installs it",
)

from langchain_core.language_models import BaseChatModel, FakeListLLM
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.outputs import ChatGeneration, ChatResult, Generation

from legion.integrations.langchain import LangChainCache


LETTERS = "abcdefghijklmnopqrstuvwxyz"
CALL = {"name": "f", "args": {}, "id": "c", "type": "tool_call"}


def embed(texts):
    return [[1 + text.lower().count(c) for c in LETTERS] for text in texts]


class Model(BaseChatModel):
    """A chat model that says what it is told, and counts."""

    temperature: float = 0.0
    asked: list
    reply: object = None

    @property
    def _llm_type(self):
        return "model"

    @property
    def _identifying_params(self):
        return {"temperature": self.temperature}

    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        self.asked.append(messages[-1].content)
        message = self.reply or AIMessage(f"re: {messages[-1].content}")
        return ChatResult(generations=[ChatGeneration(message=message)])


@pytest.fixture
def cache():
    return SemanticCache(embed, threshold=0.95)


def model(cache, tenant="a", **more):
    return Model(cache=LangChainCache(cache, tenant=tenant), asked=[], **more)


def test_a_paraphrase_is_answered_without_the_model(cache):
    """With a message like the first; asynchronously too."""
    chat = model(cache)
    first = chat.invoke("Where is my parcel right now?")
    second = chat.invoke("Where is my parcel now?")
    third = asyncio.run(chat.ainvoke("Where is my parcel now?"))

    assert chat.asked == ["Where is my parcel right now?"]
    assert first.content == second.content == third.content
    assert isinstance(second, AIMessage)
    assert cache.stats().semantic_hits == 2


def test_an_async_answer_is_stored_too(cache):
    """And found by whoever asks plainly."""
    chat = model(cache)
    asyncio.run(chat.ainvoke("q"))
    chat.invoke("q")

    assert chat.asked == ["q"]


def test_an_async_judge_is_asked_on_the_loop():
    """Only a loop can ask it, and `ainvoke` has one."""

    async def judge(question, answer):
        return True

    chat = model(SemanticCache(embed, max_error=0.1, judge=judge))

    async def story():
        return await chat.ainvoke("q"), await chat.ainvoke("q")

    first, second = asyncio.run(story())

    assert first.content == second.content
    assert chat.asked == ["q"]


@pytest.mark.parametrize(
    "messages",
    [
        [SystemMessage("Answer in French."), HumanMessage("q")],
        [HumanMessage("Hello"), AIMessage("Hi"), HumanMessage("q")],
        [HumanMessage("q", name="Ann")],
    ],
    ids=["system prompt", "what was said before", "name"],
)
def test_whatever_else_the_answer_depends_on_parts_the_answers(cache, messages):
    """The same question is asked again, and found again under the same conditions."""
    chat = model(cache)
    for prompt in ("q", messages, messages, "q"):
        chat.invoke(prompt)

    assert chat.asked == ["q", "q"]


def test_models_and_tenants_do_not_share_answers(cache):
    """Nor does the same model called otherwise."""
    chats = [model(cache), model(cache, temperature=1.0), model(cache, tenant="b")]
    for chat in chats * 2:
        chat.invoke("q")
    chats[0].invoke("q", stop=["."])

    assert [chat.asked for chat in chats] == [["q", "q"], ["q"], ["q"]]


def test_a_long_conversation_goes_past_the_cache(cache):
    """What a question means then depends on what was said."""
    chat = model(cache)
    messages = [HumanMessage("a"), AIMessage("b")] * 2 + [HumanMessage("q")]
    for _ in range(2):
        chat.invoke(messages)

    assert chat.asked == ["q", "q"]
    assert not cache.stats().lookups


@pytest.mark.parametrize(
    "reply",
    [
        AIMessage("", tool_calls=[CALL]),
        AIMessage("calling", tool_calls=[CALL]),
        AIMessage("cut o", response_metadata={"finish_reason": "length"}),
        AIMessage("cut o", response_metadata={"stop_reason": "max_tokens"}),
        AIMessage("no", additional_kwargs={"refusal": "no"}),
    ],
    ids=["tool call", "text and tool call", "length", "max tokens", "refusal"],
)
def test_what_is_not_a_whole_text_is_not_stored(cache, reply):
    """A tool call is an act, and half an answer nobody's."""
    chat = model(cache, reply=reply)
    for _ in range(2):
        assert chat.invoke("q").content == reply.content

    assert (chat.asked, len(cache)) == (["q", "q"], 0)


@pytest.mark.parametrize("reason", ["stop", "STOP", "end_turn"])
def test_an_answer_that_ended_by_itself_is_stored(cache, reason):
    """Whatever its provider calls that."""
    reply = AIMessage("done", response_metadata={"finish_reason": reason})
    model(cache, reply=reply).invoke("q")

    assert len(cache) == 1


def test_a_model_of_texts_is_cached_too(cache):
    """Its prompt is the question, even one that looks like JSON."""
    llm = FakeListLLM(responses=["one", "two"], cache=LangChainCache(cache, tenant="a"))
    assert [llm.invoke("Where is it?") for _ in range(2)] == ["one", "one"]
    assert [llm.invoke('[{"a": 1}]') for _ in range(2)] == ["two", "two"]


def test_clear_takes_out_what_was_stored_for_its_tenant(cache):
    """Whatever model it was; another tenant's stays, and what the host put itself."""
    chat, other = model(cache), model(cache, tenant="b")
    for one in (chat, model(cache, temperature=0.5), other):
        one.invoke("q")
    cache.scope("a").put("q", "the host's")
    chat.cache.clear()

    assert len(cache) == 2
    other.invoke("q")
    chat.invoke("q")
    assert (chat.asked, other.asked) == (["q", "q"], ["q"])


def test_an_embedder_that_fails_does_not_stand_in_the_way(caplog):
    """The model is asked, and the log says that the cache was not."""

    def broken(texts):
        raise ConnectionError("embedder: down")

    chat = model(SemanticCache(broken))
    with caplog.at_level(logging.WARNING, "legion"):
        assert chat.invoke("q").content == "re: q"
    assert "embedder: down" in caplog.text


def test_an_embedder_that_fails_later_does_not_stand_in_the_way(caplog):
    """Neither where an answer is looked up nor where it is stored, in asyncio too."""
    down = []

    def failing(texts):
        if down:
            raise ConnectionError("embedder: down")
        return embed(texts)

    chat = model(SemanticCache(failing))
    chat.invoke("q")
    down.append(True)
    with caplog.at_level(logging.WARNING, "legion"):
        assert chat.invoke("another").content == "re: another"
        assert asyncio.run(chat.ainvoke("a third")).content == "re: a third"
    assert len(caplog.records) == 4


def test_what_comes_with_an_answer_is_stored_as_json(tmp_path, caplog):
    """A tuple is a list then; what is no JSON leaves the answer out, with a warning."""
    with SemanticCache(embed, path=tmp_path / "c") as kept:
        cache = LangChainCache(kept, tenant="a")
        cache.update("q", "m", [Generation(text="a", generation_info={"x": (1, 2)})])
        assert cache.lookup("q", "m")[0].generation_info == {"x": [1, 2]}
        with caplog.at_level(logging.WARNING, "legion"):
            for odd in (object(), float("nan"), {1, 2}):
                info = {"x": odd}
                cache.update("b", "m", [Generation(text="a", generation_info=info)])
        assert len(kept) == 1
    assert len(caplog.records) == 3
