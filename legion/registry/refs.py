"""Names that point at snapshots, a file of one line each, and the log of moves."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import re

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import attrs

from .. import canonical
from ..canonical import JSON
from ..exceptions import SnapshotCorruptError, SnapshotError
from .disk import staging, sync_folders


logger = logging.getLogger("legion")

LIVE = "live"
"""The name of the pointer at the snapshot in use."""

DIGEST = re.compile("[0-9a-f]{64}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,127}")


@attrs.frozen(kw_only=True)
class Swing:
    """
    One move of a pointer.

    Attributes:
        ref: The pointer: ``live``, a version or a ref.
        before: Where it pointed, or "".
        after: Where it was to point, or "" where it was taken away.
        at: When, in seconds since the epoch, wall clock.
        detail: What was said with it.
    """

    ref: str
    before: str
    after: str
    at: float
    detail: Mapping[str, JSON] = attrs.field(factory=dict)


@attrs.define(eq=False)
class Refs:
    """
    The pointers of one registry.

    Args:
        folder: The registry's folder.
        aside: Where files are written before they get their names.
    """

    folder: Path
    aside: Path

    def place(self, name: str, *, version: bool = False) -> Path:
        """Return the file of a pointer."""
        if name == LIVE:
            return self.folder / LIVE
        return self.folder / ("versions" if version else "refs") / name

    def read(self, name: str, *, version: bool = False) -> str:
        """
        Return the digest that a pointer holds, or "" where there is none.

        Raises:
            SnapshotCorruptError: The file holds something else.
        """
        place = self.place(name, version=version)
        if not place.is_file():
            return ""
        line = place.read_bytes()
        digest = line.removesuffix(b"\n").decode(errors="replace")
        if not DIGEST.fullmatch(digest) or not line.endswith(b"\n"):
            msg = f"{place} holds no digest; point it at a snapshot again"
            raise SnapshotCorruptError(msg, digest="", path=str(place))
        return digest

    def names(self, *, version: bool) -> list[str]:
        """Return the names of all versions, or of all refs, sorted."""
        folder = self.place("_", version=version).parent
        return sorted(place.name for place in folder.glob("*"))

    def pointers(self) -> list[tuple[str, bool]]:
        """Return all versions and refs, each with whether it is a version."""
        return [(name, v) for v in (True, False) for name in self.names(version=v)]

    def bind(
        self,
        name: str,
        digest: str,
        *,
        at: float,
        version: bool,
        detail: Mapping[str, JSON] | None = None,
    ) -> None:
        """
        Point a version or a ref at a snapshot.

        Raises:
            SnapshotError: *name* is a version of something else, or of the other sort.
        """
        with self._locked():
            taken = self._version(name)
            if version and taken == digest and not self._damaged(name):
                return
            if taken and taken != digest:
                msg = (
                    f"registry {self.folder}: version {name!r} is {taken[:12]} for good"
                    f" and cannot become {digest[:12]}; write another version"
                )
                raise SnapshotError(msg)
            if (taken and not version) or (
                version and name in self.names(version=False)
            ):
                sort = "version" if taken else "ref"
                msg = (
                    f"registry {self.folder}: {name!r} is a {sort}; write another name"
                )
                raise SnapshotError(msg)
            self.write(name, digest, at=at, version=version, detail=detail)

    def _version(self, name: str) -> str:
        """Return what a version means; where its file is damaged, ask the log."""
        try:
            return self.read(name, version=True)
        except SnapshotCorruptError:
            moves = [move.after for move in self.moves() if move.ref == name]
            if not moves:
                raise
            return moves[-1]

    def _damaged(self, name: str) -> bool:
        try:
            self.read(name, version=True)
        except SnapshotCorruptError:
            return True
        return False

    def write(
        self,
        name: str,
        digest: str,
        *,
        at: float,
        version: bool = False,
        detail: Mapping[str, JSON] | None = None,
    ) -> None:
        """
        Write the move down, then make it; a reader sees the old or the new.

        A log that takes no more does not keep anybody from going back.
        """
        place = self.place(name, version=version)
        try:
            before = self.read(name, version=version)
        except SnapshotCorruptError:
            before = ""
        place.parent.mkdir(parents=True, exist_ok=True)
        move = Swing(ref=name, before=before, after=digest, at=at, detail=detail or {})
        try:
            self._log(move)
        except OSError:
            logger.warning("registry: not in the log of moves: %s", move, exc_info=True)
        if digest:
            with staging(self.aside) as staged:
                staged.add(place, f"{digest}\n".encode(), mode=0o644)
        else:
            place.unlink(missing_ok=True)
        sync_folders({place.parent, self.folder})

    def moves(self) -> tuple[Swing, ...]:
        """
        Return the moves that were written down, oldest first.

        A move is written down before it is made, so the last may not have happened. A
        line that was cut off by a crash is left out.
        """
        place = self.folder / "reflog"
        lines = place.read_bytes().splitlines() if place.is_file() else []
        return tuple(move for line in lines if (move := _swing(line)) is not None)

    def _log(self, move: Swing) -> None:
        line = canonical.dumps(cast("JSON", attrs.asdict(move))) + b"\n"
        place = self.folder / "reflog"
        handle = os.open(place, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            end = os.fstat(handle).st_size
            if end and os.pread(handle, 1, end - 1) != b"\n":
                line = b"\n" + line
            os.write(handle, line)
            os.fsync(handle)
        finally:
            os.close(handle)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """
        Let only one process name versions and refs at a time.

        `live` moves without it, so going back never waits.
        """
        handle = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


def checked_name(name: str) -> str:
    """
    Return *name* if a version or a ref may be called so.

    Raises:
        SnapshotError: It may not.
    """
    if not _NAME.fullmatch(name) or DIGEST.fullmatch(name) or name == LIVE:
        msg = (
            f"a version or ref cannot be called {name!r}; write letters, digits and"
            " . _ + -, beginning with a letter or digit, such as 'v4.0.0-stable'"
        )
        raise SnapshotError(msg)
    return name


def _swing(line: bytes) -> Swing | None:
    try:
        return Swing(**json.loads(line))
    except (ValueError, TypeError):
        return None
