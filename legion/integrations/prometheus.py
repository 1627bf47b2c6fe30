"""A cache's figures for Prometheus, read when it asks."""

from __future__ import annotations

from collections.abc import Iterator

from ..exceptions import MissingExtraError
from ..stats import LogHistogram
from .figures import COUNTERS, GAUGES, Counted, meter_of


try:
    from prometheus_client import Metric
    from prometheus_client.core import (
        CounterMetricFamily,
        GaugeMetricFamily,
        HistogramMetricFamily,
    )
    from prometheus_client.registry import Collector
except ModuleNotFoundError as error:
    _EXTRA = "metrics"
    raise MissingExtraError(_EXTRA, "prometheus-client") from error


SECONDS = (1e-6, 1e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 0.01, 0.1, 1.0, 10.0)
COSINES = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.92, 0.94, 0.96, 0.98, 1.0)


class CacheCollector(Collector):
    """
    What a cache counts, and measures where it has a meter, each time it is asked.

        prometheus_client.REGISTRY.register(CacheCollector(faq=cache.scope("faq")))

    Nothing is counted twice: the look-ups pay for no second counter. The buckets of
    histograms are within 1 % of their bounds.

    Args:
        **caches: Caches or scopes, by what the label ``cache`` calls them.

    .. versionadded:: 0.1
    """

    def __init__(self, **caches: Counted) -> None:
        self._caches = caches

    def collect(self) -> Iterator[Metric]:
        """Yield every family of metrics."""
        stats = {name: cache.stats() for name, cache in self._caches.items()}
        for kind, figures in (
            (CounterMetricFamily, COUNTERS),
            (GaugeMetricFamily, GAUGES),
        ):
            for figure in figures:
                by = [] if isinstance(figure.field, str) else ["outcome"]
                family = kind(
                    f"legion_cache_{figure.name}", figure.help, labels=["cache", *by]
                )
                for name, counted in stats.items():
                    for labels, value in figure.of(counted):
                        family.add_metric([name, *labels.values()], value)
                yield family
        yield from self._histograms()

    def _histograms(self) -> Iterator[Metric]:
        lookups = HistogramMetricFamily(
            "legion_cache_lookup_seconds",
            "How long look-ups took, embedding included.",
            labels=["cache", "outcome"],
        )
        similarity = HistogramMetricFamily(
            "legion_cache_similarity",
            "Cosines of the semantic hits.",
            labels=["cache"],
        )
        for name, cache in self._caches.items():
            meter = meter_of(cache)
            if meter is None:
                continue
            for outcome, taken in meter.latency_s().items():
                lookups.add_metric(
                    [name, outcome], _buckets(taken, SECONDS), taken.total
                )
            near = meter.similarity()
            similarity.add_metric([name], _buckets(near, COSINES), near.total)
        yield lookups
        yield similarity


def _buckets(
    histogram: LogHistogram, bounds: tuple[float, ...]
) -> list[tuple[str, float]]:
    """Return how many values are at most each bound, as Prometheus counts."""
    below: list[tuple[str, float]] = [
        (str(bound), histogram.count - histogram.above(bound * 1.01))
        for bound in bounds
    ]
    return [*below, ("+Inf", histogram.count)]
