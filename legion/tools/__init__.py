"""Tools that a host marks, the runs that call them, and the fence of a mirrored run."""

from .calls import Call, Calls
from .mark import tool
from .run import Fence, Run, current_run, fence, runs, under_way


__all__ = [
    "Call",
    "Calls",
    "Fence",
    "Run",
    "current_run",
    "fence",
    "runs",
    "tool",
    "under_way",
]
