"""MODULE:FACTORY: a function of the user's that a command calls."""

from __future__ import annotations

import importlib
import sys
import traceback

from collections.abc import Callable
from pathlib import Path
from typing import cast

import attrs

from ..exceptions import LegionError


@attrs.frozen
class Factory:
    """
    A function that an option names.

    Attributes:
        option: The option, for errors.
        name: What was typed.
        write: What to write instead where it is wrong.
    """

    option: str
    name: str
    write: str

    def __call__(self, *arguments: object) -> object:
        """
        Call the function.

        Raises:
            LegionError: There is none, or it raises.
        """
        found = self._found()
        try:
            return found(*arguments)
        except Exception as error:
            raise self.wrong(why=_raised(error)) from error

    def _found(self) -> Callable[..., object]:
        module, _, attribute = self.name.partition(":")
        if not module or not attribute:
            raise self.wrong(why="is not MODULE:FACTORY")
        if "" not in sys.path:
            sys.path.insert(0, "")
        try:
            found = getattr(importlib.import_module(module), attribute)
        except Exception as error:
            raise self.wrong(why=_raised(error)) from error
        if not callable(found):
            raise self.wrong(why=f"is a {type(found).__name__}, not a function")
        return cast("Callable[..., object]", found)

    def refuse_unless_there(self) -> None:
        """
        Find the function before anything else is done.

        Raises:
            LegionError: There is none.
        """
        self._found()

    def wrong(self, *, why: str) -> LegionError:
        """Return the error that says what to write instead."""
        msg = f"{self.option}: {self.name!r} {why}; write {self.write}"
        return LegionError(msg)


def _raised(error: Exception) -> str:
    """Say what was raised, and where, if that is in the user's code."""
    said = f"raised {type(error).__name__}: {error}"
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename != __file__ and not frame.filename.startswith("<frozen")
    ]
    if not frames or frames[-1].filename == importlib.__file__:
        return said
    return f"{said} ({Path(frames[-1].filename).name}, line {frames[-1].lineno})"
