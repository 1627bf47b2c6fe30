"""What changed on a shelf: noted, written into the log, and moved on with a snapshot."""

from __future__ import annotations

import logging

from typing import TYPE_CHECKING, Generic, NamedTuple

import attrs

from ..exceptions import StateError
from . import records
from .entry import Entry
from .hit import V
from .log import CacheLog
from .snapshot import Place


if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .disk import Disk
    from .sunken import Sunken


_logger = logging.getLogger("legion")
_UNSYNCED = 1 << 20
"""So many bytes, about, wait for the disk at most with ``sync="batch"``."""


class Note(NamedTuple, Generic[V]):
    """
    A change to be written.

    Attributes:
        payload: Its record.
        entry: Whose answer are its last bytes, or None.
        place: Where these lie within the record, or None.
        sunk: Scope, question and id of the entry that is on disk alone from now on.
    """

    payload: bytes
    entry: Entry[V] | None = None
    place: Place | None = None
    sunk: tuple[str, str, int] | None = None


@attrs.define(eq=False)
class Journal(Generic[V]):
    """
    What changed on a shelf.

    All is done under the lock of the shelf, but `sync` and `catch_up`, which wait for the
    disk. `saving.save` takes a snapshot step by step, from `begin_saving` to `end_saving`.

    Attributes:
        disk: In whose log it is written.
        notes: What is to be written.
        failure: Why the file lacks something, until a snapshot has it all.
        saving: Whether a snapshot is being taken.
    """

    disk: Disk[V]
    notes: list[Note[V]] = attrs.field(init=False, factory=list)
    failure: OSError | None = attrs.field(init=False, default=None)
    saving: bool = attrs.field(init=False, default=False)
    # Whose answers lie in the log since then.
    _since: dict[Entry[V], None] = attrs.field(init=False, factory=dict)

    def commit(self) -> None:
        """
        Write what was noted, with one write.

        What cannot be written is kept in memory alone until the next snapshot, and
        `Disk.settle` says so.
        """
        if self.failure is not None and self.saving:
            return
        if self.disk.learned is not None and (raw := self.disk.learned.record()):
            self.notes.append(Note(records.learned(raw)))
        if not self.notes:
            return
        log, notes, self.notes = self.disk.log, self.notes, []
        if not self.disk.writes or self.failure is not None:
            self._unsunk(notes)
            return
        try:
            self._placed(notes, log.append([note.payload for note in notes]))
        except OSError as error:
            self.failure = error
            if self.saving:
                self.notes = notes
            else:
                self._unsunk(notes)
            _logger.warning(
                "%s: answers are not kept on disk: %s", self.disk.path, error
            )

    def _placed(self, notes: Sequence[Note[V]], starts: Sequence[int]) -> None:
        for note, start in zip(notes, starts, strict=True):
            if note.entry is not None and note.place is not None:
                offset = start + note.place.offset
                note.entry.place = note.place._replace(offset=offset)
                self.moving(note.entry)
            if note.sunk is not None and self.disk.overflow is not None:
                self.disk.overflow.placed(*note.sunk, start, len(note.payload))

    def moving(self, entry: Entry[V]) -> None:
        """Have the answer of *entry* move with what a snapshot does not have."""
        if self.saving:
            self._since[entry] = None

    def _unsunk(self, notes: Iterable[Note[V]]) -> None:
        """Give up what was to be on disk alone and is not."""
        for note in notes:
            if note.sunk is not None and self.disk.overflow is not None:
                self.disk.overflow.discard(*note.sunk[:2])

    def sync(self, *, must: bool) -> None:
        """Wait for the disk if it *must* be, or if much waits for it."""
        while True:
            log = self.disk.log if must else self.disk._log
            if log is None or not (must or log.file.unsynced > _UNSYNCED):
                return
            try:
                log.file.sync()
            except OSError as error:
                if self.disk._log is log:
                    self.failure = error
                    _logger.warning("%s: not on disk: %s", self.disk.path, error)
            # What was replaced meanwhile is on disk when its heir is.
            if self.disk._log is log:
                return

    def unwritten(self, error: OSError) -> StateError:
        """Return what is raised where what must be kept cannot be."""
        msg = (
            f"could not be written ({error}), so what changed holds until the cache is "
            f"closed and no longer; make room, then save()"
        )
        return StateError(str(self.disk.path), msg)

    def begin_saving(self) -> int:
        """Return from where on the log is not part of the snapshot."""
        self.commit()
        self.saving = True
        return self.disk.log.file.end

    def catch_up(self, new: CacheLog, start: int) -> int:
        """
        Let *new* have what the log has from *start* on, and the disk have it there.

        Returns:
            Up to where that was.

        Raises:
            OSError: It cannot be written.
        """
        end = self.disk.log.file.end
        new.append([payload for _, payload in self.disk.log.records(start, end)])
        new.file.sync()
        return end

    def finish_saving(
        self,
        new: CacheLog,
        mark: int,
        copied: int,
        sunken: Sunken | None,
        *,
        wait: bool,
    ) -> bool:
        """
        Let *new* replace the log up to *mark*, and what follows follow.

        Args:
            new: The snapshot, and what `catch_up` copied.
            mark: What `begin_saving` returned.
            copied: What `catch_up` returned.
            sunken: Those of the snapshot that were on disk alone, or None without any.
            wait: Whether to wait for the disk if it has to be.

        Returns:
            False if it has to be, as somebody waited for what came since.

        Raises:
            OSError: It cannot be written; the file is as it was.
        """
        self.commit()
        old = self.disk.log
        if old.file.synced > copied:
            if not wait:
                return False
            copied = self.catch_up(new, copied)
        moved = new.file.end - copied
        new.append([payload for _, payload in old.records(copied)])
        starts = new.append([note.payload for note in self.notes])
        new.file.rename(self.disk.path)
        self.disk._log, notes, self.notes, self.failure = new, self.notes, [], None
        for entry in self._since:
            if entry.place is not None and entry.place.offset >= mark:
                at = entry.place.offset + moved
                entry.place = entry.place._replace(offset=at)
        if self.disk.overflow is not None:
            self.disk.overflow.moved(mark, moved, new.lying(sunken))
        self._placed(notes, starts)
        old.close()
        return True

    def end_saving(self) -> None:
        """Let others take a snapshot."""
        self.saving = False
        self._since.clear()
