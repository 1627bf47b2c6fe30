"""What judges and people say of a hit, and what becomes of it."""

from __future__ import annotations

import asyncio
import functools
import random

import pytest

from legion import SemanticCache
from legion.cache import judge as judge_module
from legion.cache.shelf import Shelf
from legion.cache.signal import signal


@functools.cache
def direction(number):
    return [1.0, 0.02 * number]


def embed(texts):
    """Texts that end in small numbers are near each other, whatever else they say."""
    return [direction(int(text.split()[-1])) for text in texts]


def cache_of(**more):
    """A cache in which everything that is near enough is served, half of it audited."""
    given = {"max_error": 0.2, "judged": 0.5, "random": random.Random(3)} | more
    cache = SemanticCache(embed, veto=False, **given)
    for n in range(3):
        cache.put(f"base {n}", "answer")
    for n in range(80):  # misses, of which it learns that what is near is right
        asked = cache._lookup.asked(f"{n} 1", f"{n} 1", cache._embed([f"{n} 1"])[0])
        if cache._shelf.similar(cache._partition, asked) is None:
            cache.put(asked.question, "answer")
    for _ in range(400):  # requests, of which wrong answers are a share
        cache._shelf.exact(cache._partition, "base 0")
    return cache


def audited(cache, name="asked"):
    """Return a hit by meaning that the coin chose, and its question."""
    for n in range(200):
        question = f"{name} {n} 1"
        hit = cache.get(question)
        if hit is not None and hit.audit:
            return question, hit
    raise AssertionError


def spent(cache):
    budget = cache._shelf.rule.budget
    return budget.served, budget.found, budget.charged, budget.told


def test_a_right_that_is_taken_back_leaves_no_alias():
    """An answer called wrong is not served to the same question, exact and for free."""
    cache = cache_of()
    question, hit = audited(cache)
    hit.right()
    assert cache.explain(question).outcome == "exact_hit"

    hit.wrong()

    assert cache.explain(question).outcome != "exact_hit"
    assert hit.id in cache._shelf.stock.entries, "the entry answers its own question"
    hit.right()
    assert cache.explain(question).outcome != "exact_hit", "nobody takes a wrong back"


def test_an_alias_that_is_called_wrong_is_gone():
    """Who is served what another one's question was judged to have may say so."""
    cache = cache_of()
    question, hit = audited(cache)
    hit.right()
    again = cache.get(question)
    assert again.exact

    again.wrong()

    assert cache.explain(question).outcome != "exact_hit"
    assert cache.get(hit.question).value == "answer"


def test_a_wrong_takes_out_no_answer_that_was_put():
    """What was stored for the very question is its owner's to replace."""
    cache = cache_of()
    question, hit = audited(cache)
    hit.right()
    cache.put(question, "its own")

    hit.wrong()

    assert cache.get(question).value == "its own"


def test_an_alias_stays_taken_out_after_a_restart(tmp_path):
    """What was told is in the file before `wrong` returns."""
    cache = cache_of(path=tmp_path / "a.cache")
    question, hit = audited(cache)
    hit.right()
    hit.wrong()
    entries = len(cache)
    (tmp_path / "b.cache").write_bytes((tmp_path / "a.cache").read_bytes())

    with SemanticCache(embed, max_error=0.2, path=tmp_path / "b.cache") as after:
        assert len(after) == entries
        assert after.explain(question).outcome != "exact_hit"
    cache.close()


def test_a_judged_answer_told_wrong_is_spent_again():
    """What was cleared by a "right" goes back to those served, found and charged."""
    cache = cache_of()
    _, hit = audited(cache)
    before, limit = spent(cache), cache.stats().wrong_limit
    hit.right()
    assert spent(cache) == (before[0] - 1, before[1] - 1, before[2] - 1, 0)

    hit.wrong()

    assert spent(cache) == before
    assert cache.stats().wrong_limit == limit
    assert cache.stats().wrong == 1


@pytest.mark.parametrize("verdict", [True, False])
def test_where_there_is_a_judge_nobody_else_s_right_counts(verdict):
    """Praise before the verdict stores no alias and clears nothing; the verdict does."""

    async def story():
        gate = asyncio.Event()

        async def judge(question, value):
            await gate.wait()
            return verdict

        cache = cache_of(judge=judge)
        for n in range(200):
            question = f"asked {n} 1"
            hit = await cache.aget(question)
            if hit is not None and hit.audit:
                break
        before = spent(cache)

        hit.right()
        assert spent(cache) == before
        assert cache.explain(question).outcome != "exact_hit"

        gate.set()
        await asyncio.gather(*cache._judge._tasks)
        assert spent(cache)[1] == before[1] - verdict
        assert (cache.explain(question).outcome == "exact_hit") is verdict

    asyncio.run(story())


def test_that_nobody_says_what_was_right_is_said_once(caplog):
    """`get_or_compute` returns no hit: what the coin chose there counts as wrong."""
    cache = cache_of()
    for n in range(300):
        assert cache.get_or_compute(f"asked {n} 1", lambda _: "answer") == "answer"
        if cache._shelf.rule.budget.found < 20:
            assert not caplog.records
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "write judge=" in record.getMessage()


@pytest.mark.parametrize("judged", ["by hand", "by a judge"])
def test_nothing_is_said_where_somebody_says(caplog, judged):
    """One word of a person is enough, and a judge has always one."""
    judge = {"judge": lambda question, value: True} if judged == "by a judge" else {}
    cache = cache_of(**judge)
    if not judge:
        audited(cache)[1].right()
    for n in range(600):
        cache.get(f"asked {n} 1")
    assert cache.stats().semantic_hits > 50
    assert not caplog.records


def test_what_judgements_of_an_entry_taught_goes_with_it():
    """A trap makes all that is as near look wrong, until it is forgotten."""
    cache = SemanticCache(embed, max_error=0.1, veto=False)
    for question in ("trap 0", "good 9"):
        cache.put(question, question)
    rule = cache._shelf.rule
    trap, good = cache._shelf.stock.entries.values()
    (near,) = cache._shelf.search(cache._partition, cache._embed(["good 8"]))
    as_near = signal(0, near)
    nearness, *others = as_near
    for n in range(200):
        figures = [nearness - 0.01 * (n % 3), *others]
        rule._learn(["seen", figures])
        rule._learn(["label", figures, False, 1.0, trap.id])
        rule._learn(["label", figures, True, 1.0, good.id])
        fit = rule.refit()
        if fit is not None:
            fit()
    before = rule._calibration.wrong(as_near)
    assert 0.3 < before < 0.7

    assert cache.forget(cache.get("trap 0"))
    cache.get("good 8")  # a request, after which it is fitted anew

    assert rule._calibration.wrong(as_near) < before / 5


def test_an_answer_stored_during_a_search_is_found_as_the_question_s_own(monkeypatch):
    """It is the same question by then, so nearness, chances and coins have no part."""
    cache = SemanticCache(embed, threshold=0.9)
    cache.put("near 1", "another's")
    search = Shelf.search

    def slow(shelf, partition, vectors):
        found = search(shelf, partition, vectors)
        if "asked 1" not in partition.exact:
            cache.put("asked 1", "its own")  # as another thread may meanwhile
        return found

    monkeypatch.setattr(Shelf, "search", slow)
    hit = cache.get("asked 1")

    assert hit.exact
    assert hit.value == "its own"
    assert cache.stats().exact_hits == cache.stats().lookups == 1


def test_an_alias_is_worth_something_however_near_it_is():
    """Rounding makes cosines above 1; a worth below 0 would lower a key that rises."""
    cache = cache_of(eviction="cost", judged=1.0)
    shelf = cache._shelf
    base = next(iter(shelf.stock.entries.values()))
    for n in range(100):
        asked = cache._lookup.asked(
            f"as near {n}", f"as near {n}", cache._embed(["x 0"])[0]
        )
        shelf.stock.store_alias(base, asked, 1 + 1e-7 * (n - 50))
    aliases = [
        entry for entry in shelf.stock.entries.values() if entry.origin == base.id
    ]
    assert len(aliases) == 100
    assert all(0 <= alias.redundancy <= 1 for alias in aliases)
    orders = shelf.stock.room.order
    before = dict(orders._keys._keys)
    for alias in aliases:
        cache.get(alias.question)
    assert all(orders._keys._keys[alias.id] >= before[alias.id] for alias in aliases)


@pytest.mark.parametrize("rule", [{"threshold": 0.99}, {"max_error": 0.1}])
def test_nothing_that_was_asked_is_kept_when_all_is_cleared(rule):
    """Neither what was missed nor the words that were compared; of other scopes, yes."""
    cache = SemanticCache(embed, veto=True, **rule)
    for view in (cache, cache.scope("other")):
        view.put("about 4712 5", "answer")
        for n in range(20):
            view.get(f"my secret is {n} 5")

    def kept():
        misses = getattr(cache._shelf.rule, "_misses", {})
        words = cache._shelf.rule._words.cache_info().currsize
        return {scope for scope, _ in misses}, words

    before = kept()
    assert before[1] > 20
    assert len(before[0]) == 2 * ("max_error" in rule)
    cache.scope("other").clear()
    assert kept() == (before[0] & {""}, 0)
    cache.get("my secret is 4 5")
    cache.clear()
    assert kept() == (set(), 0)


def test_a_judge_that_is_late_is_not_asked_for_ever_more(monkeypatch, caplog):
    """What waits for it is bounded; what it is not asked counts as wrong, and it is said."""
    monkeypatch.setattr(judge_module, "MOST", 5)

    async def story():
        gate, asked = asyncio.Event(), []

        async def judge(question, value):
            asked.append(question)
            await gate.wait()
            return True

        cache = cache_of(judge=judge, max_error=0.5)
        for n in range(60):
            await cache.aget(f"asked {n} 1")
        await asyncio.sleep(0)
        assert len(asked) == len(cache._judge._tasks) == 5
        found = spent(cache)[1]
        assert found > 10

        gate.set()
        await asyncio.gather(*cache._judge._tasks)
        assert cache.stats().judged == 5
        assert spent(cache)[1] == found - 5
        for n in range(60):
            await cache.aget(f"later {n} 1")
            await asyncio.gather(*cache._judge._tasks)
        assert cache.stats().judged > 15

    asyncio.run(story())
    (record,) = caplog.records
    assert "5 answers behind" in record.getMessage()
