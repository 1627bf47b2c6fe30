"""The plan: what is rolled out to whom, what must hold, and what takes it back."""

from .nouns import Feature, Limits, RollbackSpec, Rule, Stage, Trigger
from .plan import Plan, Unit


__all__ = [
    "Feature",
    "Limits",
    "Plan",
    "RollbackSpec",
    "Rule",
    "Stage",
    "Trigger",
    "Unit",
]
