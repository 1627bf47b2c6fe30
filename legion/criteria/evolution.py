"""
Evolution: three criteria.

Proposals and patches are few, so their shares are slow by nature. With 5 % that fail,
20 proposals reach the alert by chance in 1.6 % of the windows and 10 patches in 1.2 %
(binomial tail); eight, which is often written, would in 5.7 %.
"""

from .contract import Criterion
from .kinds import Ceiling


EVOLUTION: tuple[Criterion, ...] = (
    Ceiling(
        "self_improvement_failure_rate",
        warning=0.10,
        alert=0.20,
        min_events=20,
        group="evolution",
        summary="Share of the proposals that failed.",
    ),
    Ceiling(
        "patch_rollback_rate",
        warning=0.15,
        alert=0.25,
        min_events=10,
        group="evolution",
        summary="Share of the applied patches that were taken back.",
    ),
    Ceiling(
        "learning_loop_stall",
        of="gauge",
        unit="h",
        alert=48,
        critical=72,
        group="evolution",
        summary="Time since the last completed learning cycle.",
    ),
)
