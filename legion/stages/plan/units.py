"""
Quantities as people write them, and back.

Each reader returns a number in the canonical unit (shares 0..1, seconds, MB, MB/h) or
raises `UnfitError`, whose message is what to write instead. Decimal arithmetic makes
both directions exact: what `write` prints, `read` turns into the same float.
"""

from __future__ import annotations

import math
import re

from decimal import Context, Decimal


_EXACT = Context(prec=100)
_NUMBER = r"\d+(?:\.\d+)?(?:[eE][-+]?\d{1,3})?"
_PERCENT = re.compile(rf"(-?{_NUMBER})\s*%", re.ASCII)
_PARTS = re.compile(rf"({_NUMBER})\s*([a-z\u00b5\u03bc]+)\s*", re.ASCII)
_SIZE = re.compile(rf"({_NUMBER})\s*([KMGT]?i?B)(?:\s*/\s*([a-z]+))?", re.ASCII)

_SECONDS = {
    name: Decimal(seconds)
    for names, seconds in (
        ("us \u00b5s \u03bcs", "0.000001"),
        ("ms", "0.001"),
        ("s sec second seconds", "1"),
        ("m min minute minutes", "60"),
        ("h hour hours", "3600"),
        ("d day days", "86400"),
    )
    for name in names.split()
}
_BYTES = {
    f"{prefix}{kind}": Decimal(step) ** power
    for kind, step in (("B", 1000), ("iB", 1024))
    for power, prefix in enumerate(["", "K", "M", "G", "T"])
    if prefix or kind == "B"
}
_MB = Decimal(1_000_000)
_HOUR = Decimal(3600)

LONGEST_S = 3650 * 86400.0
"""No plan waits longer than ten years."""
LARGEST = 2.0**53 - 1
"""The largest number that JSON can say to the digit."""
LONGEST_TEXT = 100
"""Characters; no quantity and no name is longer."""


class UnfitError(ValueError):
    """What was given is no such quantity; the message is what to write instead."""


def share(value: object) -> float:
    """Read a percentage up to 100 %, or a share 0..1."""
    return _ratio(value, largest=1)


def relative(value: object) -> float:
    """Read how much more than something else: a percentage up to 1000 %."""
    return _ratio(value, largest=10)


def _ratio(value: object, *, largest: int) -> float:
    if isinstance(value, str):
        short = value.strip() if len(value) <= LONGEST_TEXT else ""
        match = _PERCENT.fullmatch(short)
        if match is None:
            msg = "a percentage such as 5%, or a share such as 0.05"
            raise UnfitError(msg)
        found = float(_EXACT.divide(Decimal(match[1]), Decimal(100)))
    elif isinstance(value, bool) or not isinstance(value, int | float):
        msg = "a percentage such as 5%, or a share such as 0.05"
        raise UnfitError(msg)
    elif 0 < value <= 100 and (isinstance(value, int) or value > largest):
        # A bare 1 may mean one per cent or all; only its writer knows.
        other = "100%" if value == 1 else f"{value / 100:g}"
        msg = f"{value:g}% or {other}"
        raise UnfitError(msg)
    else:
        found = float(value) if abs(value) <= largest else math.inf
    if not 0 <= found <= largest:
        msg = f"a percentage from 0% to {largest}00%"
        raise UnfitError(msg)
    return found


def duration(value: object, *, zero: bool = False) -> float:
    """Read ``90s``, ``5m``, ``1h30m``, ``100 ms`` as seconds."""
    return float(_exact_seconds(value, zero=zero))


def _exact_seconds(value: object, *, zero: bool) -> Decimal:
    if isinstance(value, int | float) and not isinstance(value, bool):
        bare = f"{value:g}" if 0 < value < 1e6 else "5"
        msg = f"a time with its unit, such as {bare}s, {bare}m or {bare}h"
        raise UnfitError(msg)
    seconds = _seconds(value) if isinstance(value, str) else None
    if seconds is None:
        msg = "a time such as 90s, 5m, 1h30m, 2d or 100 ms"
        raise UnfitError(msg)
    if seconds > LONGEST_S:
        msg = "at most 3650d"
        raise UnfitError(msg)
    if not float(seconds) and not zero:
        msg = "a time longer than 0"
        raise UnfitError(msg)
    return seconds


def _seconds(text: str) -> Decimal | None:
    text = text.strip()
    if not text or len(text) > LONGEST_TEXT:
        return None
    at, total = 0, Decimal(0)
    while at < len(text):
        match = _PARTS.match(text, at)
        if match is None or match[2] not in _SECONDS:
            return None
        part = _EXACT.multiply(Decimal(match[1]), _SECONDS[match[2]])
        total = _EXACT.add(total, part)
        at = match.end()
    return total


def megabytes(value: object, *, hourly: bool = False) -> float:
    """Read ``512 MB`` as MB or, if *hourly*, ``50 MB/h`` as MB an hour."""
    example = "50 MB/h" if hourly else "512 MB"
    text = value.strip() if isinstance(value, str) else ""
    match = _SIZE.fullmatch(text) if len(text) <= LONGEST_TEXT else None
    per = match[3] if match is not None else None
    if match is None or (per is not None) != hourly or (per and per not in _SECONDS):
        msg = f"a {'growth' if hourly else 'size'} such as {example}"
        raise UnfitError(msg)
    found = _EXACT.multiply(Decimal(match[1]), _EXACT.divide(_BYTES[match[2]], _MB))
    if per is not None:
        found = _EXACT.multiply(found, _EXACT.divide(_HOUR, _SECONDS[per]))
    if found > LARGEST:
        msg = f"less, such as {example}"
        raise UnfitError(msg)
    return float(found)


def number(value: object, *, negative: bool = False) -> float:
    """Read a plain number; below zero only if *negative*."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        msg = "a number without quotes or unit, such as 5"
        raise UnfitError(msg)
    if not abs(value) <= LARGEST:
        msg = "a number that is finite and below 2**53"
        raise UnfitError(msg)
    if value < 0 and not negative:
        msg = "a number that is not negative"
        raise UnfitError(msg)
    return float(value)


def quantity(value: object, unit: str) -> float:
    """Read a value of a metric whose canonical unit is *unit*."""
    match unit:
        case "share":
            return share(value)
        case "s":
            return duration(value, zero=True)
        case "h":
            return float(_EXACT.divide(_exact_seconds(value, zero=True), _HOUR))
        case "MB" | "MB/h":
            return megabytes(value, hourly=unit == "MB/h")
        case "count":
            return number(value)
        case _:
            return number(value, negative=True)


def write_share(value: float) -> str:
    """Write a share as `share` and `relative` read it, such as ``0.5%``."""
    return f"{_plain(_EXACT.multiply(Decimal(repr(value)), Decimal(100)))}%"


def write_duration(seconds: float) -> str:
    """Write seconds as `duration` reads them, in the largest unit that is even."""
    exact = Decimal(repr(seconds))
    for unit in ("d", "h", "m", "s", "ms", "us"):
        count = _EXACT.divide(exact, _SECONDS[unit])
        if exact and count == count.to_integral_value():
            return f"{_plain(count)}{unit}"
    return f"{_plain(exact)}s"


def write(value: float, unit: str) -> str | float:
    """Write a value of a metric as `quantity` reads it."""
    match unit:
        case "share":
            return write_share(value)
        case "s":
            return write_duration(value)
        case "h":
            return _write_hours(value)
        case "MB" | "MB/h":
            return f"{_plain(Decimal(repr(value)))} {unit}"
        case _:
            return int(value) if float(value).is_integer() else value


def _write_hours(value: float) -> str:
    """Write hours; a figure with endless digits stays a figure in hours."""
    seconds = _EXACT.multiply(Decimal(repr(value)), _HOUR)
    if seconds == seconds.to_integral_value():
        return write_duration(float(seconds))
    return f"{_plain(Decimal(repr(value)))}h"


def spoken(value: float, unit: str) -> str:
    """Write a value for a sentence, such as ``25 %``, ``4 min`` or ``100 ms``."""
    written = write(value, unit)
    if isinstance(written, str):
        apart = re.sub(r"(?<=\d)(?=[a-z%])", " ", written)
        return f"{apart}in" if apart.endswith(" m") else apart
    return f"{written}" if unit in {"count", "number"} else f"{written} {unit}"


def _plain(exact: Decimal) -> str:
    """Print without an exponent where that is short."""
    short = exact.normalize(_EXACT)
    text = f"{short:f}"
    return text if len(text) <= 30 else f"{short:e}"
