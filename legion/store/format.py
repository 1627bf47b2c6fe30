"""Whose file it is: the mark in its head, and the version of its format."""

from __future__ import annotations

import sqlite3

from collections.abc import Callable
from pathlib import Path

from ..exceptions import StateCorruptError, StateError


APPLICATION = 0x4C47_4E31
"""What SQLite's ``application_id`` holds in a file of legion's: LGN1."""
FORMAT = 1
"""The format that this version writes, in ``user_version``."""

_TRIES = 100
_SMALLEST = 512


def refuse_scrap(path: str) -> None:
    """
    Raise if *path* holds something too short to be a database.

    SQLite takes such a file for an empty one and writes over it. It is looked at from
    outside only: closing a second handle would drop the locks of the first.
    """
    try:
        size = Path(path).stat().st_size
    except OSError:
        return
    if 0 < size < _SMALLEST:
        msg = f"it holds {size} bytes that are no state file; write another path"
        raise StateCorruptError(path, msg)


def claim(
    connection: sqlite3.Connection,
    path: str,
    *,
    timeout_s: float,
    pause: Callable[[float], object],
) -> None:
    """
    Make sure that the file is legion's, or make an empty one so.

    A file of somebody else's is left untouched.

    Raises:
        StateError: The file is another program's or of another format, or its place
            cannot hold a write-ahead log.
    """
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cell_size_check = ON")
    connection.execute("PRAGMA fullfsync = ON")
    fresh = recognise(connection, path)
    _use_write_ahead_log(connection, path, timeout_s=timeout_s, pause=pause)
    if fresh:
        connection.execute("BEGIN IMMEDIATE")
        try:
            connection.execute(f"PRAGMA application_id = {APPLICATION}")
            connection.execute(f"PRAGMA user_version = {FORMAT}")
            connection.execute("COMMIT")
        except sqlite3.Error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def recognise(connection: sqlite3.Connection, path: str) -> bool:
    """
    Return whether the file is still empty.

    Raises:
        StateError: It is another program's or of another format.
    """
    connection.execute("BEGIN")
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    connection.execute("COMMIT")
    if application == APPLICATION and version == FORMAT:
        return False
    if application == version == tables == 0:
        return True
    if application != APPLICATION:
        msg = "it is another program's database; write a path of its own for legion"
        raise StateError(path, msg)
    newer = "a newer legion" if version > FORMAT else "something else"
    msg = (
        f"its format is {version}, written by {newer}, and this legion knows {FORMAT};"
        " use the legion that wrote it, or write another path"
    )
    raise StateError(path, msg)


def _use_write_ahead_log(
    connection: sqlite3.Connection,
    path: str,
    *,
    timeout_s: float,
    pause: Callable[[float], object],
) -> None:
    for left in reversed(range(_TRIES)):
        try:
            (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
            break
        except sqlite3.OperationalError as error:
            # Two processes that turn a fresh file to WAL at once: one is told "busy"
            # at once, whatever the timeout says.
            if error.sqlite_errorname != "SQLITE_BUSY" or not left:
                raise
            pause(timeout_s / _TRIES)
    if mode not in {"wal", "memory"}:
        msg = (
            f"its file system has no write-ahead log (got {mode!r});"
            " write a path on a local disk"
        )
        raise StateError(path, msg)
