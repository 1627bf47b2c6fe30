"""The nouns, their scales, and the protocols between organs."""

from .nouns import (
    Action,
    Change,
    Decision,
    Finding,
    Notice,
    Noun,
    Observation,
    Outcome,
    Record,
    Report,
    Ruling,
    Step,
    Verdict,
    as_json,
)
from .protocols import Clock, Log, Snapshots
from .scales import Arm, Level, Missing, Move, Permission
from .window import Count, Gauge, Window


__all__ = [
    "Action",
    "Arm",
    "Change",
    "Clock",
    "Count",
    "Decision",
    "Finding",
    "Gauge",
    "Level",
    "Log",
    "Missing",
    "Move",
    "Notice",
    "Noun",
    "Observation",
    "Outcome",
    "Permission",
    "Record",
    "Report",
    "Ruling",
    "Snapshots",
    "Step",
    "Verdict",
    "Window",
    "as_json",
]
