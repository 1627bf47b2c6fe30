"""The pointer of one rollout: durable before it goes forward, at once when back."""

from __future__ import annotations

import logging

from threading import Lock

import attrs

from ..exceptions import StateError
from ..model import Log, Noun
from .decide import Ladder
from .exposure import Exposure
from .persistence import StateFile
from .state import RolloutState, Status
from .traffic import Traffic


logger = logging.getLogger("legion")


@attrs.define(eq=False)
class Pointer:
    """
    What is live, in memory and in the state file.

    Attributes:
        state: The state as last written or read.
        latched: Why everybody has the baseline for good, or None.
    """

    state: RolloutState
    _file: StateFile = attrs.field(alias="file")
    _traffic: Traffic = attrs.field(alias="traffic")
    _baseline: Exposure = attrs.field(alias="baseline")
    _journal: Log | None = attrs.field(alias="journal")
    latched: str | None = attrs.field(init=False, default=None)
    _swap: Lock = attrs.field(init=False, factory=Lock)
    _seen: int = attrs.field(init=False, default=-1)

    @classmethod
    def open(
        cls, ladder: Ladder, file: StateFile, *, traffic: Traffic, journal: Log | None
    ) -> Pointer:
        """
        Take up what the file says, or begin anew.

        Raises:
            StateError: The file holds another plan of this name, or is damaged.
        """
        plan, baseline = ladder.plan, ladder.baseline
        state = file.load()
        if state is not None and state.plan_digest != plan.digest:
            msg = (
                f"holds another plan named {plan.name!r}; write a new name under"
                " `plan:`, or go on with the plan it was started with"
            )
            raise StateError(str(file.database.path), msg)
        fresh = RolloutState(
            plan=plan.name, plan_digest=plan.digest, exposure=baseline.digest
        )
        pointer = cls(
            state or fresh,
            file=file,
            traffic=traffic,
            baseline=baseline,
            journal=journal,
        )
        if state is None:
            file.remember(plan)
            pointer.save(fresh, durable=True, exposure=baseline)
        else:
            pointer.show(file.exposure(state.exposure))
        return pointer

    @property
    def shown(self) -> Exposure:
        """What requests see right now."""
        return self._traffic.exposure

    def save(
        self,
        state: RolloutState,
        *nouns: Noun,
        durable: bool,
        exposure: Exposure | None = None,
    ) -> None:
        """
        Write *state* and the records of *nouns* in one transaction, then show it.

        Raises:
            SupersededError: Another process has written since.
            StateError: The file cannot be written; what is shown stays as it is.
        """
        with self._file.database.transaction(durable=durable):
            written = self._file.save(state, durable=durable, exposure=exposure)
            self.record(*nouns, durable=durable)
        self.state = written
        if exposure is not None:
            self.show(exposure)

    def record(self, *nouns: Noun, durable: bool) -> None:
        """Append *nouns* to the journal, where there is one."""
        if self._journal is not None:
            for noun in nouns:
                self._journal.append(noun, durable=durable)

    def show(self, exposure: Exposure) -> None:
        """Let requests see *exposure*, unless the latch is pulled."""
        with self._swap:
            if self.latched is None:
                self._traffic.exposure = exposure

    def latch(self, reason: str) -> None:
        """Give everybody the baseline, in memory and for good; waits for nothing."""
        with self._swap:
            if self.latched is None:
                self.latched = reason
            self._traffic.exposure = self._baseline

    def pull(self) -> bool:
        """Write the latch to the state file; False, and logged, where that fails."""
        try:
            self._file.pull(self.latched or "")
        except StateError:
            logger.warning("the rollback is in force but not on disk", exc_info=True)
            return False
        return True

    def refresh(self) -> bool:
        """
        Adopt what another process has written; True if anything is new.

        Raises:
            StateError: The file cannot be read.
        """
        version = self._file.database.data_version()
        if version == self._seen:
            return False
        self._seen = version
        latch = self._file.latch()
        if latch is not None and self.latched is None:
            self.latch(latch.reason)
        state = self._file.load()
        if state is None or state.version <= self.state.version:
            return latch is not None
        self.state = state
        if state.status is Status.ROLLED_BACK:
            self.latch(state.reason)
        elif state.exposure:
            self.show(self._file.exposure(state.exposure))
        return True
