"""The command line: a thin face over the names that ``import legion`` offers."""

from .main import main


__all__ = ["main"]
