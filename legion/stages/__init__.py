"""Stages: a plan, the ladder it climbs, and the way back."""

from .budget import Budget, Spent
from .decide import REHEARSAL
from .engine import StageEngine
from .estimates import Estimate, Value
from .evidence import Evidence, visited
from .exposure import Exposure
from .history import History
from .persistence import SupersededError, order_of, recall
from .plan import Feature, Plan, Rule, Stage, Trigger
from .retry import Retry
from .splitter import Order
from .state import RolloutState, Status
from .trial import Trial, current_trial


__all__ = [
    "REHEARSAL",
    "Budget",
    "Estimate",
    "Evidence",
    "Exposure",
    "Feature",
    "History",
    "Order",
    "Plan",
    "Retry",
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
    "order_of",
    "recall",
    "visited",
]
