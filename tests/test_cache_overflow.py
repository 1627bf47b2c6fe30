"""What leaves memory for others stays on disk, and answers the same question."""

from __future__ import annotations

import random
import threading
import zlib

import numpy as np
import pytest

from legion import SemanticCache
from legion.exceptions import StateError
from legion.testing import ManualClock


def embed(texts):
    """Independent vectors, the same for the same text in every process."""
    seeds = [zlib.crc32(text.encode()) for text in texts]
    return np.stack([np.random.default_rng(s).standard_normal(16) for s in seeds])


def opened(path, **more):
    return SemanticCache(
        embed, path=path, **{"capacity": 3, "overflow_bytes": 10**6, **more}
    )


def killed(cache):
    """Let the file go as a killed process would."""
    cache._shelf.disk.let_go()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "answers.cache"


@pytest.mark.parametrize("saved", [False, True], ids=["log", "snapshot"])
def test_what_was_evicted_answers_the_same_question(path, saved):
    """From the log and from a snapshot; only the same question, only in its scope."""
    with opened(path) as cache:
        view = cache.scope("tenant-a")
        for i in range(10):
            view.put(f"  q{i}", {"n": i}, tags={"t"}, cost=i)
        if saved:
            cache.save()
        stats = cache.stats()
        assert (stats.entries, stats.overflow_entries) == (3, 7)
        assert view.stats().overflow_entries == 7
        assert view.explain("q0").tier == "disk"
        assert view.explain("q9").tier == "memory"
        assert cache.get("q0") is None
        assert cache.scope("tenant-b").get("q0") is None
        before = cache.stats()
        for i in range(10):
            hit = view.get(f"q{i}")
            assert (hit.value, hit.question, hit.exact) == ({"n": i}, f"  q{i}", True)
            assert view.explain(f"q{i}").tier == "memory"
        after = cache.stats()
        assert after.exact_hits - before.exact_hits == 10
        assert after.disk_hits - before.disk_hits == 10  # each let another one go
        assert after.unusable == 0
        assert len(cache) == 3


def test_many_and_computed_look_there_too(path):
    """`get_many` and `get_or_compute` find what is on disk alone, and compute nothing."""
    with opened(path) as cache:
        cache.put_many((f"q{i}", i) for i in range(8))
        assert [hit and hit.value for hit in cache.get_many(["q0", "none", "q5"])] == [
            0,
            None,
            5,
        ]
        assert cache.get_or_compute("q1", lambda q: 1 / 0) == 1
        assert cache.stats().disk_hits == 2


def test_any_history_is_what_endless_memory_would_have(tmp_path):
    """Puts, uses, removals, snapshots and kills in any order: a dict agrees."""
    rng = random.Random(7)
    for n in range(12):
        path = tmp_path / f"{n}.cache"
        cache, model = opened(path), {}
        for step in range(60):
            s, i = rng.randrange(2), rng.randrange(8)
            view, key = cache.scope(f"s{s}"), f"q{i}"
            what = rng.choices(
                [
                    "put",
                    "get",
                    "forget",
                    "tag",
                    "here",
                    "clear",
                    "save",
                    "kill",
                    "close",
                ],
                [30, 30, 5, 2, 2, 1, 4, 4, 2],
            )[0]
            if what == "put":
                view.put(key, {"n": step}, tags={f"t{i % 2}"})
                model[s, i] = step
            elif what in {"get", "forget"}:
                hit = view.get(key)
                assert (hit and hit.value["n"]) == model.get((s, i)), (n, step)
                if what == "forget" and hit is not None:
                    assert view.forget(hit)
                    del model[s, i]
            elif what in {"tag", "here"}:
                of = cache if what == "tag" else view
                gone = [
                    at
                    for at in model
                    if at[1] % 2 == i % 2 and (what == "tag" or at[0] == s)
                ]
                assert of.invalidate(f"t{i % 2}") == len(gone)
                for at in gone:
                    del model[at]
            elif what == "clear":
                view.clear()
                model = {at: m for at, m in model.items() if at[0] != s}
            elif what == "save":
                cache.save()
            else:
                killed(cache) if what == "kill" else cache.close()
                cache = opened(path)
            stats = cache.stats()
            assert stats.entries + stats.overflow_entries == len(model), (n, step)
            assert stats.entries <= 3
        killed(cache)
        with opened(path) as cache:
            found = {
                (s, i): hit.value["n"]
                for s in (0, 1)
                for i in range(8)
                if (hit := cache.scope(f"s{s}").get(f"q{i}"))
            }
        assert found == model


def test_a_hit_is_forgotten_wherever_its_entry_is(path):
    """`forget` takes out what has left memory since; a view only its own scope's."""
    with opened(path) as cache:
        cache.put("q0", 0)
        hit = cache.get("q0")
        cache.put_many((f"q{i}", i) for i in range(1, 5))
        assert not cache.scope("other").forget(hit)
        assert cache.forget(hit)
        assert not cache.forget(hit)
        assert cache.get("q0") is None
        killed(cache)
    with opened(path) as cache:
        assert cache.get("q0") is None
        assert cache.get("q1").value == 1


def test_it_expires_there_as_well(path):
    """A time to live, also a sliding one, goes on on disk and over restarts."""
    clock = ManualClock(start_s=1_000_000)
    with opened(path, clock=clock) as cache:
        cache.put("brief", 1, ttl_s=60)
        cache.put("slides", 2, ttl_s=60, sliding=True)
        clock.advance(50)
        assert cache.get("slides").value == 2
        cache.put_many((f"q{i}", i) for i in range(3))
        assert cache.stats().overflow_entries == 2
        clock.advance(20)
        assert cache.explain("brief").tier is None
        assert cache.get("brief") is None
        cache.save()
        killed(cache)
    with opened(path, clock=clock) as cache:
        assert cache.get("slides").age_s == 70
        cache.put_many((f"q{i}", i) for i in range(3))
        clock.advance(70)
        assert cache.expire() == 1
        assert cache.stats().overflow_entries == 0


def test_its_limit_holds_and_the_oldest_go(path):
    """The rows take no more than they may; what went is gone for good."""
    with opened(path, overflow_bytes=2_000) as cache:
        for i in range(40):
            cache.put(f"q{i}", "x" * 20)
            assert cache.stats().overflow_bytes <= 2_000
        kept = cache.stats().overflow_entries
        assert 5 < kept < 20
        cache.put("large", "x" * 3_000)
        cache.put_many((f"r{i}", i) for i in range(3))
        assert cache.explain("large").tier is None
        killed(cache)
    with opened(path, overflow_bytes=2_000, capacity=100) as cache:
        there = [i for i in range(40) if cache.explain(f"q{i}").tier]
        assert there == list(range(40 - len(there), 40))
        assert len(there) >= kept
        cache.save()
    with opened(path, overflow_bytes=500) as cache:
        assert cache.stats().overflow_bytes <= 500


def test_who_goes_up_and_down_is_written_once(path):
    """Questions that take turns in memory cost a few bytes a turn, not their rows."""
    with opened(path) as cache:
        for i in range(6):
            cache.put(f"q{i}", "x" * 1_000)
        for _ in range(2):
            for i in range(6):
                assert cache.get(f"q{i}").exact
        before = path.stat().st_size
        for _ in range(10):
            for i in range(6):
                assert cache.get(f"q{i}").exact
        assert path.stat().st_size - before < 60 * 30
        assert cache.stats().disk_hits == 72


def test_without_an_overflow_memory_takes_what_it_can(path):
    """A cache that is given none, or only reads, has of the rest what fits in."""
    with opened(path) as cache:
        cache.put_many((f"q{i}", i) for i in range(10))
        cache.save()
        reader = opened(path, readonly=True, overflow_bytes=None, capacity=100)
        assert [reader.get(f"q{i}").value for i in range(10)] == list(range(10))
    with opened(path, overflow_bytes=None, capacity=5) as cache:
        assert len(cache) == 5
    with opened(path, overflow_bytes=None, capacity=100) as cache:
        assert len(cache) == 5


def test_the_savings_are_of_both_tiers(path):
    """Answers that are the same are stored once, and plain JSON counts each entry."""
    answer = "".join(map(chr, np.random.default_rng(3).integers(97, 122, 1_000)))
    with opened(path) as cache:
        cache.put_many((f"q{i}", answer) for i in range(200))
        cache.save()
        log = cache._shelf.disk.log
        sizes = {name: one.size for name, one in log.head.sections.items()}
        assert sizes["values"] < 1_000
        vectors = sizes["vectors"] + sizes["sketches"] + 197 * 16 * 4
        lines = log.head.facts["json_bytes"]
        assert 200 * 1_000 < lines < 200 * 1_200
        savings = cache.stats().storage_savings
        assert savings == pytest.approx(1 - (sum(sizes.values()) - vectors) / lines)
        assert 0.85 < savings < 0.99


def test_a_byte_that_flips_meanwhile_is_a_miss(path):
    """Of the log and of a snapshot: what is read later is compared with its checksum."""
    for saved in (False, True):
        with opened(path) as cache:
            cache.clear()
            cache.put_many((f"q{i}", f"answer {i}") for i in range(6))
            if saved:
                cache.save()
            spot = cache._shelf.disk.overflow.spot("", "q1")
            data = bytearray(path.read_bytes())
            data[spot.offset + spot.length // 2] ^= 4
            with path.open("r+b") as file:
                file.write(data)
            assert cache.get("q1") is None
            assert cache.stats().unusable == 1
            assert cache.get("q0").value == "answer 0"
            data[spot.offset + spot.length // 2] ^= 4
            with path.open("r+b") as file:
                file.write(data)
            assert cache.get("q1") is None  # it was taken out


def test_two_questions_with_one_digest_are_not_mixed(path, monkeypatch):
    """Where digests collide one of them is a miss, and neither gets the other's."""
    monkeypatch.setattr("legion.cache.overflow.digest_of", lambda scope, key: 7)
    with opened(path) as cache:
        cache.put_many((f"q{i}", i) for i in range(8))
        cache.limit(cache, capacity=2)
        assert cache.stats().overflow_entries == 1
        assert cache.get("q0") is None
        assert cache.stats().unusable == 1
        assert [hit and hit.value for hit in map(cache.get, ("q5", "q6", "q7"))] == [
            None,
            6,
            7,
        ]
        killed(cache)
    monkeypatch.undo()
    with opened(path, capacity=100) as cache:  # what lost its place is gone for good
        assert [i for i in range(8) if cache.explain(f"q{i}").tier] == [6, 7]


def test_others_go_on_while_it_rises_sinks_and_is_saved(path):
    """Threads put, get and remove beside snapshots: every answer is its question's."""
    cache, wrong = opened(path), []

    def work(seed):
        rng = random.Random(seed)
        try:
            for _ in range(250):
                i = rng.randrange(12)
                if rng.random() < 0.3:
                    cache.put(f"q{i}", {"i": i}, tags={"odd"} if i % 2 else ())
                    continue
                hit = cache.get(f"q{i}")
                if hit is not None and (not hit.exact or hit.value["i"] != i):
                    wrong.append(hit)
        except Exception as error:
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        cache.save()
    assert not wrong
    cache.invalidate("odd")
    assert [i for i in range(12) if cache.get(f"q{i}") and i % 2] == []
    killed(cache)
    with opened(path) as cache:
        found = {i: hit.value["i"] for i in range(12) if (hit := cache.get(f"q{i}"))}
        assert found
        assert all(i == value and i % 2 == 0 for i, value in found.items())


def test_what_moves_while_a_snapshot_is_taken_is_found_after_it(path, monkeypatch):
    """What rises, sinks, is put and removed meanwhile is as it is in memory."""
    from legion.cache import snapshot

    cache, real = opened(path), snapshot.sections
    cache.put_many((f"q{i}", i) for i in range(9))

    def busy(*args, **kwargs):
        moved = [0, 1, 2, 3, 5, 6, 7, 8]
        assert [cache.get(f"q{i}").value for i in moved] == moved
        cache.put("q0", 10)
        cache.forget(cache.get("q1"))
        cache.put("q9", 9)
        assert cache.get("q4").value == 4
        return real(*args, **kwargs)

    monkeypatch.setattr(snapshot, "sections", busy)
    cache.save()
    monkeypatch.undo()
    cache.save()  # reads again where the answers lie that are in memory
    values = [10, None, *range(2, 10)]
    for again in range(3):
        stats = cache.stats()
        assert stats.entries + stats.overflow_entries == 9, again
        hits = [cache.get(f"q{i}") for i in range(10)]
        assert [hit and hit.value for hit in hits] == values
        assert cache.stats().unusable == 0
        killed(cache)
        cache = opened(path)
    killed(cache)


def test_full_disk_lets_nothing_come_back(path, monkeypatch):
    """What could not be written is gone from memory, and no later removal misses it."""
    from legion.cache import file

    cache = opened(path)
    cache.put_many((f"q{i}", i) for i in range(3))
    real = file.os.pwrite

    def full(handle, data, at):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(file.os, "pwrite", full)
    cache.put("q3", 3)
    assert cache.get("q0") is None
    monkeypatch.setattr(file.os, "pwrite", real)
    cache.save()
    cache.put("q4", 4)
    assert cache.get("q1").value == 1
    killed(cache)
    with opened(path) as cache:
        assert cache.get("q0") is None
        assert [cache.get(f"q{i}").value for i in (1, 2, 3, 4)] == [1, 2, 3, 4]


def test_a_look_up_does_not_fail_with_the_disk(path, monkeypatch):
    """With ``sync="always"`` a put says that the disk is full, and a look-up serves."""
    from legion.cache import file

    cache = opened(path, sync="always")
    cache.put_many((f"q{i}", i) for i in range(5))

    def full(handle, data, at):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(file.os, "pwrite", full)
    assert cache.get("q0").value == 0
    with pytest.raises(StateError, match="No space left"):
        cache.put("q5", 5)
    assert cache.get("q1").value == 1
    assert cache.get("q5").value == 5
    killed(cache)


def test_what_makes_no_sense_is_refused(path):
    """An overflow needs a file that is written, and room."""
    with pytest.raises(ValueError, match="without a file"):
        SemanticCache(embed, overflow_bytes=10)
    with pytest.raises(ValueError, match="overflow_bytes=0"):
        opened(path, overflow_bytes=0)
    with pytest.raises(ValueError, match="readonly=True"):
        opened(path, readonly=True)
