"""A rollout told again from its journal, under its own plan and under another."""

from __future__ import annotations

import os

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from ..canonical import JSON
from ..exceptions import JournalError, StateError
from ..journal import Journal
from ..model import Record
from ..plugins import Plugins
from ..stages import Retry, recall
from ..store import Database
from .altered import altered
from .otherwise import Elsewhere
from .replayed import Replay
from .retelling import Retelling


_BATCH = 500


def replay(
    state: str | os.PathLike[str],
    *,
    plugins: Plugins | None = None,
    changes: Mapping[str, JSON] | None = None,
) -> Replay:
    """
    Decide again on each recorded observation, and compare with what was decided.

    Nothing is asked of the world: what the registry held, what the gate ruled and what
    came of each move is in the journal. Nothing is written.

    Args:
        state: The directory of a host's state, whose last rollout is told again.
        plugins: The criteria that judged it; the built-in ones by default.
        changes: Keys of another plan to tell beside it, as people write them, such as
            ``{"false_rollback": "5%", "stages.canary.dwell": "12h"}``; ``without``
            leaves out a metric.

    Raises:
        StateError: Nothing was ever rolled out there.
        JournalError: The journal is not what was written.
        LegionError: A change is none, or what was observed depends on it.
        PlanError: The other plan has faults.
    """
    file = Path(state) / "legion.db"
    if not file.is_file():
        raise StateError(str(file), "no such state; write the directory of a host")
    plugins = plugins if plugins is not None else Plugins()
    with Database(file, readonly=True) as database:
        plan = recall(database)
        journal = Journal(database)
        _refuse_tampered(journal, file)
        retry, other = Retry.of(plan, database), None
        if changes:
            again = altered(plan, changes)
            other = Elsewhere.of(again, plugins, recorded=plan, retry=retry)
        telling = Retelling(plan, plugins, retry, other)
        for record in _records(journal):
            telling.tell(record)
            if telling.difference is not None:
                break
        return telling.found


def _refuse_tampered(journal: Journal, file: Path) -> None:
    found = journal.verify()
    if not found.ok:
        seq, fault = found.faults[0]
        where = "the log" if seq is None else f"entry {seq}"
        msg = (
            f"{file}: {where}: {fault}; what was decided cannot be told from it,"
            " `legion journal verify` names all faults"
        )
        raise JournalError(msg, seq=seq)


def _records(journal: Journal) -> Iterator[Record]:
    since, size = 0, journal.size
    read: Callable[..., tuple[Record, ...]] = journal.records
    while since < size:
        batch = read(since=since, limit=_BATCH)
        yield from batch
        since += len(batch)
