"""What a tool answered, kept for the mirrored run of the same unit."""

from __future__ import annotations

import copy

from typing import Self, TypeVar

import attrs


E = TypeVar("E", bound=Exception)


@attrs.frozen(eq=False)
class Answer:
    """
    What a call returned or raised, as a copy that nobody else holds.

    Attributes:
        value: What it returned.
        error: What it raised instead, or None.
    """

    value: object = None
    error: Exception | None = None

    @classmethod
    def returned(cls, value: object) -> Self | None:
        """Return the answer, or None where it cannot be copied: a socket, a stream."""
        try:
            return cls(copy.deepcopy(value))
        except Exception:  # noqa: BLE001 - a stranger's value may raise anything
            return None

    @classmethod
    def raised(cls, error: Exception) -> Self | None:
        """Return the answer, or None where the exception cannot be copied."""
        try:
            return cls(error=_copied(error))
        except Exception:  # noqa: BLE001 - a stranger's class may raise anything
            return None

    def give(self) -> object:
        """Return the value, or raise the error."""
        if self.error is not None:
            raise self.error
        return self.value


def _copied(error: E) -> E:
    """Return an error of the same type and content, without where it was raised."""
    # Not by its constructor, whose arguments need not be those that it keeps.
    new = type(error).__new__(type(error), *error.args)
    new.args = copy.deepcopy(error.args)
    new.__dict__.update(copy.deepcopy(error.__dict__))
    return new
