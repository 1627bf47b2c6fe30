"""What is recorded: one tuple of strings and numbers, whatever it was made from."""

from __future__ import annotations

import operator

from collections.abc import Mapping
from typing import TypeAlias

from ..model import Arm


Event: TypeAlias = tuple[str, str, int, str, float, bool | int | float | str]
"""
What is recorded: (metric, arm, unit, exposure, at_s, value).

*arm* is the value of an `Arm`, "control" or "candidate". The member counts as well, but
it is an object that refers to others: Python's garbage collector would go through an
event that holds it again and again, for as long as it waits; one of strings and numbers
it looks at once.

*unit* is the 64-bit hash of the unit, *exposure* the digest of what it was exposed to,
*at_s* when this was recorded, in machine time. The type of *value* says what it is: a
bool is one opportunity and whether the event happened, a float is a value of a
distribution (times in seconds), an int is added to a counter. A string is none of
these; under the name `TRIAL` it marks where a trial begins and ends.
"""

NAMES: Mapping[Arm, str] = {arm: arm.value for arm in Arm}
"""The arms as events name them; looking one up costs less than ``arm.value``."""

TRIAL = "trial"
"""Under this name the values `BEGAN`, `FAILED`, ... say how a unit's trial goes."""

BEGAN = "began"
SUCCEEDED = "succeeded"
FAILED = "failed"
INTERRUPTED = "interrupted"
"""The trial ended without an outcome: its graph waits for a person, say."""
CANCELLED = "cancelled"
"""The trial was cut off without an outcome, by a timeout around it or by who asked."""
WITHIN = "within "
"""Before the name of a slice: the unit is in it, whichever arm it has."""
UNMIRRORED = "unmirrored"
"""The unit's mirrored run was dropped: too many waited, or it could not go on."""

ERROR_RATE = "error_rate"
"""The metric of which a trial's end is an opportunity."""


LARGEST = 1e300
"""Larger values are no measurements, and their sum could leave the floats."""


class Refused(str):
    """Why a value could not be had; counted as left out of its metric."""

    __slots__ = ()


def number_of(value: object) -> float | Refused:
    """Return *value* as a float, or why it is none."""
    try:
        found = float(value)  # type: ignore[arg-type]
    except Exception:  # noqa: BLE001 - a stranger's value may raise anything
        return _not(value, "a number")
    return found


def flag_of(value: object) -> bool | Refused:
    """Return *value* as a bool, or why it is none; numpy's are, and so are 0 and 1."""
    found = number_of(value)
    if isinstance(found, float) and found in {0.0, 1.0}:
        return found == 1
    return _not(value, "True or False")


def whole_of(value: object) -> int | Refused:
    """Return *value* as an int, or why it is none."""
    try:
        return int(operator.index(value))  # type: ignore[arg-type]
    except Exception:  # noqa: BLE001 - a stranger's value may raise anything
        return _not(value, "an int")


def _not(value: object, wanted: str) -> Refused:
    # Not the value itself: it may be somebody's text.
    return Refused(f"got {type(value)}; write {wanted}")
