"""What was learned and is not written down yet, and how it comes into the file."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from ..exceptions import StateError
from ..model import Observation, Report
from .evidence import Edge
from .learn import Learner
from .persistence import NotLeadingError, SupersededError
from .pointer import Pointer


_TRIES = 5


@attrs.define(eq=False)
class Lessons:
    """
    Learns in memory first, and writes it down on top of what others have learned.

    Whoever calls holds the engine's lock.

    Attributes:
        learner: Folds observations into the state.
        pointer: Where the state is kept.
    """

    learner: Learner
    pointer: Pointer
    _unkept: list[tuple[int, Observation, Report]] = attrs.field(
        init=False, factory=list
    )
    """What was seen and judged, and in which stay; in order."""

    @property
    def edges(self) -> tuple[Edge, ...]:
        """Beyond which times units are to be counted as bad from now on."""
        return self.learner.edges(self.pointer.state)

    def take(self, observation: Observation, report: Report) -> None:
        """Learn from *observation* and the report on it, in memory."""
        self._unkept.append((self.pointer.state.entry, observation, report))
        self._learn(observation, report)

    def _learn(self, observation: Observation, report: Report) -> None:
        self.pointer.state = self.learner.learn(self.pointer.state, observation, report)

    def drop(self) -> None:
        """Leave what was not written: a move has just written more than that."""
        self._unkept.clear()

    def follow(self) -> None:
        """Go on from what another process wrote, without what was not written here."""
        if self._unkept:
            self._forget()

    def _forget(self) -> None:
        self._unkept.clear()
        self.learner.forget()
        self.pointer.reload()

    def keep(self, *, also: Callable[[], object] | None) -> None:
        """
        Write down what was learned; see `StageEngine.keep`.

        Raises:
            NotLeadingError: Another process leads, and what that one wrote is adopted.
            StateError: It could not be written.
        """
        for _ in range(_TRIES):
            nouns = [noun for _, *both in self._unkept for noun in both]
            try:
                self.pointer.teach(self.learner.known, *nouns, also=also)
            except NotLeadingError:
                self._forget()
                raise
            except SupersededError:
                self.adopt()
            else:
                self._unkept.clear()
                self.learner.known.forget_new()
                return
        msg = "other processes keep writing; run one that turns the wheel"
        raise StateError(self.pointer.state.plan, msg)

    def adopt(self) -> None:
        """Read what others wrote, and learn again what is not in it."""
        if not self.pointer.refresh():
            return
        self.learner.forget()
        # What was seen of a stage that was left meanwhile is no evidence of this one.
        here = self.pointer.state.entry
        self._unkept = [one for one in self._unkept if one[0] == here]
        for _, observation, report in self._unkept:
            self._learn(observation, report)
