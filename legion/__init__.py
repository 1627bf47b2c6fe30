"""
Roll out a change of a running AI system in stages, watch it, and take it back.

The names below are everything that is promised. They are loaded when they are touched,
so importing legion costs neither numpy nor faiss.
"""

from __future__ import annotations

import importlib


# Type checkers take this name for true; `typing` itself would be most of the import.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from . import criteria, exceptions, hookspecs, planner, testing
    from .cache import Hit, SemanticCache
    from .criteria import Criterion, criterion
    from .exceptions import LegionError
    from .gate import Policy, SafetyGate
    from .hookspecs import hookimpl
    from .host import Host
    from .journal import Journal
    from .model import (
        Action,
        Arm,
        Change,
        Count,
        Decision,
        Level,
        Missing,
        Move,
        Notice,
        Observation,
        Outcome,
        Permission,
        Record,
        Report,
        Ruling,
        Verdict,
        Window,
    )
    from .plugins import Plugins
    from .registry import Registry
    from .stages import Plan, StageEngine, current_trial
    from .telemetry import SystemClock
    from .tools import tool
    from .watchdog import Watchdog


__all__ = [
    "Action",
    "Arm",
    "Change",
    "Count",
    "Criterion",
    "Decision",
    "Hit",
    "Host",
    "Journal",
    "LegionError",
    "Level",
    "Missing",
    "Move",
    "Notice",
    "Observation",
    "Outcome",
    "Permission",
    "Plan",
    "Plugins",
    "Policy",
    "Record",
    "Registry",
    "Report",
    "Ruling",
    "SafetyGate",
    "SemanticCache",
    "StageEngine",
    "SystemClock",
    "Verdict",
    "Watchdog",
    "Window",
    "criteria",
    "criterion",
    "current_trial",
    "exceptions",
    "hookimpl",
    "hookspecs",
    "planner",
    "testing",
    "tool",
]

_ROOMS = {
    "cache": ("Hit", "SemanticCache"),
    "criteria": ("Criterion", "criterion"),
    "exceptions": ("LegionError",),
    "gate": ("Policy", "SafetyGate"),
    "hookspecs": ("hookimpl",),
    "host": ("Host",),
    "journal": ("Journal",),
    "model": (
        "Action",
        "Arm",
        "Change",
        "Count",
        "Decision",
        "Level",
        "Missing",
        "Move",
        "Notice",
        "Observation",
        "Outcome",
        "Permission",
        "Record",
        "Report",
        "Ruling",
        "Verdict",
        "Window",
    ),
    "plugins": ("Plugins",),
    "registry": ("Registry",),
    "stages": ("Plan", "StageEngine", "current_trial"),
    "telemetry": ("SystemClock",),
    "tools": ("tool",),
    "watchdog": ("Watchdog",),
}
_ROOM_OF = {name: room for room, names in _ROOMS.items() for name in names}
_MODULES = frozenset({"criteria", "exceptions", "hookspecs", "planner", "testing"})


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        return version("legion-rollout")
    if name in _MODULES:
        return importlib.import_module(f".{name}", __name__)
    if name in _ROOM_OF:
        value = getattr(importlib.import_module(f".{_ROOM_OF[name]}", __name__), name)
        globals()[name] = value
        return value
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
