"""Events into observations: the hot path, two clocks, and this process's figures."""

from .clock import SystemClock
from .fold import NAMES, Event
from .limits import cpu_limit, memory_limit
from .probe import Probe
from .stream import Telemetry


__all__ = [
    "NAMES",
    "Event",
    "Probe",
    "SystemClock",
    "Telemetry",
    "cpu_limit",
    "memory_limit",
]
