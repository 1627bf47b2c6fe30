"""Acts that are executed: intent before, outcome after, doubt where there is none."""

from __future__ import annotations

import logging

from typing import TypeVar

import attrs

from ..model import Action, Clock, Outcome, Permission, Ruling
from ..store import Database
from .asks import Asks
from .doubt import Doubts
from .notes import Notes
from .owner import here
from .receipts import (
    Executed,
    Intent,
    Receipt,
    Receipts,
    State,
    complaint,
    is_interruption,
    kept,
)
from .rulings import changed
from .subject import digest as digest_of


logger = logging.getLogger("legion")

T = TypeVar("T")


@attrs.frozen(kw_only=True)
class Act:
    """
    An act that may be done now.

    Attributes:
        intent: What was written down of it.
        ruling: Why it may be done.
        began_s: When, in seconds of machine time.
        records: Ids of what the journal has of it.
    """

    intent: Intent
    ruling: Ruling
    began_s: float
    records: tuple[str, ...]


@attrs.define(eq=False)
class Acts:
    """
    Begins acts and ends them.

    Args:
        database: The open state file.
        asks: Whose approvals are used up.
        notes: Where rulings, intents and outcomes are recorded.
        clock: Dates of intents, and how long a call took.
    """

    database: Database
    asks: Asks
    notes: Notes
    clock: Clock
    receipts: Receipts = attrs.field(init=False)
    doubts: Doubts = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.receipts = Receipts(self.database)
        self.doubts = Doubts(self.database, self.receipts, self.notes)

    def begin(self, action: Action, ruling: Ruling) -> Act | Receipt | Executed[T]:
        """
        Write the intent down if *ruling* allows *action*; that is durable on return.

        The approval is used up, and ruling and intent recorded, in one transaction.

        Returns:
            The act; or why there is none: the receipt of another with the same key, or
            the denial.
        """
        begun: Intent | None = None
        try:
            with self.database.transaction(durable=True):
                taken = self.receipts.of_key(action.key)
                if taken is not None:
                    return taken
                ruling = self._still(action, ruling)
                records = self.notes.write(ruling)
                if not ruling.allowed:
                    return Executed(
                        ran=False, value=None, ruling=ruling, records=records
                    )
                begun = self.receipts.open(
                    action, subject=ruling.subject, at=self.clock.wall(), owner=here()
                )
                self.doubts.begin(begun)
                records += self.notes.write(begun, refs=(ruling.digest,))
        except BaseException:
            if begun is not None:
                self.doubts.end(begun)
            raise
        began_s = self.clock.machine()
        return Act(intent=begun, ruling=ruling, began_s=began_s, records=records)

    def _still(self, action: Action, ruling: Ruling) -> Ruling:
        """Return *ruling*, or a denial if what it rests on is gone."""
        if not ruling.allowed:
            return ruling
        if digest_of(action) != ruling.subject:
            return changed(ruling)
        if ruling.code == "approved" and not self.asks.use(ruling.ask or ""):
            return attrs.evolve(
                ruling,
                permission=Permission.DENY,
                code="already_used",
                reason=f"{ruling.ask}, approved by {ruling.by}, is used or has expired",
            )
        return ruling

    def done(self, act: Act, value: T) -> Executed[T]:
        """Write down that the call returned *value*."""
        written, records = self._try_close(act, State.DONE, value=kept(value))
        return Executed(
            ran=True,
            value=value,
            ruling=act.ruling,
            in_doubt=not written,
            intent=act.intent.id,
            records=act.records + records,
        )

    def raised(self, act: Act, error: BaseException) -> None:
        """Write down that the call raised; an interruption leaves it in doubt."""
        if is_interruption(error):
            self._leave(act, type(error).__name__)
        else:
            self._try_close(act, State.FAILED, said=complaint(error))

    def _leave(self, act: Act, why: str) -> None:
        """Write down that nobody is doing it any more; it stays in doubt."""
        number = act.intent.id
        logger.warning(
            "%s was interrupted (%s); intent %d is in doubt",
            act.intent.title,
            why,
            number,
        )
        try:
            self.receipts.leave(act.intent)
        except Exception:
            logger.warning(
                "that %s has left intent %d cannot be written down; until it ends,"
                " only this gate can settle it",
                act.intent.owner,
                number,
                exc_info=True,
            )
        finally:
            self.doubts.end(act.intent)

    def _try_close(
        self, act: Act, state: State, *, value: bytes | None = None, said: str = ""
    ) -> tuple[bool, tuple[str, ...]]:
        """Write an outcome down; return whether it stands, and the journal's ids."""
        number = act.intent.id
        try:
            stands, records = self._close(act, state, value=value, said=said)
        except Exception:
            logger.warning(
                "%s: that it is %s cannot be written down; intent %d is in doubt",
                act.intent.title,
                state,
                number,
                exc_info=True,
            )
            return False, ()
        finally:
            self.doubts.end(act.intent)
        self.doubts.mine.pop(number, None)
        if not stands:
            logger.warning(
                "%s is %s, but intent %d was settled meanwhile, and that stands",
                act.intent.title,
                state,
                number,
            )
        return stands, records

    def _close(
        self, act: Act, state: State, *, value: bytes | None, said: str
    ) -> tuple[bool, tuple[str, ...]]:
        took_s = self.clock.machine() - act.began_s
        with self.database.transaction(durable=True):
            stands = self.receipts.close(act.intent, state, value=value, said=said)
            reason = said or "the call returned"
            if not stands:
                reason += f"; meanwhile {self.receipts.whose(act.intent)} settled it"
            outcome = Outcome(
                target=act.intent.title,
                applied=state is State.DONE,
                verified=False,
                code=state.value,
                reason=reason,
                took_s=took_s,
                change=act.intent.subject,
                ruling=act.ruling.digest,
            )
            return stands, self.notes.write(outcome, refs=(act.intent.digest,))
