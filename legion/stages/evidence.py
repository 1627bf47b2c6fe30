"""Evidence for and against one rule of a plan: the seam for statistics."""

from __future__ import annotations

from typing import Protocol

from ..canonical import JSON
from ..model import Finding, Observation


class Evidence(Protocol):
    """
    What is known of one rule.

    `bad` and `good` are e-values: 1 says nothing, and 1 / alpha or more is proof at
    level alpha however often one has looked. A plain threshold knows only 1 and
    infinity.
    """

    @property
    def bad(self) -> float:
        """Evidence of harm."""
        ...

    @property
    def good(self) -> float:
        """Evidence that the rule holds."""
        ...

    def update(self, observation: Observation) -> None:
        """Take one more observation into account; reads no clock."""
        ...

    def finding(self) -> Finding:
        """Return where the rule stands now."""
        ...

    def to_json(self) -> JSON:
        """Return what `restore` takes up again."""
        ...

    def restore(self, value: JSON) -> None:
        """Go on from what `to_json` returned."""
        ...
