"""A host whose rollout has just opened its canary: 5 % of the users."""

from __future__ import annotations

import contextlib
import tempfile

from collections.abc import Iterator

import legion


NAME, SHARE = "legion-4.1.0", 0.05

PLAN = {
    "plan": NAME,
    "candidate": "4.1.0",
    "baseline": "4.0.0",
    "unit": "user",
    "rollback": {"to": "v4.0.0", "within": "5m"},
    "triggers": {"within 15m": [{"metric": "error_rate", "above": "5%"}]},
    "stages": [
        {
            "name": "canary",
            "traffic": f"{SHARE:.0%}",
            "dwell": "1h",
            "validate": [
                {"metric": "error_rate", "versus": "baseline", "margin": "25%"}
            ],
        },
        {"name": "everyone", "traffic": "100%", "success": {"unbroken_for": "1d"}},
    ],
}


@contextlib.contextmanager
def opened(splitter: legion.stages.Order | None = None) -> Iterator[legion.Host]:
    """Yield the host, its state in a directory that goes afterwards."""
    plan = legion.Plan.from_dict(PLAN)
    with (
        tempfile.TemporaryDirectory() as state,
        legion.Host.open(plan, state=state, splitter=splitter) as host,
    ):
        host.tick()
        assert host.engine.exposure.share == SHARE
        yield host
