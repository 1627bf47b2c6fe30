"""Bytes that are on the disk before anything points at them."""

from __future__ import annotations

import os
import tempfile

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import attrs


@attrs.define(eq=False)
class Staging:
    """
    Files that are written aside and moved into place together.

    Each is complete and synced before it gets its name, so a reader finds the whole
    file or none. They are synced after all were written, since the first sync of many
    then does most of the work for the others.

    Args:
        folder: Where they are written; on the same file system as where they go.
    """

    folder: Path
    _waiting: list[tuple[int, Path, Path]] = attrs.field(init=False, factory=list)

    def add(self, final: Path, data: bytes, *, mode: int = 0o444) -> None:
        """Write *data* aside; it goes to *final* with the next `move`."""
        handle, name = tempfile.mkstemp(dir=self.folder)
        self._waiting.append((handle, Path(name), final))
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(handle, rest) :]
        os.fchmod(handle, mode)

    def __len__(self) -> int:
        return len(self._waiting)

    def move(self) -> None:
        """Sync all that were added, then give each its name."""
        for handle, _, _ in self._waiting:
            os.fsync(handle)
        while self._waiting:
            handle, written, final = self._waiting[0]
            written.replace(final)
            os.close(handle)
            del self._waiting[0]

    def drop(self) -> None:
        """Remove what was added and not moved."""
        for handle, written, _ in self._waiting:
            os.close(handle)
            written.unlink(missing_ok=True)
        self._waiting.clear()


@contextmanager
def staging(folder: Path) -> Iterator[Staging]:
    """Write files into place; what was not moved when the block is left is removed."""
    staged = Staging(folder)
    try:
        yield staged
        staged.move()
    finally:
        staged.drop()


def sync_folders(folders: Iterable[Path]) -> None:
    """Make the names in *folders* survive a loss of power."""
    for folder in sorted(folders):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def sweep(folder: Path, *, older_than: float) -> None:
    """Remove files of processes that died: those changed before *older_than*."""
    for left in folder.iterdir():
        with suppress(FileNotFoundError):
            if left.stat().st_mtime < older_than:
                left.unlink()
