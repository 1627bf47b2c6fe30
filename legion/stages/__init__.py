"""Stages: a plan, the ladder it climbs, and the way back."""

from .engine import StageEngine
from .evidence import Evidence
from .exposure import Exposure
from .persistence import SupersededError, recall
from .plan import Feature, Plan, Rule, Stage, Trigger
from .splitter import Order
from .state import RolloutState, Status
from .threshold import ThresholdEvidence
from .trial import Trial, current_trial


__all__ = [
    "Evidence",
    "Exposure",
    "Feature",
    "Order",
    "Plan",
    "RolloutState",
    "Rule",
    "Stage",
    "StageEngine",
    "Status",
    "SupersededError",
    "ThresholdEvidence",
    "Trial",
    "Trigger",
    "current_trial",
    "recall",
]
