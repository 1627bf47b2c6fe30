"""
The nouns, in the order in which they come about; their scales; the protocols.

    Observation ─▶ Report ─▶ Decision ─▶ Outcome ─▶ Record
                   └Verdict  └Change
                             └Ruling

Each is a fact: frozen, and named by the digest of its canonical JSON. One refers to the
one before it by that digest, so a turn can be put together again from the journal.
"""

from .acted import Action, Notice, Outcome, Record, Step
from .decided import Change, Decision, Finding, Ruling
from .judged import Observation, Report, Verdict
from .noun import Noun, as_json
from .pairs import Pairs
from .protocols import Clock, Log, Snapshots
from .scales import Arm, Level, Missing, Move, Permission
from .visits import Visits
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
    "Pairs",
    "Permission",
    "Record",
    "Report",
    "Ruling",
    "Snapshots",
    "Step",
    "Verdict",
    "Visits",
    "Window",
    "as_json",
]
