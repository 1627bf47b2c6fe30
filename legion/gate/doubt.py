"""Acts without an outcome: which they are, who may settle them, what is known."""

from __future__ import annotations

from typing import TypeVar
from weakref import WeakValueDictionary

import attrs

from ..exceptions import GateError
from ..model import Action, Permission, Ruling
from ..store import Database
from . import given
from .notes import Notes
from .receipts import Executed, Intent, Receipt, Receipts, State
from .subject import digest as digest_of


T = TypeVar("T")


@attrs.define(eq=False)
class Doubts:
    """
    What nobody knows the outcome of, apart from what somebody is doing right now.

    Args:
        database: The open state file.
        receipts: What it holds.
        notes: Where it is recorded what a person found out.
        mine: Intents of this gate whose outcome is not written down: number and digest,
            since the number of one that was taken back goes to somebody else.
        under_way: Those of them that it is executing. Held weakly: what is interrupted
            even before it is in the hands of somebody who could say so is over, too.
    """

    database: Database
    receipts: Receipts
    notes: Notes
    mine: dict[int, str] = attrs.field(init=False, factory=dict)
    under_way: WeakValueDictionary[int, Intent] = attrs.field(
        init=False, factory=WeakValueDictionary
    )

    def all(self) -> tuple[Intent, ...]:
        """Return the acts without an outcome that nobody is seen to be doing."""
        running = self.receipts.running()
        return tuple(one.intent for one in running if self._busy(one) is not True)

    def begin(self, intent: Intent) -> None:
        """Take note that this gate is executing *intent*, as long as that is held."""
        self.mine[intent.id] = intent.digest
        self.under_way[intent.id] = intent

    def end(self, intent: Intent) -> None:
        """Take note that it is not any more."""
        self.under_way.pop(intent.id, None)

    def _busy(self, receipt: Receipt) -> bool | None:
        """Tell whether somebody is doing it, or None where that cannot be seen."""
        number = receipt.intent.id
        if self.mine.get(number) == receipt.intent.digest:
            return number in self.under_way
        if receipt.left:
            return False
        return receipt.intent.owner.lives()

    def settle(self, intent_id: int, *, happened: bool, by: str, ended: bool) -> None:
        """
        Write down what a person found out of an act.

        Raises:
            GateError: It is not in doubt, nobody says so, or who began it may still be
                doing it.
        """
        intent_id = given.number(intent_id, "settle: got intent_id")
        what = f"settle: intent {intent_id}: got"
        happened = given.yes_or_no(happened, f"{what} happened")
        ended = given.yes_or_no(ended, f"{what} ended")
        by = given.text(by, f"{what} by", write="who has looked", most=given.NAME)
        with self.database.transaction(durable=True):
            receipt = self.receipts.get(intent_id)
            if receipt is not None and receipt.state is State.RUNNING:
                self._refuse_busy(receipt, ended=ended)
            intent = self.receipts.settled(intent_id, happened=happened, by=by)
            self.notes.write(
                {"intent": intent_id, "happened": happened, "by": by},
                kind="settled",
                refs=(intent.digest, intent.subject),
            )

    def _refuse_busy(self, receipt: Receipt, *, ended: bool) -> None:
        intent, busy = receipt.intent, self._busy(receipt)
        what = f"settle: intent {intent.id} ({intent.title})"
        if busy:
            msg = (
                f"{what} is under way in {intent.owner}, which lives;"
                " wait for its outcome, or end that process and settle it then"
            )
            raise GateError(msg)
        if busy is None and not ended:
            msg = (
                f"{what} was begun by {intent.owner}, and from here nobody can see"
                " whether that still runs; look there, and once it has ended"
                " write ended=True"
            )
            raise GateError(msg)

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
        owner = receipt.intent.owner
        if self._busy(receipt):
            return Permission.DENY, "under_way", f"{owner} is executing it right now"
        reason = (
            f"it was begun by {owner} and has no outcome;"
            f" look, then settle intent {number}"
        )
        return Permission.DENY, "in_doubt", reason


def _digest(action: Action) -> str:
    try:
        return digest_of(action)
    except (TypeError, ValueError):
        return ""
