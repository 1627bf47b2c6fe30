"""A cache with a file, an overflow and a promise at once, over restarts and kills."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import traceback

import pytest

from test_cache_learned import budget_of, entries_of, kill, opened, questions, told
from test_cache_learned import topic_of as topic

from legion.cache.layout import RECORD_SIZE
from legion.testing import ManualClock


CAPACITY = 30
MORE = {"capacity": CAPACITY, "overflow_bytes": 300_000, "max_error": 0.2}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "answers.cache"


def asked(cache, stream):
    """Ask in turn, storing misses; return what was stored, and how often it was wrong."""
    stored, wrong = [], 0
    for question in stream:
        cache._shelf.clock.advance(1)
        hit = cache.get(question)
        if hit is None:
            cache.put(question, topic(question))
            stored.append(question)
        else:
            wrong += topic(question) != hit.value
    return stored, wrong


def state_of(cache, end):
    """
    Return, as JSON has it, what a restart does not change after that end.

    Who is in memory, and who has just sunk once more, is kept as of the last snapshot,
    as the order of use is; where that was some time ago, others are.
    """
    rows, _, _ = cache._shelf.disk.overflow.rows()
    entries, groups, _ = entries_of(cache)
    budget, order = budget_of(cache), cache._shelf.stock.room.order
    sunk = rows["id"].tolist()
    found = {
        "there": sorted([*sunk, *(entry[0] for entry in entries if not entry[3])]),
        "spent": [budget.served, budget.found, budget.charged],
        "told": told(cache),
    }
    if end == "save":
        found |= {
            "entries": sorted(entries),
            "groups": sorted(map(sorted, groups)),
            "sunk": sorted(sunk),
            "order": [e.key for e in order._entries.values() if e.origin is None],
        }
    return json.loads(json.dumps(found))


def check(cache):
    """What belongs together is there together, and lies where it is said to lie."""
    shelf, disk = cache._shelf, cache._shelf.disk
    questions_of = {}
    for entry in shelf.stock.entries.values():
        if entry.origin is not None:
            assert shelf.stock.entries[entry.origin].group is entry.group
            assert entry.id in shelf.stock._aliases[entry.origin]
        else:
            questions_of[entry.group] = questions_of.get(entry.group, 0) + 1
        if entry.place is not None:
            assert disk.log.raw(entry.place) == disk.serializer.dumps(entry.value)
    assert all(group.questions == n for group, n in questions_of.items())
    stats = cache.stats()
    assert stats.entries == len(shelf.stock.entries) <= CAPACITY
    assert stats.overflow_entries == disk.overflow.entries


def in_a_child(act):
    """Return what *act* returns in a child, which is killed when it has."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.write(write, json.dumps(act()).encode())
        except BaseException:
            traceback.print_exc()
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        found = json.loads(pipe.read())
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    return found


def test_a_life_in_pieces_loses_no_answer_and_keeps_the_promise(path):
    """Restarted and killed: groups, aliases, budget and both tiers are as they were."""
    coin, stored, wrong, before = random.Random(5), [], 0, None
    for part, end in enumerate(["kill", "save", "child", "close", "child", "save"]):
        fresh = questions(90, seed=part)
        again = [coin.choice(stored or fresh) for _ in fresh]
        stream = [*(each for two in zip(fresh, again, strict=True) for each in two)]

        def live(end=end, stream=stream, part=part, before=before):
            clock = ManualClock(start_s=part * 1_000)
            cache = opened(path, seed=part, judged=0.5, clock=clock, **MORE)
            if before is not None:
                was, how = before
                assert state_of(cache, how) == was
            check(cache)
            put, bad = asked(cache, stream)
            cache.put(f"0-last-{part}", 0)
            check(cache)
            if end == "save":
                cache.save()
            found = put, bad, state_of(cache, end)
            cache.close() if end == "close" else kill(cache)
            return found

        put, bad, state = in_a_child(live) if end == "child" else live()
        stored += [*put, f"0-last-{part}"]
        wrong += bad
        before = state, end
    assert len({e[3] for e in state["entries"]}) > 3, "there are aliases"
    assert any(len(group) > 2 for group in state["groups"])
    assert 0 < wrong <= state["told"][4], "no more than the bound says"
    assert len(state["sunk"]) > len(stored) / 2

    with opened(path, judged=0.5, **MORE) as cache:
        hits = {question: cache.get(question) for question in stored}
        check(cache)
        assert all(hit and hit.exact for hit in hits.values())
        assert all(hit.value == topic(q) for q, hit in hits.items())


def test_a_kill_while_an_entry_with_aliases_sinks_leaves_no_orphan(path):
    """Cut before and in every record that is written then, it opens, and all belongs."""
    cache = opened(path, judged=1.0, clock=ManualClock(), **MORE)
    asked(cache, questions(120))
    shelf, disk = cache._shelf, cache._shelf.disk
    origin = next(iter(shelf.stock._aliases))
    begin = disk.log.file.end
    with shelf.lock:
        shelf.stock.room.order.discard(shelf.stock.entries[origin])
        assert shelf.stock.evict(shelf.stock.entries[origin]).id == origin
        disk.commit()
    starts = [offset - RECORD_SIZE for offset, _ in disk.log.records(begin)]
    kill(cache)
    assert starts[0] == begin
    assert len(starts) > 2
    for size in [each + more for each in starts for more in (0, RECORD_SIZE + 1)]:
        copy = path.with_name("copy")
        shutil.copyfile(path, copy)
        os.truncate(copy, size)
        cache = opened(copy, judged=1.0, **MORE)
        check(cache)
        kill(cache)
