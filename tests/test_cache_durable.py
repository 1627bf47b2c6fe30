"""What a cache's file survives: disks that fail, threads, paths that move, other users."""

from __future__ import annotations

import asyncio
import base64
import gc
import math
import os
import shutil
import stat
import sys
import threading
import uuid
import zlib

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from legion import SemanticCache
from legion.cache import codec, file, layout
from legion.cache.journal import Journal
from legion.exceptions import EmbeddingError, StateCorruptError, StateError
from legion.testing import ManualClock


def embed(texts):
    """Independent vectors, the same for the same text in every process."""
    seeds = [zlib.crc32(text.encode()) for text in texts]
    return np.stack([np.random.default_rng(s).standard_normal(16) for s in seeds])


def opened(path, **more):
    return SemanticCache(embed, path=path, **more)


def disk_of(cache):
    return cache._shelf.disk


def after_a_kill(path, **more):
    """Open a copy of the file, as somebody finds it when the process is no more."""
    copy = path.with_name(f"copy-{uuid.uuid4()}")
    shutil.copyfile(path, copy)
    return opened(copy, **more)


def answers(cache, questions):
    hits = {question: cache.get(question) for question in questions}
    return {question: hit.value for question, hit in hits.items() if hit}


def check_places(cache):
    """Where an entry's answer is said to lie, it lies."""
    disk = disk_of(cache)
    for entry in cache._shelf.stock.entries.values():
        if entry.place is not None:
            raw = disk.log.raw(entry.place)
            assert raw == disk.serializer.dumps(entry.value)


def no_room(*_args, **_more):
    raise OSError(28, "No space left on device")


def folder_fails(real):
    def fsync(handle):
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(5, "Input/output error")
        real(handle)

    return fsync


def finish_saving():
    """Wait for the thread that takes a snapshot, if there is one."""
    for thread in threading.enumerate():
        if thread.name == "legion-cache-snapshot":
            thread.join()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "answers.cache"


def test_a_folder_that_cannot_be_synced_costs_no_file(path, monkeypatch):
    """The new file has the name by then; flush says so until the disk has the name."""
    real = os.fsync
    cache = opened(path)
    cache.put("before", 1)
    monkeypatch.setattr(file.os, "fsync", folder_fails(real))
    with pytest.raises(StateError, match="Input/output error"):
        cache.save()
    cache.put("after", 2)
    assert answers(after_a_kill(path), ["before"]) == {"before": 1}
    with pytest.raises(StateError, match="Input/output error"):
        cache.flush()
    monkeypatch.setattr(file.os, "fsync", real)
    cache.save()
    cache.flush()
    wanted = {"before": 1, "after": 2}
    assert answers(cache, wanted) == answers(after_a_kill(path), wanted) == wanted


@pytest.mark.parametrize("kind", [codec.Zlib, codec.Zstd])
def test_what_unpacks_serves_one_thread_at_a_time(path, monkeypatch, kind):
    """Zstandard crashes otherwise: a snapshot and look-ups read through the same."""
    if kind is codec.Zstd:
        pytest.importorskip("zstandard", reason="packs with Zstandard")
    monkeypatch.setattr(codec, "best", lambda: kind)
    with opened(path) as cache:
        cache.put_many((f"q{i}", "the same words " * 9 + str(i)) for i in range(9))
        cache.save()
    real, held = kind.unpack, []

    def unpack(self, data, size):
        if size < 1_000:  # of an answer, not of a section
            held.append(disk_of(cache).log._lock.locked())
        return real(self, data, size)

    cache = opened(path)
    monkeypatch.setattr(kind, "unpack", unpack)
    assert cache.get("q1").value.endswith("1")
    cache.save()
    assert len(held) == 10
    assert all(held)
    cache.close()


def test_whatever_a_snapshot_raises_is_said_and_the_log_goes_on(path, monkeypatch):
    """Not only the disk fails; and what is put since is kept all the same."""
    monkeypatch.setattr("legion.cache.log._SHORT", 2_000)
    cache = opened(path, clock=ManualClock())
    with monkeypatch.context() as broken:
        broken.setattr("legion.cache.snapshot.sections", lambda *_, **__: 1 / 0)
        with pytest.raises(StateError, match=r"division by zero.*nothing is lost"):
            cache.save()
        for i in range(30):
            cache.put(f"q{i}", "a" * 100)
            finish_saving()
        cache.flush()
    assert cache.stats().behind is None
    assert len(after_a_kill(path)) == 30


def test_a_snapshot_without_room_leaves_the_log_alone(path, monkeypatch):
    """There may be no room for a second file, and room for what is appended."""
    monkeypatch.setattr("legion.cache.log._SHORT", 2_000)
    clock, tries = ManualClock(), []

    def beside(path):
        tries.append(clock.machine())
        no_room()

    cache = opened(path, clock=clock)
    with monkeypatch.context() as full:
        full.setattr(file.CacheFile, "beside", beside)
        for i in range(200):
            clock.advance(0.125)
            cache.put(f"q{i}", "a" * 100)
            finish_saving()
        cache.flush()
    assert len(after_a_kill(path)) == 200
    waits = np.diff(tries).tolist()
    assert waits == [1, 2, 4, 8], "it is not tried at each put"
    clock.advance(60)
    cache.put("last", 1)
    finish_saving()
    assert not disk_of(cache).log.too_long()
    assert len(after_a_kill(path)) == 201


def test_a_log_that_could_not_be_written_is_mended_by_itself(path, monkeypatch):
    """A snapshot is tried again after a while, and stats say that it is needed."""
    clock = ManualClock()
    cache = opened(path, clock=clock)
    with monkeypatch.context() as full:
        full.setattr(file.CacheFile, "append", no_room)
        cache.put("first", "a")
        finish_saving()
        assert "No space left" in cache.stats().behind
    cache.put("second", "b")
    finish_saving()
    assert cache.stats().behind, "it was tried a moment ago"
    clock.advance(1)
    cache.put("third", "c")
    finish_saving()
    assert cache.stats().behind is None
    cache.put("fourth", "d")
    found = after_a_kill(path)
    assert len(found) == 4


def test_what_changed_during_a_snapshot_is_in_it_though_the_log_was_full(
    path, monkeypatch
):
    """The log could not take it, so it is written into the new file."""
    cache = opened(path, clock=ManualClock())
    cache.put("gone", 0)
    real = file.CacheFile.beside

    def beside(path):
        with monkeypatch.context() as full:
            full.setattr(file.CacheFile, "append", no_room)
            cache.put("meanwhile", 1)
            cache._shelf.stock.drop(cache.get("gone").id)
            cache.put("later", 2)
        return real(path)

    monkeypatch.setattr(file.CacheFile, "beside", beside)
    cache.save()
    found = after_a_kill(path)
    wanted = {"meanwhile": 1, "later": 2}
    assert answers(found, [*wanted, "gone"]) == wanted


def test_with_always_a_put_waits_for_a_sync_that_covers_it(path, monkeypatch):
    """Not for one that another thread began before; and one does for all who wait."""
    cache = opened(path, sync="always")
    fsync, append = os.fsync, file.CacheFile.append
    events, others = [], []
    written = threading.Semaphore(0)

    def watched_append(self, parts):
        append(self, parts)
        events.append(threading.current_thread().name)
        written.release()

    def watched_fsync(handle):
        events.append("begun")
        if not others:  # while the first syncs, three more write
            written.acquire()
            for n in range(3):
                others.append(threading.Thread(target=put, args=(n,), name="other"))
                others[-1].start()
                written.acquire()
        fsync(handle)
        events.append("synced")

    def put(n):
        cache.put(f"q{n}", n)
        events.append(f"returned {n}")

    monkeypatch.setattr(file.CacheFile, "append", watched_append)
    monkeypatch.setattr(file.os, "fsync", watched_fsync)
    thread = threading.Thread(target=put, args=("first",), name="first")
    thread.start()
    thread.join()
    for other in others:
        other.join()
    begins = [i for i, event in enumerate(events) if event == "begun"]
    last = len(events) - 1 - events[::-1].index("other")
    assert len(begins) == 2
    assert events[:5] == ["first", "begun", "other", "other", "other"]
    assert begins[1] > last
    assert all(events.index(f"returned {n}") > begins[1] + 1 for n in range(3))
    cache.close()


@pytest.mark.parametrize("moves", ["folder", "link"])
def test_a_path_means_the_same_file_for_ever(tmp_path, monkeypatch, moves):
    """Whatever the working directory is later, and by whatever name it was opened."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    real = tmp_path / "one" / "answers.cache"
    if moves == "link":
        given = tmp_path / "two" / "link.cache"
        given.symlink_to(real)
    else:
        monkeypatch.chdir(tmp_path / "one")
        given = "answers.cache"
    cache = opened(given)
    cache.put("q", 1)
    monkeypatch.chdir(tmp_path / "two")
    with pytest.raises(StateError, match="is written by"):
        opened(real)
    cache.save()
    cache.put("r", 2)
    assert [each.name for each in (tmp_path / "two").iterdir() if each != given] == []
    assert (tmp_path / "two" / "link.cache").is_symlink() == (moves == "link")
    wanted = {"q": 1, "r": 2}
    assert answers(after_a_kill(real), wanted) == wanted
    cache.close()


def flip(path, text):
    """Flip a bit of *text*, wherever it lies in the file."""
    data = path.read_bytes()
    at = data.index(text)
    with path.open("r+b") as handle:
        handle.seek(at)
        handle.write(bytes([data[at] ^ 1]))


@pytest.mark.parametrize("saved", [True, False], ids=["snapshot", "log"])
def test_an_answer_that_is_damaged_while_it_is_open_is_not_served(path, saved):
    """Nor written anew under a checksum that is right; one that was read before is."""
    with opened(path) as cache:
        cache.put_many([("pay", "to 12345678"), ("read", "to 87654321"), ("q", "a")])
        if saved:
            cache.save()
        else:
            disk_of(cache).let_go()
    cache = opened(path)
    assert cache.get("read").value == "to 87654321"
    flip(path, b"12345678")
    flip(path, b"87654321")
    with pytest.raises(StateCorruptError, match=r"damaged at byte \d+, in an answer"):
        cache.get("pay")
    cache.save()
    wanted = {"read": "to 87654321", "q": "a"}
    assert answers(cache, [*wanted, "pay"]) == wanted
    assert answers(after_a_kill(path), [*wanted, "pay"]) == wanted
    cache.put("pay", "to 12345678")
    assert answers(after_a_kill(path), ["pay"]) == {"pay": "to 12345678"}


def test_what_was_used_last_goes_last_after_a_restart_too(path):
    """Over all scopes, whatever they are called; what nobody used, by when it was put."""
    clock = ManualClock(start_s=1_000)
    with opened(path, clock=clock, capacity=9) as cache:
        for i in range(6):
            clock.advance(1)
            cache.scope("z" if i < 3 else "a").put(f"q{i}", i)
        for i in (1, 0):
            clock.advance(1)
            assert cache.scope("z").get(f"q{i}")
        cache.save()
        clock.advance(1)
        cache.scope("m").put("q6", 6)
    with opened(path, clock=clock, capacity=7) as cache:
        left = list(range(7))
        for gone in (2, 3, 4, 5, 1, 0, 6):
            left.remove(gone)
            cache.scope("n").put(f"new {gone}", gone)
            found = [cache.scope(s)._partition.exact for s in "zam"]
            assert {key for one in found for key in one} == {f"q{i}" for i in left}


VERSION_2 = (
    "eNqlUmtoHFUU3qakoCE1EomNRDKsUJZsinMfMztbY7uKP1yFkG4gxI5pdnbmJhkzO7uZmd2YpKE2VYmF"
    "ppRINeqPtCI+CzaBvqjvWjUaFVp/9E8LJmAV/VFMi60WvPfuziZGrdIc9s6ex3fO+c651yLdZsYWdE3v"
    "IWWBQOAi/QhNfzQPBbs03XODG4WhoJ4xiE614KBlpoKNQpDYnmMSFoTUymtWjhuYGoaZLmqW5nqdplG0"
    "spZm2sVqVi5tMzzALOKagzwbsVq2luaGJFLDI096ft1uJ5PLMoMFLKI5NvFLuzm7l9idTqafFwV4mFFM"
    "p4hhEId67JxlMRhxTM2izZgv+ISbsdkovSTrdaYGvMI0CuPAQiUXxrycS3SP7qmwD8PkhuYMUFOlhOhP"
    "7eigsMXZmBsD6odAghGIRB73Z1VlShywMBIBkmUJilEO8OdXAVRoAcQQQIxAjCTMAf5OVBClXGUaVySA"
    "URQrCo+X9qRCiUYpRgWRKAVApBQ4LC5PRVAs1IC0BIRQjsgFmn/ZqIoUylaSOA6IAMpAQhxXunkVY0oX"
    "8VJIRjKQxWhx4l7i0afFQRKgdPhgKpRFBUaRVNxLnq434xQ3Qzmxt6BKkkSb+XU4JQaIiHx3mCFkOYpA"
    "BFLW7JKsTDcFKAgOC/9b9C4jtvr1dV2g/Z5Ls18lWvfWXb1tzZUrF9+qnbw28aKwsCOUPCW+oAT+Tebm"
    "5+eNWNkrPdsDNyVvtzU0f33vwxvaphKjbYnd321paYhvmCl3X/31Edfx7hAM3DLT8o0gH6n55/wwbsBr"
    "AjcvqwMrky/Ds1+sWkH+nJZMjo7xyUfHxvbsGW6sC0+Z29586NTInefzv2+rJ0YqVr6/5/HQ5obdO4Vj"
    "2Y/OTey7fTHf1Wy3nzgC9BXkK6KvgBv1X6h4L2FdvzxmVT+d//ZM/OOyhfCZ2Y2hkx3r5y4f6Zn+QTn+"
    "6drIoX31p/c70/WCOJGazlb8dg0dSl6Nb/rxZ31T8+G7XrPabz1rjZ9ff2FX/LP+tQO7PpeG697IP7q1"
    "Jj2ekGpn5uFjLx8+feJg9btDTbWkOnyp8plI+47nfsFxS2/q/H77Zu+no/cvP77/v/bX92DlhS30/256"
    "KpLGUyOt0+/UVn24c1Wl+ACAIRzCVSNT0QPrAssbTX5Q/8liYupviY34+Wd54o0ZbaUn+P54zeDggXOt"
    "pcc089J9SzCx5aTLiodJFT23sEFgH1zOsXS5rEvT3tjxs9enJlvKV9IF9+Glwyztgv8EULW9oA=="
)


def test_a_file_of_version_2_is_read_and_written_anew(path):
    """It says no checksums of answers, in memory or on disk alone."""

    def old(texts):
        return np.stack([np.eye(4)[zlib.crc32(t.encode()) % 4] + 0.1 for t in texts])

    path.write_bytes(zlib.decompress(base64.b64decode(VERSION_2)))
    clock = ManualClock(start_s=1_000_000)
    wanted = {f"q{i}": f"answer {i}" for i in range(5)}
    for _ in range(2):
        more = {"path": path, "capacity": 2, "overflow_bytes": 1_000, "clock": clock}
        with SemanticCache(old, **more) as cache:
            assert answers(cache, wanted) == wanted
            assert disk_of(cache).log.head.version == layout.VERSION


def test_a_reader_refuses_vectors_of_another_dimension(path):
    """It keeps what it read; faiss would read behind the end of a shorter query."""

    def longer(texts):
        return np.hstack([embed(texts)] * 4)

    writer = SemanticCache(longer, path=path)
    reader = opened(path, readonly=True, threshold=0.01)
    assert reader.get("anything") is None
    assert reader._embed(["anything"]).shape == (1, 16)
    writer.put("q", 1)
    writer.save()
    with pytest.raises(
        StateError, match="dimension 64, those of your embedder have 16"
    ):
        reader.refresh()
    assert len(reader) == 0
    other = opened(path, readonly=True, threshold=0.01)
    with pytest.raises(EmbeddingError, match="dimension 16; return 64"):
        other.get("anything")
    with pytest.raises(ValueError, match=r"shape \(16,\), not \(64,\)"):
        other._partition.top(embed(["anything"])[0].astype(np.float32), 1)
    late = SemanticCache(longer, path=path, readonly=True)
    assert late.get("q").value == 1


def test_a_refresh_settles_the_dimension(path):
    """A reader of a file that was empty knows it from then on."""
    writer, reader = opened(path), opened(path, readonly=True)
    assert reader.embedder is None
    writer.put("q", 1)
    writer.save()
    assert reader.refresh()
    assert reader.embedder.dim == 16


def test_two_threads_may_refresh(path, monkeypatch):
    """One after the other: neither meets a file that the other one closed."""
    writer, reader = opened(path), opened(path, readonly=True)
    writer.put("q", 1)
    writer.save()
    disk, come, wrong = disk_of(reader), threading.Event(), []

    class Turn:
        def __init__(self, lock):
            self.lock = lock

        def __enter__(self):
            if threading.current_thread().name == "second":
                come.set()
            self.lock.acquire()

        def __exit__(self, *raised):
            self.lock.release()

    def second():
        try:
            reader.refresh()
        except BaseException as error:
            wrong.append(error)
        come.set()

    identity = file.CacheFile.identity
    thread = threading.Thread(target=second, name="second")

    def identify(self):
        if thread.ident is None:
            thread.start()
            come.wait()
        return identity(self)

    monkeypatch.setattr(file.CacheFile, "identity", identify)
    disk.turn = Turn(disk.turn)
    assert reader.refresh()
    thread.join()
    assert wrong == []
    assert reader.get("q").value == 1


def test_what_was_found_before_a_refresh_is_looked_for_again(path):
    """A search needs no lock, and what it found may be of the file before."""
    writer = opened(path)
    writer.put("q", "old")
    writer.save()
    reader = opened(path, readonly=True)
    asked = reader._lookup.asked("Q ?", "another", reader._embed(["q"])[0])
    (found,) = reader._shelf.search(reader._partition, [asked.vector])
    writer.put("q", "new")
    writer.save()
    assert reader.refresh()
    assert reader._shelf.similar(reader._partition, asked, found).value == "new"


class Fussy:
    """Cannot be read where `broken` is set."""

    broken = False

    def __init__(self, n):
        self.n = n

    def __setstate__(self, state):
        if self.broken:
            raise RuntimeError("not now")
        self.__dict__.update(state)


@pytest.mark.parametrize("more", [{"max_error": 0.1}, {"capacity_bytes": 100_000}])
def test_an_answer_that_cannot_be_read_now_keeps_no_file_closed(
    path, monkeypatch, more
):
    """Who asks for it is told; the others are served, and it is not lost."""
    with opened(path, serializer="pickle") as cache:
        cache.put("odd", Fussy(1))
        cache.put("even", 2)
    with monkeypatch.context() as broken:
        broken.setattr(Fussy, "broken", True)
        with opened(path, serializer="pickle", **more) as cache:
            assert cache.get("even").value == 2
            with pytest.raises(StateError, match="serializer cannot read"):
                cache.get("odd")
            cache.save()
    with opened(path, serializer="pickle", **more) as cache:
        assert cache.get("odd").value.n == 1


def test_answers_are_read_while_a_snapshot_is_taken(path):
    """Each is found whole, wherever it lies by then."""
    texts = {f"q{i}": f"answer {i} " * 40 for i in range(200)}
    with opened(path) as cache:
        cache.put_many(texts.items())
        cache.save()
    for _ in range(3):
        cache = opened(path)
        with ThreadPoolExecutor() as pool:
            found = pool.submit(answers, cache, texts)
            cache.save()
            cache.put("more", 1)
            cache.save()
        assert found.result() == texts
        cache.close()


def modes(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_nobody_can_read_what_was_not_open_to_them(path, monkeypatch):
    """A new file is its owner's; what it was changed to stays, while it is written too."""
    seen, rename = [], file.CacheFile.rename
    monkeypatch.setattr(
        file.CacheFile,
        "rename",
        lambda self, name: (seen.append(modes(self.path)), rename(self, name)),
    )
    before = os.umask(0)
    try:
        cache = opened(path)
        assert {modes(each) for each in path.parent.iterdir()} == {0o600}
        for mode in (0o640, 0o600):
            path.chmod(mode)
            cache.put("q", mode)
            cache.save()
            assert modes(path) == mode
    finally:
        os.umask(before)
    assert seen == [0o600] * 3
    cache.close()


def test_a_group_that_cannot_be_kept_is_not_let_in(path, monkeypatch):
    """The bits for a group mean nothing, or too much, where the group is another."""
    cache = opened(path)
    path.chmod(0o664)
    monkeypatch.setattr(file.os, "fchown", no_permission)
    real = Path.stat

    def another(self, **more):
        found = real(self, **more)
        return os.stat_result((*found[:4], found.st_uid + 1, *found[5:]))

    monkeypatch.setattr(Path, "stat", another)
    cache.save()
    monkeypatch.undo()
    assert modes(path) == 0o604
    cache.close()


def no_permission(*_args):
    raise PermissionError(1, "Operation not permitted")


@pytest.mark.parametrize(
    "ttl_s",
    [sys.maxsize, 1e18, 10**400, math.inf],
    ids=["whole", "float", "huge", "inf"],
)
def test_a_life_that_is_too_long_to_end_has_no_end(path, ttl_s):
    """However long it is said to be, in whatever words; a save can write it."""
    with opened(path, ttl_s=60, max_age_s=ttl_s, clock=ManualClock()) as cache:
        cache.put("q", 1, ttl_s=ttl_s)
        cache.save()
        cache.put("r", 2, ttl_s=ttl_s)
    later = ManualClock(start_s=1e9)
    with opened(path, clock=later) as cache:
        assert answers(cache, ["q", "r"]) == {"q": 1, "r": 2}


def test_a_cost_that_is_no_number_any_more_is_refused(path):
    """Nothing is stored for it, whatever the eviction would have made of it."""
    with opened(path, eviction="cost") as cache:
        with pytest.raises(ValueError, match="write a number from 0 up"):
            cache.put("q", 1, cost=10**400)
        assert cache.get("q") is None


class Incomparable:
    """Says nothing of what it is equal to."""

    def __init__(self, *, hashable):
        self.hashable = hashable

    def __hash__(self):
        if self.hashable:
            return 1
        raise RuntimeError("no hash")

    def __eq__(self, other):
        raise RuntimeError("no comparison")


@pytest.mark.parametrize("hashable", [True, False])
def test_what_cannot_be_compared_is_stored_and_equals_nothing(hashable):
    """Its class may raise whatever it likes; no half of it is stored."""
    cache = SemanticCache(embed, max_error=0.1)
    for i in range(3):
        cache.put(f"q{i % 2}", Incomparable(hashable=hashable))
    assert len(cache) == 2
    groups = [entry.group for entry in cache._partition.exact.values()]
    assert groups[0] is not groups[1]
    assert [group.questions for group in groups] == [1, 1]
    cache.clear()
    assert len(cache) == 0


@pytest.mark.parametrize("bad", ["text", None, bytearray(b"b")])
def test_a_serializer_that_returns_no_bytes_stores_nothing(path, bad):
    """The put says so, and what was stored for the question before stays."""

    class Odd:
        def dumps(self, value):
            return bad if value == "bad" else value.encode()

        def loads(self, data):
            return data.decode()

    cache = opened(path, serializer=Odd())
    cache.put("q", "good")
    with pytest.raises(TypeError, match=r"serializer: got .* for 'bad'; return bytes"):
        cache.put("q", "bad")
    assert cache.get("q").value == "good"
    assert answers(after_a_kill(path, serializer=Odd()), ["q"]) == {"q": "good"}


def test_a_full_disk_is_opened_and_closed_where_nothing_changed(path, monkeypatch):
    """Nothing has to be written, so nothing is wrong."""
    cache = opened(path)
    cache.put_many((f"q{i}", "a" * 500) for i in range(20))
    disk_of(cache).let_go()
    monkeypatch.setattr(file.os, "pwrite", no_room)
    with opened(path) as cache:
        assert disk_of(cache).worth_saving()
        assert cache.get("q1").value == "a" * 500
    monkeypatch.undo()
    with opened(path) as cache:
        assert len(cache) == 20


def test_what_is_saved_may_not_save(path, monkeypatch):
    """A destructor, for one, or a serializer: it is told, and nobody waits for itself."""
    cache, said = opened(path), []
    real = file.CacheFile.beside

    def beside(path):
        with pytest.raises(StateError, match="is being saved"):
            cache.save()
        said.append("told")
        return real(path)

    monkeypatch.setattr(file.CacheFile, "beside", beside)
    thread = threading.Thread(target=cache.save, daemon=True)
    thread.start()
    thread.join(20)
    assert said == ["told"]
    assert not thread.is_alive()
    cache.close()


@pytest.mark.parametrize("rounds", [1, 3, 99])
def test_what_somebody_waited_for_is_in_a_new_file_before_it_has_the_name(
    path, monkeypatch, rounds
):
    """However much is put while it is written; and nobody waits for the disk to ask."""
    cache, on_disk, returned, held = opened(path, sync="always"), {}, [], []
    fsync, rename, catch_up = os.fsync, file.CacheFile.rename, Journal.catch_up
    seen = []

    def put(n):
        cache.put(f"q{n}", n)
        returned.append(f"q{n}")

    def watched_fsync(handle):
        fsync(handle)
        held.append(cache._shelf.lock._is_owned())
        on_disk[os.fstat(handle).st_ino] = os.fstat(handle).st_size

    def busy(self, new, start):
        copied = catch_up(self, new, start)
        if len(returned) <= rounds and not cache._shelf.lock._is_owned():
            put(len(returned))
        return copied

    def watched_rename(self, name):
        size = on_disk[self.path.stat().st_ino]
        lost_power = path.with_name("lost-power")
        lost_power.write_bytes(self.path.read_bytes()[:size])
        found = opened(lost_power)
        seen.append(set(returned) - set(answers(found, returned)))
        disk_of(found).let_go()
        rename(self, name)

    put(0)
    monkeypatch.setattr(file.os, "fsync", watched_fsync)
    monkeypatch.setattr(Journal, "catch_up", busy)
    monkeypatch.setattr(file.CacheFile, "rename", watched_rename)
    cache.save()
    monkeypatch.undo()
    assert any(held) == (rounds == 99), "it has to come to an end"
    assert seen == [set()]
    assert len(returned) == 1 + min(rounds, 8)
    assert len(answers(after_a_kill(path), returned)) == len(returned)
    assert len(answers(cache, returned)) == len(returned)
    check_places(cache)
    cache.close()


@pytest.mark.parametrize("how", ["computed", "streamed"])
def test_the_loop_goes_on_while_the_disk_is_waited_for(path, monkeypatch, how):
    """What is computed for asyncio is put in a thread, which waits for it."""

    def quick(texts):
        return embed(texts)

    quick.quick = True
    cache = SemanticCache(quick, path=path, sync="always")
    went_on, fsync = [], os.fsync

    async def compute(question):
        return question

    @cache.cached()
    async def streamed(question):
        yield question

    async def story():
        loop = asyncio.get_running_loop()

        def waited(handle):
            turned = threading.Event()
            loop.call_soon_threadsafe(turned.set)
            went_on.append(turned.wait(5))
            fsync(handle)

        monkeypatch.setattr(file.os, "fsync", waited)
        if how == "computed":
            assert await cache.aget_or_compute("q", compute) == "q"
        else:
            assert [chunk async for chunk in streamed("q")] == ["q"]

    asyncio.run(story())
    monkeypatch.undo()
    assert went_on == [True]
    cache.close()


def test_each_repair_keeps_the_file_as_it_was(path):
    """The second one does not take the place of what the first put aside."""
    damaged = []
    for n in range(3):
        with opened(path, repair=True) as cache:
            cache.put("q", "a" * 50 + str(n))
            cache.save()
        flip(path, b"legion")
        damaged.append(path.read_bytes())
        with pytest.raises(StateCorruptError, match="damaged"):
            opened(path)
    opened(path, repair=True).close()
    names = [
        "answers.cache.damaged",
        "answers.cache.damaged-2",
        "answers.cache.damaged-3",
    ]
    assert [path.with_name(name).read_bytes() for name in names] == damaged


@pytest.mark.parametrize("more", [{}, {"overflow_bytes": 1_000}])
def test_whoever_leaves_a_cache_without_a_word_lets_others_write(path, more):
    """At once, without a garbage collection; a view of it keeps it."""
    with opened(path) as cache:
        cache.put("q", 1)
        cache.scope("a").put("r", 2)
    collects = gc.isenabled()
    gc.disable()
    try:
        cache = opened(path, **more)
        view = cache.scope("a")
        cache.put("s", 3)
        del cache
        with pytest.raises(StateError, match="is written by"):
            opened(path)
        assert view.get("r").value == 2
        del view
        with opened(path) as cache:
            assert len(cache) == 3
    finally:
        if collects:
            gc.enable()
