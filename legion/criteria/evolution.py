"""Evolution: three criteria."""

from .criterion import Criterion
from .kinds import Ceiling


EVOLUTION: tuple[Criterion, ...] = (
    # Outcomes of proposals are few: eight are the least that tell 10 % from 20 %.
    Ceiling(
        "self_improvement_failure_rate",
        warning=0.10,
        alert=0.20,
        min_events=8,
        group="evolution",
        summary="Share of the proposals that failed.",
    ),
    Ceiling(
        "patch_rollback_rate",
        warning=0.15,
        alert=0.25,
        min_events=8,
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
