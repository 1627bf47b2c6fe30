"""Units that both arms answered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import attrs

from ..canonical import JSON


@attrs.frozen(kw_only=True)
class Pairs:
    """
    Units of control that the candidate answered too, unseen, by how both fared.

    Attributes:
        n: All of them.
        both: Those that were bad in both arms.
        candidate: Those that were bad in the candidate's only.
        control: Those that were bad in control's only.

    Raises:
        ValueError: A number is negative, or the three exceed *n*.
    """

    n: int = 0
    both: int = 0
    candidate: int = 0
    control: int = 0

    def __attrs_post_init__(self) -> None:
        bad = (self.both, self.candidate, self.control)
        if min(bad) < 0 or sum(bad) > self.n:
            msg = (
                f"pairs: got {' + '.join(map(str, bad))} bad of {self.n}; write counts"
                " from 0 that add up to at most n"
            )
            raise ValueError(msg)

    def merge(self, other: Pairs) -> Pairs:
        """Add both, which are about different units."""
        return Pairs(
            n=self.n + other.n,
            both=self.both + other.both,
            candidate=self.candidate + other.candidate,
            control=self.control + other.control,
        )

    @classmethod
    def from_json(cls, value: Mapping[str, JSON]) -> Pairs:
        """Read what an observation's `to_json` wrote."""
        return cls(**{name: int(cast("int", n)) for name, n in value.items()})
