"""Estimates, in words."""

from __future__ import annotations

from ..stages import Estimate, Value
from .standing import percent


def spelled(estimate: Estimate) -> str:
    """Say what a metric is in both arms, and how far off that may be."""
    said = [
        f"{arm} {_value(value, estimate.unit)}"
        for arm, value in (
            ("candidate", estimate.candidate),
            ("control", estimate.control),
        )
        if value is not None
    ]
    if estimate.change is not None:
        said.append(f"change {_value(estimate.change, 'share')}")
    name = estimate.metric
    if estimate.statistic == "mean":
        name += ", mean"
    why = f" ({estimate.why})" if estimate.why else ""
    return f"estimate {name}, by {estimate.by}: {', '.join(said)}{why}"


def _value(value: Value, unit: str) -> str:
    said = _figure(value.value, unit)
    if value.low is None and value.high is None:
        return said
    low = "..." if value.low is None else _figure(value.low, unit)
    high = "..." if value.high is None else _figure(value.high, unit)
    return f"{said} ({low} to {high})"


def _figure(value: float, unit: str) -> str:
    if unit == "share":
        return percent(value)
    if unit == "s" and value < 1:
        return f"{value * 1000:.3g} ms"
    return f"{value:.4g} {unit}".rstrip()
