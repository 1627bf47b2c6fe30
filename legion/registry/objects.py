"""Immutable objects, each named by the SHA-256 of its bytes."""

from __future__ import annotations

import hashlib
import logging
import shutil

from collections.abc import Iterable
from pathlib import Path

import attrs

from ..exceptions import SnapshotCorruptError
from .disk import Staging, staging, sync_folders


logger = logging.getLogger("legion")

_GROUP = 128
_BLOCK = 1 << 20


@attrs.define(eq=False)
class Objects:
    """
    A folder of objects: ``ab/cdef...`` holds what hashes to ``abcdef...``.

    Args:
        folder: Where they lie.
        aside: Where they are written before they get their names.
        quarantine: Where copies of damaged ones are kept for a look.
    """

    folder: Path
    aside: Path
    quarantine: Path

    def place(self, digest: str) -> Path:
        """Return where the object lies, or would lie."""
        return self.folder / digest[:2] / digest[2:]

    def add(self, items: Iterable[bytes]) -> list[str]:
        """
        Store *items* and return their digests; on return they are on the disk.

        One that is there already is hashed before it is trusted, and written anew if
        it is damaged.
        """
        digests, folders = [], {self.folder, self.folder.parent}
        with staging(self.aside) as staged:
            for data in items:
                digest = hashlib.sha256(data).hexdigest()
                digests.append(digest)
                folders.add(self.place(digest).parent)
                self._add(digest, data, staged)
                if len(staged) >= _GROUP:
                    staged.move()
        # Those that were there, too: whoever wrote them may have died before this.
        sync_folders(folders)
        return digests

    def _add(self, digest: str, data: bytes, staged: Staging) -> None:
        place = self.place(digest)
        if place.exists():
            if self.found(digest) == digest:
                return
            self.keep_for_a_look(digest)
        place.parent.mkdir(parents=True, exist_ok=True)
        staged.add(place, data)

    def read(self, digest: str) -> bytes:
        """
        Return the object's bytes, once they have been hashed again.

        Raises:
            SnapshotCorruptError: They are missing or differ.
        """
        place, problem, data = self.place(digest), "is missing", None
        if place.is_file():
            try:
                data = place.read_bytes()
                problem = "is not what was written"
            except OSError as error:
                problem = f"cannot be read ({error.strerror})"
        if data is not None and hashlib.sha256(data).hexdigest() == digest:
            return data
        self.keep_for_a_look(digest)
        msg = f"object {digest[:12]} {problem}; put the same content again to mend it"
        raise SnapshotCorruptError(msg, digest=digest, path=str(place))

    def found(self, digest: str) -> str:
        """Return what the stored bytes hash to; "" where there are none to be had."""
        place, state = self.place(digest), hashlib.sha256()
        if not place.is_file():
            return ""
        try:
            with place.open("rb") as file:
                while block := file.read(_BLOCK):
                    state.update(block)
        except OSError:
            logger.warning("registry: cannot read %s", place, exc_info=True)
            return ""
        return state.hexdigest()

    def all(self) -> list[str]:
        """Return the digests of all objects, sorted."""
        return sorted(
            place.parent.name + place.name for place in self.folder.glob("??/*")
        )

    def keep_for_a_look(self, digest: str) -> None:
        """Copy a damaged object into quarantine; that this fails is only logged."""
        place = self.place(digest)
        if not place.is_file():
            return
        try:
            self.quarantine.mkdir(parents=True, exist_ok=True)
            copy = self.quarantine / f"{digest}-{self.found(digest)[:12]}"
            if not copy.exists():
                shutil.copyfile(place, copy)
        except OSError:
            logger.warning("registry: no copy of damaged %s", place, exc_info=True)
