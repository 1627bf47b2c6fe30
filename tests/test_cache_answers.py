"""The semantic cache: what it answers, keeps, counts and refuses."""

from __future__ import annotations

import asyncio
import copy
import pickle
import subprocess
import sys
import zlib

import attrs
import numpy as np
import pytest

from legion import SemanticCache
from legion.cache import CacheStats
from legion.exceptions import EmbeddingError


DIM = 64


class Topics:
    """An embedder: "topic", "topic ~1", "topic ~2" lie ever further from each other."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    def __call__(self, texts: list[str]) -> np.ndarray:
        self.calls.append(texts)
        return np.stack([self.vector(text) for text in texts])

    def vector(self, text: str) -> np.ndarray:
        topic, _, far = text.partition(" ~")
        towards = self._random(topic)
        return towards + 0.25 * int(far or 0) * self._random(text)

    @staticmethod
    def _random(text: str) -> np.ndarray:
        return np.random.default_rng(zlib.crc32(text.encode())).standard_normal(DIM)


class Ticks:
    """A clock that stands until it is told."""

    def __init__(self) -> None:
        self.now = 100.0

    def plan(self) -> float:
        raise AssertionError("the cache must not read plan time")

    def machine(self) -> float:
        return self.now

    def wall(self) -> float:
        raise AssertionError("the cache must not read the date")


@pytest.fixture
def embed():
    return Topics()


@pytest.fixture
def cache(embed):
    return SemanticCache(embed, clock=Ticks())


def test_the_same_question_is_answered_without_embedding_it(cache, embed):
    """An exact hit says so, and costs no embedding."""
    cache.put("parcel", "tomorrow")
    embed.calls.clear()

    hit = cache.get("  parcel\t")

    assert (hit.value, hit.question, hit.similarity, hit.exact) == (
        "tomorrow",
        "parcel",
        1.0,
        True,
    )
    assert embed.calls == []


def test_a_near_question_is_answered_and_a_far_one_is_not(cache):
    """From the threshold on, the nearest stored question's answer is reused."""
    cache.put("parcel", "tomorrow")
    cache.put("refund", "in May")

    hit = cache.get("refund ~1")

    assert (hit.value, hit.question, hit.exact) == ("in May", "refund", False)
    assert 0.85 <= hit.similarity < 1.0
    assert cache.get("refund ~9") is None
    assert cache.get("something else") is None


def test_the_threshold_is_the_caller_s(embed):
    """A look-up hits if the cosine is the threshold or more, and not below."""
    vectors = np.stack([embed.vector(text) for text in ("refund", "refund ~1")])
    cosine = vectors[0] @ vectors[1] / np.prod(np.linalg.norm(vectors, axis=1))

    for threshold, expected in ((cosine - 1e-5, "in May"), (cosine + 1e-5, None)):
        cache = SemanticCache(embed, threshold=threshold)
        cache.put("refund", "in May")
        hit = cache.get("refund ~1")
        assert (hit and hit.value) == expected


def test_an_empty_cache_misses_without_embedding(cache, embed):
    """Where nothing is stored there is nothing to compare with."""
    assert cache.get("parcel") is None
    assert cache.get_many(["parcel", "refund"]) == [None, None]
    assert embed.calls == []
    assert cache.stats().misses == 3


def test_none_and_other_empty_answers_are_answers(cache):
    """A stored None is a hit, not a miss."""
    cache.put_many([("nothing", None), ("zero", 0), ("empty", "")])

    assert cache.get("nothing").value is None
    assert cache.get("zero ~1").value == 0
    assert cache.get_or_compute("nothing", pytest.fail) is None


def test_the_same_question_put_again_replaces_its_answer(cache):
    """There is one answer a question, and it is young again."""
    cache.put("parcel", "tomorrow")
    cache._shelf.clock.now = 130.0
    cache.put(" parcel ", "today")
    cache._shelf.clock.now = 135.5

    hit = cache.get("parcel")

    assert (hit.value, hit.age_s, len(cache)) == ("today", 5.5, 1)
    assert cache.stats().evictions == 0


def test_many_questions_cost_one_embedding_call(cache, embed):
    """put_many and get_many call the embedder once, each question once in it."""
    assert cache.put_many([("a", 1), ("b", 2), ("a", 3)]) == 3
    assert embed.calls == [["a", "b"]]
    embed.calls.clear()

    hits = cache.get_many(["b", "a ~1", "zzz", "a ~1"])

    assert [hit and hit.value for hit in hits] == [2, 3, None, 3]
    assert embed.calls == [["a ~1", "zzz"]]
    assert cache.put_many([]) == 0
    assert cache.get_many([]) == []


def test_the_least_recently_used_entry_makes_room(embed):
    """Capacity is never exceeded; a look-up keeps what it finds."""
    cache = SemanticCache(embed, capacity=3)
    cache.put_many([("a", 1), ("b", 2), ("c", 3)])
    cache.get("a")
    cache.get("b ~1")
    cache.put("d", 4)

    assert [cache.get(q) is not None for q in "abcd"] == [True, True, False, True]
    assert (len(cache), cache.stats().evictions) == (3, 1)


def test_a_batch_larger_than_the_cache_leaves_its_end(embed):
    """put_many stores in order, so the last ones stay."""
    cache = SemanticCache(embed, capacity=2)

    assert cache.put_many((f"q{i}", i) for i in range(7)) == 7
    assert [hit and hit.value for hit in cache.get_many(["q4", "q5", "q6"])] == [
        None,
        5,
        6,
    ]


def test_explain_says_why_and_moves_nothing(embed):
    """Outcome, nearest question and similarity; neither counted nor refreshed."""
    cache = SemanticCache(embed, capacity=2)
    assert cache.explain("a").reason == "nothing is stored in this scope"
    cache.put_many([("a", 1), ("b", 2)])
    before = cache.stats()

    exact, near, far = (cache.explain(q) for q in ("a", "a ~1", "a ~5"))

    assert [e.outcome for e in (exact, near, far)] == [
        "exact_hit",
        "semantic_hit",
        "miss",
    ]
    assert [e.nearest for e in (exact, near, far)] == ["a", "a", "a"]
    assert exact.similarity == 1.0
    assert near.similarity == pytest.approx(cache.get("a ~1").similarity, abs=1e-6)
    assert far.similarity < far.threshold == 0.85
    assert "'a'" in far.reason
    assert "below the threshold 0.85" in far.reason
    cache = SemanticCache(embed, capacity=2)
    cache.put_many([("a", 1), ("b", 2)])
    cache.explain("a")
    cache.put("c", 3)
    assert cache.get("a") is None, "explain must not have refreshed it"
    assert before.lookups == 0


def test_every_look_up_is_counted_once(cache):
    """Look-ups are exact hits, semantic hits or misses; no look-ups, no rate."""
    assert cache.stats() == CacheStats(capacity=10_000)
    assert cache.stats().hit_rate is None
    cache.put("a", 1)
    for question in ("a", "a ~1", "b", "a"):
        cache.get(question)
    cache.get_many(["a", "b"])

    stats = cache.stats()

    assert (stats.lookups, stats.exact_hits, stats.semantic_hits, stats.misses) == (
        6,
        3,
        1,
        2,
    )
    assert stats.hit_rate == pytest.approx(4 / 6)
    assert (stats.hits, stats.puts, stats.entries) == (4, 1, 1)


def test_plugins_can_keep_an_answer_out(embed):
    """put returns False, nothing is embedded, and the refusal is counted."""

    class NoSecrets:
        def admit(self, query, value):
            return "secret" not in value

    cache = SemanticCache(embed, plugins=NoSecrets())

    assert cache.put("a", "secret") is False
    assert embed.calls == []
    assert cache.put_many([("b", "secret"), ("c", "open")]) == 1
    assert cache.get_or_compute("d", lambda _: "secret") == "secret"
    assert cache.get("d") is None
    assert (len(cache), cache.stats().refused) == (1, 3)


def test_forget_takes_out_the_entry_of_a_hit(cache):
    """Once; a later answer to the same question is another entry."""
    cache.put("a", 1)
    hit = cache.get("a")

    assert cache.forget(hit) is True
    assert cache.get("a") is None
    cache.put("a", 2)
    assert cache.forget(hit) is False
    assert cache.get("a").value == 2


def test_forget_does_not_touch_what_another_cache_holds(embed):
    """A hit names an entry of its own cache."""
    one, other = SemanticCache(embed), SemanticCache(embed)
    one.put("a", "mine")
    other.put("b", "theirs")

    assert other.forget(one.get("a")) is False
    assert len(other) == 1


def test_forget_does_not_touch_the_same_answer_of_another_cache(embed):
    """Two entries may have the same number, scope and value, as True is one object."""
    one, other = SemanticCache(embed), SemanticCache(embed)
    one.put("a", True)
    other.put("b", True)

    assert other.forget(one.get("a")) is False
    assert other.get("b").value is True


@pytest.mark.parametrize("given", [None, "a", 1])
def test_forget_refuses_what_is_no_hit(cache, given):
    """Such as the question."""
    with pytest.raises(TypeError, match=r"forget: got .*; write a hit, as get returns"):
        cache.forget(given)


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda hit: pickle.loads(pickle.dumps(hit))]
)
def test_a_copy_of_a_hit_is_its_facts(cache, copied):
    """In whatever process; what it cannot do there it says, and the cache is as it was."""
    cache.put("a", ["x"])
    hit = cache.get("a")
    other = copied(hit)

    assert other == hit
    for tell in (other.right, other.wrong, lambda: cache.forget(other)):
        with pytest.raises(ValueError, match="got a copy of the hit for 'a'"):
            tell()
    assert len(cache) == 1
    assert attrs.asdict(hit)["value"] == ["x"]


def test_a_cache_cannot_be_copied(cache):
    """It says so in one sentence, and what to do for another process; so do its views."""
    for one in (cache, cache.scope("a")):
        for copied in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(TypeError, match="make one in each process"):
                copied(one)


def test_clear_empties_and_the_cache_goes_on(cache):
    """Nothing is found any more; what is put later is."""
    cache.put_many([("a", 1), ("b", 2)])
    cache.clear()

    assert (len(cache), cache.get("a"), cache.stats().evictions) == (0, None, 0)
    cache.put("a", 3)
    assert cache.get("a ~1").value == 3


@pytest.mark.parametrize("dim", [384, 4096])
def test_a_threshold_of_1_takes_the_same_vector(dim):
    """Whatever rounding makes of its cosine; and none that can be told from it."""
    drawn = np.random.default_rng(0)
    rows = {}

    def embed(texts):
        return [
            rows.setdefault(text[:4], drawn.exponential(size=dim)) for text in texts
        ]

    cache = SemanticCache(embed, threshold=1)
    for i in range(50):
        cache.put(f"q{i:03}", i)
    rows["near"] = rows["q007"] * (1 + 0.004 * drawn.normal(size=dim))

    assert [cache.get(f"q{i:03} again").value for i in range(50)] == list(range(50))
    assert cache.get("near") is None
    assert cache.explain("near").similarity > 0.9999


@pytest.mark.parametrize("threshold", [0, -0.1, 1.01, float("nan")])
def test_a_threshold_that_is_no_cosine_is_refused(embed, threshold):
    """The message says what to write."""
    with pytest.raises(ValueError, match="write a cosine above 0, at most 1"):
        SemanticCache(embed, threshold=threshold)


@pytest.mark.parametrize("capacity", [0, -3, 2.5, True])
def test_a_capacity_that_is_no_number_of_entries_is_refused(embed, capacity):
    """The message says what to write."""
    with pytest.raises(ValueError, match="write a whole number from 1 up"):
        SemanticCache(embed, capacity=capacity)


def test_a_threshold_of_one_finds_only_the_same_question(embed):
    """Nothing else is certain to have cosine 1."""
    cache = SemanticCache(embed, threshold=1)
    cache.put("a", 1)

    assert cache.get("a").exact
    assert cache.get("a ~1") is None


def test_an_embedder_that_fails_stores_nothing(cache, embed):
    """Whatever it raises is an EmbeddingError's cause; the cache is as it was."""
    cache.put("a", 1)

    def broken(texts):
        raise ConnectionError("no route")

    cache._embed.embed = broken
    with pytest.raises(EmbeddingError, match="ConnectionError: no route") as raised:
        cache.put_many([("b", 2), ("c", 3)])
    assert isinstance(raised.value.__cause__, ConnectionError)
    with pytest.raises(EmbeddingError):
        asyncio.run(cache.aget("b"))
    cache._embed.embed = lambda texts: np.zeros((len(texts), DIM))
    with pytest.raises(EmbeddingError):
        cache.put_many([("b", 2), ("c", 3)])
    with pytest.raises(EmbeddingError):
        cache.get_or_compute("b", pytest.fail)

    assert (len(cache), cache.stats().puts) == (1, 1)
    assert cache.get("a").value == 1


@pytest.mark.parametrize("question", ["", "   ", "\n\n"])
def test_a_question_of_white_space_is_computed(cache, question):
    """Each time: there is nothing to embed, and some embedders say so."""
    cache._embed.embed = lambda texts: np.zeros((len(texts), DIM))
    answers = iter("abcd")

    async def later(_):
        return next(answers)

    assert cache.get_or_compute(question, lambda _: next(answers)) == "a"
    assert cache.get_or_compute(question, lambda _: next(answers)) == "b"
    assert asyncio.run(cache.aget_or_compute(question, later)) == "c"
    assert (len(cache), cache.stats().misses) == (0, 3)


USED = """
import asyncio, sys
import legion

def embed(texts):
    return [[1.0, len(text) % 7, len(text) % 5] for text in texts]

async def compute(question):
    return question

assert "numpy" not in sys.modules
cache = legion.SemanticCache(embed, {how})
loaded = set(sys.modules)
cache.put_many((str(n), n) for n in range(700))
cache.get("near enough")
cache.get_or_compute("computed", str)
asyncio.run(cache.aget_or_compute("awaited", compute))
cache.explain("explained")
cache.scope("a").cached()(embed)
print(sorted(set(sys.modules) - loaded))
"""


@pytest.mark.parametrize("how", ["veto=True", "max_error=0.1, judge=lambda *_: True"])
def test_a_cache_has_loaded_whatever_it_needs_when_it_is_made(how):
    """So no child that is forked later waits for a thread that imports; legion is light."""
    done = subprocess.run(
        [sys.executable, "-c", USED.format(how=how)],
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.strip() == "[]"
