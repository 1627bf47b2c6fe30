"""
Performance: six criteria.

What `min_events` rests on: how often a healthy candidate would reach the alert by
chance, in one window and then three times in a row, which is what takes a rollout back.

- ``error_rate``, 100 requests: with 1 % of errors the alert comes in 0.34 % of the
  windows, critical in less than one of ten million (binomial tail).
- ``latency_*``: the standard error of a quantile's logarithm is
  ``sigma * sqrt(p * (1 - p) / n) / phi(z_p)`` for lognormal times. At ``sigma`` 0.8 and
  against a far larger control, the alert comes in 0.08 % of the windows for the median
  (300 values: its limit is the tightest), 0.8 % for p95 (100 values) and 0.02 % for p99
  (500 values); three in a row, less than once in a million.

A canary of 5 % at ten requests a second has 100 events in 200 s and 500 in 17 minutes.
"""

from .contract import Criterion
from .kinds import Ceiling, Rise


PERFORMANCE: tuple[Criterion, ...] = (
    Ceiling(
        "error_rate",
        warning=0.03,
        alert=0.05,
        critical=0.10,
        min_events=100,
        group="performance",
        summary="Share of the requests that failed.",
    ),
    Rise(
        "latency_p50",
        of="p50",
        warning=0.15,
        alert=0.20,
        min_events=300,
        group="performance",
        summary="Rise of the median latency over the baseline.",
    ),
    Rise(
        "latency_p95",
        of="p95",
        warning=0.30,
        alert=0.50,
        min_events=100,
        group="performance",
        summary="Rise of the 95th percentile of latency over the baseline.",
    ),
    Rise(
        "latency_p99",
        of="p99",
        warning=0.40,
        alert=0.60,
        min_events=500,
        group="performance",
        summary="Rise of the 99th percentile of latency over the baseline.",
    ),
    Ceiling(
        "memory_usage",
        of="gauge",
        unit="share",
        warning=0.80,
        alert=0.90,
        critical=0.95,
        group="performance",
        summary="Resident memory over the smallest limit of host and cgroup.",
    ),
    Ceiling(
        "cpu_usage",
        of="gauge",
        unit="share",
        warning=0.75,
        alert=0.85,
        critical=0.95,
        group="performance",
        summary="CPU time over what the process may use.",
    ),
)
