"""Events into observations: the hot path, two clocks, and this process's figures."""

from .clock import SystemClock
from .cohort import Cohort
from .event import (
    BEGAN,
    CANCELLED,
    FAILED,
    INTERRUPTED,
    NAMES,
    SUCCEEDED,
    TRIAL,
    UNMIRRORED,
    WITHIN,
    Event,
)
from .limits import cpu_limit, memory_limit
from .probe import Probe
from .slices import labelled
from .stream import Telemetry


__all__ = [
    "BEGAN",
    "CANCELLED",
    "FAILED",
    "INTERRUPTED",
    "NAMES",
    "SUCCEEDED",
    "TRIAL",
    "UNMIRRORED",
    "WITHIN",
    "Cohort",
    "Event",
    "Probe",
    "SystemClock",
    "Telemetry",
    "cpu_limit",
    "labelled",
    "memory_limit",
]
