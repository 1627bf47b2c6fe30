"""The only file of the room that touches the disk: one file, its name and its lock."""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import stat
import threading
import weakref

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from ..exceptions import StateError
from ..store.owner import this_process


if TYPE_CHECKING:
    from typing_extensions import Buffer


_held: weakref.WeakSet[WriterLock] = weakref.WeakSet()


def _leave_to_parent() -> None:
    for lock in list(_held):
        lock.release()


os.register_at_fork(after_in_child=_leave_to_parent)


@attrs.define(eq=False)
class WriterLock:
    """
    The lock of the one process that writes, in a file beside that names it.

    Attributes:
        path: The file that is written. The one beside stays, and means nothing unless
            it is locked.
    """

    path: Path
    _handle: int = attrs.field(init=False, default=-1)
    _pid: int = attrs.field(init=False, factory=os.getpid)

    def __attrs_post_init__(self) -> None:
        beside = self.path.with_name(self.path.name + ".lock")
        self._handle = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(self._handle, 1_000, 0).decode() or "another process"
            self.release()
            msg = (
                f"is written by {holder} (host:pid:start); close the cache there, give "
                f"this one a path of its own, or open it with readonly=True"
            )
            raise StateError(str(self.path), msg) from error
        os.ftruncate(self._handle, 0)
        with contextlib.suppress(OSError):  # it holds though the disk is full
            os.pwrite(self._handle, this_process().encode(), 0)
        _held.add(self)

    def ours(self) -> bool:
        """Whether this process holds it, and is no child of the one that does."""
        return os.getpid() == self._pid

    def release(self) -> None:
        """Let others write; in a child, do not keep it when the parent lets it go."""
        _held.discard(self)
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def __del__(self) -> None:
        self.release()


@attrs.define(eq=False)
class CacheFile:
    """
    One file that is appended to, and replaced as a whole.

    Attributes:
        path: Its name.
        end: Where the next bytes go.
    """

    path: Path
    _handle: int
    end: int = attrs.field(init=False)
    _synced: int = attrs.field(init=False, default=0)
    # Whether it is yet to take the name of another.
    _begun: bool = attrs.field(default=False)
    # Whether the disk has its name.
    _named: bool = attrs.field(init=False, default=True)
    _syncing: threading.Lock = attrs.field(init=False, factory=threading.Lock)

    def __attrs_post_init__(self) -> None:
        self.end = os.fstat(self._handle).st_size

    @classmethod
    def open(cls, path: Path, *, readonly: bool) -> CacheFile:
        """Open a file that is there."""
        flags = os.O_RDONLY if readonly else os.O_RDWR
        return cls(path, os.open(path, flags | os.O_CLOEXEC))

    @classmethod
    def beside(cls, path: Path) -> CacheFile:
        """
        Begin what will replace *path*, to be read by nobody else until then.

        What a killed process began is removed.
        """
        name = path.with_name(path.name + ".new")
        name.unlink(missing_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        return cls(name, os.open(name, flags, 0o600), begun=True)

    def identity(self) -> tuple[int, int]:
        """Return what tells the file from the one that replaced it."""
        found = os.fstat(self._handle)
        return found.st_dev, found.st_ino

    def read(self, offset: int, size: int) -> bytes:
        """Return up to *size* bytes from *offset*."""
        parts, left = [], size
        while left > 0:
            part = os.pread(self._handle, min(left, 1 << 30), offset)
            if not part:
                break
            parts.append(part)
            offset, left = offset + len(part), left - len(part)
        return b"".join(parts)

    def read_into(self, offset: int, into: memoryview) -> int:
        """Fill *into* from *offset*, and return how many bytes there were."""
        done = 0
        while done < len(into):
            some = into[done : done + (1 << 30)]
            got = os.preadv(self._handle, [some], offset + done)
            if not got:
                break
            done += got
        return done

    def mapped(self) -> mmap.mmap:
        """Map the file: its pages are shared, and changes are this process's own."""
        return mmap.mmap(self._handle, 0, access=mmap.ACCESS_COPY)

    def append(self, parts: Iterable[Buffer]) -> None:
        """
        Write *parts* at the end, all or nothing.

        Raises:
            OSError: They cannot be written; the file ends where it did.
        """
        at = self.end
        try:
            for part in parts:
                rest = memoryview(part)
                while rest:
                    written = os.pwrite(self._handle, rest[: 1 << 30], at)
                    rest, at = rest[written:], at + written
        except OSError:
            self.cut(self.end)
            raise
        self.end = at

    def cut(self, size: int) -> None:
        """Leave off what comes after the first *size* bytes."""
        os.ftruncate(self._handle, size)
        self.end, self._synced = size, min(self._synced, size)

    def sync(self) -> None:
        """
        Wait until the disk has all that was written by now, and the name.

        Of those who wait at a time, one does it for all. Others may close the file
        meanwhile.

        Raises:
            OSError: The disk does not have it.
        """
        end = self.end
        with self._syncing:
            if self._synced < end:
                end, handle = self.end, os.dup(self._handle)
                try:
                    os.fsync(handle)
                finally:
                    os.close(handle)
                self._synced = end
            if not self._named:
                sync_folder(self.path.parent)
                self._named = True

    @property
    def synced(self) -> int:
        """Up to where the disk has it, since somebody waited for that."""
        return self._synced

    @property
    def unsynced(self) -> int:
        """Bytes that the disk may not have; those of another process among them."""
        return self.end - self._synced

    def rename(self, path: Path) -> None:
        """
        Take the name *path*, from whatever has it; `sync` has the disk know.

        Whoever could read what had it can read this one, and nobody else.

        Raises:
            OSError: It cannot be taken; everything is as it was.
        """
        with contextlib.suppress(FileNotFoundError):
            self._permit(path.stat())
        self.path.replace(path)
        self.path, self._begun, self._named = path, False, False

    def _permit(self, like: os.stat_result) -> None:
        mode, own = stat.S_IMODE(like.st_mode), os.fstat(self._handle)
        try:
            if (own.st_uid, own.st_gid) != (like.st_uid, like.st_gid):
                os.fchown(self._handle, like.st_uid, like.st_gid)
        except PermissionError:  # it is another user's, whose group may not be ours
            mode &= ~stat.S_IRWXG
        os.fchmod(self._handle, mode)

    def link(self, path: Path) -> None:
        """
        Give the file one more name.

        Raises:
            FileExistsError: Another one has it.
        """
        path.hardlink_to(self.path)

    def drop(self) -> None:
        """Remove it, unless it took another's name: there is no way back."""
        if self._begun:
            self.close()
            self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close it."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def __del__(self) -> None:
        self.close()


def sync_folder(folder: Path) -> None:
    """Make the names in *folder* survive a loss of power."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def real(path: Path) -> Path:
    """Return the one name of a file: from wherever, whatever links lead to it."""
    return Path(os.path.realpath(path))


def stands(path: Path) -> tuple[int, int] | None:
    """Return the identity of the file that has the name now, or None."""
    with contextlib.suppress(FileNotFoundError):
        found = path.stat()
        return found.st_dev, found.st_ino
    return None
