"""A cache that has a file: everything comes back, and nothing that was taken out."""

from __future__ import annotations

import enum
import math
import os
import stat
import subprocess
import sys
import threading
import zlib

from collections import Counter, OrderedDict, defaultdict
from pathlib import Path

import numpy as np
import pytest

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from legion import SemanticCache
from legion.cache import file
from legion.exceptions import StateCorruptError, StateError
from legion.testing import ManualClock


def embed(texts):
    """Independent vectors, the same for the same text in every process."""
    seeds = [zlib.crc32(text.encode()) for text in texts]
    return np.stack([np.random.default_rng(s).standard_normal(16) for s in seeds])


def opened(path, **more):
    return SemanticCache(embed, path=path, **more)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "answers.cache"


VALUES = [
    "text",
    "",
    "lone \ud800",
    b"\x00\xff",
    None,
    True,
    3,
    0.1,
    [1, [2.5]],
    {"a": {}},
]


@pytest.mark.parametrize("saved", [True, False], ids=["snapshot", "log"])
def test_everything_comes_back(path, saved):
    """Values, scopes, tags, ages, ends of life and ids, from snapshot and log alike."""
    clock = ManualClock(start_s=1_000_000)
    with opened(path, clock=clock) as cache:
        view = cache.scope("tenant-a", model="m1")
        for i, value in enumerate(VALUES):
            view.put(f"  question   {i}", value, tags={"t"} if i % 2 else (), cost=i)
        cache.put("brief", 1, ttl_s=60)
        clock.advance(10)
        ids = {
            hit.question: hit.id
            for hit in view.get_many(f"question {i}" for i in range(10))
        }
        if saved:
            cache.save()
        else:
            disk_of(cache).let_go()
        clock.advance(30)
        if saved:
            cache.close()

    later = ManualClock(start_s=1_000_040)
    later.advance(5_000, machine_s=0)
    with opened(path, clock=later) as cache:
        view = cache.scope("tenant-a", model="m1")
        hits = view.get_many(f"question {i}" for i in range(10))
        assert [hit.value for hit in hits] == VALUES
        assert {hit.question: hit.id for hit in hits} == ids
        assert {hit.age_s for hit in hits} == {40}
        assert cache.get("question 0") is None
        assert cache.get("brief").value == 1
        later.advance(20)
        assert cache.get("brief") is None
        assert cache.invalidate("t") == 5
        near = (embed(["question 2"])[0] + 0.01).astype(np.float32)
        assert view._lookup.find(
            view._lookup.asked("?", "?", near / np.linalg.norm(near))
        ).id


def disk_of(cache):
    return cache._shelf.disk


def test_what_was_taken_out_does_not_come_back(path):
    """Forgotten, invalidated, cleared, replaced, evicted, expired: gone for good."""
    clock = ManualClock(start_s=1)
    cache = opened(path, clock=clock, capacity=4)
    view = cache.scope("b")
    cache.put("evicted", 0)
    view.put("tagged", 1, tags={"t"})
    cache.put("forgotten", 2)
    cache.put("replaced", 3)
    cache.put("replaced", 4)
    cache.put("brief", 5, ttl_s=1)
    assert cache.get("evicted") is None
    cache.forget(cache.get("forgotten"))
    view.invalidate("t")
    clock.advance(2)
    cache.expire()
    view.put("cleared", 6)
    view.clear()
    disk_of(cache).let_go()

    with opened(path, clock=clock, capacity=100) as cache:
        assert len(cache) == 1
        assert cache.get("replaced").value == 4
        assert cache.put("new", 1)
        assert cache.get("new").id > 7


def test_a_smaller_capacity_lets_the_oldest_go(path):
    """A file that holds more than there may be is cut down, and stays so."""
    with opened(path) as cache:
        cache.put_many((f"q{i}", i) for i in range(10))
    opened(path, capacity=3).close()
    with opened(path) as cache:
        assert sorted(cache.get(f"q{i}").value for i in (7, 8, 9)) == [7, 8, 9]
        assert len(cache) == 3


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["put", "forget", "save", "kill", "reopen", "tag"]),
            st.integers(0, 5),
            st.integers(0, 1),
        ),
        max_size=30,
    )
)
def test_any_history_is_what_memory_would_have(tmp_path_factory, steps):
    """Puts, removals, snapshots, ends and kills in any order: a dict agrees."""
    path = tmp_path_factory.mktemp("history") / "answers.cache"
    cache, model = opened(path), {}
    for n, (what, i, s) in enumerate(steps):
        view, key = cache.scope(f"s{s}"), f"q{i}"
        if what == "put":
            view.put(key, {"n": n}, tags={f"t{i % 2}"})
            model[s, i] = n
        elif what == "forget" and (s, i) in model:
            view.forget(view.get(key))
            del model[s, i]
        elif what == "tag":
            cache.invalidate(f"t{i % 2}")
            model = {at: n for at, n in model.items() if at[1] % 2 != i % 2}
        elif what == "save":
            cache.save()
        elif what in {"kill", "reopen"}:
            disk_of(cache).let_go() if what == "kill" else cache.close()
            cache = opened(path)
    disk_of(cache).let_go()
    cache = opened(path)
    found = {
        (s, i): hit.value["n"]
        for s in (0, 1)
        for i in range(6)
        if (
            hit := cache.scope(f"s{s}")._shelf.exact(
                cache.scope(f"s{s}")._partition, f"q{i}"
            )
        )
    }
    assert found == model
    cache.close()


def test_only_one_process_writes(path):
    """A second writer is told who holds the file; a reader is welcome."""
    with opened(path) as cache:
        cache.put("q", "a")
        cache.save()
        code = (
            "import sys; from legion import SemanticCache\n"
            "try: SemanticCache(len, path=sys.argv[1])\n"
            "except Exception as error: print(error)\n"
        )
        told = subprocess.run(
            [sys.executable, "-c", code, path],
            capture_output=True,
            text=True,
            check=True,
        )
        assert f":{os.getpid()}:" in told.stdout
        assert "readonly=True" in told.stdout
        assert opened(path, readonly=True).get("q").value == "a"
    opened(path).close()


def test_readers_share_a_snapshot_and_follow(path):
    """What is taken out is gone at the next refresh, what is new after the next save."""
    with opened(path) as cache:
        cache.put_many((f"q{i}", i) for i in range(5))
        cache.save()
        reader = opened(path, readonly=True)
        assert not reader.refresh()
        assert reader.get_or_compute("else", lambda q: "computed") == "computed"
        assert not reader.put("q", 1)
        with pytest.raises(StateError, match="forget it where it is written"):
            reader.forget(reader.get("q1"))
        cache.invalidate("none")
        cache.forget(cache.get("q1"))
        cache.put("q2", "new")
        cache.put("new", 7)
        assert reader.get("q1").value == 1
        assert reader.refresh()
        assert reader.get("q1") is None
        assert reader.get("q2") is None
        assert reader.get("q3").value == 3
        cache.save()
        assert reader.refresh()
        assert not reader.refresh()
        assert [reader.get(q).value for q in ("q0", "q2", "new")] == [0, "new", 7]


def test_a_reader_maps_the_vectors(path):
    """The vectors of a reader are pages of the file, not memory of its own."""
    with opened(path) as cache:
        cache.put_many((f"q{i}", i) for i in range(500))
        cache.save()
    reader = opened(path, readonly=True)
    vectors = reader._partition._vectors._block.vectors
    while vectors.base is not None and isinstance(vectors.base, np.ndarray):
        vectors = vectors.base
    assert vectors.base.obj is disk_of(reader)._log._map


def test_another_embedder_or_serializer_is_refused(path):
    """A file says whose vectors and bytes it holds."""

    def named(texts):
        return embed(texts)

    named.name = "one"
    SemanticCache(named, path=path).close()
    SemanticCache(named, path=path).close()
    named.name = "two"
    with pytest.raises(StateError, match="embedder 'one'; got 'two'"):
        SemanticCache(named, path=path)
    named.name = "one"
    with pytest.raises(StateError, match="serializer 'json'; got 'pickle'"):
        SemanticCache(named, path=path, serializer="pickle")


class Colour(enum.StrEnum):
    RED = "red"


class Size(enum.IntEnum):
    LARGE = 1


class Text(str):
    __slots__ = ()


@pytest.mark.parametrize(
    "bad",
    [
        (1, 2),
        {1: 2},
        {1, 2},
        math.nan,
        object(),
        Colour.RED,
        [Size.LARGE],
        {Colour.RED: 1},
        OrderedDict(a=1),
        {"a": defaultdict(int, b=1)},
        Counter("a"),
        np.float64(0.5),
        Text("a"),
    ],
    ids=lambda bad: type(bad).__name__,
)
def test_json_refuses_what_would_come_back_different(path, bad):
    """The put says what cannot be kept, and nothing is stored."""
    with opened(path) as cache:
        with pytest.raises(TypeError, match="give SemanticCache a serializer"):
            cache.put_many([("fine", 1), ("q", bad)])
        assert len(cache) == 0


def test_pickle_and_serializers_of_ones_own(path, tmp_path):
    """Only who asks for pickle by name gets it; an object of one's own does as well."""

    class Tuples:
        name = "tuples"

        def dumps(self, value):
            return repr(value).encode()

        def loads(self, data):
            return tuple(int(n) for n in data.decode().strip("()").split(","))

    for serializer, value in (("pickle", {1: {2}}), (Tuples(), (1, 2))):
        there = tmp_path / f"{len(str(serializer))}.cache"
        with opened(there, serializer=serializer) as cache:
            cache.put("q", value)
        with opened(there, serializer=serializer) as cache:
            assert cache.get("q").value == value


def test_a_full_disk_loses_no_answer_in_memory(path, monkeypatch, caplog):
    """What cannot be written is warned of, and written by the next save."""
    cache = opened(path)
    cache.put("before", 1)
    real = os.pwrite

    def full(handle, data, at):
        if len(data) > 30:
            real(handle, data[:30], at)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(file.os, "pwrite", full)
    assert cache.put("during", 2)
    assert "not kept on disk" in caplog.text
    assert cache.get("during").value == 2
    with pytest.raises(StateError, match="No space left"):
        cache.forget(cache.get("before"))
    with pytest.raises(StateError, match="No space left"):
        cache.save()
    monkeypatch.setattr(file.os, "pwrite", real)
    cache.put("after", 3)
    cache.save()
    cache.put("later", 4)
    disk_of(cache).let_go()
    with opened(path) as cache:
        assert [q for q in ("before", "during", "after", "later") if cache.get(q)] == [
            "during",
            "after",
            "later",
        ]


def test_with_always_a_put_waits_for_the_disk(path, monkeypatch):
    """Each put is synced before it returns; with batch the next megabyte is."""
    synced = []
    real = os.fsync
    monkeypatch.setattr(file.os, "fsync", lambda h: (synced.append(h), real(h)))
    cache = opened(path, sync="always")
    synced.clear()
    cache.put("q", "a")
    assert len(synced) == 1
    cache.close()
    cache = opened(path)
    synced.clear()
    cache.put("r", "a")
    assert not synced
    cache.put("s", "a" * 2**20)
    assert len(synced) == 1
    cache.flush()
    cache.put("t", "a")
    cache.flush()
    assert len(synced) == 2
    cache.close()


def test_a_snapshot_is_on_disk_before_it_has_the_name(path, monkeypatch):
    """The file is synced, then it has the name, then its folder is synced."""
    events = []
    fsync, replace = os.fsync, Path.replace

    def watch(handle):
        events.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")
        fsync(handle)

    monkeypatch.setattr(file.os, "fsync", watch)
    monkeypatch.setattr(
        Path, "replace", lambda one, other: (events.append("name"), replace(one, other))
    )
    with opened(path) as cache:
        cache.put("q", 1)
        events.clear()
        cache.save()
        assert events == ["file", "name", "folder"]


def test_others_go_on_while_a_snapshot_is_taken(path):
    """Puts and removals beside snapshots: what memory has, the file has."""
    cache, model, wrong = opened(path), {}, []
    rng, stop = np.random.default_rng(5), threading.Event()

    def work():
        try:
            for n in range(600):
                i = int(rng.integers(100))
                if n % 5 == 4 and i in model:
                    assert cache.forget(cache.get(f"q{i}"))
                    del model[i]
                else:
                    cache.put(f"q{i}", {"n": n})
                    model[i] = n
        except Exception as error:
            wrong.append(error)
        stop.set()

    thread = threading.Thread(target=work)
    thread.start()
    saves = 0
    while not stop.is_set() or saves < 3:
        cache.save()
        saves += 1
    thread.join()
    assert not wrong
    disk_of(cache).let_go()
    with opened(path) as cache:
        assert len(cache) == len(model)
        assert {i: cache.get(f"q{i}").value["n"] for i in model} == model


def test_the_log_stays_short_by_itself(path, monkeypatch):
    """A log that is long beside its snapshot is replaced by one, in a thread."""
    monkeypatch.setattr("legion.cache.log._SHORT", 20_000)
    with opened(path, capacity=50) as cache:
        for i in range(2_000):
            cache.put(f"q{i % 60}", "x" * 50)
            for thread in threading.enumerate():
                if thread.name == "legion-cache-snapshot":
                    thread.join()
        assert path.stat().st_size < 60_000
        assert len(cache) == 50


def test_a_closed_cache_says_so(path):
    """Whoever goes on using it is told, not served from half a file."""
    with opened(path) as cache:
        cache.put("q", 1)
    cache = opened(path)
    assert cache.get("q").value == 1
    view = cache.scope("a")
    view.put("r", 2)
    cache.close()
    assert len(cache) == len(view) == 0
    assert cache.get("q") is view.get("r") is None
    for act in (
        lambda: cache.put("q", 2),
        lambda: view.put_many([("q", 2)]),
        cache.save,
        cache.flush,
        cache.refresh,
        cache.clear,
        lambda: cache.invalidate("t"),
    ):
        with pytest.raises(StateError, match="is closed; make another"):
            act()
        assert cache.get("q") is None
    assert cache.get_or_compute("q", str) == "q"  # as an answer that cannot be stored
    cache.close()
    assert path.stat().st_size
    with opened(path) as cache:
        assert cache.get("q").value == 1


def test_the_savings_are_measured(path):
    """They are those of the file's own bytes, without vectors, against plain JSON."""
    with opened(path) as cache:
        assert cache.stats().storage_savings is None
        cache.put_many(
            (f"What about number {i}?", "the same answer " * 4) for i in range(500)
        )
        assert cache.stats().storage_savings is None
        cache.save()
        stats = cache.stats()
        sizes = {n: s.size for n, s in disk_of(cache).log.head.sections.items()}
        kept = sum(sizes.values()) - sizes["vectors"] - sizes["sketches"]
        assert sizes["vectors"] == 500 * 16 * 4
        lines = disk_of(cache).log.head.facts["json_bytes"]
        assert 500 * 150 < lines < 500 * 250
        assert stats.storage_savings == pytest.approx(1 - kept / lines)
        assert stats.disk_bytes == path.stat().st_size


def test_what_makes_no_sense_is_refused(path):
    """Arguments that need a file, and words that are not known."""
    for more in ({"readonly": True}, {"repair": True}, {"sync": "never"}):
        with pytest.raises(ValueError, match="write"):
            SemanticCache(embed, **more)
    with pytest.raises(TypeError, match="'json', 'pickle'"):
        opened(path, serializer="marshal")
    with pytest.raises(StateError, match="makes it"):
        opened(path, readonly=True)
    with pytest.raises(ValueError, match="path"):
        SemanticCache(embed).save()


def test_a_later_format_is_told_from_damage(path):
    """A file of a legion to come is left alone."""
    from legion.cache import layout

    opened(path).close()
    data = bytearray(path.read_bytes())
    head = layout.read_head(lambda at, size: bytes(data[at : at + size]))
    raw = bytes(data[24 : head.log][: int.from_bytes(data[16:20], "little")])
    later = layout.VERSION + 1
    data[12:16] = later.to_bytes(4, "little")
    data[20:24] = layout._head_sum(raw, later).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(
        StateError, match=f"format {later}, of a later legion"
    ) as caught:
        opened(path, repair=True)
    assert not isinstance(caught.value, StateCorruptError)
    assert path.read_bytes() == data
