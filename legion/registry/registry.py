"""The registry: versions go in, one is live, and any of them comes back."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import threading

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import attrs

from .. import canonical
from ..canonical import JSON
from ..exceptions import (
    SnapshotCorruptError,
    SnapshotError,
    SnapshotNotFoundError,
)
from ..hookspecs import hookimpl
from ..model import Arm, Clock, Count
from . import manifest
from .disk import sweep, sync_folders
from .inspection import Inspection
from .manifest import File, Source
from .objects import Objects
from .refs import DIGEST, LIVE, Refs, Swing, checked_name
from .rounds import Rounds


logger = logging.getLogger("legion")

_SHOWN = 20
_STALE_S = 3600.0


def _or_system_clock(clock: Clock | None) -> Clock:
    if clock is not None:
        return clock
    from ..telemetry.clock import SystemClock

    return SystemClock()


@attrs.define(eq=False)
class Registry:
    """
    Content-addressed snapshots, and a pointer at the one that is live.

    A snapshot is a set of files, named by the SHA-256 of its manifest, so it cannot
    change without getting another name. Nothing points at it before it is on the disk.
    As a plugin it owns the target ``registry:<name>`` and supplies
    ``registry_integrity``.

    Args:
        path: Its folder; made with the first write.
        name: What hosts with several registries tell them apart by.
        clock: Where the dates in the log of moves come from.
        check_bytes: How many bytes the regular check hashes at most; of more, it takes
            another part each time.
    """

    path: Path = attrs.field(converter=Path)
    name: str = attrs.field(default="default", kw_only=True)
    _clock: Clock = attrs.field(
        default=None,
        kw_only=True,
        alias="clock",
        converter=_or_system_clock,
    )
    check_bytes: int = attrs.field(default=64 * 2**20, kw_only=True)
    _objects: Objects = attrs.field(init=False)
    _snapshots: Objects = attrs.field(init=False)
    _refs: Refs = attrs.field(init=False)
    _inspection: Inspection = attrs.field(init=False)
    _checked: dict[Arm, int | None] = attrs.field(init=False, factory=dict)
    _checking: threading.Lock = attrs.field(init=False, factory=threading.Lock)

    def __attrs_post_init__(self) -> None:
        aside, quarantine = self.path / "tmp", self.path / "quarantine"
        self._objects = Objects(self.path / "objects", aside, quarantine)
        self._snapshots = Objects(self.path / "snapshots", aside, quarantine)
        self._refs = Refs(self.path, aside)
        self._inspection = Inspection(
            self._objects, self._snapshots, self._refs, Rounds(self.check_bytes)
        )

    def put(
        self,
        files: Source,
        *,
        version: str | None = None,
        detail: Mapping[str, JSON] | None = None,
    ) -> str:
        """
        Store a snapshot and return its digest; on return it is on the disk.

        What is stored already is hashed before it is trusted, and mended if it is
        damaged.

        Args:
            files: A directory, or bytes by relative path.
            version: A name for it, for good: it can never mean anything else.
            detail: What to write beside the version in the log of moves.

        Raises:
            SnapshotError: A path or a name cannot be used, the version is taken by
                other content, or the disk did not take it.
        """
        if version is not None:
            checked_name(version)
        elif detail is not None:
            msg = "put: got detail without a version; write version='...' beside it"
            raise SnapshotError(msg)
        canonical.dumps(detail)
        self._refuse_itself(files)
        with self._writing():
            sweep(self.path / "tmp", older_than=self._clock.wall() - _STALE_S)
            found: list[tuple[str, int, str]] = []
            digests = self._objects.add(_noting(files, found))
            listed = {
                path: File(digest=digest, size=size, mode=mode)
                for digest, (path, size, mode) in zip(digests, found, strict=True)
            }
            [digest] = self._snapshots.add([manifest.write(listed)])
            if version is not None:
                self._refs.bind(
                    version, digest, at=self._clock.wall(), version=True, detail=detail
                )
        return digest

    def tag(self, ref: str, name: str) -> str:
        """
        Point *ref* at the snapshot *name*, and return its digest.

        Unlike a version it may be moved; ``live`` is moved by `activate`.

        Raises:
            SnapshotNotFoundError: There is no such snapshot.
            SnapshotError: *ref* is a version, or not a name.
        """
        checked_name(ref)
        digest = self.resolve(name)
        with self._writing():
            self._refs.bind(ref, digest, at=self._clock.wall(), version=False)
        return digest

    def refs(self) -> Mapping[str, str]:
        """Return the digests that versions and refs point at, by name."""
        return {
            name: self._refs.read(name, version=v) for name, v in self._refs.pointers()
        }

    def moves(self) -> tuple[Swing, ...]:
        """Return how the pointers moved, oldest first; the last may not have."""
        return self._refs.moves()

    def resolve(self, name: str) -> str:
        """
        Return the digest of a snapshot.

        Args:
            name: A version, a ref, ``live``, a digest, or at least eight digits that
                only one digest begins with.

        Raises:
            SnapshotNotFoundError: There is none; the message lists those there are.
            SnapshotError: Several digests begin so.
        """
        for pointer, version in [(LIVE, False), *self._refs.pointers()]:
            if pointer == name and (digest := self._refs.read(name, version=version)):
                return digest
        if DIGEST.fullmatch(name) and self._snapshots.place(name).is_file():
            return name
        begins = [
            digest
            for digest in self._snapshots.all()
            if len(name) >= 8 and digest.startswith(name)
        ]
        if len(begins) == 1:
            return begins[0]
        if begins:
            msg = (
                f"registry {self.path}: {len(begins)} digests begin with {name!r};"
                f" write more of it: {', '.join(begins[:_SHOWN])}"
            )
            raise SnapshotError(msg)
        raise SnapshotNotFoundError(self._none_such(name))

    def files(self, name: str) -> Mapping[str, File]:
        """
        Return the files of the snapshot *name*, by path.

        Raises:
            SnapshotNotFoundError: There is no such snapshot.
            SnapshotCorruptError: Its manifest is damaged.
        """
        return manifest.read(self._snapshots.read(self.resolve(name)))

    def activate(self, name: str) -> str:
        """
        Verify the snapshot *name*, make it live, and return its digest.

        Raises:
            SnapshotNotFoundError: There is no such snapshot.
            SnapshotCorruptError: A file of it is damaged; what was live still is.
            SnapshotError: The disk did not take it.
        """
        digest = self.resolve(name)
        if problems := self._inspection.snapshot(digest):
            self._inspection.refuse(digest, problems)
        with self._writing():
            self._refs.write(LIVE, digest, at=self._clock.wall())
        return digest

    def active(self) -> str:
        """
        Return the digest that is live, or "" before the first activation.

        Raises:
            SnapshotCorruptError: The pointer is damaged.
        """
        return self._refs.read(LIVE)

    def restore(self, name: str) -> str:
        """
        Go back to the snapshot *name*: verify, activate, read back.

        Returns:
            Its digest.

        Raises:
            SnapshotNotFoundError: There is no such snapshot.
            SnapshotCorruptError: A file of it is damaged; what was live still is.
            SnapshotError: Another one is live afterwards.
        """
        digest = self.activate(name)
        if (live := self.active()) != digest:
            msg = f"restored {name!r} as {digest[:12]}, but {live[:12]!r} is live"
            raise SnapshotError(msg)
        return digest

    def read(self, path: str, *, snapshot: str | None = None) -> bytes:
        """
        Return one file, once its bytes have been hashed again.

        Args:
            path: Its path in the snapshot.
            snapshot: Which one; by default the live one.

        Raises:
            SnapshotNotFoundError: There is no such snapshot, or no such file in it.
            SnapshotCorruptError: The bytes are damaged.
        """
        files = self.files(LIVE if snapshot is None else snapshot)
        if path not in files:
            there = ", ".join(sorted(files)[:_SHOWN]) or "no files at all"
            msg = f"snapshot {snapshot or LIVE!r} has no file {path!r}; it has {there}"
            raise SnapshotNotFoundError(msg)
        return self._objects.read(files[path].digest)

    def checkout(self, name: str, directory: str | os.PathLike[str]) -> Path:
        """
        Write the files of the snapshot *name* into a new or empty directory.

        It appears when it is complete, or not at all.

        Raises:
            SnapshotNotFoundError: There is no such snapshot.
            SnapshotCorruptError: A file of it is damaged.
            SnapshotError: The directory is not empty, or cannot be written.
        """
        target, files = Path(directory), self.files(name)
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            msg = f"checkout: {target} is not empty; write a new directory"
            raise SnapshotError(msg)
        with self._reporting(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            aside = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}-"))
            try:
                for path, file in files.items():
                    place = aside / path
                    place.parent.mkdir(parents=True, exist_ok=True)
                    place.write_bytes(self._objects.read(file.digest))
                    place.chmod(int(file.mode, 8))
                aside.chmod(0o755)
                aside.replace(target)
            finally:
                shutil.rmtree(aside, ignore_errors=True)
        return target

    def verify(self, name: str | None = None) -> Mapping[str, JSON]:
        """
        Hash what is stored again.

        Args:
            name: One snapshot; by default the live one and all that have a name.

        Returns:
            What does not fit, by path; nothing where all fits. ``.`` stands for the
            manifest or the pointer. Without *name* each path is preceded by the name
            of the pointer and a colon.

        Raises:
            SnapshotNotFoundError: There is no such snapshot.
        """
        if name is None:
            return self._inspection.everything()
        return self._inspection.snapshot(self.resolve(name))

    @hookimpl
    def legion_activate(self, target: str, digest: str) -> bool | None:
        """Swing the live pointer; False, and nothing done, where that is refused."""
        if target != f"registry:{self.name}":
            return None
        if not digest:  # back to before the first activation
            with self._writing():
                self._refs.write(LIVE, "", at=self._clock.wall())
            return True
        try:
            self.activate(digest)
        except (SnapshotNotFoundError, SnapshotCorruptError):
            logger.warning("%s was not activated", digest[:12], exc_info=True)
            return False
        return True

    @hookimpl
    def legion_active(self, target: str) -> str | None:
        """Read back which snapshot is live."""
        return self.active() if target == f"registry:{self.name}" else None

    @hookimpl
    def legion_observe(self, plan: str, arm: Arm) -> Mapping[str, Count | float] | None:
        """
        Count the objects that are damaged now.

        What is stored is hashed once for both arms. Damage is counted at each check
        until it is mended, so the level stays as bad as things are.
        """
        with self._checking:
            if arm not in self._checked:
                found = self._inspection.count_damaged()
                self._checked = dict.fromkeys(Arm, found)
            damaged = self._checked.pop(arm)
        return None if damaged is None else {"registry_integrity": Count(damaged)}

    def _none_such(self, name: str) -> str:
        try:
            pointers = [f"{ref} ({digest[:12]})" for ref, digest in self.refs().items()]
        except SnapshotCorruptError:
            pointers = [ref for ref, _ in self._refs.pointers()]
        there = pointers or [digest[:12] for digest in self._snapshots.all()]
        listed = ", ".join(there[:_SHOWN]) or "none yet"
        return f"registry {self.path}: no snapshot {name!r}; there are: {listed}"

    def _refuse_itself(self, files: Source) -> None:
        if isinstance(files, Mapping):
            return
        if self.path.resolve().is_relative_to(Path(files).resolve()):
            msg = f"put: {files} holds the registry {self.path}; keep them apart"
            raise SnapshotError(msg)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Prepare the folders, and say what to do where the disk refuses."""
        with self._reporting(self.path):
            aside = self.path / "tmp"
            if not aside.is_dir():
                for folder in ("objects", "snapshots", "refs", "versions", "tmp"):
                    (self.path / folder).mkdir(parents=True, exist_ok=True)
                sync_folders({self.path, self.path.parent})
            yield

    @contextmanager
    def _reporting(self, place: Path) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            msg = f"{place}: {error.strerror or error}; make room or write another path"
            raise SnapshotError(msg) from error


def _noting(files: Source, found: list[tuple[str, int, str]]) -> Iterator[bytes]:
    """Yield the bytes of each file, and note its path, size and mode in *found*."""
    for path, data, mode in manifest.contents(files):
        found.append((path, len(data), mode))
        yield data
