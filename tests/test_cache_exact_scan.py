"""The cache against an exact scan of everything it holds."""

from __future__ import annotations

import csv
import math
import zlib

from collections import OrderedDict
from pathlib import Path

import attrs
import numpy as np
import pytest

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from legion import SemanticCache
from legion.cache import index


BANKING77 = Path(__file__).parents[1] / "../shared/data/banking77/train.csv"
ROUNDING = 2e-6


def vector(text, dim):
    """Embed "topic.variant": variants of a topic have a cosine of .8 to .95."""
    topic, _, variant = text.partition(".")

    def random(name):
        return np.random.default_rng(zlib.crc32(name.encode())).standard_normal(dim)

    return random(topic) + (0.3 + 0.02 * int(variant)) * random(text)


class Ticks:
    """A clock that stands until it is told."""

    now = 100.0

    def plan(self):
        raise AssertionError("the cache must not read plan time")

    def wall(self):
        raise AssertionError("the cache must not read the date")

    def machine(self):
        return self.now


@attrs.define
class Stored:
    """What the model knows of an entry."""

    value: object
    stored: float
    ttl: float
    sliding: bool
    tags: set
    used: float

    def expires(self, max_age):
        began = self.used if self.sliding else self.stored
        return min(began + self.ttl, self.stored + max_age)


class AgainstExactScan(RuleBasedStateMachine):
    """All that changes what is stored, and a dictionary that does the same."""

    few = 512

    questions = st.builds("{}.{}".format, st.sampled_from("abc"), st.integers(0, 9))
    scopes = st.sampled_from(["x", "y"])
    tags = st.sets(st.sampled_from(["red", "blue"]))

    @initialize(
        dim=st.sampled_from([64, 100, 384]),
        capacity=st.integers(1, 12),
        threshold=st.sampled_from([0.3, 0.85, 0.9]),
        max_age=st.sampled_from([None, 40.0]),
        quota=st.sampled_from([None, 1, 3]),
    )
    def begin(self, dim, capacity, threshold, max_age, quota):
        self.before, index.FEW = index.FEW, self.few
        self.dim, self.capacity, self.threshold = dim, capacity, threshold
        self.max_age, self.quota = max_age or math.inf, quota or capacity
        self.clock = Ticks()
        self.cache = SemanticCache(
            lambda texts: [vector(text, dim) for text in texts],
            threshold=threshold,
            capacity=capacity,
            clock=self.clock,
            max_age_s=max_age,
        )
        self.cache.limit(self.cache.scope("y"), capacity=quota)
        self.model = OrderedDict()
        self.puts = 0

    def teardown(self):
        index.FEW = getattr(self, "before", index.FEW)

    def unit(self, question):
        v = vector(question, self.dim)
        return v / np.linalg.norm(v)

    def mine(self, scope):
        return [key for key in self.model if key[0] == scope]

    @rule(
        scope=scopes,
        question=questions,
        ttl=st.sampled_from([None, 3.0, 30.0]),
        sliding=st.booleans(),
        tags=tags,
    )
    def put(self, scope, question, ttl, sliding, tags):
        self.puts += 1
        value = (scope, question, self.puts)
        view = self.cache.scope(scope)
        assert view.put(question, value, ttl_s=ttl, sliding=sliding, tags=tags)
        now = self.clock.now
        self.model.pop((scope, question), None)
        self.model[scope, question] = Stored(
            value, now, ttl or math.inf, sliding, tags, now
        )
        if scope == "y" and len(self.mine("y")) > self.quota:
            del self.model[self.mine("y")[0]]
        if len(self.model) > self.capacity:
            self.model.popitem(last=False)

    @rule(seconds=st.sampled_from([1.0, 2.0, 20.0]))
    def wait(self, seconds):
        self.clock.now += seconds
        for key, stored in list(self.model.items()):
            if stored.expires(self.max_age) <= self.clock.now:
                del self.model[key]

    @rule(scope=scopes, question=questions)
    def get(self, scope, question):
        hit = self.cache.scope(scope).get(question)
        self.check(scope, question, hit)

    @rule(scope=scopes, asked=st.lists(questions, max_size=3))
    def get_many(self, scope, asked):
        hits = self.cache.scope(scope).get_many(asked)
        exact = [(scope, question) in self.model for question in asked]
        for first in (True, False):  # exact ones are found, and refreshed, first
            for question, hit, found in zip(asked, hits, exact, strict=True):
                if found is first:
                    self.check(scope, question, hit)

    def check(self, scope, question, hit):
        if (scope, question) in self.model:
            assert hit.exact
            self.used((scope, question), hit)
            return
        cosines = {
            key: self.unit(key[1]) @ self.unit(question) for key in self.mine(scope)
        }
        best = max(cosines.values(), default=-1.0)
        if hit is None:
            assert best < self.threshold + ROUNDING
            return
        assert best >= self.threshold - ROUNDING
        key = (scope, hit.question)
        assert cosines[key] >= best - ROUNDING
        assert abs(hit.similarity - cosines[key]) < ROUNDING
        self.used(key, hit)

    def used(self, key, hit):
        assert hit.value == self.model[key].value
        assert hit.age_s == self.clock.now - self.model[key].stored
        self.model[key].used = self.clock.now
        self.model.move_to_end(key)

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def forget(self, data):
        key = data.draw(st.sampled_from(sorted(self.model)))
        assert self.cache.forget(self.cache.scope(key[0]).get(key[1]))
        del self.model[key]

    @rule(
        scope=st.sampled_from(["x", "y", "both"]), tag=st.sampled_from(["red", "blue"])
    )
    def invalidate(self, scope, tag):
        self.cache.expire()
        tagged = [
            key
            for key, stored in self.model.items()
            if tag in stored.tags and scope in {key[0], "both"}
        ]
        view = self.cache if scope == "both" else self.cache.scope(scope)
        assert view.invalidate(tag) == len(tagged)
        for key in tagged:
            del self.model[key]

    @rule(scope=scopes)
    def clear(self, scope):
        self.cache.scope(scope).clear()
        for key in self.mine(scope):
            del self.model[key]

    @rule()
    def expire(self):
        self.cache.expire()
        assert len(self.cache) == len(self.model)
        assert len(self.cache.scope("y")) == len(self.mine("y"))

    @invariant()
    def nothing_is_lost_and_nothing_too_much(self):
        if hasattr(self, "cache"):
            assert len(self.model) <= len(self.cache) <= self.capacity


class AgainstExactScanBySketches(AgainstExactScan):
    """The same, where five rows are many enough for sketches."""

    few = 4


EXAMPLES = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestFewRows = AgainstExactScan.TestCase
TestFewRows.settings = EXAMPLES
TestSketches = AgainstExactScanBySketches.TestCase
TestSketches.settings = EXAMPLES


@pytest.mark.parametrize(
    ("kind", "dim"),
    [("gauss", 64), ("gauss", 384), ("gauss", 1536), ("counts", 384), ("cone", 256)],
)
def test_no_hit_is_missed_among_thousands(kind, dim):
    """Dense, sparse and crowded vectors: every decision is the exact scan's."""
    seed = 5
    print("seed", seed)
    random = np.random.default_rng(seed)
    n = 2_000
    stored = random.standard_normal((n, dim))
    if kind == "counts":
        stored = random.poisson(8 / dim, (n, dim)).astype(float)
        stored[:, 0] += 0.1
    if kind == "cone":
        stored += 1.5
    noise = random.standard_normal((n, dim)) * np.linalg.norm(stored, axis=1)[:, None]
    asked = stored + noise * random.uniform(0.3, 0.9, (n, 1)) / dim**0.5
    table = {f"s{i}": row for i, row in enumerate(stored)}
    table |= {f"a{i}": row for i, row in enumerate(asked)}
    cache = SemanticCache(lambda texts: [table[text] for text in texts])
    cache.put_many((f"s{i}", i) for i in range(n))
    stored /= np.linalg.norm(stored, axis=1, keepdims=True)
    asked /= np.linalg.norm(asked, axis=1, keepdims=True)
    cosines = asked @ stored.T

    hits = cache.get_many(f"a{i}" for i in range(n))

    best = cosines.max(1)
    assert 0.2 < (best >= 0.85).mean() < 0.999, "there must be hits and misses"
    for i, hit in enumerate(hits):
        if hit is None:
            assert best[i] < 0.85 + ROUNDING
        else:
            assert best[i] >= 0.85 - ROUNDING
            assert cosines[i, hit.value] >= best[i] - ROUNDING


@pytest.mark.skipif(not BANKING77.exists(), reason=f"no {BANKING77.name} beside here")
def test_real_questions_are_answered_as_the_exact_scan_would():
    """3,000 bank customers' questions; a miss is stored. About a third hit at .85."""
    pytest.importorskip("wordllama", reason="the extra wordllama is not installed")
    from legion.cache.embedders import wordllama

    embed = wordllama()
    with BANKING77.open(newline="") as file:
        rows = list(csv.DictReader(file))
    order = np.random.default_rng(1).permutation(len(rows))[:3_000]
    questions = [" ".join(rows[i]["text"].split()) for i in order]
    vectors = dict(zip(questions, embed(questions), strict=True))
    units = np.stack([v / np.linalg.norm(v) for v in vectors.values()])
    cosines, row_of = units @ units.T, {q: i for i, q in enumerate(vectors)}
    cache = SemanticCache(lambda texts: [vectors[text] for text in texts])
    stored, hits = [], 0
    for question in questions:
        row = row_of[question]
        hit = cache.get(question)
        best = cosines[row, stored].max(initial=-1.0)
        if hit is None:
            assert best < 0.85 + ROUNDING, question
            cache.put(question, question)
            stored.append(row)
        else:
            hits += 1
            assert best >= 0.85 - ROUNDING, question
            assert cosines[row, row_of[hit.value]] >= best - ROUNDING

    assert 0.2 < hits / len(questions) < 0.5
    assert len(cache) > index.FEW, "the sketches were in use"
