"""The one file that holds state, questions and the journal."""

from .database import Database
from .memory import Memory


__all__ = ["Database", "Memory"]
