"""A cache as the source of its arm's hit rate."""

from __future__ import annotations

import numpy as np

from legion import Arm, Count, Plugins, SemanticCache
from legion.cache import CacheSource


def embed(texts):
    return np.eye(64)[[ord(text[0]) % 64 for text in texts]]


def test_it_answers_for_its_arm_what_happened_since_it_was_asked():
    """Hits of look-ups, each counted once; the other arm is somebody else's."""
    cache = SemanticCache(embed)
    cache.put("a", 1)
    cache.get("a")
    source = CacheSource(cache, Arm.CANDIDATE)
    for question in "aab":
        cache.get(question)

    assert source.legion_observe("plan", Arm.CONTROL) is None
    assert source.legion_observe("plan", Arm.CANDIDATE) == {
        "cache_hit_rate": Count(2, 3)
    }
    assert source.legion_observe("plan", Arm.CANDIDATE) == {
        "cache_hit_rate": Count(0, 0)
    }


def test_it_is_a_plugin_and_may_watch_one_scope():
    """Registered, it supplies a window's hit rate; without look-ups there is none."""
    cache = SemanticCache(embed)
    faq = cache.scope("faq")
    plugins = Plugins()
    plugins.register(CacheSource(faq, Arm.CANDIDATE))
    faq.put("a", 1)
    faq.get("a")
    cache.get("a")

    observed = plugins.observe("plan", Arm.CANDIDATE)

    assert observed.metrics["cache_hit_rate"] == Count(1, 1)


def test_plugins_decide_what_is_admitted():
    """legion_admit keeps an answer out of the cache; so does one that raises."""
    from legion import hookimpl

    class Careful:
        @hookimpl
        def legion_admit(self, query, value):
            if value == "bad":
                return False
            return bool(1 / value)

    plugins = Plugins()
    plugins.register(Careful())
    cache = SemanticCache(embed, plugins=plugins)

    assert [cache.put("a", v) for v in ("bad", 0, 2)] == [False, False, True]
    assert cache.stats().refused == 2


def test_a_cache_with_a_file_says_what_it_saves(tmp_path):
    """The share that the last snapshot saves is the level of ``storage_savings``."""
    with SemanticCache(embed, path=tmp_path / "answers.cache") as cache:
        source = CacheSource(cache, Arm.CANDIDATE)
        assert "storage_savings" not in source.legion_observe("", Arm.CANDIDATE)
        cache.put("q", "a" * 2_000)
        cache.save()
        level = source.legion_observe("", Arm.CANDIDATE)["storage_savings"]
        assert level == cache.stats().storage_savings
        assert 0.5 < level < 1
