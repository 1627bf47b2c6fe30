"""A look at a state file that leaves everything as it is."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile

from pathlib import Path
from urllib.parse import quote

import attrs

from ..exceptions import StateError
from .fault import translate
from .format import recognise, refuse_scrap


_BESIDE = "mode=ro&readonly_shm=1"
_ALONE = "mode=ro&immutable=1"


@attrs.define(eq=False)
class Look:
    """
    An open state file that is only read.

    SQLite itself writes where it only reads: a write-ahead log and an index of it appear
    beside the file, or are written to. So a file without a log is read as one that does
    not change, and it is noticed if it does; beside a running host its own index is
    read; and where a log was left or copied without its index, both are read from a
    copy elsewhere.

    Attributes:
        connection: The connection.
    """

    connection: sqlite3.Connection
    _path: str = attrs.field(alias="path")
    _stamp: tuple[int, ...] | None = attrs.field(alias="stamp")
    _copy: tempfile.TemporaryDirectory[str] | None = attrs.field(alias="copy")

    @classmethod
    def at(cls, path: str, *, timeout_s: float) -> Look:
        """
        Open *path* for reading only.

        Raises:
            StateError: It is not there, may not be read, or is not legion's.
            StateCorruptError: Its bytes are damaged.
        """
        _refuse_nothing(path)
        refuse_scrap(path)
        try:
            try:
                return cls._opened(path, timeout_s=timeout_s)
            except sqlite3.OperationalError as error:
                if error.sqlite_errorname != "SQLITE_CANTOPEN":
                    raise
                # A host that ended took its log away between our look and SQLite's.
                return cls._opened(path, timeout_s=timeout_s)
        except (sqlite3.Error, UnicodeDecodeError) as error:
            if getattr(error, "sqlite_errorname", "") == "SQLITE_CANTOPEN":
                msg = f"it may not be read; write a path that this user may read ({error})"
                raise StateError(path, msg) from error
            raise translate(error, path, timeout_s=timeout_s) from error

    @classmethod
    def _opened(cls, path: str, *, timeout_s: float) -> Look:
        real = os.path.realpath(path)  # where SQLite keeps the log of a link
        log, index = Path(f"{real}-wal"), Path(f"{real}-shm")
        stamp, copy, place, how = None, None, real, _BESIDE
        waiting = _size_of(log)
        if waiting is None or not (waiting or index.is_file()):
            stamp, how = _stamp_of(path), _ALONE
        elif not index.is_file():
            copy = _copied(path, Path(real), log)
            place, how = str(Path(copy.name) / Path(real).name), "mode=rw"
        look = cls(_connected(place, how, timeout_s), path, stamp, copy)
        try:
            _refuse_bare(look.connection, path)
        except BaseException:
            look.close()
            raise
        return look

    def confirm(self) -> None:
        """
        Raise if what was read may be half of one state and half of another.

        Raises:
            StateError: Another process wrote to a file that nobody had open.
        """
        if self._stamp is not None and self._stamp != _stamp_of(self._path):
            msg = "it was written to while it was read; read it again"
            raise StateError(self._path, msg)

    def close(self) -> None:
        """Let go of it."""
        self.connection.close()
        if self._copy is not None:
            self._copy.cleanup()


def read_head(path: str) -> None:
    """
    Read the head of the file alone, without its log.

    Raises:
        StateError: It is not there, or does not begin as a database.
    """
    _refuse_nothing(path)
    refuse_scrap(path)
    try:
        connection = _connected(os.path.realpath(path), _ALONE, 0.0)
        try:
            connection.execute("PRAGMA schema_version").fetchone()
        finally:
            connection.close()
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise translate(error, path, timeout_s=0.0) from error


def _refuse_nothing(path: str) -> None:
    """Raise where there is no file to read at *path*, or an empty one."""
    file = Path(path)
    if file.is_dir():
        msg = "is a directory; write the path of the file in it, legion.db"
    elif not file.is_file():
        msg = "no such file; write the path of a state file, such as legion.db"
    elif not file.stat().st_size:
        msg = "is empty, and was never a state file; write the path of one"
    else:
        return
    raise StateError(path, msg)


def _refuse_bare(connection: sqlite3.Connection, path: str) -> None:
    if recognise(connection, path):
        msg = "nothing was ever written in it; write the path of a state file"
        raise StateError(path, msg)


def _connected(path: str, how: str, timeout_s: float) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"file://{quote(os.fsencode(path))}?{how}",
        uri=True,
        timeout=timeout_s,
        isolation_level=None,
        check_same_thread=False,
    )
    connection.execute("PRAGMA query_only = ON")
    return connection


def _size_of(file: Path) -> int | None:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return None


def _stamp_of(path: str) -> tuple[int, ...]:
    found = Path(path).stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


def _copied(path: str, *parts: Path) -> tempfile.TemporaryDirectory[str]:
    folder = tempfile.TemporaryDirectory(prefix="legion-")
    try:
        for part in parts:
            shutil.copyfile(part, Path(folder.name) / part.name)
    except OSError as error:
        folder.cleanup()
        msg = f"it cannot be read ({error.strerror}); write a path that can"
        raise StateError(path, msg) from error
    return folder
