"""How often each unit came, and how often that went badly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import attrs

from ..canonical import JSON
from .hashes import packed, unpacked


@attrs.frozen
class Visits:
    """
    The visits of one arm's units in one metric: a user who comes back has several.

    Attributes:
        units: By 64-bit hash of the unit, (bad, n): visits that went badly, and all of
            them. A unit without a visit is not there.

    Raises:
        ValueError: A number is not 0 <= bad <= n, with n at least 1.
    """

    units: Mapping[int, tuple[int, int]] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        for unit, (bad, n) in self.units.items():
            if not 0 <= bad <= n or n < 1:
                msg = (
                    f"visits: got {bad} bad of {n} for {unit:016x}; write 0 <= bad <= n,"
                    " and n of at least 1"
                )
                raise ValueError(msg)

    @property
    def bad(self) -> frozenset[int]:
        """The units with a visit that went badly."""
        return frozenset(unit for unit, (bad, _) in self.units.items() if bad)

    def merge(self, later: Visits) -> Visits:
        """Add both, unit by unit."""
        units = dict(self.units)
        for unit, (bad, n) in later.units.items():
            bad_before, n_before = units.get(unit, (0, 0))
            units[unit] = (bad_before + bad, n_before + n)
        return Visits(units)

    def to_json(self) -> dict[str, JSON]:
        """Return the units by how they fared, since few of these are different."""
        fared: dict[tuple[int, int], list[int]] = {}
        for unit, counts in self.units.items():
            fared.setdefault(counts, []).append(unit)
        return {
            f"{bad}/{n}": packed(units) for (bad, n), units in sorted(fared.items())
        }

    @classmethod
    def from_json(cls, value: Mapping[str, JSON]) -> Visits:
        """Read what `to_json` wrote."""
        units: dict[int, tuple[int, int]] = {}
        for fared, them in value.items():
            bad, _, n = fared.partition("/")
            counts = int(bad), int(n)
            units |= dict.fromkeys(unpacked(cast("str", them)), counts)
        return cls(units)
