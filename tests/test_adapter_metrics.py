"""A cache's figures, as the real clients of Prometheus and OpenTelemetry read them."""

from __future__ import annotations

import pytest

from legion import SemanticCache
from legion.cache import Cost, Meter


LETTERS = "abcdefghijklmnopqrstuvwxyz"


def embed(texts):
    return [[1 + text.lower().count(c) for c in LETTERS] for text in texts]


@pytest.fixture
def cache():
    meter = Meter(cost_of=lambda answer: Cost(tokens=7, money=0.25))
    cache = SemanticCache(embed, threshold=0.95, meter=meter)
    faq = cache.scope("faq")
    faq.put("Where is my parcel right now?", "there")
    for question in ("Where is my parcel right now?", "Where is my parcel now?", "zzz"):
        faq.get(question)
    cache.get("q")
    return cache


def test_prometheus_reads_what_the_cache_counted(cache):
    """The whole and a scope, with the histograms of the whole."""
    prometheus = pytest.importorskip(
        "prometheus_client", reason="the package prometheus-client is missing"
    )
    from legion.integrations.prometheus import CacheCollector

    registry = prometheus.CollectorRegistry()
    registry.register(CacheCollector(all=cache, faq=cache.scope("faq")))

    def value(name, **labels):
        return registry.get_sample_value(f"legion_cache_{name}", labels)

    assert value("lookups_total", cache="all", outcome="miss") == 2
    assert value("lookups_total", cache="faq", outcome="miss") == 1
    assert value("lookups_total", cache="faq", outcome="exact_hit") == 1
    assert value("lookups_total", cache="faq", outcome="semantic_hit") == 1
    assert value("puts_total", cache="faq") == 1
    assert value("saved_tokens_total", cache="all") == 14
    assert value("saved_money_total", cache="all") == 0.5
    assert value("entries", cache="all") == 1
    assert value("capacity", cache="all") == 10_000
    assert value("lookup_seconds_count", cache="all", outcome="miss") == 2
    assert value("lookup_seconds_bucket", cache="all", outcome="miss", le="+Inf") == 2
    assert value("similarity_count", cache="all") == 1
    assert value("similarity_bucket", cache="all", le="0.94") == 0
    assert value("similarity_bucket", cache="all", le="1.0") == 1
    assert value("similarity_count", cache="faq") is None, "a scope has no meter"
    text = prometheus.generate_latest(registry).decode()
    assert 'legion_cache_lookups_total{cache="faq",outcome="miss"} 1.0' in text


def test_prometheus_buckets_only_grow(cache):
    """Each holds those of the one before, up to the count."""
    prometheus = pytest.importorskip(
        "prometheus_client", reason="the package prometheus-client is missing"
    )
    from legion.integrations.prometheus import CacheCollector

    registry = prometheus.CollectorRegistry()
    registry.register(CacheCollector(all=cache))
    (family,) = [f for f in registry.collect() if f.name.endswith("lookup_seconds")]
    for outcome in ("exact_hit", "semantic_hit", "miss"):
        counts = [
            sample.value
            for sample in family.samples
            if sample.labels["outcome"] == outcome and sample.name.endswith("_bucket")
        ]
        assert counts == sorted(counts)
        assert counts[-1] > 0


def test_opentelemetry_reads_what_the_cache_counted(cache):
    """The whole and a scope, with quantiles of the whole."""
    pytest.importorskip(
        "opentelemetry.sdk", reason="the package opentelemetry-sdk is missing"
    )
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    from legion.integrations.opentelemetry import observe

    reader = InMemoryMetricReader()
    provider = MeterProvider(metric_readers=[reader], shutdown_on_exit=False)
    observe(provider.get_meter("test"), all=cache, faq=cache.scope("faq"))
    found = {}
    for resource in reader.get_metrics_data().resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                for point in metric.data.data_points:
                    key = (metric.name, *sorted(point.attributes.items()))
                    found[key] = point.value
    provider.shutdown()

    def value(name, **attributes):
        return found[f"legion.cache.{name}", *sorted(attributes.items())]

    assert value("lookups", cache="all", outcome="miss") == 2
    assert value("lookups", cache="faq", outcome="semantic_hit") == 1
    assert value("saved_tokens", cache="all") == 14
    assert value("entries", cache="faq") == 1
    assert 0 < value("lookup.duration", cache="all", outcome="miss", quantile=0.5) < 60
    assert 0.95 < value("similarity", cache="all", quantile=0.99) <= 1.01
    assert not [key for key in found if key[0].endswith("similarity") and "faq" in key]
