"""What a shelf keeps on disk: a snapshot, and a log of what changed since."""

from __future__ import annotations

import logging
import threading

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Generic, Literal, TypeAlias, cast

import attrs
import numpy as np

from ..canonical import JSON
from ..exceptions import StateCorruptError, StateError
from ..model import Clock
from . import records
from .entry import Entry
from .file import WriterLock, stands
from .fork import anew_after_fork
from .hit import V
from .journal import Journal, Note
from .layout import DamageError
from .learned import Known, Learned, known
from .log import CacheLog
from .opening import Found, Opening
from .overflow import Overflow
from .saver import Saver
from .serializer import Serializer, dumped, name_of
from .snapshot import FOREVER_MS, Place, Row


if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from .sunken import Sunken


Sync: TypeAlias = Literal["batch", "always"]

_logger = logging.getLogger("legion")


@attrs.define(eq=False)
class Disk(Generic[V]):
    """
    What a shelf keeps on disk.

    A change is noted and, with all that belongs to it, written by `commit`: both under
    the lock of the shelf, as neither waits for the disk. `settle` does, without it.

    Attributes:
        path: The file.
        serializer: Of answers.
        embedder: Name of the embedder, or None where it has none.
        clock: Its dates give entries their age over restarts.
        sync: ``always``: a put returns when the disk has it. ``batch``: when the system
            has it, which outlives the process, and the disk has it a little later.
        readonly: Whether another process writes the file.
        learned: What a promise learned and spent, or None where nothing is promised.
        overflow: Which entries are on disk alone, or None where none ever is.
        journal: What changed, and is to be written.
        saver: Says when a snapshot is taken.
        turn: Held by whoever has the file replaced, or turns to another.
    """

    path: Path
    serializer: Serializer
    embedder: str | None
    clock: Clock
    sync: Sync
    readonly: bool
    learned: Learned[V] | None = None
    overflow: Overflow | None = None
    _log: CacheLog | None = attrs.field(init=False, default=None)
    _lock: WriterLock | None = attrs.field(init=False, default=None)
    journal: Journal[V] = attrs.field(init=False)
    saver: Saver[V] = attrs.field(init=False)
    turn: threading.RLock = attrs.field(init=False, factory=threading.RLock)
    _known: Known | None = attrs.field(init=False, default=None)

    def __attrs_post_init__(self) -> None:
        self.journal, self.saver = Journal(self), Saver(self)
        anew_after_fork(self)

    def begin_anew(self) -> None:
        """Leave what others do, who are not in this process, to the parent."""
        self.turn, self.journal.saving = threading.RLock(), False

    def open(self, *, repair: bool) -> Found:
        """
        Take the file, or begin one, and return what it says.

        Raises:
            StateError: Another process writes it, or it is another cache's.
            StateCorruptError: It is damaged, and not to be repaired.
            MissingExtraError: What it was packed with is not installed.
        """
        opening = self.opening()
        try:
            if not self.readonly:
                self._lock = WriterLock(self.path)
                if stands(self.path) is None:
                    opening.begin()
            self._log, found, self.journal.failure = opening.read(repair=repair)
        except OSError as error:
            self.let_go()
            msg = f"cannot be opened: {error}"
            if isinstance(error, FileNotFoundError) and self.readonly:
                msg = "is not there; open it once without readonly=True, which makes it"
            raise StateError(str(self.path), msg) from error
        except BaseException:
            self.let_go()
            raise
        return found

    def facts(self) -> dict[str, JSON]:
        """Return what a file is told by from another cache's."""
        return {"embedder": self.embedder, "serializer": name_of(self.serializer)}

    def opening(self) -> Opening:
        """Return the file as it is found under its name."""
        return Opening(path=self.path, facts=self.facts(), readonly=self.readonly)

    @property
    def behind(self) -> bool:
        """Whether the file lacks something that only a snapshot mends."""
        return self.journal.failure is not None

    def trouble(self) -> str | None:
        """Return why the file lacks something, or None where it does not."""
        return None if self.journal.failure is None else str(self.journal.failure)

    def keeps(self) -> bool:
        """Whether the file will have what is spent now, or is not this process's."""
        return self.journal.failure is None or not self.writes

    def refuse_closed(self) -> None:
        """
        Raise if the file was let go.

        Raises:
            StateError: It was.
        """
        if self._log is None:
            raise StateError(str(self.path), "is closed; make another SemanticCache")

    @property
    def log(self) -> CacheLog:
        """
        The file, open.

        Raises:
            StateError: It was closed.
        """
        self.refuse_closed()
        return cast("CacheLog", self._log)

    def raw(self, place: Place) -> bytes:
        """
        Read the bytes of an answer.

        Raises:
            StateError: The file was closed; `StateCorruptError` if it is damaged.
        """
        try:
            return self.log.raw(place)
        except DamageError as damage:
            msg = (
                f"is damaged at byte {damage.offset}, in an answer; put it again, or a "
                f"copy of the file from before in its place"
            )
            raise StateCorruptError(str(self.path), msg) from damage

    def loads(self, raw: bytes, place: Place) -> V:
        """
        Return the answer with the bytes *raw*, which lie at *place*.

        Raises:
            StateError: The serializer cannot read it any more.
        """
        try:
            value: V = self.serializer.loads(raw)
        except Exception as error:
            msg = (
                f"holds an answer at byte {place.offset} that its serializer cannot "
                f"read any more; mend the serializer, or begin a new file"
            )
            raise StateError(str(self.path), msg) from error
        return value

    def state(self) -> JSON:
        """Return what was learned; where nobody learns, what was found of it."""
        return self._known if self.learned is None else self.learned.state()

    def restore(self, found: Found) -> None:
        """Let `learned` know what was kept of it."""
        said = [one.raw for one in found.said if isinstance(one, records.Learned)]
        base = None if found.loaded is None else found.loaded.learned
        self._known = known(
            cast("Known | None", base),
            said,
            damaged=found.loaded is None,
            lost=found.lost,
        )
        if self.learned is not None and self._known is not None:
            self.learned.restore(self._known)

    def row(self, entry: Entry[V], value: bytes, vectors: int) -> Row:
        """Return what is kept of *entry*."""
        date_s = self.clock.wall() - self.clock.machine()
        endless = entry.expires_s == float("inf")
        return Row(
            entry.id,
            entry.partition.scope,
            entry.key,
            entry.question,
            value,
            round((entry.stored_s + date_s) * 1_000),
            FOREVER_MS if endless else round((entry.expires_s + date_s) * 1_000),
            entry.terms,
            entry.size,
            entry.redundancy,
            vectors,
            entry.origin or 0,
            b"" if entry.group is None else entry.group.digest,
            round((entry.used_s + date_s) * 1_000),
        )

    def put(self, entry: Entry[V], raw: bytes, vector: NDArray[np.float32]) -> None:
        """Note that *entry* was stored; *raw* is its answer."""
        self._forget(entry)
        payload = records.put(self.row(entry, raw, 1), vector)
        if entry.origin is None:
            place = Place.of(raw, len(payload) - len(raw))
            self.journal.notes.append(Note(payload, entry, place))
        else:  # the answer of an alias lies where that of its origin does
            self.journal.notes.append(Note(payload))

    def gone(self, entry: Entry[V]) -> None:
        """Note that *entry* was taken out."""
        self._forget(entry)
        self.lose([entry.id])

    def lose(self, ids: Iterable[int]) -> None:
        """Note that entries were taken out that have these *ids*."""
        if not self.readonly:
            self.journal.notes += [Note(records.gone(each)) for each in ids]

    def forget(self, scope: str, key: str, entry_id: int) -> bool:
        """Take out the entry of that id, if it is on disk alone, and say whether."""
        spot = None if self.overflow is None else self.overflow.spot(scope, key)
        if self.overflow is None or spot is None or spot.id != entry_id:
            return False
        self.overflow.discard(scope, key)
        self.lose([entry_id])
        return True

    def _forget(self, entry: Entry[V]) -> None:
        """Know nothing more of a row of the question of *entry*."""
        if self.overflow is None:
            return
        old = self.overflow.discard(entry.partition.scope, entry.key)
        if old not in {None, entry.id}:
            self.lose([old])

    def sink(self, entry: Entry[V]) -> bool:
        """Note that *entry* leaves memory and is on disk alone, if it may be."""
        overflow, scope = self.overflow, entry.partition.scope
        if overflow is None or not self.writes or self.behind:
            return False
        again = partial(overflow.again, scope, entry.key, entry.id)
        # What is being saved does not have its row.
        if self.journal.saving or not again(expires_s=entry.expires_s):
            raw = self.raw_of(entry)
            if raw is None:
                return False
            vector = entry.partition.vectors_of(entry)[0]
            payload = records.put(self.row(entry, raw, 1), vector, sunk=True)
            if len(payload) > overflow.capacity_bytes:
                return False
            self._forget(entry)
            overflow.sink(
                scope,
                entry.key,
                entry.id,
                tags=entry.terms.tags,
                expires_s=entry.expires_s,
                size=len(payload),
            )
            its = scope, entry.key, entry.id
            self.journal.notes.append(Note(payload, sunk=its))
        self.lose(overflow.too_many())
        return True

    def raw_of(self, entry: Entry[V]) -> bytes | None:
        """Return the bytes of an answer, or None of one that has none any more."""
        try:
            if entry.place is not None:
                try:
                    return self.log.raw(entry.place)
                except DamageError:
                    if not entry.read:
                        raise
            return dumped(self.serializer, entry.value)
        except Exception:  # it is damaged, or was changed since it was put
            _logger.warning("%s: lets an answer go", self.path, exc_info=True)
            return None

    def rise(self, entry: Entry[V]) -> None:
        """Note that *entry* is in memory again."""
        self.journal.notes.append(Note(records.risen(entry.id)))
        self.journal.moving(entry)

    def commit(self) -> None:
        """Write what was noted and learned; see `Journal.commit`."""
        self.journal.commit()

    def settle(self, *, must: bool = False, put: bool = True) -> None:
        """
        Wait for the disk where that was agreed.

        Args:
            must: Whether what was committed is to be kept in any case.
            put: Whether it was put; what a look-up moved is not waited for.

        Raises:
            StateError: It must be, or ``sync="always"`` is agreed, and it cannot.
        """
        if not self.writes:
            return
        must = must or (put and self.sync == "always")
        self.journal.sync(must=must)
        if must and self.journal.failure is not None:
            raise self.journal.unwritten(self.journal.failure) from self.journal.failure
        if not self.journal.saving and self.saver.due():
            self.saver.save_aside()

    def worth_saving(self) -> bool:
        """Whether reading the log takes time beside reading the snapshot."""
        log = self.log
        return log.file.end - log.head.log > log.head.log // 16

    def sunken(self) -> Sunken | None:
        """Return which entries are on disk alone, or None without any."""
        if self.overflow is None or not self.overflow.entries:
            return None
        from .sunken import Sunken

        return Sunken(*self.overflow.rows())

    def size(self) -> int:
        """Return the bytes of the file, or 0 once it is closed."""
        return 0 if self._log is None else self._log.file.end

    def savings(self) -> float | None:
        """Return what share of plain JSON the snapshot saves, or None without entries."""
        facts = {} if self._log is None else self._log.head.facts
        plain, kept = facts.get("json_bytes"), facts.get("kept_bytes")
        if not isinstance(plain, int) or not isinstance(kept, int) or not plain:
            return None
        return 1 - kept / plain

    def turn_to(self, log: CacheLog) -> None:
        """Read answers from *log* from now on."""
        self.log.close()
        self._log = log

    @property
    def writes(self) -> bool:
        """Whether this process writes the file; a child of the one that does does not."""
        return self._lock is not None and self._lock.ours()

    @property
    def closed(self) -> bool:
        """Whether the file was let go."""
        return self._log is None

    def let_go(self) -> None:
        """Close the file as it is, and let others write it; who saves it is let."""
        with self.turn:
            self._let_go()

    def _let_go(self) -> None:
        if self._log is not None:
            self._log.close()
            self._log = None
        if self._lock is not None:
            self._lock.release()
            self._lock = None
