"""Acts that are executed: intent before, outcome after, doubt where there is none."""

from __future__ import annotations

import logging

from typing import TypeVar

import attrs

from ..exceptions import GateError
from ..model import Action, Clock, Outcome, Permission, Ruling
from ..store import Database
from .asks import Asks
from .notes import Notes
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
    _under_way: set[int] = attrs.field(init=False, factory=set)

    def __attrs_post_init__(self) -> None:
        self.receipts = Receipts(self.database)

    def begin(self, action: Action, ruling: Ruling) -> Act | Receipt | Executed[T]:
        """
        Write the intent down if *ruling* allows *action*; that is durable on return.

        The approval is used up, and ruling and intent recorded, in one transaction.

        Returns:
            The act; or why there is none: the receipt of another with the same key, or
            the denial.
        """
        begun: int | None = None
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
                intent = self.receipts.open(
                    action, subject=ruling.subject, at=self.clock.wall()
                )
                begun = intent.id
                self._under_way.add(begun)
                records += self.notes.write(intent, refs=(ruling.digest,))
        except BaseException:
            self._under_way.discard(begun or 0)
            raise
        began_s = self.clock.machine()
        return Act(intent=intent, ruling=ruling, began_s=began_s, records=records)

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
        records, written = act.records, False
        try:
            records += self._close(act, State.DONE, value=kept(value))
            written = True
        except Exception:
            logger.warning(
                "%s was done, but that cannot be written down; intent %d is in doubt",
                act.intent.title,
                act.intent.id,
                exc_info=True,
            )
        return Executed(
            ran=True,
            value=value,
            ruling=act.ruling,
            in_doubt=not written,
            intent=act.intent.id,
            records=records,
        )

    def raised(self, act: Act, error: BaseException) -> None:
        """Write down that the call raised; an interruption leaves it in doubt."""
        if is_interruption(error):
            self._under_way.discard(act.intent.id)
            logger.warning(
                "%s was interrupted (%s); intent %d is in doubt",
                act.intent.title,
                type(error).__name__,
                act.intent.id,
            )
            return
        try:
            self._close(act, State.FAILED, said=complaint(error))
        except Exception:
            logger.warning(
                "%s failed, but that cannot be written down; intent %d is in doubt",
                act.intent.title,
                act.intent.id,
                exc_info=True,
            )

    def _close(
        self, act: Act, state: State, *, value: bytes | None = None, said: str = ""
    ) -> tuple[str, ...]:
        outcome = Outcome(
            target=act.intent.title,
            applied=state is State.DONE,
            verified=False,
            code=state.value,
            reason=said or "the call returned",
            took_s=self.clock.machine() - act.began_s,
            change=act.intent.subject,
            ruling=act.ruling.digest,
        )
        try:
            with self.database.transaction(durable=True):
                self.receipts.close(act.intent, state, value=value, said=said)
                return self.notes.write(outcome, refs=(act.intent.digest,))
        finally:
            self._under_way.discard(act.intent.id)

    def in_doubt(self) -> tuple[Intent, ...]:
        """Return the acts without an outcome that are not under way in this gate."""
        running = self.receipts.running()
        return tuple(one for one in running if one.id not in self._under_way)

    def settle(self, intent_id: int, *, happened: bool, by: str) -> None:
        """
        Write down what a person found out of an act.

        Raises:
            GateError: It is not in doubt, or nobody says so.
        """
        if not by.strip():
            msg = f"settle: got by={by!r}; write who has looked"
            raise GateError(msg)
        if intent_id in self._under_way:
            msg = f"settle: intent {intent_id} is under way; wait for its outcome"
            raise GateError(msg)
        with self.database.transaction(durable=True):
            intent = self.receipts.settled(intent_id, happened=happened, by=by.strip())
            self.notes.write(
                {"intent": intent_id, "happened": happened, "by": by.strip()},
                kind="settled",
                refs=(intent.digest, intent.subject),
            )

    def again(self, action: Action, receipt: Receipt) -> Executed[T]:
        """
        Return what is known of the act that has taken the key of *action*.

        Raises:
            GateError: That was another action.
        """
        if receipt.intent.subject != _digest(action):
            msg = (
                f"execute: the key {action.key!r} was used for another action,"
                f" {receipt.intent.title}; write a new key"
            )
            raise GateError(msg)
        permission, code, reason = self._known(receipt)
        done = receipt.state is State.DONE
        value: T | None = receipt.returned() if done else None  # type: ignore[assignment]
        return Executed(
            ran=done,
            value=value,
            ruling=Ruling(
                permission=permission,
                code=code,
                reason=f"key {action.key!r}: {reason}",
                subject=receipt.intent.subject,
            ),
            replayed=receipt.state is not State.RUNNING,
            in_doubt=receipt.state is State.RUNNING,
            intent=receipt.intent.id,
        )

    def _known(self, receipt: Receipt) -> tuple[Permission, str, str]:
        number = receipt.intent.id
        if receipt.state is State.FAILED:
            reason = (
                f"it was executed and failed: {receipt.said}; write a new key,"
                f" or settle intent {number} if it surely did not happen"
            )
            return Permission.DENY, "failed_before", reason
        if receipt.state is State.DONE:
            by = f", says {receipt.said}" if receipt.said else ""
            lost = "" if receipt.value is not None else "; its value was not kept"
            reason = f"it was executed before{by}, and is not again{lost}"
            return Permission.ALLOW, "replayed", reason
        if number in self._under_way:
            return Permission.DENY, "under_way", "it is being executed right now"
        reason = f"it was begun and has no outcome; look, then settle intent {number}"
        return Permission.DENY, "in_doubt", reason


def _digest(action: Action) -> str:
    try:
        return digest_of(action)
    except (TypeError, ValueError):
        return ""
