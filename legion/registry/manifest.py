"""What a snapshot consists of: paths, and the digest, size and mode of each file."""

from __future__ import annotations

import json
import os

from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias, cast

import attrs

from .. import canonical
from ..exceptions import SnapshotError


Source: TypeAlias = Mapping[str, bytes] | str | os.PathLike[str]

_PLAIN, _PROGRAM = "644", "755"


@attrs.frozen(kw_only=True)
class File:
    """
    One file of a snapshot.

    Attributes:
        digest: SHA-256 of its bytes.
        size: Their number.
        mode: ``644``, or ``755`` for a program.
    """

    digest: str
    size: int
    mode: str = _PLAIN


def write(files: Mapping[str, File]) -> bytes:
    """Return the manifest: canonical JSON, whose SHA-256 names the snapshot."""
    return canonical.dumps(
        {
            path: {"digest": file.digest, "size": file.size, "mode": file.mode}
            for path, file in files.items()
        }
    )


def read(data: bytes) -> dict[str, File]:
    """Read what `write` wrote."""
    raw = cast("dict[str, Any]", json.loads(data))
    return {checked(path): File(**fields) for path, fields in raw.items()}


def contents(source: Source) -> Iterator[tuple[str, bytes, str]]:
    """
    Yield path, bytes and mode of every file of a mapping or a directory.

    Raises:
        SnapshotError: A path or a file cannot be part of a snapshot.
    """
    if isinstance(source, Mapping):
        _refuse_file_as_folder(source)
        for path, data in source.items():
            if type(data) is not bytes:
                msg = f"file {path!r}: got {type(data).__name__}; write bytes"
                raise SnapshotError(msg)
            yield path, data, _PLAIN
        return
    root = Path(source)
    if not root.is_dir():
        msg = f"{root} is no directory; write one, or a mapping of paths to bytes"
        raise SnapshotError(msg)
    for place in _walk(root):
        program = place.stat().st_mode & 0o100
        path = checked(place.relative_to(root).as_posix())
        yield path, place.read_bytes(), _PROGRAM if program else _PLAIN


def checked(path: object) -> str:
    """
    Return *path* if a snapshot may hold it.

    Raises:
        SnapshotError: It is absolute, has ``..`` or empty parts, or is no text.
    """
    if isinstance(path, str) and path.isprintable():
        parts = path.split("/")
        if path == PurePosixPath(path).as_posix() and not {"", ".", ".."} & {*parts}:
            return path
    msg = (
        f"a file of a snapshot cannot be called {path!r};"
        " write a relative path such as 'prompts/greeting.txt'"
    )
    raise SnapshotError(msg)


def _walk(folder: Path) -> Iterator[Path]:
    for place in sorted(folder.iterdir()):
        if place.is_symlink() or not (place.is_dir() or place.is_file()):
            msg = f"{place} is neither a file nor a directory; put a real file there"
            raise SnapshotError(msg)
        if place.is_dir():
            yield from _walk(place)
        else:
            yield place


def _refuse_file_as_folder(paths: Mapping[str, bytes]) -> None:
    for path in paths:
        for folder in PurePosixPath(checked(path)).parents:
            if str(folder) in paths:
                msg = f"{str(folder)!r} is a file, and {path!r} lies in it; rename one"
                raise SnapshotError(msg)
