"""Who turns the wheel: a lease, and a token that grows with each new holder."""

from __future__ import annotations

import attrs

from ..exceptions import StateCorruptError
from ..model import Clock
from .database import Database
from .owner import is_alive


_SCHEMA = """
CREATE TABLE IF NOT EXISTS lease (
    plan TEXT PRIMARY KEY, token INTEGER NOT NULL, owner TEXT NOT NULL,
    until REAL NOT NULL, lasts REAL NOT NULL);
"""


@attrs.frozen(kw_only=True)
class Held:
    """
    The lease as it is written down.

    Attributes:
        token: How many holders there were; a write with an older one is refused.
        owner: Name of the holder, or "" where it was given back.
        until: When it ends, in seconds since the epoch, wall clock.
        lasts_s: How long it was taken for.
    """

    token: int
    owner: str
    until: float
    lasts_s: float


@attrs.define(eq=False)
class Lease:
    """
    The lease of one plan's wheel.

    A holder that is known to have died has lost it at once; one that hangs, or is on
    another machine, when its time is over. A lease that has longer to go than it lasts
    was written before the date was set back, and is over, too.

    Args:
        database: The open state file.
        plan: Name of the plan.
        clock: For the date, which all processes of a machine share.
    """

    database: Database
    plan: str
    clock: Clock
    token: int = attrs.field(init=False, default=0)

    def __attrs_post_init__(self) -> None:
        self.database.ensure(_SCHEMA)

    def take(self, owner: str, lasts_s: float) -> bool:
        """
        Take or renew it for *owner*, unless another one holds it.

        It is written down only by a new holder, and when a third of its time is over.

        Args:
            owner: Who asks.
            lasts_s: How long it is kept without being renewed, by the wall clock.

        Raises:
            StateError: The file cannot be read or written; `token` is what it was.
        """
        held = self.held()
        if held is not None:
            if self._is_ours(held, owner):
                left_s = held.until - self.clock.wall()
                if lasts_s * 2 / 3 < left_s <= lasts_s:
                    return True
            elif self._runs(held):
                return False
        with self.database.transaction(durable=False) as connection:
            held = self.held()
            if held is None:
                token = self.token + 1
            elif self._is_ours(held, owner):
                token = held.token
            elif self._runs(held):
                return False
            else:
                token = max(held.token, self.token) + 1
            connection.execute(
                "INSERT OR REPLACE INTO lease VALUES (?, ?, ?, ?, ?)",
                (self.plan, token, owner, self.clock.wall() + lasts_s, lasts_s),
            )
        self.token = token
        return True

    def _is_ours(self, held: Held, owner: str) -> bool:
        return (held.owner, held.token) == (owner, self.token)

    def _runs(self, held: Held) -> bool:
        left_s = held.until - self.clock.wall()
        if not held.owner or not 0 < left_s <= held.lasts_s:
            return False
        return is_alive(process_of(held.owner)) is not False

    def held(self) -> Held | None:
        """
        Return who holds it, or None before the first one.

        Raises:
            StateError: The file cannot be read.
        """
        return held_by(self.database, self.plan)

    @property
    def is_held(self) -> bool:
        """
        Whether somebody holds it, as far as can be told.

        Raises:
            StateError: The file cannot be read.
        """
        held = self.held()
        return held is not None and self._runs(held)

    def release(self, owner: str) -> None:
        """
        Give it back, if *owner* holds it; the token stays.

        Raises:
            StateError: The file cannot be written.
        """
        with self.database.transaction(durable=False) as connection:
            connection.execute(
                "UPDATE lease SET owner = '' WHERE plan = ? AND owner = ?",
                (self.plan, owner),
            )


def held_by(database: Database, plan: str) -> Held | None:
    """
    Return the lease of *plan*; inside a transaction, as of that.

    Raises:
        StateError: The file cannot be read, or its bytes are damaged.
    """
    rows = database.read(
        "SELECT token, owner, until, lasts FROM lease WHERE plan = ?", (plan,)
    )
    if not rows:
        return None
    if tuple(map(type, rows[0])) != (int, str, float, float):
        msg = f"the lease of {plan!r} is damaged; put back a copy from before"
        raise StateCorruptError(database.path, msg)
    token, owner, until, lasts_s = rows[0]
    return Held(token=token, owner=owner, until=until, lasts_s=lasts_s)


def process_of(owner: str) -> str:
    """Return the process of a holder; one process may hold several hosts."""
    return owner.rpartition("/")[0]
