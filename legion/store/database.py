"""
One SQLite file, shared by everything that has to commit together.

Nothing else in legion opens SQLite. One connection a process serves all its threads,
one after the other, so a transaction of one thread is never seen half done by another.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
import weakref

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import attrs

from ..exceptions import StateCorruptError, StateError
from .fault import is_garbled, locked, translate
from .format import claim, refuse_scrap
from .look import Look


logger = logging.getLogger("legion")

Value: TypeAlias = str | bytes | int | float | None


@attrs.define(eq=False)
class _Session:
    """What one process knows of its own connection."""

    connection: sqlite3.Connection
    pid: int
    look: Look | None = None
    file: tuple[int, int] | None = None
    lock: threading.RLock = attrs.field(factory=threading.RLock)
    synchronous: str = ""
    durable: bool = False
    owner: int = 0
    depth: int = 0
    failed: BaseException | None = None
    callbacks: list[Callable[[], object]] = attrs.field(factory=list)

    def close(self) -> None:
        """Let go of the connection."""
        (self.connection if self.look is None else self.look).close()


class Database:
    """
    A state file.

    A process that was forked opens the file anew: a connection must not cross a fork.
    Close it, or use it as a context manager.

    Args:
        path: The file; it is made when missing. ``":memory:"`` keeps everything in
            this process, for tests.
        readonly: Whether nothing at all is written: neither the file, which must be
            there and may be somebody else's, nor anything beside it.
        timeout_s: How long to wait for a lock of another thread or process.

    Raises:
        StateError: The file cannot be opened, belongs to another program, or was
            written by a newer legion.
        StateCorruptError: The file's bytes are damaged.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        readonly: bool = False,
        timeout_s: float = 5.0,
    ) -> None:
        self.path = _placed(os.fspath(path))
        self.readonly = readonly
        self._timeout_s = timeout_s
        self._closed = False
        self._sessions: dict[int, _Session] = {}
        self._forgotten = weakref.finalize(self, _close_own, self._sessions)
        if not self.path:
            msg = 'the path is empty; write the name of a file, or ":memory:"'
            raise StateError(repr(self.path), msg)
        self._session()

    def __enter__(self) -> Database:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Database({self.path!r})"

    @contextmanager
    def transaction(self, *, durable: bool = True) -> Iterator[sqlite3.Connection]:
        """
        Run the block in one transaction: all of it is written, or nothing.

        A transaction inside another of the same thread joins it. If a joined one fails,
        the outermost is taken back too, even where its error was caught in between.

        Args:
            durable: Whether it must survive a loss of power once the block is left.
                If not, it still survives the death of the process.

        Raises:
            StateError: The file is locked, full or not writable, or is only read;
                nothing was written.
        """
        if self.readonly:
            msg = "it was opened to be read only; open it without readonly=True"
            raise StateError(self.path, msg)
        session = self._session()
        callbacks: list[Callable[[], object]] = []
        with self._held(session):
            if session.depth:
                with self._joined(session, durable=durable):
                    yield session.connection
            else:
                with self._outermost(session, durable=durable):
                    yield session.connection
                callbacks, session.callbacks = session.callbacks, []
        for callback in callbacks:
            _run(callback)

    def read(self, sql: str, parameters: Sequence[Value] = ()) -> list[tuple]:  # type: ignore[type-arg]
        """
        Return all rows of one query.

        Inside a transaction of this thread it sees what that has written so far.
        """
        with self._held(self._session()) as session:
            try:
                return session.connection.execute(sql, parameters).fetchall()
            finally:
                if session.look is not None:
                    session.look.confirm()

    def ensure(self, schema: str) -> None:
        """
        Run ``CREATE ... IF NOT EXISTS`` statements, each ended by a semicolon.

        Where the file is only read, what is not there is an error once it is read.
        """
        if self.readonly:
            return
        with self.transaction(durable=False) as connection:
            statement = ""
            for part in schema.split(";")[:-1]:
                statement += part + ";"
                if sqlite3.complete_statement(statement):
                    connection.execute(statement)
                    statement = ""

    def after_commit(self, callback: Callable[[], object]) -> None:
        """
        Call *callback* once the outermost transaction of this thread is written.

        Without a transaction it is called at once; of one that is taken back, never.
        By then the lock is free. What it raises is logged and undoes nothing.
        """
        session = self._session()
        if session.depth and session.owner == threading.get_ident():
            session.callbacks.append(callback)
        else:
            _run(callback)

    def data_version(self) -> int:
        """Return a number that changes whenever another process has committed."""
        return int(self.read("PRAGMA data_version")[0][0])

    def check(self) -> list[str]:
        """Have SQLite read the whole file; return what is wrong, or nothing."""
        try:
            rows = self.read("PRAGMA integrity_check")
        except StateCorruptError as error:
            return [str(error)]
        return [str(row[0]) for row in rows if row[0] != "ok"]

    def close(self) -> None:
        """Let go of the file; it cannot be used afterwards."""
        if self._closed:
            return
        session = self._sessions.get(os.getpid())
        if session is not None:
            with self._held(session):
                if session.depth:
                    msg = "it cannot be closed inside a transaction; leave that first"
                    raise StateError(self.path, msg)
                session.close()
                del self._sessions[session.pid]
        self._closed = True
        self._forgotten.detach()

    def _session(self) -> _Session:
        session = self._sessions.get(os.getpid())
        return session if session is not None else self._open()

    def _open(self) -> _Session:
        if self._closed:
            raise StateError(self.path, "it is closed; open it again")
        if self._sessions:
            if self.path == ":memory:":
                msg = "memory is not shared with a forked process; write a file's path"
                raise StateError(self.path, msg)
            for stranger in self._sessions.values():
                _keep_for_ever(stranger.connection)
        mine = self._begun()
        session = self._sessions.setdefault(mine.pid, mine)
        if session is not mine:  # another thread was faster
            mine.close()
        return session

    def _begun(self) -> _Session:
        if not self.readonly:
            connection = self._connect()
            return _Session(connection, os.getpid(), file=_file_at(self.path))
        look = Look.at(self.path, timeout_s=self._timeout_s)
        return _Session(look.connection, os.getpid(), look)

    def _connect(self) -> sqlite3.Connection:
        refuse_scrap(self.path)
        try:
            connection = sqlite3.connect(
                self.path,
                timeout=self._timeout_s,
                isolation_level=None,
                check_same_thread=False,
            )
        except sqlite3.Error as error:
            raise translate(error, self.path, timeout_s=self._timeout_s) from error
        try:
            claim(connection, self.path, timeout_s=self._timeout_s, pause=time.sleep)
        except BaseException as error:
            connection.close()
            if isinstance(error, sqlite3.Error | UnicodeDecodeError):
                raise translate(error, self.path, timeout_s=self._timeout_s) from error
            raise
        return connection

    @contextmanager
    def _held(self, session: _Session) -> Iterator[_Session]:
        if not session.lock.acquire(timeout=self._timeout_s):
            raise locked(self.path, "another thread", timeout_s=self._timeout_s)
        try:
            yield session
        except sqlite3.Error as error:
            if self._closed:
                raise StateError(self.path, "it is closed; open it again") from error
            raise translate(error, self.path, timeout_s=self._timeout_s) from error
        except UnicodeDecodeError as error:
            if not is_garbled(error):
                raise
            raise translate(error, self.path, timeout_s=self._timeout_s) from error
        finally:
            session.lock.release()

    @contextmanager
    def _joined(self, session: _Session, *, durable: bool) -> Iterator[None]:
        if durable and not session.durable:
            msg = (
                "a durable transaction was begun inside one that is not;"
                " write durable=True at the outer one"
            )
            raise StateError(self.path, msg)
        session.depth += 1
        try:
            yield
        except BaseException as error:
            session.failed = session.failed or error
            raise
        finally:
            session.depth -= 1

    @contextmanager
    def _outermost(self, session: _Session, *, durable: bool) -> Iterator[None]:
        self._begin(session, durable=durable)
        try:
            yield
            self._raise_if_doomed(session)
            session.connection.execute("COMMIT")
        except BaseException:
            session.callbacks.clear()
            if session.pid == os.getpid() and session.connection.in_transaction:
                session.connection.execute("ROLLBACK")
            raise
        finally:
            session.depth = 0
            session.failed = None

    def _begin(self, session: _Session, *, durable: bool) -> None:
        if session.file != _file_at(self.path):
            # SQLite would write on into a file that nobody can open any more.
            msg = (
                "it was removed or replaced since it was opened; put it back, or start"
            )
            raise StateError(self.path, msg + " this process again")
        synchronous = "FULL" if durable else "NORMAL"
        if session.synchronous != synchronous:
            session.connection.execute(f"PRAGMA synchronous = {synchronous}")
            session.synchronous = synchronous
        session.connection.execute("BEGIN IMMEDIATE")
        session.durable = durable
        session.owner = threading.get_ident()
        session.depth = 1

    def _raise_if_doomed(self, session: _Session) -> None:
        if session.pid != os.getpid():
            msg = "the process was forked inside a transaction; that is the parent's"
            raise StateError(self.path, msg)
        if session.failed is not None:
            msg = "a transaction inside this one failed, so all of it is taken back"
            raise StateError(self.path, msg) from session.failed


def _placed(path: str) -> str:
    """Return *path* as it is meant now, wherever the process may go later."""
    return str(Path(path).absolute()) if path and path != ":memory:" else path


def _file_at(path: str) -> tuple[int, int] | None:
    """Return which file lies at *path*, or None."""
    try:
        found = os.stat(path)  # noqa: PTH116 - each transaction pays for it
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _run(callback: Callable[[], object]) -> None:
    try:
        callback()
    except Exception:
        logger.warning(
            "%r raised; the commit before it stands", callback, exc_info=True
        )


def _close_own(sessions: dict[int, _Session]) -> None:
    """Close what nobody closed, once nobody has it any more; never a parent's."""
    session = sessions.pop(os.getpid(), None)
    if session is not None:
        session.connection.close()


def _keep_for_ever(connection: sqlite3.Connection) -> None:
    """
    Keep the parent's connection from ever being closed in this process.

    SQLite warns that even closing it here may harm the parent's file ("How To Corrupt
    An SQLite Database File", section 2.6), and the interpreter closes what it frees.
    """
    import ctypes

    ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))
