"""The scales that verdicts, rulings and decisions are read on."""

from __future__ import annotations

import enum


class Level(enum.IntEnum):
    """
    How bad a criterion stands; the worst of several is their ``max()``.

    Missing evidence is not a level: see `Missing`.
    """

    OK = 0
    WARNING = 1
    ALERT = 2
    CRITICAL = 3

    @property
    def unhealthy(self) -> bool:
        """Whether this counts against health: an alert or worse."""
        return self >= Level.ALERT


class Missing(enum.StrEnum):
    """Why a verdict has no level."""

    NO_DATA = "no_data"
    """Nothing was recorded."""
    STALE = "stale"
    """Something was recorded, too long ago."""
    ERROR = "error"
    """The criterion or its source raised."""
    INCONCLUSIVE = "inconclusive"
    """Too little was recorded to tell; more is on its way."""


class Permission(enum.IntEnum):
    """What the gate says; the strictest of several is their ``max()``."""

    ALLOW = 0
    ASK = 1
    DENY = 2


class Arm(enum.StrEnum):
    """Which of the two variants a unit gets."""

    CONTROL = "control"
    CANDIDATE = "candidate"


class Move(enum.StrEnum):
    """What a decision tells the rollout to do."""

    ADVANCE = "advance"
    HOLD = "hold"
    FREEZE = "freeze"
    ROLL_BACK = "roll_back"
