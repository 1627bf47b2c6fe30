"""Whether what is stored is still what was put."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn

import attrs

from ..canonical import JSON
from ..exceptions import SnapshotCorruptError
from . import manifest
from .objects import Objects
from .refs import LIVE, Refs
from .rounds import Rounds


MANIFEST = "."
"""What stands for the manifest, or for the pointer, where paths are listed."""

_SHOWN = 20


@attrs.define(eq=False)
class Inspection:
    """Hashes snapshots again and says what does not fit."""

    objects: Objects
    snapshots: Objects
    refs: Refs
    rounds: Rounds

    def snapshot(
        self, digest: str, known: dict[str, str] | None = None
    ) -> dict[str, JSON]:
        """
        Return what does not fit in one snapshot, by path.

        Args:
            digest: The snapshot.
            known: What objects were found to hash to, so that each is read once.
        """
        known = {} if known is None else known
        found = self.snapshots.found(digest)
        if found != digest:
            return {MANIFEST: _problem(self.snapshots, digest, found)}
        problems: dict[str, JSON] = {}
        for path, file in manifest.read(self.snapshots.read(digest)).items():
            if file.digest not in known:
                known[file.digest] = self.objects.found(file.digest)
            if known[file.digest] != file.digest:
                found = known[file.digest]
                problems[path] = _problem(self.objects, file.digest, found)
        return problems

    def everything(self) -> dict[str, JSON]:
        """Return what does not fit in all that has a name, by name and path."""
        known: dict[str, str] = {}
        problems: dict[str, JSON] = {}
        for pointer, version in [(LIVE, False), *self.refs.pointers()]:
            try:
                digest = self.refs.read(pointer, version=version)
            except SnapshotCorruptError as error:
                place = f"{pointer}:{MANIFEST}"
                problems[place] = {"problem": str(error), "path": error.path}
                continue
            found = self.snapshot(digest, known) if digest else {}
            problems |= {f"{pointer}:{path}": found[path] for path in found}
        return problems

    def count_damaged(self) -> int | None:
        """
        Return how many objects and pointers are damaged, or None where none exist.

        Of many bytes only a part is hashed each time.
        """
        digests, damaged = set[str](), 0
        for pointer, version in [(LIVE, False), *self.refs.pointers()]:
            try:
                digests.add(self.refs.read(pointer, version=version))
            except SnapshotCorruptError:
                damaged += 1
        digests.discard("")
        if not digests and not damaged:
            return None
        wanted = dict[str, int]()
        for digest in sorted(digests):
            if self.snapshots.found(digest) != digest:
                damaged += 1
                continue
            files = manifest.read(self.snapshots.read(digest))
            wanted |= {file.digest: file.size for file in files.values()}
        return damaged + self.rounds.look(
            wanted, lambda digest: self.objects.found(digest) == digest
        )

    def refuse(self, digest: str, problems: Mapping[str, JSON]) -> NoReturn:
        """
        Keep the damaged objects for a look.

        Raises:
            SnapshotCorruptError: For the first of them.
        """
        damaged = [(self.snapshots, digest)]
        if MANIFEST not in problems:
            files = manifest.read(self.snapshots.read(digest))
            damaged = [(self.objects, files[path].digest) for path in problems]
        for objects, item in damaged:
            objects.keep_for_a_look(item)
        objects, item = damaged[0]
        shown = ", ".join("the manifest" if p == MANIFEST else p for p in problems)
        msg = (
            f"registry {self.refs.folder}: snapshot {digest[:12]} is damaged in"
            f" {shown[:500]}; what was live still is."
            " Put the same content again to mend it, or take another snapshot"
        )
        raise SnapshotCorruptError(msg, digest=item, path=str(objects.place(item)))


def _problem(objects: Objects, digest: str, found: str) -> dict[str, JSON]:
    return {
        "problem": "differs" if found else "missing",
        "digest": digest,
        "found": found,
        "path": str(objects.place(digest)),
    }
