"""What callers give the journal, checked before anything is looked up."""

from __future__ import annotations

import re

from reprlib import repr as brief

from ..exceptions import JournalError


_ROOT = re.compile("[0-9a-fA-F]{64}")


def integer(value: object, what: str) -> int:
    """
    Return *value* if it is an integer; its range is the caller's to check.

    Raises:
        JournalError: It is not.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        msg = f"journal: got {what}={brief(value)}; write a whole number"
        raise JournalError(msg)
    return value


def whole(value: object, what: str) -> int:
    """
    Return *value* if it is a whole number from 0.

    Raises:
        JournalError: It is not.
    """
    if (number := integer(value, what)) < 0:
        msg = f"journal: got {what}={number}; write a whole number from 0"
        raise JournalError(msg)
    return number


def text(value: object, what: str, *, write: str) -> str:
    """
    Return *value* if it is text that UTF-8 has bytes for.

    Raises:
        JournalError: It is not, as with a lone surrogate.
    """
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            write += ", without a lone surrogate"
        else:
            return value
    msg = f"journal: got {what}={brief(value)}; write {write}"
    raise JournalError(msg)


def root(value: object) -> str:
    """
    Return *value* in lower case if it can be a root.

    Raises:
        JournalError: It cannot.
    """
    if not isinstance(value, str) or not _ROOT.fullmatch(value):
        msg = (
            f"verify: got root={brief(value)}; write 64 digits of hex, as `root` gives"
        )
        raise JournalError(msg)
    return value.lower()
