"""The append-only record of everything that was decided and done."""

from .journal import Journal
from .verification import Verification


__all__ = ["Journal", "Verification"]
