"""What SQLite says, in words that tell what to do."""

from __future__ import annotations

import sqlite3

from ..exceptions import StateCorruptError, StateError


_ADVICE = {
    "READONLY": "it may not be written; write a path that this user may write to",
    "PERM": "it may not be used by this user; write a path that this user may use",
    "CANTOPEN": "it cannot be opened; write a path in a directory that exists"
    " and that this user may write to",
    "FULL": "there is no room left, and nothing was written; make room and try again",
    "IOERR": "the disk did not take it; look for a full or failing disk,"
    " then read back what is there",
    "NOTABLE": "nothing of that kind was ever written in it;"
    " write the path of a file that holds it",
    "NOMEM": "there is no memory left; nothing was written",
}
_DAMAGED = "its bytes are not what was written; put a copy from before in its place"


def translate(
    error: sqlite3.Error | UnicodeDecodeError, path: str, *, timeout_s: float
) -> StateError:
    """Return the error to raise for *error*, which the caller chains to it."""
    if isinstance(error, UnicodeDecodeError):
        return StateCorruptError(path, f"{_DAMAGED} ({error.object!r})")
    full_name = getattr(error, "sqlite_errorname", "") or ""
    name = full_name.removeprefix("SQLITE_").partition("_")[0]
    if str(error).startswith("no such table"):
        name = "NOTABLE"
    if name == "NOTADB":
        msg = f"it is no state file, or its head is damaged ({error}); write another"
        return StateCorruptError(path, msg + " path, or put back a copy from before")
    if name == "CORRUPT" or "decode to UTF-8" in str(error):
        return StateCorruptError(path, f"{_DAMAGED} ({error})")
    if name in {"BUSY", "LOCKED"}:
        return locked(path, "another process", timeout_s=timeout_s)
    if name in _ADVICE:
        return StateError(path, f"{_ADVICE[name]} ({error})")
    return StateError(path, f"SQLite refused: {error}")


def is_garbled(error: UnicodeDecodeError) -> bool:
    """
    Tell whether SQLite raised this, of a damaged file.

    Its message quotes what it could not understand, and Python cannot decode that.
    """
    return error.object.startswith(b"malformed database schema")


def locked(path: str, holder: str, *, timeout_s: float) -> StateError:
    """Return the error for a lock that *holder* did not let go in time."""
    msg = (
        f"{holder} has held it for longer than {timeout_s:g} s;"
        " end that one, or open it with a larger timeout_s"
    )
    return StateError(path, msg)
