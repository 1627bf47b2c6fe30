"""Check and call in one place."""

from __future__ import annotations

import contextvars
import functools
import logging
import os

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import ParamSpec, Protocol, TypeVar

import attrs

from ..exceptions import GateError, LegionError
from ..hookspecs import hookimpl
from ..model import (
    Action,
    Arm,
    Change,
    Clock,
    Count,
    Log,
    Notice,
    Noun,
    Permission,
    Report,
    Ruling,
    as_json,
)
from ..plugins import Answer
from ..store import Database
from ..telemetry import SystemClock
from .asks import Ask, Asks, AskState
from .policy import Policy
from .receipts import DONE, FAILED, RUNNING, Executed, Intent, Receipts


logger = logging.getLogger("legion")

P = ParamSpec("P")
T = TypeVar("T")

RETREATS = frozenset({"roll_back", "deactivate"})
"""Kinds of changes that only take something back; nobody is asked about them."""


class Reviewers(Protocol):
    """What the gate needs of `legion.Plugins`."""

    def review(
        self, change: Change | Action, report: Report | None
    ) -> Sequence[Answer[Ruling]]:
        """Ask every reviewer."""
        ...


class SafetyGate:
    """
    Rules on every forward act, and executes actions that it allows.

    The strictest answer of the policy and all reviewers wins. A question that a person
    must answer is durable, has an id, and is bound to exactly this act under exactly
    this policy; an approval is used once. What the gate cannot decide, it denies.

    Args:
        policy: The rules; the standard ones by default.
        plugins: Whose reviewers are asked; none by default.
        journal: Where rulings, intents and outcomes are recorded; None records nowhere.
        store: The state file, an open `Database`, or ``":memory:"``.
        clock: The system's by default.
    """

    def __init__(
        self,
        policy: Policy | None = None,
        *,
        plugins: Reviewers | None = None,
        journal: Log | None = None,
        store: Database | str | os.PathLike[str] = ":memory:",
        clock: Clock | None = None,
    ) -> None:
        self.policy = policy or Policy()
        self._reviewers = plugins
        self._journal = journal
        self._owned = None if isinstance(store, Database) else Database(store)
        database = store if isinstance(store, Database) else self._owned
        assert database is not None
        self._clock = clock or SystemClock()
        self._asks = Asks(database, self._clock)
        self._receipts = Receipts(database)
        self._keys: dict[str, Lock] = {}
        self._lock = Lock()
        self._told: set[str] = {ask.id for ask in self.asks()}
        self._permit: contextvars.ContextVar[str | None] = contextvars.ContextVar(
            "legion_permit", default=None
        )
        self._bypasses = self._unauthorized = 0

    def close(self) -> None:
        """Close the state file if the gate opened it."""
        if self._owned is not None:
            self._owned.close()

    def review(self, subject: Change | Action, report: Report | None = None) -> Ruling:
        """
        Say whether *subject* may go ahead now.

        Args:
            subject: A change, or an action of the host's.
            report: What it rests on, for the reviewers.

        Returns:
            ALLOW, ASK with the id of the question, or DENY; each with its reason.
        """
        try:
            return self._review(subject, report)
        except (LegionError, ValueError, TypeError) as error:
            logger.warning("the gate could not rule, so it denies", exc_info=True)
            return Ruling(
                permission=Permission.DENY,
                code="gate_error",
                reason=f"the gate could not rule: {error}",
                policy=self.policy.digest,
            )

    def _review(self, subject: Change | Action, report: Report | None) -> Ruling:
        digest = subject.digest
        if isinstance(subject, Change) and subject.kind in RETREATS:
            return Ruling(
                permission=Permission.ALLOW,
                code="retreat",
                reason="going back is never gated",
                subject=digest,
                policy=self.policy.digest,
            )
        strictest = max(
            self._rulings(subject, report), key=lambda ruling: ruling.permission
        )
        ruling = attrs.evolve(strictest, subject=digest, policy=self.policy.digest)
        if self.policy.containment == "observe" and not ruling.allowed:
            return attrs.evolve(
                ruling,
                permission=Permission.ALLOW,
                code="observed",
                reason=f"only observed; else {ruling.permission.name}: {ruling.reason}",
            )
        if ruling.permission is Permission.ASK:
            return self._asked(subject, ruling)
        return ruling

    def _rulings(
        self, subject: Change | Action, report: Report | None
    ) -> Iterator[Ruling]:
        own = self.policy.rule(subject)
        if self.policy.containment == "ask" and own.code == "above_max_risk":
            own = attrs.evolve(own, permission=Permission.ASK)
        yield own
        for answer in (
            self._reviewers.review(subject, report) if self._reviewers else ()
        ):
            if answer.value is None:
                yield Ruling(
                    permission=Permission.DENY,
                    code="reviewer_raised",
                    reason=f"reviewer {answer.plugin} failed: {answer.error}",
                    by=answer.plugin,
                )
            else:
                yield attrs.evolve(answer.value, by=answer.plugin)

    def _asked(self, subject: Change | Action, ruling: Ruling) -> Ruling:
        with self._lock:
            ask = self._asks.find(ruling.subject, ruling.policy)
            answered = {
                AskState.APPROVED: (Permission.ALLOW, "approved", "approved by"),
                AskState.DENIED: (Permission.DENY, "refused_by_person", "refused by"),
            }
            if ask is not None and ask.state in answered:
                permission, code, said = answered[ask.state]
                return attrs.evolve(
                    ruling,
                    permission=permission,
                    code=code,
                    reason=f"{said} {ask.by}{f': {ask.said}' if ask.said else ''}",
                    by=ask.by,
                    ask=ask.id,
                )
            if ask is None or ask.state is not AskState.PENDING:
                expired = ask is not None and ask.state is AskState.EXPIRED
                ask = self._question(subject, ruling)
                if expired:
                    ruling = attrs.evolve(
                        ruling,
                        code="expired",
                        reason=f"{ruling.reason}; the last question expired unanswered",
                    )
            return attrs.evolve(ruling, ask=ask.id)

    def _question(self, subject: Change | Action, ruling: Ruling) -> Ask:
        now = self._clock.wall()
        number = len(self._asks.all(open_only=False)) + 1
        ask = Ask(
            id=f"ask-{number}-{ruling.subject[:8]}",
            subject=ruling.subject,
            policy=ruling.policy,
            act=as_json(subject),
            title=_title(subject),
            reason=ruling.reason,
            principal=subject.principal if isinstance(subject, Action) else "",
            created=now,
            expires=now + self.policy.expires_s,
        )
        self._asks.save(ask)
        return ask

    def asks(self, *, open_only: bool = True) -> tuple[Ask, ...]:
        """Return the questions, oldest first; only the open ones by default."""
        return self._asks.all(open_only=open_only)

    def answer(self, ask_id: str, *, approve: bool, by: str, reason: str = "") -> Ask:
        """
        Answer a question, from any process that has the state file.

        Args:
            ask_id: Which one.
            approve: Whether the act may run, once.
            by: Who answers; not who wants to act.
            reason: What there is to say about it.

        Raises:
            GateError: It cannot be answered, or not like this.
        """
        ask = self._asks.get(ask_id)
        state = AskState.APPROVED if approve else AskState.DENIED
        if not by.strip():
            msg = f"answer: got no name; write by= with who answers {ask_id}"
            raise GateError(msg)
        if by == ask.principal:
            msg = f"answer: {by} wants to act and cannot answer; ask somebody else"
            raise GateError(msg)
        if ask.state is state and ask.by == by:
            return ask
        if ask.state is not AskState.PENDING:
            msg = (
                f"answer: {ask_id} is {ask.state.value}; only a pending one is answered"
            )
            raise GateError(msg)
        answered = attrs.evolve(ask, state=state, by=by, said=reason)
        self._asks.save(answered)
        self._note({"ask": ask_id, "state": state.value, "by": by}, kind="answer")
        return answered

    def notices(self) -> tuple[Notice, ...]:
        """Return the questions that were opened since last asked."""
        fresh = [ask for ask in self.asks() if ask.id not in self._told]
        self._told.update(ask.id for ask in fresh)
        return tuple(
            Notice(kind="question", id=ask.id, title=ask.title, reason=ask.reason)
            for ask in fresh
        )

    # Executing: intent, call, outcome.

    def execute(
        self, action: Action, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> Executed[T]:
        """
        Check *action* and, if it is allowed, call *fn* with the arguments.

        The intent is durable before the call, the outcome after it. An exception of
        *fn* is recorded and raised on.

        Args:
            action: What is done, said exactly; its digest is what a person approves.
            fn: Does it.
            *args: For *fn*.
            **kwargs: For *fn*.

        Raises:
            GateError: The action's key was used for another action.
        """
        with self._turn(action.key):
            before = self._before(action)
            if isinstance(before, Executed):
                return before
            ruling, intent = before
            token = self._permit.set(ruling.subject)
            try:
                value = fn(*args, **kwargs)
            except BaseException as error:
                self._after(intent, FAILED, error)
                raise
            finally:
                self._permit.reset(token)
            self._after(intent, DONE, value)
            return Executed(ran=True, value=value, ruling=ruling)

    async def aexecute(
        self,
        action: Action,
        fn: Callable[P, Awaitable[T]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Executed[T]:
        """
        Do as `execute` does, and await what *fn* returns.

        A call with the same key that is under way is in doubt, not waited for.

        Raises:
            GateError: The action's key was used for another action.
        """
        with self._turn(action.key):
            before = self._before(action)
        if isinstance(before, Executed):
            return before
        ruling, intent = before
        token = self._permit.set(ruling.subject)
        try:
            value = await fn(*args, **kwargs)
        except BaseException as error:
            self._after(intent, FAILED, error)
            raise
        finally:
            self._permit.reset(token)
        self._after(intent, DONE, value)
        return Executed(ran=True, value=value, ruling=ruling)

    @contextmanager
    def _turn(self, key: str | None) -> Iterator[None]:
        """Let one thread at a time act under one key."""
        if key is None:
            yield
            return
        with self._lock:
            lock = self._keys.setdefault(key, Lock())
        with lock:
            yield

    def _before(self, action: Action) -> Executed[T] | tuple[Ruling, Intent]:
        digest = action.digest
        if action.key is not None:
            earlier = self._receipts.earlier(action.key, digest)
            if earlier is not None and earlier[0] != FAILED:
                return _again(action, earlier[0], earlier[1])
        ruling = self.review(action)
        if action.digest != digest:
            ruling = attrs.evolve(
                ruling,
                permission=Permission.DENY,
                code="changed",
                reason="the action changed while it was reviewed",
            )
        if ruling.allowed and ruling.code == "approved":
            ruling = self._used(ruling)
        self._note(ruling)
        if not ruling.allowed:
            return Executed(ran=False, value=None, ruling=ruling)
        return self._open(action, ruling)

    def _open(
        self, action: Action, ruling: Ruling
    ) -> Executed[T] | tuple[Ruling, Intent]:
        try:
            intent = self._receipts.open(ruling.subject, _title(action), action.key)
            self._note(intent)
        except LegionError as error:
            reason = f"the intent cannot be written down: {error}"
            denied = attrs.evolve(
                ruling, permission=Permission.DENY, code="gate_error", reason=reason
            )
            return Executed(ran=False, value=None, ruling=denied)
        if ruling.code == "observed":
            self._unauthorized += 1
        return ruling, intent

    def _used(self, ruling: Ruling) -> Ruling:
        assert ruling.ask is not None
        if self._asks.consume(ruling.ask):
            return ruling
        return attrs.evolve(
            ruling,
            permission=Permission.DENY,
            code="already_used",
            reason="the approval has been used by another call",
        )

    def _after(self, intent: Intent, state: str, value: object) -> None:
        failed = isinstance(value, BaseException)
        self._receipts.close(intent.id, state, None if failed else value)
        outcome = {
            "intent": intent.digest,
            "state": state,
            "error": f"{type(value).__name__}: {value}" if failed else None,
        }
        self._note(outcome, kind="outcome", refs=(intent.digest, intent.subject))

    def consume(self, ruling: Ruling) -> bool:
        """Use up the approval a ruling rests on; True where it rests on none."""
        if ruling.code != "approved" or ruling.ask is None:
            return True
        return self._asks.consume(ruling.ask)

    def in_doubt(self) -> tuple[Intent, ...]:
        """Return the acts that were begun and have no known outcome."""
        return self._receipts.running()

    def settle(self, intent_id: int, *, happened: bool, by: str) -> None:
        """
        Say what became of an act in doubt.

        Args:
            intent_id: Which one, as `in_doubt` has it.
            happened: Whether it was done; if not, its key may be used again.
            by: Who has looked.

        Raises:
            GateError: It is not in doubt.
        """
        if intent_id not in {intent.id for intent in self.in_doubt()}:
            msg = f"settle: intent {intent_id} is not in doubt"
            raise GateError(msg)
        self._receipts.close(intent_id, DONE if happened else FAILED)
        self._note(
            {"intent": intent_id, "happened": happened, "by": by}, kind="settled"
        )

    def guard(self, fn: Callable[P, T]) -> Callable[P, T]:
        """
        Return *fn* so that it only runs inside `execute` of this gate.

        Called around the gate, it raises and counts as a bypass; where the policy only
        observes, it counts and runs.

        Raises:
            GateError: From the returned callable, when it is called around the gate.
        """

        @functools.wraps(fn)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
            if self._permit.get() is None:
                self._bypasses += 1
                name = getattr(fn, "__name__", repr(fn))
                logger.warning("%s was called around the gate", name)
                if self.policy.containment != "observe":
                    msg = f"{name} is guarded; write gate.execute(action, {name}, ...)"
                    raise GateError(msg)
            return fn(*args, **kwargs)

        return guarded

    @hookimpl
    def legion_observe(self, plan: str, arm: Arm) -> dict[str, Count | float]:
        """
        Supply how often the gate was gone around, since last asked.

        Acts are the process's, not an arm's: they count for the candidate, which is the
        one that is judged.
        """
        if arm is Arm.CONTROL:
            return {}
        bypasses, self._bypasses = self._bypasses, 0
        unauthorized, self._unauthorized = self._unauthorized, 0
        return {
            "safety_gate_bypasses": Count(bypasses),
            "unauthorized_actions": Count(unauthorized),
        }

    def _note(
        self, body: object, *, kind: str | None = None, refs: Sequence[str] = ()
    ) -> None:
        if self._journal is not None:
            if isinstance(body, Noun):
                self._journal.append(body, refs=refs)
            else:
                self._journal.append(body, kind=kind, refs=refs)


def _again(action: Action, state: str, value: object) -> Executed[T]:
    doubt = state == RUNNING
    ruling = Ruling(
        permission=Permission.DENY if doubt else Permission.ALLOW,
        code="in_doubt" if doubt else "replayed",
        reason=(
            f"a call with key {action.key!r} was begun and its outcome is unknown;"
            " look, then settle it"
            if doubt
            else f"key {action.key!r} was executed before; this is its outcome"
        ),
        subject=action.digest,
    )
    kept: T | None = value  # type: ignore[assignment]
    return Executed(
        ran=not doubt, value=kept, ruling=ruling, replayed=not doubt, in_doubt=doubt
    )


def _title(subject: Change | Action) -> str:
    if isinstance(subject, Action):
        return f"{subject.kind}: {subject.name}"
    return f"{subject.kind} of {subject.target}"
