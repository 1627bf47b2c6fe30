"""The latch beside the state file: for when the file itself is of no use."""

from __future__ import annotations

import logging
import os

from pathlib import Path

import attrs

from ..exceptions import StateError


logger = logging.getLogger("legion")

STANDS_S = 1.0
"""How long it stands at least, in seconds: running hosts look five times in it."""


@attrs.frozen(kw_only=True)
class Latch:
    """
    A pulled latch: this plan has gone back, for good.

    Attributes:
        reason: Why.
        at: When, in seconds since the epoch, wall clock.
    """

    reason: str
    at: float


def beside(path: str) -> Path:
    """Return the file that is the latch of all plans in the state file at *path*."""
    return Path(f"{path}.latch")


def pull_beside(path: str, reason: str) -> Path:
    """
    Pull the latch of all plans in the state file at *path*, without opening that.

    Its being there is the latch; what it holds is the reason. It stays when a copy of
    the state file from before is put back, which knows of no rollback.

    Returns:
        The file, for whoever deletes it once the state is whole again.

    Raises:
        StateError: It cannot be written.
    """
    file = beside(path)
    try:
        with file.open("a", encoding="utf-8", errors="backslashreplace") as written:
            written.write(f"{reason}\n")
            written.flush()
            os.fsync(written.fileno())
        _sync(file.parent)
    except OSError as error:
        msg = f"the latch cannot be written ({error.strerror}); make room or touch it"
        raise StateError(str(file), msg) from error
    return file


def take_away(path: str, *, only: str) -> bool:
    """
    Delete the latch beside the state file at *path*; False where it stays.

    Args:
        path: The state file.
        only: The one reason it may hold: another one is somebody else's latch.
    """
    file = beside(path)
    try:
        if file.read_text("utf-8", errors="backslashreplace") != f"{only}\n":
            return False
        file.unlink()
    except OSError:
        logger.warning("%s stays", file, exc_info=True)
        return False
    return True


def _sync(folder: Path) -> None:
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def found_beside(path: str) -> Latch | None:
    """Return the latch beside the state file at *path*, if it was pulled."""
    file = beside(path)
    try:
        at = file.stat().st_mtime
    except OSError:
        return None
    try:
        said = file.read_text("utf-8", errors="backslashreplace").partition("\n")[0]
    except OSError as error:
        said = f"it cannot be read: {error.strerror}"
    return Latch(reason=f"{said or 'pulled'} (see {file.name})", at=at)
