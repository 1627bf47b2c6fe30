"""
Where in legion's order of all units a bucket of somebody else's stands.

A share is a float, and its threshold may be off by 2**11 of 2**64 on either side. So no
place comes nearer to the edge of a bucket than 2**40, which is a share of 6e-8; beyond,
up to 2**41, units of one bucket are spread by a hash of their own, so that they stay
apart for whoever counts units by their place.
"""

from __future__ import annotations

import hashlib


WHOLE = 2**64

_BAND = 2**40
_ROUNDING = 2**12


def up_to(edge: int, of: int, unit: str) -> int:
    """Return a place that is in from a share of ``edge / of`` on, that share included."""
    if not edge:
        return _fine(unit)
    return edge * WHOLE // of - _BAND - _fine(unit)


def beyond(at: int, unit: str) -> int:
    """
    Return a place that is in above a share of ``at / WHOLE``, not at it.

    What lies before 0 by more than rounding comes round at the end.
    """
    at = at + WHOLE if at < -_ROUNDING else max(at, 0)
    return min(at + _BAND + _fine(unit), WHOLE - 1)


def first(unit: str) -> int:
    """Return a place that is in at any share but 0."""
    return _fine(unit)


def last(unit: str) -> int:
    """Return a place that is in only when everybody is."""
    return WHOLE - 1 - _fine(unit)


def _fine(unit: str) -> int:
    digest = hashlib.blake2b(unit.encode(), digest_size=5).digest()
    return int.from_bytes(digest, "big")
