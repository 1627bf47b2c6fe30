"""A cache's figures for OpenTelemetry, read when its reader asks."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from ..exceptions import MissingExtraError
from .figures import COUNTERS, GAUGES, Counted, Figure, meter_of


try:
    from opentelemetry.metrics import CallbackOptions, Meter, Observation
except ModuleNotFoundError as error:
    _EXTRA = "metrics"
    raise MissingExtraError(_EXTRA, "opentelemetry-api") from error


QUANTILES = (0.5, 0.9, 0.99)


def observe(meter: Meter, **caches: Counted) -> None:
    """
    Have *meter* observe what caches count, and measure where they have a meter.

        observe(opentelemetry.metrics.get_meter("app"), faq=cache.scope("faq"))

    Nothing is counted twice: the look-ups pay for no second counter. As OpenTelemetry
    has no histogram that is read when it asks, quantiles are gauges.

    Args:
        meter: OpenTelemetry's.
        **caches: Caches or scopes, by what the attribute ``cache`` calls them.

    .. versionadded:: 0.1
    """
    for figure in COUNTERS:
        meter.create_observable_counter(
            f"legion.cache.{figure.name}",
            callbacks=[partial(_read, caches, figure)],
            description=figure.help,
        )
    for figure in GAUGES:
        meter.create_observable_gauge(
            f"legion.cache.{figure.name}",
            callbacks=[partial(_read, caches, figure)],
            description=figure.help,
        )
    meter.create_observable_gauge(
        "legion.cache.lookup.duration",
        callbacks=[partial(_durations, caches)],
        unit="s",
        description="How long look-ups took, embedding included: quantiles.",
    )
    meter.create_observable_gauge(
        "legion.cache.similarity",
        callbacks=[partial(_similarities, caches)],
        description="Cosines of the semantic hits: quantiles.",
    )


def _read(
    caches: dict[str, Counted], figure: Figure, _: CallbackOptions
) -> Iterable[Observation]:
    for name, cache in caches.items():
        for labels, value in figure.of(cache.stats()):
            yield Observation(value, {"cache": name, **labels})


def _durations(caches: dict[str, Counted], _: CallbackOptions) -> Iterable[Observation]:
    for name, cache in caches.items():
        meter = meter_of(cache)
        for outcome, taken in meter.latency_s().items() if meter else ():
            for q in QUANTILES:
                if (value := taken.quantile(q)) is not None:
                    labels: dict[str, str | float] = {
                        "cache": name,
                        "outcome": outcome,
                        "quantile": q,
                    }
                    yield Observation(value, labels)


def _similarities(
    caches: dict[str, Counted], _: CallbackOptions
) -> Iterable[Observation]:
    for name, cache in caches.items():
        meter = meter_of(cache)
        if meter is None:
            continue
        near = meter.similarity()
        for q in QUANTILES:
            if (value := near.quantile(q)) is not None:
                yield Observation(value, {"cache": name, "quantile": q})
