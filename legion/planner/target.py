"""What the candidate must really have for an absolute target to be proven."""

from __future__ import annotations

from ..stages.plan import Stage
from ..stats import Side, events_to_decide
from ..stats.special import root
from .question import Question
from .workload import Workload


MOST_NEAR_HITS = 0.62
"""
Hits among requests that repeat nothing exactly, at the most.

Of 8,000 questions of banking77, each judged and 2 % of the hits allowed to be wrong, 62 %
were answered from the cache; at 1 % it was 50 %, and 35 % with a third of them judged.
"""


def least_rate(
    question: Question, stage: Stage, workload: Workload
) -> tuple[float | None, float]:
    """
    Return the largest share of bad units that the dwell still proves to be low enough.

    Returns:
        That share, or None where even no bad one at all would not do; and how many
        events without a bad one would.
    """
    assert question.limit is not None
    limit, alpha = question.limit, question.alpha
    spotless = events_to_decide(0.0, limit, side=Side.PROOF, alpha=alpha)
    assert spotless is not None
    events = workload.seen_per_s(question.metric, stage) * (
        stage.dwell_s or _week(stage)
    )
    if spotless > events:
        return None, spotless

    def lacks(rate: float) -> float:
        needed = events_to_decide(rate, limit, side=Side.PROOF, alpha=alpha)
        return 1.0 if needed is None else needed - events

    return root(lacks, 0.0, limit * (1 - 1e-9)), spotless


def _week(stage: Stage) -> float:
    return stage.unbroken_for_s or 7 * 86_400.0


def most_hits(repeats: float) -> float:
    """Return the hit rate that traffic with that share of exact repeats can give."""
    return repeats + (1 - repeats) * MOST_NEAR_HITS
