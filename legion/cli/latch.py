"""The latch beside the state, while a rollback is typed: there first, and last to go."""

from __future__ import annotations

import time

from collections.abc import Callable
from pathlib import Path

import attrs

from ..exceptions import LegionError, StateError
from ..host import Host
from ..model import Outcome
from ..stages import recall
from ..stages.latch import STANDS_S, found_beside
from ..stages.persistence import StateFile
from ..store import Database
from ..store.look import read_head


@attrs.define(eq=False)
class Standing:
    """
    A rollback under a latch beside the state, which is taken away only without doubt.

    A host that runs may see another file than whoever comes now: one that was written
    over, or is read through a log that others cannot see. It hears of the latch beside.

    Args:
        state: The directory.
        reason: Why.
    """

    state: str
    reason: str
    _pause: Callable[[float], object] = attrs.field(alias="pause", default=time.sleep)

    def back(self, roll_back: Callable[[], Outcome]) -> Outcome:
        """
        Go back, and say whether the latch beside stays and why.

        Raises:
            LegionError: Neither the latch nor the state could be written.
        """
        doubt = self._doubt_before()
        try:
            latch = Host.latch(self.state, reason=self.reason)
        except StateError:
            return roll_back()  # Nothing may be written beside; perhaps in the file.
        until_s = time.monotonic() + STANDS_S
        try:
            outcome = roll_back()
        except (LegionError, OSError) as error:
            return _stays(latch, str(error))
        if not doubt:
            self._pause(max(0.0, until_s - time.monotonic()))
            doubt = self._doubt_after() or _taken_away(latch)
        return _stays(latch, doubt, outcome) if doubt else outcome

    @property
    def _file(self) -> str:
        return str(Path(self.state) / "legion.db")

    def _doubt_before(self) -> str:
        if found_beside(self._file) is not None:
            return "it was there before"
        try:
            read_head(self._file)
        except StateError as error:
            return str(error)
        return ""

    def _doubt_after(self) -> str:
        """Return why hosts may not read in the file that they are to go back, or ""."""
        try:
            read_head(self._file)
            with Database(self._file, readonly=True) as database:
                if faults := database.check():
                    return "; ".join(faults)
                plan = recall(database)
                if StateFile.of(database, plan.name).latch() is None:
                    return "the state does not say that it went back"
        except StateError as error:
            return str(error)
        return ""


def _taken_away(latch: Path) -> str:
    try:
        latch.unlink()
    except OSError as error:
        return f"it cannot be deleted ({error.strerror})"
    return ""


def _stays(latch: Path, why: str, outcome: Outcome | None = None) -> Outcome:
    said = (
        f"every host on this state goes back because of {latch}, which is to be"
        f" deleted once the state is whole again: {why}"
    )
    if outcome is None:
        return Outcome(
            target="rollout:", applied=True, verified=False, code="latched", reason=said
        )
    reason = f"{outcome.reason}; {said}"
    return attrs.evolve(outcome, verified=False, code="latched", reason=reason)
