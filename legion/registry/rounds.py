"""Hashing what is stored, so many bytes at a time, round and round."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import attrs


@attrs.define(eq=False)
class Rounds:
    """
    Looks at all objects while they are few, else at a part of them each time.

    What was found damaged is looked at each time until it is mended.

    Args:
        budget: How many bytes to hash at one look.
    """

    budget: int
    _last: str = attrs.field(init=False, default="")
    _damaged: frozenset[str] = attrs.field(init=False, default=frozenset())

    def look(self, wanted: Mapping[str, int], sound: Callable[[str], bool]) -> int:
        """
        Look at as many as the budget allows; return how many are known as damaged.

        Args:
            wanted: Size in bytes by digest.
            sound: Hashes one object and tells whether it fits.
        """
        chosen = self._turn(wanted)
        again = self._damaged.intersection(wanted)
        self._damaged = frozenset(
            digest for digest in again.union(chosen) if not sound(digest)
        )
        return len(self._damaged)

    def _turn(self, wanted: Mapping[str, int]) -> list[str]:
        """Return whose turn it is: those after the last one, then from the start."""
        ordered = sorted(wanted, key=lambda digest: (digest <= self._last, digest))
        chosen, left = list[str](), self.budget
        for digest in ordered:
            if chosen and wanted[digest] > left:
                break
            chosen.append(digest)
            left -= wanted[digest]
        self._last = chosen[-1] if chosen else ""
        return chosen
