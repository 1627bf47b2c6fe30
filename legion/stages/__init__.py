"""Stages: a plan, the ladder it climbs, and the way back."""

from .budget import Budget, Spent
from .engine import StageEngine
from .estimates import Estimate, Value
from .evidence import Evidence, visited
from .exposure import Exposure
from .persistence import SupersededError, recall
from .plan import Feature, Plan, Rule, Stage, Trigger
from .splitter import Order
from .state import RolloutState, Status
from .trial import Trial, current_trial


__all__ = [
    "Budget",
    "Estimate",
    "Evidence",
    "Exposure",
    "Feature",
    "Order",
    "Plan",
    "RolloutState",
    "Rule",
    "Spent",
    "Stage",
    "StageEngine",
    "Status",
    "SupersededError",
    "Trial",
    "Trigger",
    "Value",
    "current_trial",
    "recall",
    "visited",
]
