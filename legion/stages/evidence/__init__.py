"""Evidence for and against each rule of a plan, and the budget they share."""

from .both import BothEvidence, RowEvidence
from .compared import ComparedEvidence
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
from .sampled import SampledEvidence
from .units import Known, Seen
from .watch import Edge, Past, Watch, edges


__all__ = [
    "CRITICAL",
    "TRIGGER",
    "VALIDATE",
    "BothEvidence",
    "ComparedEvidence",
    "Edge",
    "Evidence",
    "Known",
    "LimitEvidence",
    "Past",
    "Paths",
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
]
