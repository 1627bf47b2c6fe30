"""What processes share: found by the same question, and never anything else."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import zlib

from pathlib import Path

import numpy as np
import pytest

from legion import SemanticCache
from legion.cache.shared import SqliteTier
from legion.exceptions import StateError
from legion.testing import ManualClock


class Embedder:
    """Independent vectors, the same for the same text in every process."""

    def __init__(self, name="letters-1", dim=16):
        self.name, self.dim = name, dim
        self.calls = 0

    def __call__(self, texts):
        self.calls += 1
        seeds = [zlib.crc32(text.encode()) for text in texts]
        rngs = map(np.random.default_rng, seeds)
        return np.stack([rng.standard_normal(self.dim) for rng in rngs])


class DictTier:
    """A tier in memory, whose failures a test chooses."""

    def __init__(self):
        self.rows, self.gets, self.broken = {}, 0, False

    def _may_fail(self):
        if self.broken:
            raise ConnectionError("nobody there")

    def get(self, keys):
        self.gets += 1
        self._may_fail()
        return [self.rows[key].data if key in self.rows else None for key in keys]

    def put(self, rows):
        self._may_fail()
        self.rows.update((row.key, row) for row in rows)

    def invalidate(self, *, keys, tags):
        self._may_fail()
        for row in list(self.rows.values()):
            if row.key in keys or set(row.tags) & set(tags):
                del self.rows[row.key]


def opened(tier, **more):
    return SemanticCache(**{"embed": Embedder(), "shared": tier, **more})


@pytest.fixture(params=["dict", "sqlite"])
def tier(request, tmp_path):
    if request.param == "dict":
        yield DictTier()
    else:
        with SqliteTier(tmp_path / "shared.db") as opened_tier:
            yield opened_tier


def test_what_one_puts_another_finds(tier):
    """With its terms and its vector, so it is not embedded, and is near others after."""
    one, other = opened(tier), opened(tier)
    one.scope("a", model="m").put("  q ", {"n": [1]}, tags={"t"}, ttl_s=60)
    view = other.scope("a", model="m")
    assert view.explain("q").tier == "shared"
    hit = view.get("q")
    assert (hit.value, hit.question, hit.exact) == ({"n": [1]}, "  q ", True)
    assert other._embed.embed.calls == 0
    assert view.explain("q").tier == "memory"
    assert view.invalidate("t") == 1
    stats = other.stats()
    assert (stats.exact_hits, stats.shared_hits, stats.misses) == (1, 1, 0)
    assert one.scope("a", model="m").get("q").value == {"n": [1]}  # its own memory


def test_tenants_never_meet(tier):
    """Scopes, serializers and embedders have rows of their own."""
    opened(tier).scope("a").put("q", 1)
    assert opened(tier).get("q") is None
    assert opened(tier).scope("b").get("q") is None
    assert opened(tier).scope("a", model="m").get("q") is None
    assert opened(tier, serializer="pickle").scope("a").get("q") is None
    assert opened(tier, embed=Embedder("letters-2")).scope("a").get("q") is None
    assert opened(tier).scope("a").get("q").value == 1


def test_everybody_asks_once(tier):
    """One call for many questions; one for all who ask the same at the same time."""
    opened(tier).put_many((f"q{i}", i) for i in range(5))
    asked, gets = [], tier.get
    tier.get = lambda keys: (asked.append(len(keys)), gets(keys))[1]
    cache = opened(tier)
    cache.put("q0", "mine")
    hits = cache.get_many(["q0", "q1", "q2", "none"])
    assert [hit and hit.value for hit in hits] == ["mine", 1, 2, None]
    assert asked == [3]

    async def all_at_once():
        async def fail(question):
            raise AssertionError(question)

        return await asyncio.gather(
            *(cache.aget_or_compute("q3", fail) for _ in range(4)), cache.aget("q4")
        )

    *same, hit = asyncio.run(all_at_once())
    assert same == [3] * 4
    assert hit.value == 4
    assert sorted(asked) == [1, 1, 3]
    assert cache.stats().coalesced == 3


def test_what_is_computed_is_shared(tier):
    """By `get_or_compute`, plain and async, and by a decorated function."""
    one, other = opened(tier), opened(tier)
    assert one.get_or_compute("q", lambda q: "answer") == "answer"

    async def compute(question):
        return question.upper()

    assert asyncio.run(one.aget_or_compute("r", compute)) == "R"
    assert other.get_or_compute("q", lambda q: 1 / 0) == "answer"
    assert other.get("r").value == "R"

    calls = []

    def double(question):
        calls.append(question)
        return 2 * question

    def named(cache):
        return lambda question: cache.scope("doubles")

    doubled = [c.cached(scope=named(c))(double)("s") for c in (one, other)]
    assert doubled == ["ss", "ss"]
    assert calls == ["s"]


def test_what_is_removed_is_removed_for_all(tier):
    """Forgotten, invalidated and cleared, in one scope or in all; also once evicted."""
    one = opened(tier, capacity=1)
    for scope in ("a", "b"):
        view = one.scope(scope)
        view.put("tagged", 1, tags={"t"})
        view.put("forgotten", 2)
        hit = view.get("forgotten")
        view.put("plain", 3)
        assert not view.forget(hit)  # it has left this memory

    def there():
        cache = opened(tier)
        return {
            (scope, key)
            for scope in ("a", "b")
            for key in ("tagged", "forgotten", "plain")
            if cache.scope(scope).get(key)
        }

    all_of = {(s, k) for s in ("a", "b") for k in ("tagged", "plain")}
    assert there() == all_of
    one.scope("a").invalidate("t")
    assert there() == all_of - {("a", "tagged")}
    one.scope("a").clear()
    assert there() == {("b", "tagged"), ("b", "plain")}
    one.invalidate("t")
    assert there() == {("b", "plain")}
    one.clear()
    assert there() == set()


def test_a_replaced_answer_is_replaced_for_all(tier):
    """Who asks next has the answer that was put last."""
    one, other = opened(tier), opened(tier)
    one.put("q", 1)
    other.put("q", 2)
    assert opened(tier).get("q").value == 2


def test_it_expires_for_all(tmp_path):
    """As its row says, or before, as the cache does that takes it; by the date."""
    clock = ManualClock(start_s=1_000_000)
    with SqliteTier(tmp_path / "shared.db", clock=clock) as tier:
        opened(tier, clock=clock).put("q", 1, ttl_s=60)
        opened(tier, clock=clock).put("endless", 1)
        clock.advance(50)
        strict = opened(tier, clock=clock, max_age_s=55)
        assert strict.get("q").age_s == 50
        assert strict.get("endless").age_s == 50
        lax = opened(tier, clock=clock)
        assert lax.get("q").age_s == 50
        clock.advance(5)
        assert strict._shelf.exact(strict._partition, "q") is None
        assert lax.get("q").age_s == 55
        clock.advance(5)
        assert lax.get("q") is None
        assert lax.explain("q").tier is None
        assert opened(tier, clock=clock).get("endless").value == 1
        assert strict.get("endless") is None


def test_a_tier_that_fails_is_a_miss(caplog):
    """Nobody who looks up or puts is told but by counters, `explain` and one warning."""
    tier = DictTier()
    cache = opened(tier)
    tier.broken = True
    assert cache.put("q", 1)
    assert cache.get("q").value == 1
    assert cache.get("r") is None
    assert cache.get_or_compute("s", lambda q: "computed") == "computed"
    assert "nobody there" in cache.explain("r").reason
    assert cache.stats().shared_failures >= 3
    assert caplog.text.count("the shared tier failed") == 1
    tier.broken = False
    assert cache.put("t", 1)
    assert opened(tier).get("t").value == 1
    assert "shared tier" not in cache.explain("r").reason
    tier.get = lambda keys: []
    assert cache.get("v") is None
    assert "return one for each" in cache.explain("v").reason


def test_what_could_not_be_removed_is_never_taken():
    """Nothing is taken from a tier that an `invalidate` did not reach, until it does."""
    tier = DictTier()
    cache = opened(tier)
    cache.put("tagged", 1, tags={"t"})
    cache.put("old", 1)
    cache.put("forgotten", 1)
    hit = cache.get("forgotten")
    real, tier.invalidate = tier.invalidate, None  # whoever calls it fails
    assert cache.invalidate("t") == 1
    assert cache.forget(hit)
    assert cache.get("tagged") is None
    assert cache.get("forgotten") is None
    assert tier.gets == 0
    cache.put("old", 2)  # nor is an older answer taken for one that did not arrive
    tier.invalidate = real
    assert cache.get("tagged") is None
    assert opened(tier).get_many(["tagged", "forgotten", "old"]) == [None] * 3
    assert cache.get("old").value == 2


def test_many_that_could_not_be_removed_are_all(monkeypatch):
    """What is owed does not grow without end: everything of this cache's goes instead."""
    monkeypatch.setattr("legion.cache.sharing._MOST_OWED", 5)
    tier = DictTier()
    cache = opened(tier)
    cache.put_many((f"q{i}", 1) for i in range(20))
    tier.broken = True
    for i in range(10):
        cache.put(f"q{i}", 2)
    assert len(cache._shelf.tiers.sharing._owed) <= 6
    tier.broken = False
    assert opened(tier).get("q19").value == 1
    assert cache.get("none") is None
    assert not tier.rows


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda row, other: other.data, "another question's"),
        (lambda row, other: row.data[:-1], "damaged"),
        (lambda row, other: row.data[:60] + b"\0" + row.data[61:], "damaged"),
        (lambda row, other: b"", "no row of this format"),
        (lambda row, other: b"legion shared 1\n", "damaged"),
        (lambda row, other: b"legion shared 2\n" + row.data[16:], "no row of this"),
    ],
    ids=["swapped", "cut", "flipped", "empty", "head", "later"],
)
def test_a_wrong_row_is_a_named_miss(spoil, why):
    """Whatever lies under a key, only the answer to its very question is taken."""
    tier = DictTier()
    writer = opened(tier)
    writer.scope("a").put("q", 1)
    (row,) = tier.rows.values()
    writer.scope("b").put("q", 2)
    (other,) = (one for one in tier.rows.values() if one is not row)

    class Spoilt(DictTier):
        def get(self, keys):
            return [spoil(row, other) if key == row.key else None for key in keys]

    cache = opened(Spoilt())
    assert cache.scope("a").get("q") is None
    assert cache.stats().unusable == 1
    assert why in cache.scope("a").explain("q").reason
    assert cache.get_or_compute("q", lambda q: "computed") == "computed"


def test_vectors_of_another_dimension_are_not_taken():
    """A name that did not change with its model mixes no vectors."""
    tier = DictTier()
    opened(tier).put("q", 1)
    cache = opened(tier, embed=Embedder(dim=8))
    cache.put("r", 1)
    assert cache.get("q") is None
    assert cache.stats().unusable == 1
    empty = opened(tier, embed=Embedder(dim=8))
    assert empty.get("q").value == 1  # the answer to the same question, all the same


def test_a_plugin_keeps_out_what_others_put(tier):
    """What may not be stored is not taken from the shared tier either."""

    class Nothing:
        def admit(self, query, value):
            return False

    opened(tier).put("q", 1)
    cache = opened(tier, plugins=Nothing())
    assert cache.get("q") is None
    assert cache.stats().refused == 1


def test_removed_while_it_is_on_its_way(tier):
    """Neither a look-up nor a put that is under way brings back what is invalidated."""
    cache, other = opened(tier), opened(tier)
    other.put("q", 1, tags={"t"})
    get, put = tier.get, tier.put

    def late_get(keys):
        found = get(keys)
        cache.invalidate("t")
        return found

    tier.get = late_get
    assert cache.get("q") is None
    tier.get = get

    def late_put(rows):
        cache.invalidate("t")
        put(rows)

    tier.put = late_put
    cache.put("r", 1, tags={"t"})
    tier.put = put
    assert cache.get("r") is None
    assert opened(tier).get_many(["q", "r"]) == [None, None]


def test_a_file_of_its_own_has_what_others_put(tmp_path):
    """What came from others is kept like what was put, and overflows."""
    tier = DictTier()
    opened(tier).put_many((f"q{i}", i) for i in range(4))
    more = {"path": tmp_path / "own.cache", "capacity": 2, "overflow_bytes": 10**6}
    with opened(tier, **more) as cache:
        assert [cache.get(f"q{i}").value for i in range(4)] == [0, 1, 2, 3]
    tier.rows.clear()
    with opened(tier, **more) as cache:
        assert [cache.get(f"q{i}").value for i in range(4)] == [0, 1, 2, 3]
        stats = cache.stats()
        assert (stats.shared_hits, stats.disk_hits, stats.entries) == (0, 4, 2)


def test_the_loop_goes_on_while_the_tier_waits():
    """`aget` and `aget_or_compute` call the tier in a thread."""
    tier, threads = DictTier(), set()
    cache = opened(tier)
    real_get, real_put = tier.get, tier.put
    tier.get = lambda keys: (threads.add(threading.get_ident()), real_get(keys))[1]
    tier.put = lambda rows: (threads.add(threading.get_ident()), real_put(rows))[1]

    async def compute(question):
        return "answer"

    async def use():
        await cache.aget("q")
        await cache.aget_or_compute("q", compute)

    asyncio.run(use())
    assert threads
    assert threading.get_ident() not in threads


CHILD = """
import sys
sys.path.insert(0, sys.argv[2])
from test_cache_shared import *
tier = SqliteTier(sys.argv[1])
cache = opened(tier)
"""


PUTS = """
pid = os.fork()
if pid == 0:
    cache.scope("a").put("q", {"n": 1}, tags={"t"})
    os.kill(os.getpid(), 9)
assert os.waitpid(pid, 0)[1] == 9
cache.put("r", 2)
"""


def child(path, code):
    done = subprocess.run(
        [sys.executable, "-c", CHILD + code, path, str(Path(__file__).parent)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_two_processes_share_a_sqlite_file(tmp_path):
    """One puts, a child of its that is killed does as well, and another one hits."""
    path = tmp_path / "shared.db"
    child(path, PUTS)
    with SqliteTier(path) as tier:
        cache = opened(tier)
        assert cache.scope("a").get("q").value == {"n": 1}
        assert cache.get("r").value == 2
        cache.invalidate("t")
        assert opened(tier).scope("a").get("q") is None
        assert opened(tier).get("r").value == 2


def test_the_sqlite_file_keeps_to_its_capacity(tmp_path):
    """Those written first go, and their tags with them; a row that ends goes as well."""
    clock = ManualClock(start_s=1_000_000)
    with SqliteTier(tmp_path / "shared.db", capacity=3, clock=clock) as tier:
        cache = opened(tier, clock=clock)
        cache.put("brief", 0, ttl_s=5)
        clock.advance(10)
        for i in range(6):
            cache.put(f"q{i}", i, tags={"t"})
        cache.put("q3", 30, tags={"t"})
        other = opened(tier, clock=clock)
        hits = other.get_many(["brief", *(f"q{i}" for i in range(6))])
        assert [hit and hit.value for hit in hits] == [None] * 4 + [30, 4, 5]
        (tags,) = tier._database.read("SELECT count(DISTINCT n) FROM shared_tags")
        assert tags == (3,)


def test_a_locked_file_is_a_miss(tmp_path):
    """Who waits too long for another process goes on without it."""
    path = tmp_path / "shared.db"
    with SqliteTier(path) as writer, SqliteTier(path, timeout_s=0.01) as tier:
        cache = opened(tier)
        with writer._database.transaction():
            assert cache.put("q", 1)
            assert cache.stats().shared_failures == 1
        assert cache.get("r") is None
        assert cache.put("r", 1)
        assert opened(writer).get("r").value == 1


def test_what_makes_no_sense_is_refused(tmp_path):
    """A tier needs its three methods, the embedder a name, the answers bytes."""
    with pytest.raises(TypeError, match="get, put and invalidate"):
        opened({})
    with pytest.raises(ValueError, match="has no name"):
        opened(DictTier(), embed=lambda texts: texts)
    with pytest.raises(ValueError, match="capacity=0"):
        SqliteTier(tmp_path / "shared.db", capacity=0)
    with pytest.raises(TypeError, match="give SemanticCache a serializer"):
        opened(DictTier()).put("q", (1, 2))
    (tmp_path / "text").write_text("no database at all " * 100)
    with pytest.raises(StateError):
        SqliteTier(tmp_path / "text")
