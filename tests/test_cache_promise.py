"""A semantic cache with an error that is promised."""

from __future__ import annotations

import asyncio
import functools
import math
import random
import threading

import attrs
import numpy as np
import pytest

from hypothesis import given, settings
from hypothesis import strategies as st

from legion import Plugins, SemanticCache, hookimpl
from legion.cache.calibration import Fit
from legion.cache.size import SCOPE_BYTES
from legion.testing import ManualClock


TOPICS, DIM, SEED = 40, 32, 7


def embed(texts):
    """A direction of its own for each topic, and some noise for each question."""
    return [vector(text) for text in texts]


@functools.cache
def vector(text):
    centre = np.random.default_rng([SEED, topic_of(text)]).standard_normal(DIM)
    noise = np.random.default_rng(list(text.encode())).standard_normal(DIM)
    return centre + 0.5 * noise


def topic_of(question):
    return int(question.split("-")[0])


def truth(question, value):
    return topic_of(question) == value


def questions(n, seed=0):
    coin = random.Random(seed)
    return [f"{coin.randrange(TOPICS)}-{i}-{seed}" for i in range(n)]


def promised(judge=truth, judged=0.3, seed=1, max_error=0.05, **more):
    return SemanticCache(
        embed,
        max_error=max_error,
        judge=judge,
        judged=judged,
        random=random.Random(seed),
        veto=False,  # the numbers in these questions mean nothing
        **more,
    )


def ask(cache, stream, answer=topic_of):
    """Ask in turn, storing misses; return the hits by question."""
    hits = {}
    for question in stream:
        hit = cache.get(question)
        if hit is None:
            cache.put(question, answer(question))
        else:
            hits[question] = hit
    return hits


def wrong(hits):
    return sum(not truth(question, hit.value) for question, hit in hits.items())


def test_paraphrases_are_answered_and_what_is_judged_is_right():
    """A cache that begins with nothing learns what is near enough."""
    cache = promised()
    hits = ask(cache, questions(1_200))

    assert len(hits) > 400
    assert wrong(hits) <= 0.05 * 1_200
    audited = {q: hit for q, hit in hits.items() if hit.audit}
    assert audited
    assert not wrong(audited), "a judge that says wrong keeps the answer back"
    stats = cache.stats()
    assert stats.semantic_hits == len(hits)
    assert stats.judged >= len(audited)
    assert stats.confidence == 0.99
    assert wrong(hits) <= stats.wrong_limit <= 0.05 * 1_200
    assert stats.error_per_request < stats.error_per_hit
    assert 0.2 < stats.audit_cost < 0.6


def test_a_useless_embedder_serves_less_and_never_lies():
    """Vectors that say nothing of the answer cost hits, not the promise."""
    for seed in range(3):
        coin = np.random.default_rng(seed)
        cache = SemanticCache(
            lambda texts, coin=coin: coin.standard_normal((len(texts), 3)),
            max_error=0.05,
            judge=truth,
            random=random.Random(seed),
        )
        bad = 0
        for n, question in enumerate(questions(500, seed), 1):
            hit = cache.get(question)
            if hit is None:
                cache.put(question, topic_of(question))
            else:
                bad += not truth(question, hit.value)
            assert bad <= 0.05 * n
        assert cache.stats().hit_rate < 0.1


def test_a_judge_is_asked_of_its_share_only():
    """Of possible hits the coin takes 3 in 10; all where all are to be judged."""
    asked = []

    def judge(question, value):
        asked.append(question)
        return truth(question, value)

    cache = promised(judge, judged=1.0)
    hits = ask(cache, questions(500))
    assert set(hits) <= set(asked)
    assert not wrong(hits)
    assert cache.stats().wrong_limit == 0

    asked.clear()
    cache = promised(judge, judged=0.3)
    hits = ask(cache, questions(1_000))
    assert 0.2 < len(asked) / (len(hits) + cache.stats().over_budget) < 0.4


def test_a_judge_that_raises_costs_budget_and_no_answer(caplog):
    """What it failed at counts as wrong, is logged, and never reaches who asked."""

    def judge(question, value):
        raise OSError("no line")

    cache = promised(judge, judged=0.5)
    hits = ask(cache, questions(700))

    assert any(hit.audit for hit in hits.values()), "it is served all the same"
    assert cache.stats().judged == 0
    assert "the cache's judge failed" in caplog.text
    assert len(hits) <= 0.05 * 700, "as without a judge"


@pytest.mark.parametrize("verdict", ["yes", None, 1, [True]])
def test_what_is_no_truth_value_is_no_judgement(verdict, caplog):
    """A judge that answers "no" in words must not count as a yes."""
    cache = promised(lambda question, value: verdict, judged=1.0)
    ask(cache, questions(300))
    assert cache.stats().judged == 0
    assert "return True or False" in caplog.text


def test_numpy_truth_counts_as_truth():
    """A judge that compares arrays answers with numpy's bool."""
    cache = promised(lambda q, v: np.bool_(truth(q, v)), judged=1.0)
    ask(cache, questions(300))
    assert cache.stats().judged > 0


def test_without_a_judge_hits_are_the_promised_share_of_requests():
    """Nothing is known, so every hit may be wrong."""
    cache = SemanticCache(embed, max_error=0.05)
    hits = ask(cache, questions(800))
    assert 0 < len(hits) <= 0.05 * 800
    assert cache.stats().wrong_limit == len(hits)


def feedback(judged=1.0, **more):
    return SemanticCache(
        embed,
        max_error=0.05,
        judged=judged,
        random=random.Random(1),
        veto=False,
        **more,
    )


def test_audits_without_a_judge_wait_for_an_answer():
    """Unanswered, they count as wrong; answered right, they make room for more."""
    silent, answered = feedback(), feedback()
    few = ask(silent, questions(800))
    assert all(hit.audit for hit in few.values())
    assert len(few) <= 0.05 * 800

    many = 0
    for question in questions(800):
        hit = answered.get(question)
        if hit is None:
            answered.put(question, topic_of(question))
        else:
            many += 1
            hit.right() if truth(question, hit.value) else hit.wrong()
    assert many > 5 * len(few)
    assert answered.stats().wrong_limit == answered.stats().wrong


def test_praise_that_nobody_asked_for_loosens_nothing():
    """`right` of what the coin left out changes no figure; `wrong` tightens, once."""
    cache = promised(judged=0.3)
    hits = [hit for hit in ask(cache, questions(600)).values() if not hit.audit]
    before = cache.stats()
    for hit in hits:
        hit.right()
    assert cache.stats() == before

    for hit in hits:
        hit.wrong()
        hit.wrong()
        hit.right()
    assert cache.stats().wrong == before.wrong + len(hits)
    assert cache.stats().wrong_limit == max(len(hits), before.wrong_limit)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 149), st.sampled_from("rwfg")), max_size=40))
def test_no_sequence_of_feedback_takes_a_wrong_back(told):
    """Right, wrong, forget and get in any order: the limit covers every wrong told."""
    cache = SemanticCache(
        embed, max_error=0.5, judged=0.5, random=random.Random(1), veto=False
    )
    stream = questions(150)
    hits = list(ask(cache, stream).values())
    accused = set()
    for number, what in told:
        hit = hits[number % len(hits)]
        before = cache.stats().wrong_limit
        if what == "w":
            hit.wrong()
            accused.add(number % len(hits))
            assert cache.stats().wrong_limit >= before
        elif what == "r":
            hit.right()
            assert cache.stats().wrong_limit <= before
            assert hit.audit or cache.stats().wrong_limit == before
        elif what == "f":
            cache.forget(hit)
        else:
            cache.get(stream[number])
        assert cache.stats().wrong_limit >= len(accused)


def test_a_confirmed_paraphrase_is_an_alias_and_goes_with_its_entry():
    """It is found exactly from then on; `forget` and a new answer take it along."""
    cache = promised(judged=1.0)
    hits = ask(cache, questions(400))
    question, hit = next(iter(hits.items()))
    again = cache.get(question)
    assert again.exact
    assert again.value == hit.value
    entries = len(cache)

    assert cache.forget(again)

    assert len(cache) < entries - 1, "the entry and its aliases"
    assert cache.explain(question).outcome != "exact_hit"
    assert not cache.forget(hit)


def test_an_alias_ends_where_its_entry_gets_another_answer():
    """An answer that was replaced is not served for its paraphrases either."""
    cache = promised(judged=1.0)
    hits = ask(cache, questions(400))
    question, hit = next(iter(hits.items()))
    origin = next(
        e
        for e in cache._shelf.stock.entries.values()
        if e.id == hit.id and e.origin is None
    )
    cache.put(origin.question, "another answer")
    assert cache.explain(question).outcome != "exact_hit"


def test_an_alias_is_offered_to_who_keeps_answers_out():
    """A question that must not be stored is not stored because it was judged, either."""
    stream = questions(400)
    private = set(stream[200:])

    class Private:
        @hookimpl
        def legion_admit(self, query, value):
            return query not in private

    plugins = Plugins()
    plugins.register(Private())
    cache = promised(judged=1.0, plugins=plugins)
    hits = ask(cache, stream)

    assert private & set(hits), "they are answered"
    assert cache.stats().refused == sum(q not in hits for q in private), "the puts"
    assert not private & {
        entry.question for entry in cache._shelf.stock.entries.values()
    }


def test_capacity_holds_with_aliases():
    """Aliases count, and make room as others do."""
    cache = promised(judged=1.0, capacity=30)
    ask(cache, questions(500))
    assert len(cache) <= 30
    shelf = cache._shelf
    for origin, aliases in shelf.stock._aliases.items():
        assert origin in shelf.stock.entries
        assert aliases <= set(shelf.stock.entries)


def test_an_async_judge_is_asked_behind_the_answer_s_back():
    """It counts as wrong until then; a plain `get` says that it cannot ask it."""

    async def story():
        gate = asyncio.Event()

        async def judge(question, value):
            await gate.wait()
            return truth(question, value)

        cache = promised(judge, judged=1.0)
        with pytest.raises(TypeError, match="judge is async"):
            cache.get("1-1-1")
        with pytest.raises(TypeError, match="judge is async"):
            cache.get_many(["1-1-1"])
        with pytest.raises(TypeError, match="judge is async"):
            cache.get_or_compute("1-1-1", topic_of)

        async def compute(question):
            return topic_of(question)

        for question in questions(600):
            await cache.aget_or_compute(question, compute)
        pending = cache.stats()
        assert 0 < pending.semantic_hits <= 0.05 * 600
        assert pending.judged == 0
        assert pending.wrong_limit == pending.semantic_hits

        gate.set()
        while cache._judge._tasks:
            await asyncio.gather(*cache._judge._tasks)
        settled = cache.stats()
        assert settled.judged == pending.semantic_hits
        assert settled.wrong_limit == settled.wrong
        hit = await cache.aget(questions(600)[0])
        assert hit.exact

    asyncio.run(story())


def test_a_plain_judge_is_asked_in_a_thread_from_a_loop():
    """It holds nobody's loop up."""
    threads = set()

    def judge(question, value):
        threads.add(threading.get_ident())
        return truth(question, value)

    async def story():
        cache = promised(judge, judged=1.0)
        for question in questions(300):
            if await cache.aget(question) is None:
                cache.put(question, topic_of(question))
            await asyncio.gather(*cache._judge._tasks)
        return cache.stats().judged

    assert asyncio.run(story()) > 0
    assert threading.get_ident() not in threads


def test_who_waits_for_a_paraphrase_looks_for_itself():
    """Eight who ask the same at once are charged for eight answers, not for one."""
    cache = feedback(judged=1.0)
    for question in questions(800):
        hit = cache.get(question)
        if hit is None:
            cache.put(question, topic_of(question))
        else:
            hit.right() if truth(question, hit.value) else hit.wrong()
    before = cache.stats()
    barrier = threading.Barrier(8)

    def one():
        barrier.wait()
        assert cache.get_or_compute("3-new-0", topic_of) == 3

    threads = [threading.Thread(target=one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    after = cache.stats()
    assert after.lookups == before.lookups + 8
    served = after.semantic_hits - before.semantic_hits
    assert after.wrong_limit - before.wrong_limit == served


def test_the_budget_is_exact_under_eight_threads():
    """Every counter adds up, and wrong answers stay within their share."""
    cache = promised(judged=0.3)
    bad, served = [], []

    def one(seed):
        for question, hit in ask(cache, questions(300, seed)).items():
            served.append(hit)
            if not truth(question, hit.value):
                bad.append(question)

    threads = [threading.Thread(target=one, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    stats, budget = cache.stats(), cache._shelf.rule.budget
    assert stats.lookups == 2_400
    assert stats.semantic_hits == len(served) > 500
    assert len(bad) <= stats.wrong_limit <= 0.05 * 2_400
    unaudited = sum(not hit.audit for hit in served)
    assert budget.served == unaudited, "all that was judged is known"
    assert budget.charged == 0


@pytest.mark.parametrize(("max_error", "permitted"), [(0.001, False), (0.003, True)])
def test_what_may_not_be_served_unjudged_is_judged_first_and_free_of_charge(
    max_error, permitted
):
    """
    Served if right, kept back if wrong; neither moves the budget either way.

    Be it that the budget is too small for one, or that it is too small for one so
    doubtful: a fifth of the answers is wrong here, whatever the embedder says.
    """

    def strict(question, value):
        return truth(question, value) and int(question.split("-")[1]) % 5 != 0

    cache = promised(strict, judged=0.5, max_error=max_error)
    hits = ask(cache, questions(800))
    budget, stats = cache._shelf.rule.budget, cache.stats()

    assert budget.permits(800) == permitted
    assert budget.found <= 2
    assert stats.wrong > 30
    assert sum(hit.audit for hit in hits.values()) > 150
    assert budget.charged == 0
    assert budget.served == sum(not hit.audit for hit in hits.values()) <= 2


def test_the_likeliest_are_judged_now_and_then_however_doubtful():
    """
    A fit that expects nothing of any answer is found out.

    The judge first says no to all, so that every answer seems wrong; then it comes
    round. Without a judgement nobody would know.
    """
    strict = True

    def judge(question, value):
        return not strict and topic_of(question) == value[0]

    def text(question):
        return topic_of(question), question

    cache = promised(judge, judged=1.0)
    ask(cache, questions(400), answer=text)
    before = cache.stats()
    assert before.semantic_hits == 0
    ask(cache, questions(200, seed=1), answer=text)
    assert 0 < cache.stats().judged - before.judged < 0.2 * 200

    strict = False
    assert len(ask(cache, questions(600, seed=2), answer=text)) > 40


def test_nobody_waits_while_another_one_fits(monkeypatch):
    """A fit takes milliseconds; meanwhile all others look up by the last one."""
    cache = promised()
    stream = questions(1_000)
    ask(cache, stream[:200])
    fits, fitting, go_on = Fit.of, threading.Event(), threading.Event()

    def slow(*sample):
        if not fitting.is_set():
            fitting.set()
            assert go_on.wait(30)
        return fits(*sample)

    monkeypatch.setattr(Fit, "of", slow)
    one = threading.Thread(target=ask, args=(cache, stream[200:600]))
    one.start()
    assert fitting.wait(30)
    before = cache._shelf.rule._calibration._fit

    hits = ask(cache, stream[600:620])

    assert one.is_alive()
    assert hits
    assert cache._shelf.rule._calibration._fit is before
    go_on.set()
    one.join()
    assert cache._shelf.rule._calibration._fit is not before


def test_explain_says_what_the_budget_affords_and_changes_nothing():
    """The chance of being wrong, the limit, the veto; no count moves."""
    cache = promised()
    stream = questions(600)
    ask(cache, stream)
    before = cache.stats()

    outcomes = {cache.explain(f"{i}-new-1").outcome for i in range(TOPICS)}
    why = cache.explain("1-new-1")

    assert cache.stats() == before
    assert "semantic_hit" in outcomes
    assert 0 < why.wrong < 1
    assert why.threshold is None
    assert "its answer is wrong with a chance of" in why.reason


def test_a_scope_has_counts_of_its_own_and_the_promise_is_the_cache_s():
    """The limit is over all scopes together, as the requests are."""
    cache = promised(judged=1.0)
    scope = cache.scope("tenant")
    ask(scope, questions(300))
    assert scope.stats().judged == cache.stats().judged > 0
    assert scope.stats().wrong_limit is None
    assert cache.stats().wrong_limit == 0


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"max_error": 0}, "max_error=0"),
        ({"max_error": 1}, "max_error=1"),
        ({"max_error": 0.01, "threshold": 0.9}, "threshold=0.9 and max_error"),
        ({"max_error": 0.01, "judged": 1.5}, "judged=1.5"),
        ({"max_error": 0.01, "judge": truth, "judged": 0}, "judged=0"),
        ({"judge": truth}, "judge without max_error"),
        ({"judged": 0.3}, "judged without max_error"),
    ],
)
def test_what_cannot_be_meant_is_refused(given, error):
    """The message says what was given."""
    with pytest.raises(ValueError, match=error):
        SemanticCache(embed, **given)


def test_a_judge_that_cannot_be_called_is_refused():
    """At once, and not at the first hit."""
    with pytest.raises(TypeError, match="judge="):
        SemanticCache(embed, max_error=0.01, judge="gpt")


def test_asking_who_is_under_way_costs_nothing():
    """What an answer under way might do for is found out without a coin or a count."""
    cache = promised()
    ask(cache, questions(400))
    stats, budget = cache.stats(), attrs.asdict(cache._shelf.rule.budget)
    coin = cache._shelf.rule.random.getstate()
    text = questions(1, seed=9)[0]
    asked = cache._lookup.asked(text, text, cache._embed([text])[0])

    assert cache._lookup.near(asked).least <= 1
    assert cache._shelf.serves(cache._partition, asked)
    assert cache.stats() == stats
    assert attrs.asdict(cache._shelf.rule.budget) == budget
    assert cache._shelf.rule.random.getstate() == coin


def test_nobody_waits_for_what_the_budget_would_refuse():
    """Before anything is known, no answer under way would do, however near."""
    cache = promised()
    text = questions(1)[0]
    asked = cache._lookup.asked(text, text, cache._embed([text])[0])
    assert cache._lookup.near(asked).least == math.inf


@pytest.mark.parametrize("eviction", ["lru", "lfu", "cost"])
def test_an_alias_ends_with_its_entry_whoever_makes_room(eviction):
    """Tags, time, bytes and either kind of limit take an alias with its entry."""
    clock = ManualClock()
    cache = promised(
        judged=1.0, capacity=60, eviction=eviction, capacity_bytes=60_000, clock=clock
    )
    scope = cache.scope("tenant")
    cache.limit(scope, capacity=20)
    for i, question in enumerate(questions(600)):
        view = scope if i % 2 else cache
        if view.get(question) is None:
            topic = topic_of(question)
            view.put(question, topic, ttl_s=40.0, tags=[str(topic)])
        clock.advance(0.1)
        if i % 50 == 49:
            cache.invalidate(str(i % TOPICS))
    shelf, entries = cache._shelf, cache._shelf.stock.entries

    assert any(entry.origin is not None for entry in entries.values())
    assert len(scope) <= 20
    assert len(cache) <= 60
    taken = sum(entry.size for entry in entries.values()) + 2 * SCOPE_BYTES
    assert cache.stats().bytes == taken <= 60_000
    for entry in entries.values():
        if entry.origin is not None:
            assert entry.id in shelf.stock._aliases[entry.origin]
            assert entry.terms == entries[entry.origin].terms
    clock.advance(100)
    cache.expire()
    assert len(cache) == len(shelf.stock._aliases) == 0
