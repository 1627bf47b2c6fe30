"""
Canonical JSON (RFC 8785) and the digests made from it.

Two processes that hold the same value write the same bytes, so a digest names a value
and not the way somebody printed it.
"""

from __future__ import annotations

import hashlib
import math

from collections.abc import Mapping, Sequence
from json.encoder import encode_basestring as _quote
from typing import TypeAlias


JSON: TypeAlias = (
    bool | int | float | str | Sequence["JSON"] | Mapping[str, "JSON"] | None
)

_LARGEST_INT = 2**53 - 1


def dumps(value: JSON) -> bytes:
    """
    Encode *value* as canonical JSON.

    Args:
        value: Only what JSON has: no NaN, no infinity, no integer beyond 2**53 - 1.

    Returns:
        UTF-8 bytes: keys in the order of their UTF-16 units, no white space, numbers as
        ECMAScript prints them (RFC 8785, section 3.2.2).

    Raises:
        ValueError: *value* holds something that JSON cannot say exactly.
        TypeError: *value* holds something that JSON has no word for.
    """
    parts: list[str] = []
    _write(value, parts)
    return "".join(parts).encode()


def digest(value: JSON) -> str:
    """
    Name *value* by the SHA-256 of its canonical JSON.

    Returns:
        64 lower-case hexadecimal digits.
    """
    return hashlib.sha256(dumps(value)).hexdigest()


def _write(value: object, parts: list[str]) -> None:
    if value is None or isinstance(value, bool):
        parts.append({None: "null", True: "true", False: "false"}[value])
    elif isinstance(value, str):
        parts.append(_quote(value))
    elif isinstance(value, int):
        parts.append(_integer(value))
    elif isinstance(value, float):
        parts.append(_number(value))
    elif isinstance(value, Mapping):
        _write_object(value, parts)
    elif isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        parts.append("[")
        for i, item in enumerate(value):
            if i:
                parts.append(",")
            _write(item, parts)
        parts.append("]")
    else:
        given = type(value).__name__
        msg = f"canonical JSON: got {given}; write a JSON value"
        raise TypeError(msg)


def _write_object(value: Mapping[object, object], parts: list[str]) -> None:
    for key in value:
        if not isinstance(key, str):
            msg = f"canonical JSON: got the key {key!r}; write a string"
            raise TypeError(msg)
    parts.append("{")
    keys = [str(key) for key in value]
    ordered = sorted(keys, key=lambda key: key.encode("utf-16-be", "surrogatepass"))
    for i, key in enumerate(ordered):
        parts.append("," if i else "")
        parts.append(_quote(key))
        parts.append(":")
        _write(value[key], parts)
    parts.append("}")


def _integer(value: int) -> str:
    if abs(value) > _LARGEST_INT:
        msg = f"canonical JSON: got {value}; write integers beyond 2**53 as strings"
        raise ValueError(msg)
    return int.__repr__(value)


def _number(value: float) -> str:
    if not math.isfinite(value):
        msg = f"canonical JSON: got {value}; leave out what was not measured"
        raise ValueError(msg)
    if value == 0:
        return "0"
    sign = "-" if value < 0 else ""
    mantissa, _, exponent = f"{abs(value)!r}e0".partition("e")
    whole, _, fraction = mantissa.partition(".")
    power = int(exponent.partition("e")[0]) + len(whole)
    digits = (whole + fraction).lstrip("0")
    power -= len(whole + fraction) - len(digits)
    return sign + _place_point(digits.rstrip("0"), power)


def _place_point(digits: str, power: int) -> str:
    """Print 0.digits times ten to the power as ECMAScript's Number::toString does."""
    if len(digits) <= power <= 21:
        return digits + "0" * (power - len(digits))
    if 0 < power <= 21:
        return f"{digits[:power]}.{digits[power:]}"
    if -6 < power <= 0:
        return f"0.{'0' * -power}{digits}"
    rest = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{digits[0]}{rest}e{power - 1:+d}"
