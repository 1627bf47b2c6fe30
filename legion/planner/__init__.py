"""What a plan can see, when, how often it errs, and what it would have done."""

from __future__ import annotations

import importlib

from typing import TYPE_CHECKING

from .calendar import Milestone, calendar
from .fault import Fault
from .forecast import Forecast, StageForecast, forecast
from .rate import Rate, Spread
from .replay import replay
from .replayed import Apart, Difference, Otherwise, Parting, Replay
from .scenario import Bursts, Scenario, Units
from .sight import Sight
from .simulation import Simulation, StageSimulated
from .told import Told
from .workload import Workload, WorkloadError


if TYPE_CHECKING:
    from .rollouts import simulate


__all__ = [
    "Apart",
    "Bursts",
    "Difference",
    "Fault",
    "Forecast",
    "Milestone",
    "Otherwise",
    "Parting",
    "Rate",
    "Replay",
    "Scenario",
    "Sight",
    "Simulation",
    "Spread",
    "StageForecast",
    "StageSimulated",
    "Told",
    "Units",
    "Workload",
    "WorkloadError",
    "calendar",
    "forecast",
    "replay",
    "simulate",
]


def __getattr__(name: str) -> object:
    # The simulation needs numpy, a forecast does not.
    if name != "simulate":
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return importlib.import_module(".rollouts", __name__).simulate
