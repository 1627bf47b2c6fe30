"""How errors of plugins are put into words."""

from __future__ import annotations

from collections.abc import Iterable
from reprlib import Repr


_LONGEST_LINE = 200

_repr = Repr()
_repr.maxstring = _repr.maxother = 60


class WrongAnswerError(TypeError):
    """A plugin answered with something that its hook has no use for."""


class NoAnswerError(TimeoutError):
    """A plugin did not answer within its deadline."""


class StillHangingError(NoAnswerError):
    """A plugin was not called, because one of its calls hangs."""


def line(error: BaseException) -> str:
    """Return *error* as one line of at most 200 characters."""
    try:
        text = " ".join(str(error).split())
        # It is journalled, and half a surrogate pair cannot be written down.
        text = text.encode("utf-8", "backslashreplace").decode()
    except Exception:  # noqa: BLE001 - a plugin's exception may fail at anything
        text = "(its message cannot be printed)"
    if not isinstance(error, WrongAnswerError | NoAnswerError):
        text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return text if len(text) <= _LONGEST_LINE else f"{text[: _LONGEST_LINE - 1]}…"


def brief(value: object) -> str:
    """Return a short ``repr`` of *value* on one line, whatever it does."""
    try:
        return " ".join(_repr.repr(value).split())
    except Exception:  # noqa: BLE001 - a plugin's object may fail at anything
        return f"<{type(value).__name__}>"


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a hint: the nearest of *known*, or all of them."""
    import difflib

    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if near:
        return f"write {near[0]}"
    return f"write one of {', '.join(known)}" if known else "there is none"
