"""From what was added up to a window: the arm's own events, and what sources say."""

from __future__ import annotations

import math

from collections.abc import Callable, Mapping
from typing import TypeAlias

import attrs

from ..metrics import Metric
from ..model import Arm, Count, Gauge, Window
from .fold import Closed


Sources: TypeAlias = Callable[
    [Arm], tuple[Mapping[str, Count | float], Mapping[str, str]]
]
"""Supplies the metrics of an arm that are not recorded, and why some are missing."""

SELF = "telemetry"
"""Key of errors that belong to no metric."""


def recorded(blank: Window, closed: Closed, arm: Arm) -> Window:
    """Return *blank* with what was recorded of *arm*."""
    counts, histograms = {}, {}
    errors = dict(blank.errors)
    for stream, tally in closed.tallies[arm].streams.items():
        if (count := tally.count()) is not None:
            counts[stream] = count
        if (histogram := tally.histogram()) is not None:
            histograms[stream] = histogram
        if (error := tally.error()) is not None:
            errors[stream] = error
    if faults := closed.faults[arm]:
        errors["units"] = "; ".join(faults)
    if closed.unsliced:
        errors["slices"] = closed.unsliced
    unmirrored = closed.unmirrored[arm]
    if unmirrored:
        errors["mirror"] = (
            f"{unmirrored} mirrored runs were dropped: too many waited, their exposure"
            " was over before they began, or their event loop was closed; await"
            " engine.traffic.mirror.join() before it ends"
        )
    return attrs.evolve(
        blank,
        counts=counts,
        histograms=histograms,
        # A share that is recorded by unit is named, though none came of age.
        units={
            **{stream: 0 for stream, count in counts.items() if count.of is not None},
            **closed.aged.units[arm],
        },
        bad_units=closed.aged.bad_units[arm],
        visits=closed.aged.visits[arm],
        errors=errors,
        stale=closed.stale[arm],
        exposed=closed.aged.exposed[arm],
        left_out=closed.left_out[arm],
        unmirrored=unmirrored,
        cancelled=closed.cancelled[arm],
    )


def supplied(
    window: Window,
    metrics: Mapping[str, Count | float],
    missing: Mapping[str, str],
    *,
    known: Mapping[str, Metric],
) -> Window:
    """Return *window* with what the sources say of it."""
    counts, gauges = dict(window.counts), dict(window.gauges)
    errors = {**window.errors, **missing}
    for name, value in metrics.items():
        metric = known.get(name)
        stream = name if metric is None else metric.stream
        if window.measures(stream):
            errors[stream] = "recorded, and supplied by a plugin too; keep one"
        elif stream in counts or stream in gauges:
            errors[stream] = "supplied twice under different names; keep one"
        elif isinstance(value, Count):
            counts[stream] = value
        elif math.isfinite(value):
            gauges[stream] = Gauge.of(float(value))
        else:
            errors[stream] = f"supplied as {value}; write a finite number"
    return attrs.evolve(window, counts=counts, gauges=gauges, errors=errors)
