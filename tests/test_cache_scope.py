"""Scopes are hard partitions, and light ones."""

from __future__ import annotations

import gc
import zlib

import numpy as np
import pytest

from hypothesis import given, settings
from hypothesis import strategies as st

from legion import SemanticCache
from legion.cache.key import scope_key


def same(texts):
    """Embed every text alike, so that only scopes keep them apart."""
    return np.ones((len(texts), 64))


def random(texts):
    return np.stack(
        [
            np.random.default_rng(zlib.crc32(text.encode())).standard_normal(64)
            for text in texts
        ]
    )


scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 3), st.text(max_size=3), st.just(1.0)
)
scopes = st.tuples(
    st.text(min_size=1, max_size=4),
    st.dictionaries(st.sampled_from(["model", "prompt_version", "k"]), scalars),
)


def as_written(scope):
    """Tell what a scope is, by the types of its settings too (1 and 1.0 are equal)."""
    tenant, settings = scope
    return tenant, frozenset(
        (key, isinstance(value, bool), value) for key, value in settings.items()
    )


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(scopes, st.booleans()), max_size=12), scopes)
def test_no_look_up_crosses_scopes(entries, asked):
    """Even if all embeddings are equal, a scope answers with its own entries only."""
    cache = SemanticCache(same)
    mine = set()
    for i, (scope, again) in enumerate(entries):
        tenant, values = scope
        value = (as_written(scope), i)
        cache.scope(tenant, **values).put("question" if again else f"q{i}", value)
        if as_written(scope) == as_written(asked):
            mine.add(value)
    view = cache.scope(asked[0], **asked[1])

    for question in ("question", "anything"):
        hit = view.get(question)
        assert hit is None if not mine else hit.value in mine
        assert cache.get(question) is None, "the default scope is one of its own"


@settings(max_examples=200, deadline=None)
@given(scopes, scopes)
def test_different_scopes_never_share_a_key(one, other):
    """Neither types nor names that look like settings make two scopes one."""
    assert (scope_key(*one) == scope_key(*other)) == (
        as_written(one) == as_written(other)
    )


def test_views_of_one_scope_are_one():
    """The order of settings does not matter, nor when the view was made."""
    cache = SemanticCache(random)
    early = cache.scope("a", model="m1", prompt_version=2)
    cache.scope("a", prompt_version=2, model="m1").put("q", 1)

    assert early.get("q").value == 1
    assert (
        early.get("q").scope == early.name == '["a",{"model":"m1","prompt_version":2}]'
    )
    assert cache.scope("a", model="m1").get("q") is None
    assert cache.scope("a").get("q") is None


def test_a_tenant_without_a_name_is_refused():
    """An id that got lost must not land in the scope of everybody."""
    cache = SemanticCache(random)

    with pytest.raises(ValueError, match="or use the cache itself"):
        cache.scope("")
    with pytest.raises(TypeError, match="got the tenant None"):
        cache.scope(None)
    with pytest.raises(TypeError):
        cache.scope("a", model=object())


def test_capacity_and_order_of_use_are_of_all_scopes_together():
    """The entry that was used longest ago goes, wherever it lies."""
    cache = SemanticCache(random, capacity=3)
    a, b = cache.scope("a"), cache.scope("b")
    a.put("x", 1)
    b.put("y", 2)
    b.put("z", 3)
    a.get("x")
    b.put("w", 4)

    assert a.get("x").value == 1
    assert b.get("y") is None
    assert (a.stats().evictions, b.stats().evictions) == (0, 1)
    assert (len(a), len(b), len(cache)) == (1, 2, 3)


def test_a_view_counts_its_own_and_the_cache_counts_all():
    """stats() of a view is of its scope."""
    cache = SemanticCache(random)
    a, b = cache.scope("a"), cache.scope("b")
    a.put("x", 1)
    a.get("x")
    b.get("x")
    cache.get("x")

    assert (a.stats().lookups, a.stats().hits, a.stats().entries) == (1, 1, 1)
    assert (b.stats().lookups, b.stats().hits, b.stats().entries) == (1, 0, 0)
    assert (cache.stats().lookups, cache.stats().hits) == (3, 1)


def test_clear_and_forget_of_a_view_stay_within_it():
    """A view cannot take out what it cannot see."""
    cache = SemanticCache(random)
    a, b = cache.scope("a"), cache.scope("b")
    a.put("x", 1)
    b.put("x", 2)

    assert a.forget(b.get("x")) is False
    a.clear()
    assert (len(a), len(b)) == (0, 1)
    assert cache.forget(b.get("x")) is True
    cache.clear()
    assert len(cache) == 0


def test_a_scope_that_is_empty_and_unseen_leaves_nothing_behind():
    """A million tenants that came and went do not stay in memory."""
    cache = SemanticCache(random, capacity=10)
    for i in range(200):
        cache.scope(f"tenant-{i}", model="m1").put("q", i)
    gc.collect()

    assert len(cache) == 10
    assert len(cache._shelf._partitions) == 11, "ten with an entry, and the default"
    assert cache.stats().evictions == 190


def test_a_small_scope_is_small():
    """One entry of 64 dimensions holds room for a few vectors, not for thousands."""
    cache = SemanticCache(random)
    scope = cache.scope("a")
    scope.put("q", 1)

    block = scope._partition._vectors._block
    assert block.vectors.nbytes <= 4 * 64 * 4
    assert block.wide is None


def test_the_default_scope_can_be_emptied_alone():
    """What the cache does is done to all scopes, what its `default` does is not."""
    cache = SemanticCache(lambda texts: [[1.0, len(text)] for text in texts])
    other = cache.scope("other")
    for view in (cache, other):
        view.put("q", "answer", tags=["t"])

    assert cache.default.get("q").value == "answer"
    assert (len(cache), len(cache.default)) == (2, 1)
    assert cache.default.stats().puts == 1
    assert cache.default.invalidate("t") == 1
    cache.put("q", "answer")
    cache.default.clear()
    assert cache.get("q") is None
    assert other.get("q").value == "answer"
