"""Plans for the planner's tests."""

from __future__ import annotations

import legion


def plan_of(*, metrics=1, stages=1, margin=None, dwell="48h", **changes):
    """Return a plan of share metrics, each compared in each canary, and of nothing else."""
    names = [f"m{number}" for number in range(metrics)]
    rules = [
        {"metric": name, "versus": "baseline", "worse_by": "50%"} for name in names
    ]
    validate = (
        [{"metric": n, "versus": "baseline", "margin": margin} for n in names]
        if margin
        else []
    )
    canaries = [
        {"name": f"s{s}", "traffic": "5%", "dwell": dwell, "validate": validate}
        for s in range(stages)
    ]
    return legion.Plan.from_dict(
        {
            "plan": "p",
            "candidate": "2",
            "baseline": "1",
            "unit": "task",
            "check_interval": "1m",
            "rollback": {"to": "v1", "within": "5m"},
            "triggers": {"within 15m": rules},
            "metrics": dict.fromkeys(names, "share"),
            "stages": canaries,
            **changes,
        }
    )


CANARY = {
    "plan": "legion-4.1.0",
    "candidate": "4.1.0",
    "baseline": "4.0.0",
    "unit": "task",
    "matures": "10m",
    "rollback": {"to": "v4.0.0-stable", "within": "5m"},
    "triggers": {
        "immediate": [{"metric": "safety_gate_bypasses", "above": 0}],
        "within 15m": [
            {"metric": "error_rate", "versus": "baseline", "worse_by": "50%"},
            {"metric": "latency_p95", "versus": "baseline", "worse_by": "100%"},
            {"metric": "memory_usage", "above": "95%"},
            {"metric": "health_check", "failures_in_a_row": 3},
        ],
        "within 30m": [
            {"metric": "memory_leak", "above": "50 MB/h"},
            {"metric": "self_improvement_failure_rate", "above": "20%"},
        ],
    },
    "stages": [
        {
            "name": "shadow",
            "traffic": "0%",
            "mirror": "100%",
            "dwell": "24h",
            "validate": [
                {"metric": "error_rate", "below": "2%"},
                {"metric": "latency_p95", "versus": "baseline", "margin": "10%"},
                {"rehearsal": "rollback", "within": "5m"},
            ],
        },
        {
            "name": "canary_5",
            "traffic": "5%",
            "dwell": "48h",
            "features": {
                "watchdog_v4_1": {"enabled": True, "check_interval_seconds": 60},
                "l4_cache": {"enabled": True},
                "self_improver": {"enabled": True},
            },
            "validate": [
                {
                    "metric": "error_rate",
                    "versus": "baseline",
                    "margin": "25%",
                    "or_below": "0.5%",
                },
                {"metric": "latency_p95", "versus": "baseline", "margin": "5%"},
                {"metric": "cache_hit_rate", "at_least": "80%"},
            ],
        },
        {"name": "production", "traffic": "100%", "success": {"unbroken_for": "7d"}},
    ],
}


def canary(**changes):
    """Return the 4.1.0 rollout, without its third stage."""
    return legion.Plan.from_dict({**CANARY, **changes})
