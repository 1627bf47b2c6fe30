"""Evidence for and against one rule of a plan: the seam for statistics."""

from __future__ import annotations

from typing import Protocol

from ...canonical import JSON
from ...model import Finding
from .units import Seen
from .watch import Watch


class Evidence(Protocol):
    """
    What is known of one rule.

    `log_bad` and `log_good` are logs of e-values, in nats: 0 says nothing, and
    ln(1 / alpha) or more is proof at level alpha however often one has looked.
    """

    @property
    def log_bad(self) -> float:
        """Evidence of harm, beyond what the rule allows."""
        ...

    @property
    def log_good(self) -> float:
        """Evidence that the rule holds."""
        ...

    @property
    def fact(self) -> bool:
        """Whether chance has no part in it: harm is acted on at once, and is free."""
        ...

    @property
    def watches(self) -> tuple[Watch, ...]:
        """Times beyond which its units are bad, to be set before they come."""
        ...

    def update(self, seen: Seen) -> None:
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
