"""
Canonical JSON (RFC 8785) and the digests made from it.

Two processes that hold the same value write the same bytes, so a digest names a value
and not the way somebody printed it.
"""

from __future__ import annotations

import hashlib
import json
import math
import re

from collections.abc import Mapping, Sequence
from json.encoder import encode_basestring as _quote
from typing import TypeAlias, cast


JSON: TypeAlias = (
    bool | int | float | str | Sequence["JSON"] | Mapping[str, "JSON"] | None
)

_LARGEST_INT = 2**53 - 1

_ATOMS = frozenset({str, int, float, bool, type(None)})
_encode = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")
).encode
# What is canonical already: text, words, short integers, and fractions but for ".0".
_SAME = re.compile(
    r'(?:[^"0-9-]++|"(?:[^"\\]++|\\.)*+"'
    r"|-?[0-9]{1,15}+(?:\.(?!0(?![0-9]))[0-9]++)?+(?![0-9.e]))*+",
    re.DOTALL,
)
_NUMBER = re.compile(r"-?[0-9]++(?:\.[0-9]++)?(?:e[-+][0-9]++)?")


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
    quick = _quickly(value)
    if quick is None:
        parts: list[str] = []
        _write(value, parts)
        quick = "".join(parts)
    return quick.encode()


def loads(data: bytes | str) -> JSON:
    """
    Read what `dumps` wrote.

    Raises:
        ValueError: It is no JSON.
    """
    return cast("JSON", json.loads(data, parse_int=_read_integer))


def digest(value: JSON) -> str:
    """
    Name *value* by the SHA-256 of its canonical JSON.

    Returns:
        64 lower-case hexadecimal digits.
    """
    return hashlib.sha256(dumps(value)).hexdigest()


def _quickly(value: object) -> str | None:
    """
    Write with the encoder of the standard library, and mend its numbers.

    Returns:
        None where the encoder would order keys otherwise, or say something else than
        what was given; `_write` then takes the long way, or says what is wrong.
    """
    if not _is_plain(value):
        return None
    try:
        text = _encode(value)
    except (ValueError, RecursionError):
        return None
    if not text.isascii() and max(text) > "\uffff":
        return None
    return _mended(text)


def _is_plain(value: object) -> bool:
    """Tell whether *value* is made of JSON's own types, with strings for keys."""
    kind = type(value)
    if kind in _ATOMS:
        return True
    if kind is dict:
        for key, item in value.items():  # type: ignore[attr-defined]
            if not isinstance(key, str):
                return False
            if type(item) not in _ATOMS and not _is_plain(item):
                return False
        return True
    if kind is list or kind is tuple:
        return all(
            type(item) in _ATOMS or _is_plain(item)
            for item in value  # type: ignore[attr-defined]
        )
    return isinstance(value, str | int | float)


def _mended(text: str) -> str | None:
    """Print the numbers in *text* as ECMAScript does; None if one is too large."""
    parts, start, end = [], 0, len(text)
    while True:
        place = _SAME.match(text, start).end()  # type: ignore[union-attr]
        parts.append(text[start:place])
        if place == end:
            return "".join(parts)
        found = _NUMBER.match(text, place)
        assert found is not None
        number, start = found.group(), found.end()
        if "e" in number:
            number = _number(float(number))
        elif number.endswith(".0"):
            number = "0" if number == "-0.0" else number[:-2]
        elif "." not in number and abs(int(number)) > _LARGEST_INT:
            return None
        parts.append(number)


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


def _read_integer(digits: str) -> int | float:
    """Read digits; what is too large for a JSON integer was written as a float."""
    value = int(digits)
    return value if abs(value) <= _LARGEST_INT else float(digits)


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
    mantissa, _, exponent = f"{float.__repr__(abs(value))}e0".partition("e")
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
