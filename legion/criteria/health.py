"""
Health: four criteria, and for all of them less is worse.

100 look-ups put a hit rate within ten points (two standard errors at worst); of 30 runs
with a true share of 95 %, five or more fail in 1.6 % of the windows (binomial tail),
three windows in a row in four of a million.
"""

from .contract import Criterion
from .kinds import Floor


HEALTH: tuple[Criterion, ...] = (
    Floor(
        "cache_hit_rate",
        warning=0.75,
        alert=0.65,
        min_events=100,
        group="health",
        summary="Share of the look-ups that the cache answered.",
    ),
    Floor(
        "storage_efficiency",
        of="gauge",
        unit="share",
        warning=0.60,
        alert=0.50,
        group="health",
        summary="Share of the stored bytes that is saved or live.",
    ),
    Floor(
        "agent_stability",
        warning=0.90,
        alert=0.85,
        min_events=30,
        group="health",
        summary="Share of the agent runs that end well.",
    ),
    Floor(
        "mobile_success",
        warning=0.80,
        alert=0.70,
        min_events=30,
        group="health",
        summary="Share of the tasks that the mobile agent completes.",
    ),
)
