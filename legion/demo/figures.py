"""The figures of a rollout, turn by turn: each measured, or None."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from ..model import Arm, Window
from ..wheel import Turn
from .clock import EPOCH_S


@attrs.frozen(kw_only=True)
class Point:
    """
    What was measured in one turn.

    Attributes:
        day: Plan time since the start, in days.
        stage: The stage.
        latency_p95: By arm, seconds.
        error_rate: By arm, share.
        hit_rate: By arm, share of look-ups answered from the cache.
        disagreement: Share of mirrored answers that differ.
        memory: Share of the limit.
    """

    day: float
    stage: str
    latency_p95: dict[Arm, float | None]
    error_rate: dict[Arm, float | None]
    hit_rate: dict[Arm, float | None]
    disagreement: float | None
    memory: float | None


def points(turns: Sequence[Turn]) -> list[Point]:
    """Return the figures of every turn."""
    return [_point(turn) for turn in turns]


def _point(turn: Turn) -> Point:
    seen = turn.observation
    windows = {Arm.CONTROL: seen.control or Window(), Arm.CANDIDATE: seen.candidate}
    return Point(
        day=(seen.at_s - EPOCH_S) / 86_400,
        stage=seen.stage,
        latency_p95={arm: w.quantile("latency", 0.95) for arm, w in windows.items()},
        error_rate={arm: w.share("error_rate") for arm, w in windows.items()},
        hit_rate={arm: w.share("cache_hit_rate") for arm, w in windows.items()},
        disagreement=seen.candidate.share("disagreement"),
        memory=seen.candidate.gauge("memory_usage"),
    )
