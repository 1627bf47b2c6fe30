"""Evidence for and against each rule of a plan, and the budget they share."""

from .both import BothEvidence, RowEvidence
from .compared import ComparedEvidence
from .detected import DetectorEvidence
from .exact import ExactEvidence, log_e_of_look
from .fact import ThresholdEvidence
from .limit import LimitEvidence
from .paths import (
    CRITICAL,
    TRIGGER,
    VALIDATE,
    Paths,
    is_of,
    looked_at_s,
    part,
    visited,
)
from .protocol import Evidence
from .rates import Rate, rates
from .sampled import SampledEvidence
from .units import Known, Seen
from .visitors import Drawn, Stay, Visitor, Visitors
from .watch import Edge, Past, Watch, edges, no_edge_yet
from .weighed import is_fact, is_weighed


__all__ = [
    "CRITICAL",
    "TRIGGER",
    "VALIDATE",
    "BothEvidence",
    "ComparedEvidence",
    "DetectorEvidence",
    "Drawn",
    "Edge",
    "Evidence",
    "ExactEvidence",
    "Known",
    "LimitEvidence",
    "Past",
    "Paths",
    "Rate",
    "RowEvidence",
    "SampledEvidence",
    "Seen",
    "Stay",
    "ThresholdEvidence",
    "Visitor",
    "Visitors",
    "Watch",
    "edges",
    "is_fact",
    "is_of",
    "is_weighed",
    "log_e_of_look",
    "looked_at_s",
    "no_edge_yet",
    "part",
    "rates",
    "visited",
]
