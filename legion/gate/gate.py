"""Check and call in one place."""

from __future__ import annotations

import inspect
import logging
import os

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from threading import Lock
from typing import ParamSpec, Self, TypeVar

import attrs

from ..exceptions import GateError
from ..hookspecs import hookimpl
from ..model import (
    Action,
    Arm,
    Change,
    Clock,
    Count,
    Log,
    Notice,
    Permission,
    Report,
    Ruling,
)
from ..store import Database
from ..telemetry import SystemClock
from ..tools import Fence, fence
from . import given, rulings
from .acts import Act, Acts
from .asks import Ask, Asks, AskState
from .guard import Guard
from .notes import Notes
from .permits import Tally, permit
from .policy import Policy
from .receipts import Executed, Intent, Receipt
from .subject import binding, title
from .subject import digest as digest_of
from .turns import Turns


logger = logging.getLogger("legion")

P = ParamSpec("P")
T = TypeVar("T")


class SafetyGate:
    """
    Rules on every forward act, and executes actions that it allows.

    The strictest answer of the policy and all reviewers wins. A question that a person
    must answer is durable, has an id, and is bound to exactly this act under exactly
    this policy; an approval is used once, and never outweighs a denial. What the gate
    cannot decide or write down, it denies.

    Args:
        policy: The rules; the standard ones by default.
        plugins: Whose reviewers are asked; none by default.
        journal: Where questions, answers, rulings, intents and outcomes are recorded;
            nowhere by default.
        store: An open state file to share, or a file's path. By default questions and
            outcomes live in memory, and die with the process.
        clock: The system's by default.
        judges: Digests of what else judges, by name, such as ``plan`` and ``criteria``.
            Read anew for each ruling and written in its evidence, with the policy's own,
            so that every receipt says under what it was given.

    Raises:
        GateError: A judge's digest is none.
        StateError: The file cannot be used.
    """

    def __init__(
        self,
        policy: Policy | None = None,
        *,
        judges: Mapping[str, str] | None = None,
        plugins: rulings.Reviewers | None = None,
        journal: Log | None = None,
        store: Database | str | os.PathLike[str] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._policy = policy if policy is not None else Policy()
        self._judges = rulings.checked_judges({} if judges is None else judges)
        self._reviewers = plugins
        self._notes = Notes(journal)
        self._owned: Database | None = None
        if store is None or isinstance(store, str | os.PathLike):
            store = self._owned = Database(":memory:" if store is None else store)
        self._database = store
        self._clock = clock if clock is not None else SystemClock()
        self._asks = Asks(store, self._clock)
        self._acts = Acts(store, self._asks, self._notes, self._clock)
        self._turns = Turns()
        self._told: set[str] = set()
        self._telling = Lock()
        self._guard = Guard(self._notes, lenient=self._policy.containment == "observe")
        self._unauthorized = Tally()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the state file, if this gate opened it."""
        if self._owned is not None:
            self._owned.close()

    @property
    def policy(self) -> Policy:
        """The rules; another gate has others, this one keeps them."""
        return self._policy

    def review(self, subject: Change | Action, report: Report | None = None) -> Ruling:
        """
        Say whether *subject* may go ahead now.

        A rollout's way back is allowed without asking anybody. An approval that the
        ruling rests on is not used up by this: see `execute` and `consume`. In a
        mirrored run the answer is no (``shadow``), and nobody is asked.

        Args:
            subject: A change, or an action of the host's.
            report: What it rests on, for the reviewers.

        Returns:
            ALLOW, ASK with the id of the question, or DENY; each with its reason.
        """
        try:
            ruling = self._review(subject, report)
            if ruling.code == "observed":
                self._notes.write(ruling)
        except Exception as error:  # noqa: BLE001 - a gate that fails is closed
            return self._failure(error)
        return ruling

    def _review(self, subject: Change | Action, report: Report | None) -> Ruling:
        if rulings.is_retreat(subject):
            return self._retreat(subject)
        ruling = self._ruled(subject, report)
        return rulings.judged(ruling, self._judges, policy=self.policy.digest)

    def _retreat(self, subject: Change | Action) -> Ruling:
        ruling = Ruling(
            permission=Permission.ALLOW,
            code="retreat",
            reason="going back is never gated",
            subject=digest_of(subject),
            policy=self.policy.digest,
        )
        try:
            return rulings.judged(ruling, self._judges, policy=ruling.policy)
        except Exception:
            logger.warning("the judges of a retreat cannot be named", exc_info=True)
            return ruling

    def _ruled(self, subject: Change | Action, report: Report | None) -> Ruling:
        given.subject(subject, "review")
        own = self.policy.rule(subject)
        if own.code == "bad_risk":  # it may have no digest to speak of
            return own
        digest = digest_of(subject)
        if fence() is not None:  # Not even a question is asked for it.
            return rulings.mirrored(subject=digest, policy=own.policy)
        answers = self._reviewers.review(subject, report) if self._reviewers else ()
        ruling = rulings.strictest(own, answers)
        # Whoever reviews may hold other policies; this ruling is made under ours.
        ruling = attrs.evolve(ruling, subject=digest, policy=own.policy)
        if digest_of(subject) != digest:
            return rulings.changed(ruling)
        return ruling if ruling.allowed else self._contained(subject, ruling)

    def _contained(self, subject: Change | Action, ruling: Ruling) -> Ruling:
        if self.policy.containment == "observe":
            return rulings.observed(ruling)
        if ruling.permission is Permission.ASK:
            return self._ask(subject, ruling)
        return ruling

    def _ask(self, subject: Change | Action, ruling: Ruling) -> Ruling:
        with self._database.transaction(durable=True):
            earlier = self._asks.newest(binding(subject), ruling.policy)
            if earlier is not None:
                reply = rulings.answered(ruling, earlier, self._clock.wall())
                if reply is not None:
                    return reply
                if earlier.state is AskState.PENDING:
                    return rulings.asked(ruling, earlier)
            ask = self._asks.open(subject, ruling, expires_s=self.policy.expires_s)
            self._notes.write(
                {"ask": ask.id, "act": ask.act, "reason": ask.reason},
                kind="question",
                refs=(ask.subject,),
            )
            return rulings.asked(ruling, ask, earlier)

    def _failure(self, error: Exception) -> Ruling:
        logger.warning("the gate failed, so it denies", exc_info=error)
        return rulings.failure(error, policy=self.policy.digest)

    # Questions and answers.

    def asks(self, *, open_only: bool = True) -> tuple[Ask, ...]:
        """Return the questions, oldest first; only the open ones by default."""
        return self._asks.all(open_only=open_only)

    def answer(self, ask_id: str, *, approve: bool, by: str, reason: str = "") -> Ask:
        """
        Answer a question, from any process that has the state file.

        The same answer of the same person twice is one.

        Args:
            ask_id: Which one.
            approve: Whether the act may be done, once.
            by: Who answers; not who wants to act.
            reason: What there is to say about it.

        Raises:
            GateError: It cannot be answered, or not like this.
            StateError: The answer cannot be written down.
        """
        with self._database.transaction(durable=True):
            ask, before = self._asks.answer(ask_id, approve=approve, by=by, said=reason)
            if ask != before:
                said = {"state": ask.state.value, "by": ask.by, "reason": ask.said}
                refs = (ask.subject,)
                self._notes.write({"ask": ask.id, **said}, kind="answer", refs=refs)
        return ask

    def notices(self) -> tuple[Notice, ...]:
        """
        Return the open questions that this gate has not told of yet.

        After a restart those that are still open are told once more, with the same id.
        """
        pending = self.asks()
        with self._telling:
            fresh = [ask for ask in pending if ask.id not in self._told]
            self._told = {ask.id for ask in pending}
        return tuple(
            Notice(
                kind="question",
                id=ask.id,
                title=ask.title,
                reason=f"{ask.reason}; it waits until {ask.id} is answered",
                at_s=self._clock.plan(),
            )
            for ask in fresh
        )

    def consume(self, ruling: Ruling) -> bool:
        """
        Use up the approval that *ruling* rests on, before acting on it.

        `execute` does this itself.

        Returns:
            Whether one may act: False if the ruling allows nothing, or its approval was
            used or has expired.

        Raises:
            StateError: It cannot be written down; do not act.
        """
        given.ruling(ruling)
        if not ruling.allowed or ruling.code != "approved":
            return ruling.allowed
        return self._asks.use(ruling.ask or "")

    # Acts.

    def execute(
        self, action: Action, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> Executed[T]:
        """
        Check *action* and, if it is allowed, call *fn* with the arguments.

        The intent is durable before the call, the outcome after it. An exception of
        *fn* is recorded and raised on; an interruption leaves the act in doubt. With a
        key, a second call returns the first outcome, and waits for it if need be.

        In a mirrored run nothing is done: it is a denial (``shadow``) and counts as a
        containment violation.

        Args:
            action: What is done, said exactly; its digest is what a person approves.
            fn: Does it.
            *args: For *fn*.
            **kwargs: For *fn*.

        Raises:
            GateError: The action's key was used for another action, *fn* is async, or one
                of both is none.
        """
        given.action(action, fn)
        if inspect.iscoroutinefunction(fn):
            raise GateError(_not_here(fn))
        if (around := fence()) is not None:
            return self._fenced(action, around)
        with self._turns.of(action.key):
            act: Act | Executed[T] = self._begin(action)
            if isinstance(act, Executed):
                return act
            with self._acting(act, action):
                value = fn(*args, **kwargs)
                if inspect.iscoroutine(value):
                    value.close()
                    raise GateError(_not_here(fn))
            return self._acts.done(act, value)

    async def aexecute(
        self,
        action: Action,
        fn: Callable[P, Awaitable[T]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Executed[T]:
        """
        Do as `execute` does, and await what *fn* returns.

        Review, intent and outcome are written inline, which takes a disk's time. An act
        with the same key that is under way is not waited for: the answer says so.

        Raises:
            GateError: The action's key was used for another action, or the action or *fn*
                is none.
        """
        given.action(action, fn)
        if (around := fence()) is not None:
            return self._fenced(action, around)
        act: Act | Executed[T] = self._begin(action)
        if isinstance(act, Executed):
            return act
        with self._acting(act, action):
            value = await fn(*args, **kwargs)
        return self._acts.done(act, value)

    def _fenced(self, action: Action, around: Fence) -> Executed[T]:
        """Do nothing for a mirrored run, and count that it reached this far."""
        around.violation(title(action))
        ruling = self.review(action)
        records: tuple[str, ...] = ()
        try:
            records = self._notes.write(ruling)
        except Exception:
            logger.warning("the denial cannot be written down", exc_info=True)
        return Executed(ran=False, value=None, ruling=ruling, records=records)

    def _begin(self, action: Action) -> Act | Executed[T]:
        try:
            act: Act | Receipt | Executed[T] | None = self._acts.receipts.of_key(
                action.key
            )
            if act is None:
                act = self._acts.begin(action, self._review(action, None))
        except Exception as error:  # noqa: BLE001 - a gate that fails is closed
            return Executed(ran=False, value=None, ruling=self._failure(error))
        return self._acts.doubts.again(action, act) if isinstance(act, Receipt) else act

    @contextmanager
    def _acting(self, act: Act, action: Action) -> Iterator[None]:
        ruling = act.ruling
        if ruling.code == "observed" and ruling.evidence.get("would") == "deny":
            self._unauthorized.add()
        try:
            with permit(self._guard, action.name):
                yield
        except BaseException as error:
            self._acts.raised(act, error)
            raise

    def in_doubt(self) -> tuple[Intent, ...]:
        """
        Return the acts that were begun and have no outcome, oldest first.

        Those under way are left out: in this gate, or in a process of this machine that
        lives. Whether one of another machine does cannot be seen from here; look at
        `Intent.owner` and at the world before you settle it.
        """
        return self._acts.doubts.all()

    def settle(
        self, intent_id: int, *, happened: bool, by: str, ended: bool = False
    ) -> None:
        """
        Say what became of an act that is in doubt or has failed.

        Args:
            intent_id: Which one, as `in_doubt` and `Executed.intent` have it.
            happened: Whether it was done. If not, its key may be used again; the act is
                then reviewed anew.
            by: Who has looked.
            ended: Whether they have also seen that the process which began it has
                ended. It is needed, and believed, only where that cannot be seen from
                here: of another machine's, or another container's.

        Raises:
            GateError: There is nothing to settle, nobody says so, or the process that
                began it lives or may live.
            StateError: It cannot be written down.
        """
        self._acts.doubts.settle(intent_id, happened=happened, by=by, ended=ended)

    def guard(self, fn: Callable[P, T], *, action: str | None = None) -> Callable[P, T]:
        """
        Return *fn* so that it only runs inside `execute` of this gate, once an act.

        Called around the gate, it raises and counts as a bypass; where the policy only
        observes, it counts and runs. A thread that *fn*'s caller starts is around the
        gate too, unless it carries the caller's context (`asyncio.to_thread` does). In a
        mirrored run it never runs, whatever the policy.

        Args:
            fn: What is guarded, plain or async.
            action: Name of the only action that may call it; any by default.

        Raises:
            GateError: From the returned callable, when it is called around the gate.
            ContainmentError: From the same, in a mirrored run.
        """
        return self._guard.around(fn, action)

    @hookimpl
    def legion_observe(self, plan: str, arm: Arm) -> dict[str, Count | float] | None:
        """
        Supply how often the gate was gone around, since *plan* last asked.

        Acts are the process's, not an arm's: they count for the candidate, which is the
        one that is judged, and nothing is claimed of the control.
        """
        if arm is Arm.CONTROL:
            return None
        return {
            "safety_gate_bypasses": Count(self._guard.bypasses.since(plan)),
            "unauthorized_actions": Count(self._unauthorized.since(plan)),
        }


def _not_here(fn: Callable[..., object]) -> str:
    name = getattr(fn, "__qualname__", repr(fn))
    return f"execute: {name} is async; write `await gate.aexecute(...)`"
