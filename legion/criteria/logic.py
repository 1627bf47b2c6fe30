"""Logic: four criteria."""

from .contract import Criterion
from .kinds import Ceiling, Never


LOGIC: tuple[Criterion, ...] = (
    Ceiling(
        "contradictions",
        of="count",
        warning=1,
        alert=3,
        group="logic",
        summary="Opposite decisions on the same facts.",
    ),
    Never(
        "safety_gate_bypasses",
        group="logic",
        summary="Guarded acts that ran without a permit.",
    ),
    Never(
        "containment_violations",
        group="logic",
        summary="Acts that reached outside their fence.",
    ),
    Never(
        "unauthorized_actions",
        group="logic",
        summary="Acts that ran against a denial.",
    ),
)
