"""The rollout's rows in the state file."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import attrs

from .. import canonical
from ..canonical import JSON
from ..exceptions import PlanError, StateCorruptError, StateError
from ..model import Clock
from ..store import Database
from ..store.lease import held_by
from ..telemetry import SystemClock
from .evidence import Known
from .exposure import Exposure
from .latch import STANDS_S, Latch, found_beside, pull_beside, take_away
from .plan import Plan
from .splitter import Absent, Splitter
from .state import RolloutState
from .unit_rows import UnitRows


_SCHEMA = """
CREATE TABLE IF NOT EXISTS rollout (
    plan TEXT PRIMARY KEY, version INTEGER NOT NULL, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS lesson (
    plan TEXT PRIMARY KEY, entry INTEGER NOT NULL, turn INTEGER NOT NULL,
    body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS exposure (
    digest TEXT PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS plan (
    digest TEXT PRIMARY KEY, at REAL NOT NULL, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS latch (
    plan TEXT PRIMARY KEY, reason TEXT NOT NULL, at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS off (
    plan TEXT NOT NULL, feature TEXT NOT NULL, PRIMARY KEY (plan, feature));
"""

_UNREADABLE = (ValueError, LookupError, TypeError, AttributeError)
"""What reading a row raises whose bytes are not those that were written."""


class SupersededError(StateError):
    """Another process has written a newer state; nothing was written over it."""


class NotLeadingError(SupersededError):
    """Another process turns the wheel now; what was to go forward was not written."""


def recall(database: Database) -> Plan:
    """
    Return the plan that was rolled out last with this state file.

    Raises:
        StateError: None was.
        StateCorruptError: Its bytes are not what was written.
    """
    database.ensure(_SCHEMA)
    rows = database.read("SELECT body FROM plan ORDER BY at DESC LIMIT 1")
    if not rows:
        raise StateError(str(database.path), "no rollout was ever started here")
    try:
        return Plan.from_dict(_object(rows[0][0]))
    except (PlanError, *_UNREADABLE) as error:
        msg = "the plan in it is damaged; put a copy of the file from before there"
        raise StateCorruptError(str(database.path), msg) from error


def order_of(database: Database, plan: str) -> Absent | None:
    """
    Return what stands for the order that the units of a rollout are split by.

    None where it is the one that every process has.

    Raises:
        StateCorruptError: The rollout's row is damaged.
    """
    state = StateFile.of(database, plan).load()
    if state is None or state.splitter in {"", Splitter(plan).name}:
        return None
    return Absent(state.splitter)


@attrs.define(eq=False)
class StateFile:
    """
    Loads and saves one plan's rollout.

    A move and what is learned are rows of their own. Each is saved over the one it is
    based on, and refused where somebody else has written since. What goes back is apart
    from both: the latch and the features that are off can only be set, by anyone, at
    any time.

    Args:
        database: The open state file.
        plan: Name of the plan.
        clock: For the date on the latch.

    Attributes:
        token: Of the lease under which it goes forward, see `legion.store.lease`; None
            where nobody leads, as an engine is used without a host.
        units: Its units.
    """

    database: Database
    plan: str
    clock: Clock
    token: int | None = attrs.field(init=False, default=None)
    units: UnitRows = attrs.field(init=False)
    _beside: tuple[str, float] | None = attrs.field(init=False, default=None)
    """The reason that this process wrote beside the file, and when, in machine time."""

    def __attrs_post_init__(self) -> None:
        self.database.ensure(_SCHEMA)
        self.units = UnitRows(self.database, self.plan)

    @classmethod
    def of(cls, database: Database, plan: str) -> StateFile:
        """Return the rows of the rollout named *plan*, to be read."""
        return cls(database, plan, SystemClock())

    def tried(self, plan: Plan) -> tuple[str, ...]:
        """Return the other rollouts of the same candidate that went back."""
        same = [
            one.name
            for one in self.plans()
            if one.name != plan.name
            and (one.candidate, one.baseline) == (plan.candidate, plan.baseline)
        ]
        return tuple(
            name
            for name in dict.fromkeys(same)
            if StateFile(self.database, name, self.clock).latch() is not None
        )

    def plans(self) -> list[Plan]:
        """
        Return the plans of all rollouts with this file, the oldest first.

        Raises:
            StateCorruptError: The bytes of one are not what was written.
        """
        rows = self.database.read("SELECT body FROM plan ORDER BY at")
        try:
            return [Plan.from_dict(_object(body)) for (body,) in rows]
        except (PlanError, *_UNREADABLE) as error:
            raise self._damaged(self.plan) from error

    def remember(self, plan: Plan) -> None:
        """Keep the plan itself, so that `recall` needs no file of it."""
        with self.database.transaction(durable=True) as connection:
            connection.execute(
                "INSERT OR REPLACE INTO plan VALUES (?, ?, ?)",
                (plan.digest, self.clock.wall(), canonical.dumps(plan.to_dict())),
            )

    def load(self) -> RolloutState | None:
        """
        Return the newest state, or None before the first save.

        Raises:
            StateCorruptError: Its bytes are not what was written.
        """
        rows = self.database.read(
            "SELECT rollout.body, lesson.body FROM rollout JOIN lesson USING (plan)"
            " WHERE plan = ?",
            (self.plan,),
        )
        if not rows:
            return None
        try:
            moved, learned = map(_object, rows[0])
            return RolloutState.from_json({**learned, **moved})
        except _UNREADABLE as error:
            raise self._damaged(self.plan) from error

    def versions(self) -> tuple[int, int]:
        """Return the newest version and turn, or zeros before the first save."""
        rows = self.database.read(
            "SELECT version, turn FROM rollout JOIN lesson USING (plan) WHERE plan = ?",
            (self.plan,),
        )
        return (rows[0][0], rows[0][1]) if rows else (0, 0)

    def save(
        self,
        state: RolloutState,
        *,
        durable: bool,
        exposure: Exposure | None = None,
        forward: bool = False,
    ) -> RolloutState:
        """
        Write a move: *state* as the next version. Return it as written.

        Args:
            state: What it is to be, based on the version it has.
            durable: Whether it must survive a loss of power.
            exposure: What is live from now on, where that is another one.
            forward: Whether only who leads may write it.

        Raises:
            SupersededError: Somebody else has moved since *state* was read.
            NotLeadingError: Somebody else leads.
            StateError: The file cannot be written.
        """
        following = attrs.evolve(state, version=state.version + 1)
        body = canonical.dumps(following.position())
        with self.database.transaction(durable=durable) as connection:
            if forward:
                self.refuse_stale()
            if exposure is not None:
                connection.execute(
                    "INSERT OR IGNORE INTO exposure VALUES (?, ?)",
                    (exposure.digest, canonical.dumps(exposure.to_json())),
                )
            if state.version == 0:
                done = connection.execute(
                    "INSERT OR IGNORE INTO rollout VALUES (?, ?, ?)",
                    (self.plan, following.version, body),
                )
            else:
                done = connection.execute(
                    "UPDATE rollout SET version = ?, body = ?"
                    " WHERE plan = ? AND version = ?",
                    (following.version, body, self.plan, state.version),
                )
            if done.rowcount != 1:
                raise self._superseded()
            if following.entry in {0, following.version}:  # A new stage: start anew.
                connection.execute(
                    "INSERT OR REPLACE INTO lesson VALUES (?, ?, ?, ?)",
                    (
                        self.plan,
                        following.entry,
                        following.turn,
                        canonical.dumps(following.lesson()),
                    ),
                )
        return following

    def teach(self, state: RolloutState, known: Known, *, after: int) -> None:
        """
        Write what *state* has learned in its stage since turn *after*.

        Args:
            state: What was learned.
            known: Its units, of which those that are new are written.
            after: The turn it is based on.

        Raises:
            SupersededError: Somebody else has learned or moved on since then.
            NotLeadingError: Somebody else leads.
            StateError: The file cannot be written.
        """
        with self.database.transaction(durable=False) as connection:
            self.refuse_stale()
            done = connection.execute(
                "UPDATE lesson SET turn = ?, body = ?"
                " WHERE plan = ? AND entry = ? AND turn = ?",
                (
                    state.turn,
                    canonical.dumps(state.lesson()),
                    self.plan,
                    state.entry,
                    after,
                ),
            )
            if done.rowcount != 1:
                raise self._superseded()
            self.units.save(known)

    def refuse_stale(self) -> None:
        """
        Raise if this process has the token of an earlier holder of the lease, or none.

        Call it in the transaction that writes what may go forward.

        Raises:
            NotLeadingError: Somebody else leads.
        """
        if self.token is None:
            return
        held = held_by(self.database, self.plan)
        if held is not None and held.token > self.token:
            who = f"{held.owner} leads" if held.owner else "somebody else has led"
            msg = (
                f"{who} rollout {self.plan!r} by now (token {held.token}, ours is"
                f" {self.token}); nothing was written, read it again"
            )
            raise NotLeadingError(str(self.database.path), msg)

    def _superseded(self) -> SupersededError:
        msg = (
            f"rollout {self.plan!r} was moved on by another process;"
            " read it again and decide anew"
        )
        return SupersededError(str(self.database.path), msg)

    def exposure(self, digest: str) -> Exposure:
        """
        Return a stored exposure.

        Raises:
            StateError: It is not there, or its bytes do not match its digest.
        """
        rows = self.database.read(
            "SELECT body FROM exposure WHERE digest = ?", (digest,)
        )
        if not rows:
            msg = f"exposure {digest[:12]} is missing"
            raise StateError(str(self.database.path), msg)
        try:
            found = Exposure.from_json(_object(rows[0][0]))
        except _UNREADABLE as error:
            raise self._damaged(digest) from error
        if found.digest != digest:
            raise self._damaged(digest)
        return found

    def _damaged(self, name: str) -> StateCorruptError:
        msg = (
            f"the row of {name!r} is damaged; put a copy of the file from before there"
        )
        return StateCorruptError(str(self.database.path), msg)

    def pull(self, reason: str) -> Latch:
        """
        Set the latch, durably; if it is set already, the first reason stays.

        In a damaged file it may not stay set, and in one that is locked or full not be
        set now, so it is set beside that.

        Raises:
            StateError: The file cannot be written now.
        """
        at = self.clock.wall()
        try:
            with self.database.transaction(durable=True) as connection:
                connection.execute(
                    "INSERT OR IGNORE INTO latch VALUES (?, ?, ?)",
                    (self.plan, reason, at),
                )
        except StateError as error:
            if self.database.path != ":memory:" and self.beside() is None:
                pull_beside(self.database.path, reason)
                self._beside = reason, self.clock.machine()
            if not isinstance(error, StateCorruptError):
                raise
        return self.beside() or self.latch() or Latch(reason=reason, at=at)

    def beside(self) -> Latch | None:
        """Return the latch beside the file, which holds for all plans in it."""
        return found_beside(self.database.path)

    def withdraw(self) -> None:
        """
        Take away the latch beside the file, if this process has put it there.

        Call it when all that the latch asked for is written down and verified. It stands
        until running hosts have looked, and stays for a person to look at where anybody
        else has pulled it too, or the file is not whole and its own latch not set.

        Raises:
            StateError: The file cannot be read.
        """
        if self._beside is None:
            return
        reason, at_s = self._beside
        if self.clock.machine() - at_s < STANDS_S:
            return
        self._beside = None
        if not self.database.check() and self.latch() is not None:
            take_away(self.database.path, only=reason)

    def latch(self) -> Latch | None:
        """Return the latch of this plan in the file, if it has been pulled."""
        rows = self.database.read(
            "SELECT CAST(reason AS BLOB), at FROM latch WHERE plan = ?", (self.plan,)
        )
        if not rows:
            return None
        # A row whose bytes are damaged is a latch all the same.
        reason, at = rows[0]
        said = reason.decode(errors="backslashreplace") if reason else "pulled"
        return Latch(reason=said, at=float(at) if isinstance(at, float) else 0.0)

    def switch_off(self, features: Iterable[str]) -> None:
        """Set features off, durably and for good."""
        with self.database.transaction(durable=True) as connection:
            connection.executemany(
                "INSERT OR IGNORE INTO off VALUES (?, ?)",
                [(self.plan, feature) for feature in sorted(features)],
            )

    def off(self) -> frozenset[str]:
        """Return the features that were set off."""
        rows = self.database.read(
            "SELECT feature FROM off WHERE plan = ?", (self.plan,)
        )
        return frozenset(row[0] for row in rows)


def _object(body: bytes) -> dict[str, JSON]:
    return cast("dict[str, JSON]", canonical.loads(body))
