"""What takes long, or is somebody else's code, happens without the cache's lock."""

from __future__ import annotations

import pytest

from legion import SemanticCache
from legion.cache import accept
from legion.cache.groups import ValueGroups


LETTERS = "abcdefghijklmnopqrstuvwxyz"


def embed(texts):
    return [[1 + text.lower().count(c) for c in LETTERS] for text in texts]


def held(cache):
    """Whether this thread has the lock that every other look-up waits for."""
    return cache._shelf.lock._is_owned()


class Noting:
    """A serializer that notes whether the lock is held while it reads."""

    name = "noting"

    def __init__(self):
        self.cache, self.held = None, []

    def dumps(self, value):
        return value.encode()

    def loads(self, raw):
        self.held.append(held(self.cache))
        return raw.decode()


@pytest.mark.parametrize("rule", [{"threshold": 0.9}, {"max_error": 0.5}])
def test_an_answer_is_read_from_the_disk_without_the_lock(tmp_path, rule):
    """For the same question, for one that is near, and by `explain` never."""
    path, noting = tmp_path / "a.cache", Noting()
    with SemanticCache(embed, path=path, serializer=noting, **rule) as cache:
        for n in range(60):
            cache.get(f"where is parcel {'x' * n}")
            cache.put(f"where is parcel {'x' * n}", "here")

    with SemanticCache(embed, path=path, serializer=noting, **rule) as cache:
        noting.cache = cache
        cache.explain("where is parcel")
        assert not noting.held
        assert cache.get("where is parcel").exact
        near = cache.get("where is parcel xxxxxx?")
        assert near.value == "here"
        assert not near.exact
        assert noting.held == [False, False]
        assert cache.forget(near)


def test_an_answer_on_disk_alone_is_read_without_the_lock(tmp_path):
    """It is in memory again when its bytes have become an answer."""
    noting = Noting()
    cache = SemanticCache(
        embed,
        max_error=0.1,
        path=tmp_path / "a.cache",
        serializer=noting,
        capacity=1,
        overflow_bytes=100_000,
    )
    noting.cache = cache
    cache.put("one", "1")
    cache.put("two", "2")

    assert cache.get("one").value == "1"
    assert cache.stats().disk_hits == 1
    assert noting.held == [False]
    cache.close()


def test_answers_are_hashed_and_compared_without_the_lock():
    """Whether two are the same is asked of them before they are stored."""
    held_at = []

    class Answer:
        def __hash__(self):
            held_at.append(held(cache))
            return 1

        def __eq__(self, other):
            held_at.append(held(cache))
            return isinstance(other, Answer)

    cache = SemanticCache(embed, max_error=0.1)
    for question in ("a", "b", "a", "c"):
        cache.put(question, Answer())
    groups = {entry.group for entry in cache._shelf.stock.entries.values()}
    cache.clear()

    assert held_at
    assert not any(held_at)
    assert len(groups) == 1


def test_two_who_store_equal_answers_at_once_store_one_group():
    """Whoever counts first is whom the other joins; one that emptied is joined anew."""
    groups = ValueGroups()
    one, other = groups.of(("x", {1: 2})), groups.of(("x", {1: 2}))
    first = groups.add(one)
    assert groups.add(other) is first
    found = groups.of(("x", {1: 2}))
    groups.remove(first)
    groups.remove(first)
    assert groups.add(found) is groups.add(groups.of(("x", {1: 2})))


@pytest.mark.parametrize("rule", [{"threshold": 0.9}, {"max_error": 0.5}])
def test_the_veto_is_asked_without_the_lock(monkeypatch, rule):
    """And once of each pair: what it said holds when the lock is taken."""
    asked, real = [], accept.veto

    def veto(question, stored, words):
        asked.append((question, stored, held(cache)))
        return real(question, stored, words)

    monkeypatch.setattr(accept, "veto", veto)
    cache = SemanticCache(embed, veto=True, **rule)
    for n in range(1, 40):
        cache.put(f"turn light {n} on", "on")
    assert cache.get("turn light 7 off") is None
    why = cache.explain("turn light 8 off")

    assert why.veto is not None
    assert len(asked) > 8
    assert not any(under for *_, under in asked)
    assert len(asked) == len(set(asked))
