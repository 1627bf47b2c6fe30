"""How long entries last, by what they go, and how much of them there may be."""

from __future__ import annotations

import asyncio
import math
import tracemalloc
import zlib

import numpy as np
import pytest

from legion import SemanticCache
from legion.cache.size import SCOPE_BYTES


class Ticks:
    """A clock that stands until it is told."""

    now = 100.0

    def plan(self):
        raise AssertionError("the cache must not read plan time")

    def wall(self):
        raise AssertionError("the cache must not read the date")

    def machine(self):
        return self.now


def embed(texts):
    """Embed "topic ~1" near "topic", at a cosine of about .97."""

    def random(text):
        return np.random.default_rng(zlib.crc32(text.encode())).standard_normal(64)

    return [
        random(text.partition(" ~")[0]) + 0.25 * (" ~" in text) * random(text)
        for text in texts
    ]


@pytest.fixture
def clock():
    return Ticks()


def answers(cache, question):
    """Say whether the same and a near question are answered; they never disagree."""
    hits = cache.get(question), cache.get(f"{question} ~1")
    assert len({hit is None for hit in hits}) == 1
    return hits[0] is not None


def test_an_absolute_ttl_ends_whatever_hits_there_were(clock):
    """At the second the time is over the entry answers no more, and is gone."""
    cache = SemanticCache(embed, clock=clock, ttl_s=10)
    cache.put("q", 1)
    clock.now += 9.5
    assert answers(cache, "q")
    clock.now += 0.5

    assert not answers(cache, "q")
    assert len(cache) == 0
    assert cache.stats().expired == 1


def test_a_sliding_ttl_begins_anew_with_each_hit(clock):
    """Near questions prolong it, too; explain does not."""
    cache = SemanticCache(embed, clock=clock, ttl_s=10, sliding=True)
    cache.put("q", 1)
    for _ in range(5):
        clock.now += 9
        assert cache.get("q ~1").value == 1
    clock.now += 9
    assert cache.explain("q").outcome == "exact_hit"
    clock.now += 1

    assert not answers(cache, "q")
    assert cache.explain("q").outcome == "miss"


def test_a_put_has_terms_of_its_own(clock):
    """A put's ttl_s and sliding are stronger than the cache's; inf is no end."""
    cache = SemanticCache(embed, clock=clock, ttl_s=10)
    cache.put("short", 1, ttl_s=2)
    cache.put("sliding", 2, sliding=True)
    cache.put_many([("for ever", 3), ("so too", 4)], ttl_s=math.inf)
    clock.now += 2
    assert [answers(cache, q) for q in ("short", "sliding", "for ever")] == [0, 1, 1]
    clock.now += 9
    assert answers(cache, "sliding")
    clock.now += 1e9

    assert not answers(cache, "sliding")
    assert answers(cache, "for ever")
    assert len(cache) == 2


def test_the_greatest_age_is_stronger_than_every_ttl(clock):
    """Used for a day it slides, after two days it goes: the plan's 24 and 48 hours."""
    day = 24 * 3600
    cache = SemanticCache(
        embed, clock=clock, ttl_s=day, sliding=True, max_age_s=2 * day
    )
    cache.put("used", 1)
    cache.put("unused", 2)
    cache.put("told otherwise", 3, ttl_s=math.inf)
    for _ in range(3):
        clock.now += 0.6 * day
        assert cache.get("used").value == 1
    assert not answers(cache, "unused")
    clock.now += 0.3 * day

    assert not answers(cache, "used")
    assert not answers(cache, "told otherwise")


def test_none_is_a_negative_entry_with_a_ttl_of_its_own(clock):
    """That there is no answer is a hit, and usually short-lived."""
    cache = SemanticCache(embed, clock=clock, ttl_s=100, negative_ttl_s=10)
    cache.put("unknown", None)
    cache.put("known", 0)
    cache.put("never known", None, ttl_s=50)
    hit = cache.get("unknown ~1")
    assert hit.negative
    assert hit.value is None
    assert not cache.get("known").negative
    assert cache.get_or_compute("unknown", lambda q: "computed") is None
    clock.now += 10

    assert not answers(cache, "unknown")
    assert answers(cache, "known")
    assert answers(cache, "never known")
    assert cache.get_or_compute("unknown", lambda q: "computed") == "computed"


def test_expired_neighbours_do_not_hide_one_that_lasts(clock):
    """Ten nearer ones whose time is over; the next one answers."""
    cache = SemanticCache(embed, clock=clock)
    cache.put("q", "lasting")
    asked = cache._embed(["q ~1"])[0]
    base = cache._embed(["q"])[0]
    table = {f"{i}": asked + 0.02 * i * (base - asked) for i in range(10)}
    near = SemanticCache(
        lambda texts: [table.get(t, embed([t])[0]) for t in texts], clock=clock
    )
    near.put("q", "lasting")
    near.put_many([(name, "short") for name in table], ttl_s=5)
    assert near.get("q ~1").value == "short"
    clock.now += 5

    assert near.get("q ~1").value == "lasting"
    assert len(near) == 1


def test_a_put_again_begins_a_new_life(clock):
    """The old entry's deadline and tags do not touch the new one."""
    cache = SemanticCache(embed, clock=clock)
    cache.put("q", 1, ttl_s=5, tags={"old"})
    cache.put("q", 2, tags=["new"])
    clock.now += 5

    assert cache.invalidate("old") == 0
    assert cache.get("q").value == 2
    assert cache.invalidate("new") == 1
    assert cache.get("q") is None


def test_tags_take_out_what_has_them(clock):
    """Of one scope or of all; what has no such tag stays, and no tag is left over."""
    cache = SemanticCache(embed, clock=clock)
    a, b = cache.scope("a"), cache.scope("b")
    a.put("1", 1, tags={"cards", "eu"})
    a.put("2", 2, tags={"eu"})
    b.put("1", 3, tags=("cards",))
    b.put("2", 4)

    assert b.invalidate("eu") == 0
    assert a.invalidate("cards") == 1
    assert (a.get("1"), b.get("1").value) == (None, 3)
    assert cache.invalidate("cards") == 1
    assert cache.invalidate("cards") == 0
    assert (len(a), len(b)) == (1, 1)
    assert not b._partition._by_tag


def test_expire_takes_out_all_whose_time_is_over(clock):
    """A host may call it in a quiet hour; a put takes out only a few."""
    cache = SemanticCache(embed, clock=clock)
    cache.put_many([(f"q{i}", i) for i in range(100)], ttl_s=5)
    cache.put("stays", 1)
    clock.now += 5
    cache.put("another", 1)
    assert 2 < len(cache) < 102

    assert cache.expire() + 16 == 100
    assert len(cache) == 2
    assert cache.stats().expired == 100


def test_deadlines_of_what_is_gone_are_forgotten(clock):
    """Putting the same question a thousand times keeps one deadline, or few."""
    cache = SemanticCache(embed, clock=clock, ttl_s=1e6)
    cache.put("ends first", 0, ttl_s=1e5)
    for i in range(1_000):
        cache.put("q", i)

    assert len(cache._shelf.stock.expiries._heap) < 100


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"ttl_s": 0}, "put: got ttl_s=0; write seconds above 0"),
        ({"ttl_s": math.nan}, "put: got ttl_s=nan"),
        ({"ttl_s": True}, "put: got ttl_s=True"),
        ({"cost": -1}, "put: got cost=-1; write a number from 0 up"),
        ({"cost": math.inf}, "put: got cost=inf"),
    ],
)
def test_terms_out_of_range_are_refused(given, message):
    """Before anything is embedded or stored."""
    cache = SemanticCache(lambda texts: pytest.fail("embedded"))

    with pytest.raises(ValueError, match=message):
        cache.put("q", 1, **given)
    with pytest.raises(ValueError, match=message):
        cache.put_many([("q", 1)], **given)


@pytest.mark.parametrize("tags", ["cards", [1], {None}])
def test_one_string_is_no_set_of_tags(tags):
    """A string would be taken for the set of its letters."""
    cache = SemanticCache(embed)

    with pytest.raises(TypeError, match=r"put: got tags=.* several strings"):
        cache.put("q", 1, tags=tags)
    assert len(cache) == 0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"ttl_s": -1}, "cache: got ttl_s=-1"),
        ({"max_age_s": 0}, "cache: got max_age_s=0"),
        ({"negative_ttl_s": "1"}, "cache: got negative_ttl_s='1'"),
        ({"eviction": "fifo"}, "got eviction='fifo'; write one of"),
        ({"capacity_bytes": 0}, "got capacity_bytes=0; write a whole number"),
    ],
)
def test_a_cache_refuses_limits_that_make_no_sense(given, message):
    """At once, and says what to write."""
    with pytest.raises(ValueError, match=message):
        SemanticCache(embed, **given)


def stored(cache):
    """Return the questions that are stored, in the order of storing."""
    return [entry.question for entry in cache._partition.exact.values()]


def test_lru_evicts_what_was_used_longest_ago():
    """A hit is a use."""
    cache = SemanticCache(embed, capacity=3)
    cache.put_many([("a", 1), ("b", 2), ("c", 3)])
    cache.get("a")
    cache.put("d", 4)

    assert stored(cache) == ["a", "c", "d"]


def test_lfu_evicts_what_was_used_least_often():
    """However long ago the uses were; of equals, the one that came first."""
    cache = SemanticCache(embed, capacity=3, eviction="lfu")
    cache.put_many([("a", 1), ("b", 2), ("c", 3)])
    for question in ("a", "a ~1", "c", "b", "b"):
        assert cache.get(question)
    cache.put("d", 4)
    assert stored(cache) == ["a", "b", "d"]
    cache.put("e", 5)
    assert stored(cache) == ["a", "b", "e"]


def test_cost_keeps_what_was_expensive_and_lets_it_go_when_it_is_unused():
    """One that cost ten times as much outlasts cheap ones, but not for ever."""
    cache = SemanticCache(embed, capacity=3, eviction="cost")
    cache.put("dear", 1, cost=10)
    cache.put_many([(f"cheap {i}", i) for i in range(8)])
    assert stored(cache)[0] == "dear"
    assert len(cache) == 3
    cache.put_many([(f"cheap {i}", i) for i in range(8, 40)])

    assert "dear" not in stored(cache)


def test_get_or_compute_measures_the_cost_in_seconds(clock):
    """The answer that took longest stays, whether a thread or a task computed it."""
    cache = SemanticCache(embed, capacity=3, eviction="cost", clock=clock)

    def taking(seconds):
        clock.now += seconds
        return seconds

    async def ataking(question):
        return taking(30)

    cache.get_or_compute("20 s", lambda q: taking(20))
    asyncio.run(cache.aget_or_compute("30 s", ataking))
    for i in range(8):
        cache.get_or_compute(f"quick {i}", lambda q: taking(1))

    assert stored(cache)[:2] == ["20 s", "30 s"]


def test_cost_lets_go_what_its_neighbour_would_answer():
    """Of two that cost the same and were used alike, the redundant one goes."""
    cache = SemanticCache(embed, capacity=3, eviction="cost")
    cache.put_many([("a", 1), ("b", 2)])
    cache.put("a ~1", 3)
    cache.put("c", 4)

    assert stored(cache) == ["a", "b", "c"]


def test_cost_weighs_answers_by_their_size_where_bytes_are_counted():
    """A large answer gives room to several small ones."""
    cache = SemanticCache(embed, eviction="cost", capacity_bytes=100_000, size_of=len)
    cache.put("large", "x" * 80_000, cost=2)
    for i in range(10):
        cache.put(f"small {i}", "x" * 2_000)

    assert stored(cache) == [f"small {i}" for i in range(10)]


def test_explain_says_what_get_would_find_and_takes_nothing_out(clock):
    """What has expired is looked through, however much of it is nearer, and stays."""
    cache = SemanticCache(embed, clock=clock)
    for i in range(40):
        cache.put(f"q ~{i}", i, ttl_s=5)
    cache.put("q", "lives")
    cache.put("elsewhere", "lives")
    clock.now += 10
    before = cache.stats()

    why = cache.explain("q ~7")
    far = cache.explain("something else")

    assert (why.outcome, why.nearest) == ("semantic_hit", "q")
    assert (far.outcome, far.nearest is None) == ("miss", False)
    assert cache.explain("q").outcome == "exact_hit"
    assert cache.stats() == before
    assert before.entries == 42
    assert cache.get("q ~7").value == "lives"
    assert cache.stats().expired > 0 == before.expired
    empty = SemanticCache(embed, clock=clock, ttl_s=1)
    empty.put("q", 1)
    clock.now += 1
    assert empty.explain("q").reason == "nothing is stored in this scope"
    assert (len(empty), empty.stats().expired) == (1, 0)


def test_bytes_are_a_limit_of_their_own():
    """Answers, texts, vectors and overhead count; who is oldest makes room."""
    cache = SemanticCache(embed, capacity_bytes=51_000)
    for i in range(100):
        assert cache.put(f"q{i}", "x" * 5_000)
        assert cache.stats().bytes <= 51_000
    stats = cache.stats()
    assert stats.entries == 8, "5,000 bytes of answer and a good 1,000 of the rest"
    assert stats.evictions == 92
    assert stored(cache)[-1] == "q99"

    cache.put("q99", "short")
    assert cache.stats().bytes < stats.bytes - 4_900
    cache.clear()
    assert cache.stats().bytes == 0


@pytest.mark.parametrize(
    ("dim", "more"), [(64, {}), (384, {"eviction": "cost", "ttl_s": 60})]
)
def test_the_estimate_is_what_python_takes(dim, more):
    """For 1,024 entries of short texts: at most a tenth below, and a quarter above."""
    cache = SemanticCache(
        lambda texts: np.random.default_rng(
            zlib.crc32(texts[0].encode())
        ).standard_normal((1, dim)),
        capacity_bytes=10**9,
        **more,
    )
    cache.put("loads what is loaded once", "")
    cache.clear()
    tracemalloc.start()
    for i in range(1_024):
        cache.put(f"question number {i} and some words", f"answer {i} " * 20)
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert 0.9 < cache.stats().bytes / taken < 1.25


@pytest.mark.parametrize("entries", [1, 2])
def test_the_estimate_is_what_many_small_scopes_take(entries):
    """A scope takes something itself, and vectors of one entry no room for four."""
    cache = SemanticCache(
        lambda texts: np.random.default_rng(
            zlib.crc32(texts[0].encode())
        ).standard_normal((1, 384)),
        capacity_bytes=10**9,
    )
    cache.put("loads what is loaded once", "")
    cache.clear()
    tracemalloc.start()
    for i in range(300):
        view = cache.scope(f"tenant {i}")
        for k in range(entries):
            view.put(f"question number {k} and some words", f"answer {k} " * 20)
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert 0.9 < cache.stats().bytes / taken < 1.25


def test_scopes_count_where_they_come_and_go():
    """A scope that is empty takes nothing any more, whoever emptied it."""
    cache = SemanticCache(embed, capacity_bytes=20_000)
    for i in range(100):
        cache.scope(f"{i}").put("q", "short", tags=[f"{i % 2}"])
        assert cache.stats().bytes <= 20_000
    scopes = [name for name in range(100) if len(cache.scope(f"{name}"))]
    one = cache.scope(f"{scopes[-1]}").stats().bytes
    assert SCOPE_BYTES < one
    assert cache.stats().bytes == len(scopes) * one

    cache.invalidate("0")
    assert cache.stats().bytes == len(cache) * one
    view = cache.scope("98")
    cache.limit(view, capacity_bytes=2 * one)
    view.put("q", "again")
    view.put("q", "short")
    assert view.stats().bytes == one
    assert cache.stats().bytes == len(cache) * one
    cache.clear()
    assert cache.stats().bytes == 0


def test_what_is_larger_than_the_whole_cache_is_refused():
    """put says False, and nobody has made room for nothing."""
    cache = SemanticCache(embed, capacity_bytes=20_000)
    cache.put("q", "small")

    assert cache.put("large", "x" * 30_000) is False
    assert cache.put("q", "x" * 30_000) is False
    assert cache.get("q").value == "small"
    assert (cache.stats().refused, cache.stats().evictions) == (2, 0)


def test_an_answer_that_grew_makes_room_without_going_itself():
    """The oldest entry is replaced by a larger one: the others go."""
    cache = SemanticCache(embed, capacity_bytes=20_000)
    cache.put_many([("a", "x"), ("b", "x" * 5_000), ("c", "x" * 5_000)])

    assert cache.put("a", "x" * 15_000)
    assert stored(cache) == ["a"]
    assert cache.stats().bytes <= 20_000


@pytest.mark.parametrize("size", [-1, 1.5, None, True])
def test_a_size_that_is_none_is_refused(size):
    """Nothing is stored, nor what else was put with it."""
    cache = SemanticCache(embed, capacity_bytes=50_000, size_of=lambda x: x)

    with pytest.raises(ValueError, match=f"size_of: got {size}; return a whole"):
        cache.put_many([("good", 1), ("bad", size)])
    assert len(cache) == 0


def test_a_destructor_of_an_evicted_answer_may_use_the_cache():
    """It puts the very question for which room is being made."""
    cache = SemanticCache(embed, capacity=2)

    class Answer:
        def __del__(self):
            cache.put("new", "by the destructor")

    cache.put_many([("a", Answer()), ("b", 2)])
    cache.put("new", "by the caller")

    assert cache.get("new").value == "by the destructor"
    assert len(cache) == 2
    assert len(cache._partition._vectors) == 2


def test_the_size_of_an_answer_follows_what_it_holds():
    """Lists, dictionaries, attributes and slots, each object once."""
    from legion.cache.size import deep_size

    class Plain:
        def __init__(self, text):
            self.text, self.me = text, self

    class Slots:
        __slots__ = ("text",)

    slots, text = Slots(), "x" * 1_000
    slots.text = text
    for one in (text, [text], {"k": (text,)}, Plain(text), slots, {text}, [text] * 9):
        assert 1_000 < deep_size(one) < 2_000
    assert deep_size(np.zeros(1_000)) > 8_000
    assert deep_size([[0.5] * 3, "abc", None]) < 300


def test_a_quota_keeps_a_scope_to_its_own_room():
    """Its own oldest goes, though others' are older; the cache's capacity holds too."""
    cache = SemanticCache(embed, capacity=5)
    a, b = cache.scope("a"), cache.scope("b")
    cache.limit(a, capacity=2)
    b.put("old", 0)
    for i in range(4):
        a.put(f"q{i}", i)
        a.get("q0")
    assert (len(a), len(b)) == (2, 1)
    assert (a.stats().evictions, a.stats().capacity) == (2, 2)
    assert a.get("q3")
    for i in range(9):
        b.put(f"q{i}", i)
    assert len(cache) == 5


def test_a_quota_outlives_the_entries_and_views_of_its_scope():
    """Whoever makes a view anew has the same limits, until they are taken away."""
    cache = SemanticCache(embed)
    cache.limit(cache.scope("a"), capacity=1)
    view = cache.scope("a")
    view.put("x", 1)
    view.put("y", 2)
    assert len(view) == 1
    cache.limit(view)
    view.put("z", 3)
    assert len(view) == 2
    cache.limit(view, capacity=1)
    assert len(view) == 1


def test_a_quota_in_bytes_needs_a_cache_that_counts_them():
    """And a view of this cache; a view itself has no way to raise its quota."""
    cache = SemanticCache(embed, capacity_bytes=100_000)
    view = cache.scope("a")
    cache.limit(view, capacity_bytes=10_000)
    for i in range(5):
        view.put(f"q{i}", "x" * 3_000)
    assert (len(view), view.stats().capacity_bytes) == (2, 10_000)
    assert view.stats().bytes == cache.stats().bytes < 10_000
    assert not view.put("large", "x" * 10_000)

    with pytest.raises(ValueError, match="limit: got capacity_bytes=5 for a cache"):
        SemanticCache(embed).limit(view, capacity_bytes=5)
    with pytest.raises(ValueError, match="a view of another cache"):
        SemanticCache(embed).limit(view, capacity=5)
    with pytest.raises(ValueError, match="limit: got capacity=0"):
        cache.limit(view, capacity=0)
    assert not hasattr(view, "limit")
