"""Functions whose answers are found in a cache: plain, async and streams."""

from __future__ import annotations

import asyncio
import functools
import threading

from concurrent.futures import ThreadPoolExecutor

import pytest

from legion import SemanticCache


LETTERS = "abcdefghijklmnopqrstuvwxyz"


def embed(texts):
    return [[1 + text.lower().count(c) for c in LETTERS] for text in texts]


@pytest.fixture
def cache():
    return SemanticCache(embed, threshold=0.95)


async def read(stream):
    return [chunk async for chunk in stream]


def test_a_plain_function_is_called_once_for_a_meaning(cache):
    """A paraphrase is answered from the cache; the function keeps its name."""
    asked = []

    @cache.cached(scope=lambda question: cache)
    def answer(question):
        """Say it."""
        asked.append(question)
        return f"re: {question}"

    assert answer("Where is my parcel right now?") == answer("Where is my parcel now?")
    assert asked == ["Where is my parcel right now?"]
    assert (answer.__name__, answer.__doc__) == ("answer", "Say it.")
    assert cache.of(answer).stats().semantic_hits == 1


def test_an_async_function_is_called_once_for_a_meaning(cache):
    """Ten tasks at once make one call."""
    asked = []

    @cache.cached(scope=lambda question: cache)
    async def answer(question):
        asked.append(question)
        await asyncio.sleep(0)
        return f"re: {question}"

    async def story():
        return await asyncio.gather(*(answer("Where is it?") for _ in range(10)))

    assert asyncio.run(story()) == ["re: Where is it?"] * 10
    assert asked == ["Where is it?"]


def test_the_question_is_found_wherever_it_is_passed(cache):
    """By place, by name, as a default, and made of the arguments."""

    @cache.cached(question="prompt", scope=lambda *_, **__: cache)
    def answer(style, prompt="Buzz off?"):
        return prompt

    @cache.cached(question=lambda message: message["text"], scope=lambda message: cache)
    def reply(message):
        return message["text"].upper()

    assert answer("long", "What?") == answer("short", prompt="What?") == "What?"
    assert answer(style="long") == "Buzz off?"
    assert cache.of(answer).stats().exact_hits == 1
    assert reply({"text": "hi"}) == "HI"
    assert cache.of(reply).get("hi").exact
    with pytest.raises(TypeError, match="missing a required argument: 'style'"):
        answer()


def test_arguments_part_the_answers(cache):
    """No tenant gets another's, in whatever order or way it is passed."""

    @cache.cached(
        question="question", scope=lambda tenant, question: cache.scope(tenant)
    )
    def answer(tenant, question):
        return f"{tenant}'s"

    assert answer("a", "Where is it?") == "a's"
    assert answer("b", "Where is it?") == "b's"
    assert answer(question="Where is it?", tenant="a") == "a's"
    assert cache.scope("a").of(answer).stats().exact_hits == 1
    assert len(cache.scope("b").of(answer)) == 1


def test_functions_do_not_share_answers(cache):
    """Two functions in the same scope, and what was put into it by hand."""

    @cache.cached()
    def shorten(text):
        return "short"

    @cache.cached()
    def translate(text):
        return "kurz"

    cache.put("the text", "by hand")
    assert [shorten("the text"), translate("the text")] == ["short", "kurz"]
    assert [shorten("the text"), translate("the text")] == ["short", "kurz"]
    assert cache.get("the text").value == "by hand"


def test_no_scope_is_called_as_the_part_of_a_function(cache):
    """Whatever a tenant is called, its scope is not a function's part of another."""

    @cache.cached()
    def answer(question):
        return "mine"

    answer("q")
    part = cache.of(answer).name
    assert cache.scope(part).get("q") is None
    assert cache.scope("function", of=part).get("q") is None


@pytest.mark.parametrize(
    ("function", "keywords", "error", "said"),
    [
        (lambda q: q, {}, TypeError, "no name; write def"),
        (divmod, {}, TypeError, "name of the parameter"),
        (threading.Thread.join, {"question": "q"}, TypeError, "got question='q'"),
        (threading.Thread.join, {"question": "timeout"}, ValueError, "write scope="),
    ],
    ids=["lambda", "two parameters", "unknown parameter", "more than a question"],
)
def test_a_function_whose_answers_could_be_mixed_up_is_refused(
    cache, function, keywords, error, said
):
    """When it is decorated, and the error says what to write."""
    with pytest.raises(error, match=said):
        cache.cached(**keywords)(function)


class Bot:
    """It answers in a language."""

    def __init__(self, language):
        self.language = language

    def answer(self, question):
        return f"{question} in {self.language}"

    @classmethod
    def greet(cls, name):
        return f"{cls.__name__} greets {name}"


class Dog(Bot):
    """It greets in its own way."""


def speaking(language):
    def answer(question):
        return f"{question} in {language}"

    return answer


def once(function):
    @functools.wraps(function)
    def wrapper(question):
        return function(question)

    return wrapper


@once
def plainly(question):
    return question.upper()


def partly(language, question):
    return f"{question} in {language}"


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        (Bot("de").answer, Bot("fr").answer, "the Bot that it is bound to"),
        (speaking("de"), speaking("fr"), "language, of a function around it"),
        (
            once(speaking("de")),
            once(speaking("fr")),
            "language, of a function around it",
        ),
        (once(Bot("de").answer), once(Bot("fr").answer), "the Bot that it is bound to"),
        (Dog.greet, Bot.greet, "the class Dog that it is bound to"),
        (
            functools.update_wrapper(functools.partial(partly, "de"), plainly),
            functools.update_wrapper(functools.partial(partly, "fr"), plainly),
            "the arguments that a partial gives",
        ),
    ],
    ids=[
        "method",
        "closure",
        "wrapped-closure",
        "wrapped-method",
        "class-method",
        "partial",
    ],
)
def test_what_a_function_is_made_of_parts_its_answers_or_is_refused(
    cache, one, other, said
):
    """Two of one name never share: scope= says what parts them, or there is none."""
    with pytest.raises(ValueError, match=f"depends on {said}; write scope="):
        cache.cached()(one)
    mine = cache.cached(scope=lambda _: cache.scope("mine"))(one)
    yours = cache.cached(scope=lambda _: cache.scope("yours"))(other)
    assert (mine("hi"), yours("hi")) == (one("hi"), other("hi"))
    assert mine("hi") != yours("hi")


def test_a_function_that_its_name_says_all_of_needs_no_scope(cache):
    """One that a decorator wraps, and a method of the class that is named."""
    assert cache.cached()(plainly)("hi") == "HI"
    assert cache.cached()(Bot.greet)("Ann") == "Bot greets Ann"


def several(*questions):
    return questions


def named(**questions):
    return questions


def last(*earlier, question="none"):
    return question


@pytest.mark.parametrize(
    ("function", "keywords", "error"),
    [
        (several, {}, TypeError),
        (several, {"question": "questions"}, TypeError),
        (named, {}, TypeError),
        (several, {"question": lambda *questions: questions[0]}, ValueError),
        (last, {"question": "question"}, ValueError),
    ],
)
def test_several_questions_are_not_one(cache, function, keywords, error):
    """What a star takes is no question, and what else it takes parts the answers."""
    with pytest.raises(error, match="cached: "):
        cache.cached(**keywords)(function)


def test_a_question_that_has_a_name_only_is_not_found_by_place(cache):
    """What stands where it would is another argument."""
    answer = cache.cached(question="question", scope=lambda *_, **__: cache)(last)
    assert answer("a", "b", "c") == "none"
    assert answer("a", "b", question="this") == "this"


@pytest.mark.parametrize(
    ("decorated", "said"),
    [
        (
            lambda cache: cache.cached(plainly),
            r"write @cache\.cached\(\), with brackets",
        ),
        (
            lambda cache: cache.cached()(classmethod(several)),
            "write @classmethod above",
        ),
        (lambda cache: cache.cached()(staticmethod(several)), "write @staticmethod"),
        (lambda cache: cache.cached()(str.upper), "has no name; write def"),
    ],
    ids=["no brackets", "class method", "static method", "method of a built-in type"],
)
def test_what_is_written_wrongly_is_told_how_to_be_written(cache, decorated, said):
    """In one sentence, where it is decorated."""
    with pytest.raises(TypeError, match=said):
        decorated(cache)


def test_what_could_be_read_only_once_is_refused(cache):
    """An iterator that a plain function returns; a scope that is none."""

    @cache.cached()
    def answer(question):
        return iter("abc")

    @cache.cached(scope=lambda question: "tenant-a")
    def other(question):
        return 1

    with pytest.raises(TypeError, match="decorate the generator function itself"):
        answer("q")
    with pytest.raises(TypeError, match=r"return cache\.scope"):
        other("q")
    assert len(cache) == 0


def test_an_exception_is_not_kept(cache):
    """The next call tries again."""
    outcomes = iter([KeyError("down"), "up"])

    @cache.cached(scope=lambda question: cache)
    def answer(question):
        outcome = next(outcomes)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    with pytest.raises(KeyError):
        answer("q")
    assert answer("q") == "up"


def test_a_stream_is_recorded_while_it_streams_and_replayed_as_one(cache):
    """The first chunk is there before the second is made; replayed, chunk by chunk."""
    made = []

    @cache.cached(scope=lambda question: cache)
    def stream(question):
        for word in question.split():
            made.append(word)
            yield word

    live = stream("Where is it?")
    assert next(live) == "Where"
    assert made == ["Where"]
    assert list(live) == ["is", "it?"]

    again = stream("Where is it?")
    assert next(again) == "Where"
    assert list(again) == ["is", "it?"]
    assert made == ["Where", "is", "it?"]


def test_an_async_stream_is_recorded_and_replayed(cache):
    """For a paraphrase too."""
    made = []

    @cache.cached(scope=lambda question: cache)
    async def stream(question):
        for word in question.split():
            await asyncio.sleep(0)
            made.append(word)
            yield word

    async def story():
        first = await read(stream("Where is my parcel right now?"))
        return first, await read(stream("Where is my parcel now?"))

    first, second = asyncio.run(story())

    assert first == second == ["Where", "is", "my", "parcel", "right", "now?"]
    assert made == first


def test_a_stream_that_is_not_read_to_its_end_is_not_stored(cache):
    """And its source is closed."""
    closed = []

    @cache.cached(scope=lambda question: cache)
    def stream(question):
        try:
            yield 1
            yield 2
        finally:
            closed.append(question)

    live = stream("q")
    next(live)
    live.close()

    assert (closed, len(cache)) == (["q"], 0)
    assert list(stream("q")) == [1, 2]
    assert len(cache) == 1


def test_an_async_stream_that_is_cancelled_is_not_stored(cache):
    """Half an answer is nobody's answer."""
    closed = []

    async def story():
        begun = asyncio.Event()

        @cache.cached(scope=lambda question: cache)
        async def stream(question):
            try:
                yield 1
                begun.set()
                await asyncio.Event().wait()
                yield 2
            finally:
                closed.append(question)

        task = asyncio.create_task(read(stream("q")))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(story())
    assert (closed, len(cache)) == (["q"], 0)


def test_a_stream_that_fails_is_not_stored(cache):
    """What it said before went out; it is not said again."""

    @cache.cached()
    def stream(question):
        yield 1
        raise ConnectionError("cut")

    live = stream("q")
    assert next(live) == 1
    with pytest.raises(ConnectionError):
        next(live)
    assert len(cache) == 0


def test_readers_of_one_stream_do_not_hold_each_other_up(cache):
    """Who asks while another still reads has a stream of their own."""
    made = []

    @cache.cached(scope=lambda question: cache)
    def stream(question):
        made.append(question)
        yield 1
        yield 2

    slow = stream("q")
    next(slow)
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(lambda: list(stream("q"))).result(20) == [1, 2]
    assert list(slow) == [2]
    assert (made, len(cache)) == (["q", "q"], 1)
