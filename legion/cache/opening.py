"""The file of a cache, as it is found: whole, damaged, another cache's, or not there."""

from __future__ import annotations

import logging

from collections.abc import Mapping
from itertools import chain, count
from pathlib import Path
from typing import NamedTuple

import attrs
import numpy as np

from ..canonical import JSON
from ..exceptions import StateCorruptError, StateError
from . import layout, records, snapshot
from .file import CacheFile, stands
from .layout import DamageError, LaterError
from .log import CacheLog
from .sketch import BITS
from .snapshot import Loaded


_logger = logging.getLogger("legion")


class Found(NamedTuple):
    """What a file says: its snapshot, or None of a damaged one; what happened since."""

    loaded: Loaded | None
    said: list[records.Said]
    lost: int = 0  # bytes at the end of a damaged log


class Opened(NamedTuple):
    """A file that is open, what it says, and why it is to be written anew, if it is."""

    log: CacheLog
    found: Found
    behind: OSError | None


@attrs.frozen(kw_only=True)
class Opening:
    """
    The file of a cache, before it is open.

    Attributes:
        path: Where it is.
        facts: What it is told by from another cache's.
        readonly: Whether another process writes it.
    """

    path: Path
    facts: Mapping[str, JSON]
    readonly: bool

    def begin(self) -> None:
        """
        Make a file that says nothing yet, instead of whatever is there.

        Raises:
            OSError: It cannot be written.
        """
        nothing = np.empty((0, 1), np.float32), np.empty((0, BITS // 8), np.uint8)
        facts, sections, _ = snapshot.sections([], *nothing, last_id=0, learned=None)
        file = CacheFile.beside(self.path)
        file.append(layout.snapshot({**facts, **self.facts}, sections))
        file.sync()
        file.rename(self.path)
        file.sync()
        file.close()

    def read(self, *, repair: bool) -> Opened:
        """
        Open the file and read it; of one that is only read, the log is left for later.

        Raises:
            OSError: It cannot be read.
            StateError: It is another cache's, or of a legion to come.
            StateCorruptError: It is damaged, and not to be repaired.
            MissingExtraError: What it was packed with is not installed.
        """
        log, found, behind = None, Found(None, []), None
        try:
            log = self._log()
            found = Found(snapshot.load(log.head, log.section), [])
        except DamageError as damage:
            behind = self._put_aside(damage, repair=repair)
        if log is None:
            self.begin()
            log = CacheLog.open(self.path, readonly=False)
        if self.readonly:
            return Opened(log, found, behind)
        end = log.head.log
        try:
            for offset, payload in log.records():
                found.said.append(records.read(payload, offset))
                end = offset + len(payload)
        except DamageError as damage:
            behind = behind or self._put_aside(damage, repair=repair)
            return Opened(log, found._replace(lost=log.file.end - end), behind)
        log.file.cut(end)
        if log.head.version < layout.VERSION:
            behind = behind or OSError(f"of format {log.head.version}")
        return Opened(log, found, behind)

    def _log(self) -> CacheLog:
        try:
            log = CacheLog.open(self.path, readonly=self.readonly)
        except LaterError as error:
            msg = f"has format {error}, of a later legion; open it with that"
            raise StateError(str(self.path), msg) from error
        for what in ("embedder", "serializer"):
            given, found = self.facts[what], log.head.facts[what]
            if found != given and found is not None:
                msg = (
                    f"was filled with the {what} {found!r}; got {given!r}: give the "
                    f"cache the same {what} again, or a path of its own"
                )
                raise StateError(str(self.path), msg)
        return log

    def _put_aside(self, damage: DamageError, *, repair: bool) -> OSError:
        """Give the damaged file one more name, and say why it is to be written anew."""
        if not repair or self.readonly:
            raise self.refused(damage) from damage
        _logger.warning("%s: repaired from byte %d on", self.path, damage.offset)
        file = CacheFile.open(self.path, readonly=True)
        file.link(self._aside())
        file.close()
        return OSError(f"damaged from byte {damage.offset} on")

    def refused(self, damage: DamageError) -> StateCorruptError:
        """Return what is raised where a damaged file is not to be repaired."""
        msg = (
            f"is damaged from byte {damage.offset} on, in {damage.what}; put a copy "
            f"from before in its place, or open it once with repair=True, which "
            f"keeps the whole records before that, and the file as {self._aside().name}"
        )
        return StateCorruptError(str(self.path), msg)

    def _aside(self) -> Path:
        """Return a name for a damaged file that no earlier one has."""
        name = self.path.name + ".damaged"
        names = chain([name], (f"{name}-{n}" for n in count(2)))
        return next(
            path for path in map(self.path.with_name, names) if stands(path) is None
        )
