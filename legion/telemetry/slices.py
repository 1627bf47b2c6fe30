"""The slices that units are in: tenants, intents, whatever a plan tells apart."""

from __future__ import annotations

from collections.abc import Iterable, Iterator


MOST = 256
"""How many slices are told apart, beside those that are judged."""


class Slices(dict[str, int]):
    """
    The bit of each slice, made when one first comes; a set of slices is an integer.

    A slice is ``tenant=acme``: what is told apart, and its value. From `MOST` on, new
    ones are counted in no slice of their own, unless `keep` says that they are judged.

    Attributes:
        left_out: How often a unit was in a slice that is not told apart, since `said`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.left_out = 0

    def __missing__(self, name: str) -> int:
        if len(self) >= MOST:
            self.left_out += 1
            return 0
        bit = self[name] = 1 << len(self)
        return bit

    def keep(self, names: Iterable[str]) -> None:
        """Tell *names* apart, however many others came before them."""
        for name in names:
            if name not in self:
                self[name] = 1 << len(self)

    def plain(self, mask: int) -> list[str]:
        """Return the slices in *mask*."""
        return [name for name, bit in self.items() if mask & bit] if mask else []

    def names(self, mask: int) -> Iterator[str]:
        """Yield them as they stand behind the name of a metric: ``{tenant=acme}``."""
        for name in self.plain(mask):
            yield labelled(name)

    def mask(self, names: Iterable[str]) -> int:
        """Return the set of these slices."""
        mask = 0
        for name in names:
            mask |= self[name]
        return mask

    def said(self) -> str:
        """Say how much was left out, or "", and forget it."""
        left_out, self.left_out = self.left_out, 0
        if not left_out:
            return ""
        return f"{left_out} in slices that are not told apart: there are over {MOST}"


def labelled(slice: str) -> str:  # noqa: A002 - what it is
    """Return what stands behind a metric's name where only one slice counts."""
    return f"{{{slice}}}" if slice else ""
