"""What callers give the gate, checked before anything is looked up or written."""

from __future__ import annotations

from reprlib import repr as brief

from ..exceptions import GateError
from ..model import Action, Change, Ruling


NAME, TEXT = 200, 10_000
"""The most characters of a name, and of what is said."""


def text(value: object, what: str, *, write: str, most: int, least: int = 1) -> str:
    """
    Return *value* if it is text that can be written down, without blanks around it.

    Raises:
        GateError: It is no text, too short or too long, or holds half a character.
    """
    if not isinstance(value, str):
        msg = f"{what}={brief(value)}, a {type(value).__name__}; write {write}"
        raise GateError(msg)
    stripped = value.strip()
    if len(stripped) < least:
        msg = f"{what}={brief(value)}; write {write}"
        raise GateError(msg)
    if len(stripped) > most:
        msg = f"{what}={brief(value)}, {len(stripped)} characters; write {most} at most"
        raise GateError(msg)
    if not stripped.isascii() and not _writable(stripped):
        msg = (
            f"{what}={brief(value)}, which holds a lone surrogate;"
            " write text that UTF-8 has bytes for"
        )
        raise GateError(msg)
    return stripped


def _writable(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def yes_or_no(value: object, what: str) -> bool:
    """
    Return *value* if it is True or False, and nothing that merely counts as that.

    Raises:
        GateError: It is not: the text "no" would be a yes.
    """
    if not isinstance(value, bool):
        msg = f"{what}={brief(value)}; write True or False"
        raise GateError(msg)
    return value


def number(value: object, what: str) -> int:
    """
    Return *value* if it can be the number of an intent.

    Raises:
        GateError: It cannot.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 2**63:
        msg = f"{what}={brief(value)}; write a number that in_doubt() lists"
        raise GateError(msg)
    return value


def subject(value: object, call: str) -> None:
    """
    Check that the gate can rule on *value*.

    Raises:
        GateError: It is neither an action nor a change, or is not called by text.
    """
    if not isinstance(value, Action | Change):
        kinds = "a legion.Action"
        if call == "review":
            kinds += " or a legion.Change"
        msg = f"{call}: got {brief(value)}, a {type(value).__name__}; write {kinds}"
        raise GateError(msg)
    name = value.name if isinstance(value, Action) else value.target
    for what, given in (("kind", value.kind), ("name", name)):
        text(given, f"{call}: got {what}", write="what it is called", most=TEXT)


def action(value: object, fn: object) -> None:
    """
    Check that the gate can execute *value* by calling *fn*.

    Raises:
        GateError: It cannot, before anything was written down.
    """
    if not isinstance(value, Action):
        subject(value, "execute")
        msg = "execute: got a legion.Change; write a legion.Action"
        raise GateError(msg)
    if value.key is not None:
        write = "a text, the same for the same act, or None"
        text(value.key, "execute: got key", write=write, most=TEXT)
    if not callable(fn):
        msg = f"execute: got {brief(fn)} to call; write the function that does it"
        raise GateError(msg)


def ruling(value: object) -> None:
    """
    Check that *value* is a ruling.

    Raises:
        GateError: It is not.
    """
    if not isinstance(value, Ruling):
        msg = f"consume: got {brief(value)}; write the ruling that review returned"
        raise GateError(msg)


def function(value: object) -> None:
    """
    Check that *value* can be guarded.

    Raises:
        GateError: It cannot be called.
    """
    if not callable(value):
        msg = f"guard: got {brief(value)}; write the function to stand before"
        raise GateError(msg)
