"""Evidence for and against each rule of a plan, and the budget they share."""

from .both import BothEvidence, RowEvidence
from .compared import ComparedEvidence
from .detected import DetectorEvidence
from .fact import ThresholdEvidence
from .limit import LimitEvidence
from .paths import (
    CRITICAL,
    TRIGGER,
    VALIDATE,
    Paths,
    is_fact,
    is_of,
    is_weighed,
    part,
)
from .protocol import Evidence
from .rates import Rate, rates
from .sampled import SampledEvidence
from .units import Known, Seen
from .watch import Edge, Past, Watch, edges, too_short


__all__ = [
    "CRITICAL",
    "TRIGGER",
    "VALIDATE",
    "BothEvidence",
    "ComparedEvidence",
    "DetectorEvidence",
    "Edge",
    "Evidence",
    "Known",
    "LimitEvidence",
    "Past",
    "Paths",
    "Rate",
    "RowEvidence",
    "SampledEvidence",
    "Seen",
    "ThresholdEvidence",
    "Watch",
    "edges",
    "is_fact",
    "is_of",
    "is_weighed",
    "part",
    "rates",
    "too_short",
]
