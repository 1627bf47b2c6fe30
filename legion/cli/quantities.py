"""Quantities as options have them."""

from __future__ import annotations

import argparse
import re

from collections.abc import Callable
from datetime import date
from typing import TypeVar

from ..stages.plan import units


_T = TypeVar("_T")
_TRAFFIC = re.compile(r"(\d+(?:\.\d+)?)(?:\s*/\s*(s|m|min|h|d))?", re.ASCII)
_PER_S = {None: 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3_600.0, "d": 86_400.0}


def traffic(text: str) -> float:
    """Read ``10/s``, ``600/min`` or ``36000/h`` as units a second."""
    match = _TRAFFIC.fullmatch(text.strip())
    found = float(match[1]) / _PER_S[match[2]] if match else 0.0
    if not 0 < found <= 1e9:
        raise _refused(text, "units a second such as 10/s, 600/min or 36000/h")
    return found


def inner_share(text: str) -> float:
    """Read ``1%`` as a share above 0 and below 1."""
    found = share(text)
    if not 0 < found < 1:
        raise _refused(text, "a percentage above 0% and below 100%")
    return found


def share(text: str) -> float:
    """Read ``5%`` or ``0.05`` as a share 0..1."""
    value = float(text) if re.fullmatch(r"0?\.\d+", text) else text
    return _read(units.share, value, text)


def seconds(text: str) -> float:
    """Read ``30m`` as seconds."""
    return _read(units.duration, text, text)


def day(text: str) -> date:
    """Read an ISO date."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise _refused(text, "a date such as 2025-12-01") from None


def whole(text: str) -> int:
    """Read a whole number, 1 or more."""
    found = int(text) if re.fullmatch(r"\d{1,9}", text, re.ASCII) else 0
    if found < 1:
        raise _refused(text, "a whole number, 1 or more")
    return found


def seed(text: str) -> int:
    """Read a whole number, 0 or more."""
    if not re.fullmatch(r"\d{1,18}", text, re.ASCII):
        raise _refused(text, "a whole number, 0 or more")
    return int(text)


def _read(reader: Callable[[object], _T], value: object, text: str) -> _T:
    try:
        return reader(value)
    except units.UnfitError as error:
        raise _refused(text, str(error)) from None


def _refused(text: str, write: str) -> argparse.ArgumentTypeError:
    return argparse.ArgumentTypeError(f"got {text!r}; write {write}")
