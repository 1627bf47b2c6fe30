"""What an answer may be, and who has it where it cannot be stored."""

from __future__ import annotations

import asyncio
import io

from pathlib import Path

import pytest

from legion import SemanticCache
from legion.cache import file


def embed(texts):
    return [[1.0, float(len(text))] for text in texts]


class Broken:
    """A plugin that fails."""

    def admit(self, query, value):
        msg = "the plugin is broken"
        raise ValueError(msg)


def refusing_serializer(folder, monkeypatch):
    return SemanticCache(embed, path=folder / "answers.cache")


def raising_plugin(folder, monkeypatch):
    return SemanticCache(embed, plugins=Broken())


def raising_size(folder, monkeypatch):
    return SemanticCache(embed, capacity_bytes=10**6, size_of=lambda _: 1 / 0)


def closed_meanwhile(folder, monkeypatch):
    cache = SemanticCache(embed, path=folder / "answers.cache", serializer="pickle")
    cache.put("before", 1)
    cache.close()
    return cache


def full_disk(folder, monkeypatch):
    path, sync = folder / "answers.cache", "always"
    cache = SemanticCache(embed, path=path, sync=sync, serializer="pickle")

    def full(handle, data, at):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(file.os, "pwrite", full)
    return cache


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize(
    ("made", "said", "in_memory"),
    [
        (refusing_serializer, "JSON cannot give back", 0),
        (raising_plugin, "the plugin is broken", 0),
        (raising_size, "ZeroDivisionError", 0),
        (closed_meanwhile, "is closed", 0),
        (full_disk, "No space left", 1),
    ],
)
def test_an_answer_that_was_paid_for_is_returned_though_it_cannot_be_stored(
    tmp_path, monkeypatch, caplog, made, said, in_memory, asynchronous
):
    """Whatever fails; the log says what, and what is in memory is served again."""
    cache, calls = made(tmp_path, monkeypatch), []

    def compute(question):
        calls.append(question)
        return {"an", "answer"}

    async def acompute(question):
        return compute(question)

    for _ in range(2):
        if asynchronous:
            answer = asyncio.run(cache.aget_or_compute("q", acompute))
        else:
            answer = cache.get_or_compute("q", compute)
        assert answer == {"an", "answer"}

    assert "the answer to 'q' cannot be stored" in caplog.text
    assert said in caplog.text
    assert len(calls) == cache.stats().refused + in_memory == 2 - in_memory


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_stream_that_cannot_be_stored_is_read_to_its_end(caplog, asynchronous):
    """Its chunks are out already; the log says why nobody else will have them."""
    cache = SemanticCache(embed, plugins=Broken())

    @cache.cached()
    def stream(question):
        yield from "abc"

    @cache.cached()
    async def astream(question):
        for chunk in "abc":
            yield chunk

    async def read():
        return [chunk async for chunk in astream("q")]

    assert (asyncio.run(read()) if asynchronous else list(stream("q"))) == [*"abc"]
    assert "the answer to 'q' cannot be stored" in caplog.text


def generator():
    yield 1


async def async_generator():
    yield 1


async def coroutine():
    return 1


@pytest.mark.parametrize(
    "once",
    [generator, async_generator, coroutine, lambda: iter("abc"), io.StringIO],
    ids=["generator", "async generator", "coroutine", "iterator", "file"],
)
def test_what_could_be_read_only_once_is_no_answer(once):
    """The next one would have an empty one; the error says what to write."""
    cache = SemanticCache(embed)

    async def compute(question):
        return once()

    with pytest.raises(TypeError, match="which can be read only once"):
        cache.put("q", once())
    with pytest.raises(TypeError, match="which can be read only once"):
        cache.put_many([("p", 1), ("q", once())])
    with pytest.raises(TypeError, match=r"read only once|await aget_or_compute"):
        cache.get_or_compute("q", lambda _: once())
    with pytest.raises(TypeError, match="which can be read only once"):
        asyncio.run(cache.aget_or_compute("q", compute))
    assert len(cache) == 0


@pytest.mark.parametrize("several", [[1], (1,), {1: 2}, range(3), Path("a")])
def test_what_can_be_read_again_is_an_answer(several):
    """A list, a tuple, a mapping, a range: as they are."""
    cache = SemanticCache(embed)
    assert cache.put("q", several)
    assert cache.get("q").value is several
