"""For your own tests: a clock, a contract for criteria, and a whole rollout."""

from .clock import ManualClock
from .criterion import check_criterion
from .rollout import Rehearsed, Rollout


__all__ = ["ManualClock", "Rehearsed", "Rollout", "check_criterion"]
