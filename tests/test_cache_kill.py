"""A cache is killed at every write, cut at every byte, and its bytes are flipped."""

from __future__ import annotations

import random
import zlib

import numpy as np
import pytest

from forked import script

from legion import SemanticCache
from legion.exceptions import StateCorruptError


PRELUDE = """
import os, random, signal, sys, threading, zlib
import numpy as np
from forked import child, wait
from legion import SemanticCache

MORE, EVERY = {}, 1

def embed(texts):
    seeds = [zlib.crc32(text.encode()) for text in texts]
    return np.stack([np.random.default_rng(s).standard_normal(16) for s in seeds])

# What is done, again and again; after step n the cache is as states(n)[-1].
def step(cache, n):
    i = n % 7
    if n % 5 == 4:
        hit = cache.get(f"q{i}")
        if hit is not None:
            cache.forget(hit)
    elif n % 11 == 10:
        cache.save()
    else:
        cache.put_many([(f"q{i}", {"n": n, "i": i}), (f"r{i}", {"n": n, "i": i})])

def states(steps):
    state, found = {}, [{}]
    for n in range(steps):
        state, i = dict(state), n % 7
        if n % 5 == 4:
            state.pop(f"q{i}", None)
        elif n % 11 != 10:
            state[f"q{i}"] = state[f"r{i}"] = {"n": n, "i": i}
        found.append(state)
    return found

def read(cache):
    found = {}
    for i in range(7):
        for key in (f"q{i}", f"r{i}"):
            hit = cache.get(key)
            if hit is not None:
                assert hit.exact and hit.value["i"] == i, hit
                found[key] = hit.value
    return found

def check(path, done, steps):
    # The tail may be lost in the middle of a step, of which each record is whole.
    with SemanticCache(embed, path=path, **MORE) as cache:
        found = read(cache)
        cache.put("goes on", 1)
    after = states(steps)
    between = [after[done], after[min(done + 1, steps)]]
    assert all(found.get(k) in [s.get(k) for s in between] for k in {*found, *between[0], *between[1]}), (
        done, found, between
    )
    with SemanticCache(embed, path=path, **MORE) as cache:
        assert cache.get("goes on").value == 1 and read(cache) == found

def run(path, steps, before):
    readable, writable = os.pipe()
    def act():
        cache = SemanticCache(embed, path=path, **MORE)
        before()
        for n in range(steps):
            step(cache, n)
            os.write(writable, b".")
        cache.close()
        os.write(writable, b"!")
    pid = child(act)
    os.close(writable)
    return pid, readable
"""

EVERY_WRITE = """
def die_at(n):
    left = [n]
    def guard(name):
        real = getattr(os, name)
        def call(*args, **kwargs):
            left[0] -= 1
            if left[0] == 0 and name == "pwrite":
                real(args[0], bytes(args[1])[: len(args[1]) * 2 // 3], *args[2:])
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **kwargs)
        setattr(os, name, call)
    for name in ("pwrite", "fsync", "replace", "rename", "ftruncate", "close", "open"):
        guard(name)

kills, n = 0, 1
while True:
    path = os.path.join(sys.argv[1], f"{n}.cache")
    pid, readable = run(path, 12, lambda: die_at(n))
    code = wait(pid)
    said = os.read(readable, 1000)
    os.close(readable)
    assert code in (0, -signal.SIGKILL), code
    check(path, said.count(b"."), 12)
    if code == 0:
        break
    kills += 1
    n += EVERY
print(kills)
"""

ANY_MOMENT = """
rng = random.Random(3)
kills = 0
for round in range(int(sys.argv[2])):
    path = os.path.join(sys.argv[1], f"{round}.cache")
    pid, readable = run(path, 300, lambda: None)
    wanted, said = rng.randrange(1, 250), b""
    while len(said) < wanted and (more := os.read(readable, 1)):
        said += more
    for _ in range(rng.randrange(2_000)):
        pass
    os.kill(pid, signal.SIGKILL)
    assert wait(pid) == -signal.SIGKILL
    while more := os.read(readable, 1000):
        said += more
    os.close(readable)
    kills += 1
    check(path, said.count(b"."), 300)
print(kills)
"""

FORK = """
path = os.path.join(sys.argv[1], "forked.cache")
cache = SemanticCache(embed, path=path)
cache.put("before", 1)
def act():
    cache.put("child", 2)
    cache.close()
    assert cache._shelf.disk.closed
def linger():
    assert cache.get("before").value == 1
    os.read(readable, 1)
assert wait(child(act)) == 0
readable, writable = os.pipe()
pid = child(linger)
cache.put("after", 3)
cache.close()
with SemanticCache(embed, path=path) as cache:  # while a child lives on
    assert [q for q in ("before", "child", "after") if cache.get(q)] == ["before", "after"]
os.write(writable, b".")
assert wait(pid) == 0
print(1)
"""


def run(code, *args):
    return int(script(PRELUDE + code, *args))


def embed(texts):
    seeds = [zlib.crc32(text.encode()) for text in texts]
    return np.stack([np.random.default_rng(s).standard_normal(16) for s in seeds])


OVERFLOWS = "MORE, EVERY = {'capacity': 3, 'overflow_bytes': 10**6}, 4\n"


@pytest.mark.parametrize(
    ("more", "least"), [("", 40), (OVERFLOWS, 10)], ids=["memory", "overflow"]
)
def test_killed_at_every_write_it_is_as_after_one_of_the_last_two_steps(
    tmp_path, more, least
):
    """
    Every open, write (cut short), sync, rename and close of 12 steps kills once.

    Where entries overflow, every fourth does.
    """
    kills = run(more + EVERY_WRITE, tmp_path)
    print("kills", kills)
    assert kills > least


@pytest.mark.parametrize(
    ("more", "times"), [("", 10), (OVERFLOWS, 3)], ids=["memory", "overflow"]
)
def test_killed_at_any_moment_it_is_as_after_one_of_the_last_two_steps(
    tmp_path, more, times
):
    """Children are killed while they put, forget and save; nothing acknowledged is lost."""
    assert run(more + ANY_MOMENT, tmp_path, times) == times


def test_a_child_writes_nothing_and_holds_nothing(tmp_path):
    """After a fork the file is the parent's, and so is the lock."""
    assert run(FORK, tmp_path) == 1


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A file with a snapshot and a log, and what each record of the log brings."""
    path = tmp_path_factory.mktemp("small") / "small.cache"
    cache = SemanticCache(embed, path=path)
    for i in range(3):
        cache.put(f"q{i}", {"answer": i})
    cache.save()
    log = path.stat().st_size
    ends = [log]
    for i in range(3, 6):
        cache.put(f"q{i}", {"answer": i})
        ends.append(path.stat().st_size)
    cache._shelf.disk.let_go()
    return path.read_bytes(), ends


def answers(cache):
    hits = [cache.get(f"q{i}") for i in range(6)]
    return [hit.value["answer"] for hit in hits if hit and hit.exact]


def test_cut_at_every_byte_it_opens_or_says_where(small, tmp_path):
    """A log that ends anywhere opens with what is whole; a snapshot without end does not."""
    data, ends = small
    path = tmp_path / "cut.cache"
    for size in [*range(0, ends[0], 23), *range(ends[0] - 1, len(data) + 1)]:
        path.write_bytes(data[:size])
        if size < ends[0]:
            with pytest.raises(StateCorruptError, match=r"from byte \d+ on"):
                SemanticCache(embed, path=path)
            continue
        cache = SemanticCache(embed, path=path)
        whole = sum(size >= end for end in ends[1:])
        assert answers(cache) == list(range(3 + whole))
        cache._shelf.disk.let_go()
        assert path.stat().st_size == ends[whole]


def test_a_flipped_byte_is_found_and_named(small, tmp_path):
    """One bit of each byte of the log, and of every third of the rest."""
    data, ends = small
    path = tmp_path / "flipped.cache"
    rng, found, harmless = random.Random(4), 0, 0
    for at in [*range(rng.randrange(3), ends[0], 3), *range(ends[0], len(data))]:
        flipped = bytearray(data)
        flipped[at] ^= 1 << rng.randrange(8)
        path.write_bytes(flipped)
        try:
            cache = SemanticCache(embed, path=path)
        except StateCorruptError as error:
            named = int(str(error).split("from byte ")[1].split(" ")[0])
            assert named <= at
            if at >= ends[0]:
                assert named == max(end for end in ends if end <= at)
            found += 1
            continue
        assert answers(cache) == list(range(6))  # it was between two sections
        cache._shelf.disk.let_go()
        harmless += 1
    print("found", found, "between sections", harmless)
    assert harmless < 64 * 8 / 3


@pytest.mark.parametrize("where", ["head", "vectors", "values", "log"])
def test_repair_keeps_what_is_whole_and_the_file_aside(small, tmp_path, where):
    """Of a damaged log what comes before, of a damaged snapshot the log; never a guess."""
    from legion.cache import layout

    data, ends = small
    head = layout.read_head(lambda at, size: data[at : at + size])
    at, kept = {
        "head": (30, []),
        "vectors": (head.sections["vectors"].offset + 5, [3, 4, 5]),
        "values": (head.sections["values"].offset + 5, [3, 4, 5]),
        "log": (ends[1] + 40, [0, 1, 2, 3]),
    }[where]
    path = tmp_path / "answers.cache"
    flipped = bytearray(data)
    flipped[at] ^= 16
    path.write_bytes(flipped)
    for readonly in (False, True):
        with pytest.raises(StateCorruptError, match="repair=True"):
            SemanticCache(embed, path=path, readonly=readonly)
    with SemanticCache(embed, path=path, repair=True) as cache:
        assert answers(cache) == kept
        cache.put("q0", {"answer": 0})
    assert (tmp_path / "answers.cache.damaged").read_bytes() == flipped
    with SemanticCache(embed, path=path) as cache:
        assert answers(cache) == sorted({0, *kept})


def test_a_tail_of_zeros_is_a_lost_tail(small, tmp_path):
    """A loss of power may leave a file longer than what was written of it."""
    data, _ = small
    path = tmp_path / "zeros.cache"
    path.write_bytes(data + bytes(5_000))
    with SemanticCache(embed, path=path) as cache:
        assert answers(cache) == list(range(6))


def test_a_record_of_an_older_file_is_none_of_this_one(small, tmp_path):
    """Each file's records count from its own head, so what was left over is found."""
    data, ends = small
    path = tmp_path / "mixed.cache"
    with SemanticCache(embed, path=path) as cache:
        cache.put("q0", {"answer": 0})
        cache.save()
    path.write_bytes(path.read_bytes() + data[ends[0] :])
    with pytest.raises(StateCorruptError):
        SemanticCache(embed, path=path)
