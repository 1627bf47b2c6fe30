"""The pointer of one rollout: durable before it goes forward, at once when back."""

from __future__ import annotations

import logging

from collections.abc import Callable, Iterable
from threading import Lock

import attrs

from ..exceptions import StateError
from ..model import Log, Noun
from .decide import Ladder
from .evidence import Known
from .exposure import Exposure
from .persistence import StateFile, SupersededError
from .retry import Retry
from .state import RolloutState, Status
from .succession import succeed
from .traffic import Traffic


logger = logging.getLogger("legion")


@attrs.define(eq=False)
class Pointer:
    """
    What is live, in memory and in the state file.

    Attributes:
        state: The state as last written or read, with all that was learned since.
        latched: Why everybody has the baseline for good, or None.
        off: Features that are off for good.
    """

    state: RolloutState
    _ladder: Ladder = attrs.field(alias="ladder")
    _file: StateFile = attrs.field(alias="file")
    _traffic: Traffic = attrs.field(alias="traffic")
    _journal: Log | None = attrs.field(alias="journal")
    latched: str | None = attrs.field(init=False, default=None)
    off: frozenset[str] = attrs.field(init=False, factory=frozenset)
    _turn: int = attrs.field(init=False, default=0)
    _kept: tuple[str | None, frozenset[str]] = attrs.field(
        init=False, default=(None, frozenset())
    )
    _swap: Lock = attrs.field(init=False, factory=Lock)

    @classmethod
    def open(
        cls,
        ladder: Ladder,
        file: StateFile,
        *,
        traffic: Traffic,
        journal: Log | None,
        splitter: str,
    ) -> Pointer:
        """
        Take up what the file says, or begin anew.

        Raises:
            StateError: The file holds another plan of this name, one whose units are
                split by another order, or is damaged.
        """
        plan = ladder.plan
        fresh = RolloutState(
            plan=plan.name,
            plan_digest=plan.digest,
            exposure=ladder.baseline.digest,
            splitter=splitter,
        )
        begins = file.load() is None
        if begins:
            retry = Retry.of(plan, file.database)
            fresh = attrs.evolve(fresh, before=retry.log_e)
        pointer = cls(fresh, ladder=ladder, file=file, traffic=traffic, journal=journal)
        if begins:
            pointer._begin()
        pointer.refresh()
        pointer._refuse_other_order(splitter)
        return pointer

    def _refuse_other_order(self, splitter: str) -> None:
        known = self.state.splitter
        if known and known != splitter:
            msg = (
                f"units of {self.state.plan!r} are split by {known!r}, not by"
                f" {splitter!r}; write splitter= with the former, or every unit may"
                " change its arm"
            )
            raise StateError(str(self._file.database.path), msg)

    def _begin(self) -> None:
        plan = self._ladder.plan
        if (tried := self._file.tried(plan)) and not plan.retry_of:
            logger.warning(
                "%s rolls out the candidate of %s, which went back: it spends a new"
                " false_rollback; write retry_of: %s if that is not"
                " meant",
                plan.name,
                tried[-1],
                tried[-1],
            )
        try:
            with self._file.database.transaction(durable=True):
                self._file.remember(plan)
                succeed(self._file, plan)
                self.save(self.state, durable=True, exposure=self._ladder.baseline)
        except SupersededError:
            logger.debug("another process began %s", self._ladder.plan.name)

    @property
    def shown(self) -> Exposure:
        """What requests see right now."""
        return self._traffic.exposure

    @property
    def pointed(self) -> Exposure:
        """What the state points at, and what the world is to agree with."""
        return self._exposure_of(self.state).without(self.off)

    def save(
        self,
        state: RolloutState,
        *nouns: Noun,
        durable: bool,
        exposure: Exposure | None = None,
        forward: bool = False,
    ) -> None:
        """
        Write a move and the records of *nouns* in one transaction, then show it.

        Args:
            state: What it is to be.
            nouns: What is recorded of it.
            durable: Whether it must survive a loss of power.
            exposure: What is live from now on, where that is another one.
            forward: Whether only who leads may write it.

        Raises:
            SupersededError: Another process has moved since, or leads.
            StateError: The file cannot be written; what is shown stays as it is.
        """
        with self._file.database.transaction(durable=durable):
            written = self._file.save(
                state, durable=durable, exposure=exposure, forward=forward
            )
            self.record(*nouns, durable=durable)
        if written.entry in {0, written.version}:
            self._turn = written.turn
        self.state = written
        if exposure is not None:
            self._ladder.hold(exposure.code)
            self.show(exposure)

    def record(self, *nouns: Noun, durable: bool) -> None:
        """Append *nouns* to the journal, where there is one."""
        if self._journal is not None:
            for noun in nouns:
                self._journal.append(noun, durable=durable)

    def teach(
        self,
        known: Known,
        *nouns: Noun,
        also: Callable[[], object] | None = None,
    ) -> None:
        """
        Write what was learned since the last time, in one transaction.

        Args:
            known: Whose units that are new are written, too.
            nouns: What it was learned from, for the journal.
            also: Writes what is not to be parted from it.

        Raises:
            SupersededError: Another process has learned or moved since, or leads.
            StateError: The file cannot be written.
        """
        turn = self.state.turn
        if turn == self._turn and also is None and not nouns:
            return
        with self._file.database.transaction(durable=False):
            self._file.refuse_stale()
            if turn != self._turn:
                self._file.teach(self.state, known, after=self._turn)
            self.record(*nouns, durable=False)
            if also is not None:
                also()
        self._turn = turn

    def lead(self, token: int) -> None:
        """Go forward under *token*, and never once there is a newer one."""
        self._file.token = token

    def show(self, exposure: Exposure) -> None:
        """Let requests see *exposure*, unless the latch is pulled."""
        with self._swap:
            if self.latched is None:
                self._traffic.exposure = exposure.without(self.off)

    # What goes back: in memory first, then in the file; it can only be set.

    def latch(self, reason: str) -> None:
        """Give everybody the baseline, in memory and for good; waits for nothing."""
        with self._swap:
            if self.latched is None:
                self.latched = reason
            self._traffic.exposure = self._ladder.baseline

    def switch_off(self, features: Iterable[str]) -> None:
        """Switch features off, in memory and for good; waits for nothing."""
        with self._swap:
            self.off |= frozenset(features)
            self._traffic.exposure = self._traffic.exposure.without(self.off)

    def heed(self) -> None:
        """Give everybody the baseline if the latch lies beside the file."""
        if self.latched is None and (found := self._file.beside()) is not None:
            self.latch(found.reason)

    @property
    def kept(self) -> bool:
        """Whether all that goes back is in the file, as far as that can hold it."""
        return self._kept == (self.latched, self.off)

    def pull(self) -> bool:
        """Write what goes back to the file; False, and logged, where that fails."""
        # Another thread may set more meanwhile: what was written is what was read here.
        latched, off = self.latched, self.off
        if (latched, off) == self._kept:
            return True
        try:
            if latched is not None:
                self._file.pull(latched)
            if off:
                self._file.switch_off(off)
        except StateError:
            logger.warning("going back is in force but not on disk", exc_info=True)
            return False
        self._kept = (latched, off)
        return True

    def withdraw(self) -> None:
        """Take away the latch beside the file once the retreat needs it no more."""
        state = self.state
        if self.kept and state.status is Status.ROLLED_BACK and not state.unsettled:
            self._file.withdraw()

    def refresh(self) -> bool:
        """
        Adopt what another process has written; True if anything is new.

        Raises:
            StateError: The file cannot be read; nothing was adopted but what goes back.
        """
        self.heed()
        latch = self._file.latch()
        if latch is not None and self.latched is None:
            self.latch(latch.reason)
            self._kept = (self.latched, self._kept[1])
        off = self._file.off()
        if not off <= self.off:
            self.switch_off(off)
        if self._file.versions() == (self.state.version, self._turn):
            return False
        state = self._file.load()
        if state is None:
            return False
        self._refuse_stranger(state)
        exposure = self._exposure_of(state)
        if state.status is not Status.READY:
            # Whatever the registry has by now: only a gated move exposes other code.
            self._ladder.hold(exposure.code)
        if state.status is Status.ROLLED_BACK:
            self.latch(state.reason)
        elif state.version != self.state.version:
            self.show(exposure)
        self.state, self._turn = state, state.turn
        return True

    def reload(self) -> None:
        """
        Take up what the file says, in place of what was learned here since.

        Raises:
            StateError: The file cannot be read; the next `refresh` does it.
        """
        self._turn = -1
        self.refresh()

    def _exposure_of(self, state: RolloutState) -> Exposure:
        now = self._ladder.exposure(state.stage).without(state.off)
        if now.digest == state.exposure:
            return now
        try:
            return self._file.exposure(state.exposure)
        except StateError:
            logger.warning(
                "nobody gets the candidate until it can be read", exc_info=True
            )
            return self._ladder.baseline

    def _refuse_stranger(self, state: RolloutState) -> None:
        plan = self._ladder.plan
        if state.plan_digest != plan.digest:
            msg = (
                f"holds another plan named {plan.name!r}; write a new name under"
                " `plan:`, or go on with the plan it was started with"
            )
            raise StateError(str(self._file.database.path), msg)
