"""Performance: six criteria."""

from .criterion import Criterion
from .kinds import Ceiling, Rise


PERFORMANCE: tuple[Criterion, ...] = (
    # 100 requests tell 5 % from 10 %; fewer make one failure a warning.
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
        min_events=100,
        group="performance",
        summary="Rise of the median latency over the baseline.",
    ),
    # A p95 rests on the upper twentieth: 100 values leave five.
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
