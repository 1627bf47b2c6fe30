"""Who says what may be stored."""

from __future__ import annotations

from typing import Protocol


class Admission(Protocol):
    """What the cache asks of plugins; `legion.Plugins` has it."""

    def admit(self, query: str, value: object) -> bool:
        """Say whether an answer may be stored."""
        ...
