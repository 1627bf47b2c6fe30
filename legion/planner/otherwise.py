"""Another plan beside the recorded one, as long as users saw the same."""

from __future__ import annotations

import attrs

from ..model import Arm, Change, Decision, Move, Observation, Report, Window
from ..plugins import Plugins
from ..stages import History, Plan, Retry, Status
from ..watchdog import Watchdog
from .replayed import Otherwise, Parting


_UNASKED = {Move.ROLL_BACK, Move.FREEZE}
"""What is decided without asking any plugin for a lower stage."""


@attrs.define(eq=False)
class Elsewhere:
    """
    Decides at each recorded look what another plan would have decided.

    It goes along while both are in the same stage with the same exposure. Where they
    part, what was recorded says nothing of the other plan any more, and it ends.

    Attributes:
        history: The other plan on its way.
        over: Whether it has ended.
    """

    plan: Plan
    history: History
    _watchdog: Watchdog | None
    over: bool = attrs.field(init=False, default=False)
    _looks: int = attrs.field(init=False, default=0)
    _partings: list[Parting] = attrs.field(init=False, factory=list)
    _last: tuple[str, str] = attrs.field(init=False, default=("", ""))
    _unseen: set[str] = attrs.field(init=False, factory=set)
    _at_s: float | None = attrs.field(init=False, default=None)
    _end: tuple[str, str] = attrs.field(
        init=False, default=("recorded", "nothing more was recorded")
    )

    @classmethod
    def of(
        cls, plan: Plan, plugins: Plugins, *, recorded: Plan, retry: Retry
    ) -> Elsewhere:
        """Begin where both plans begin; *recorded* is the one that was rolled out."""
        same = plan.criteria == recorded.criteria
        limits = dict(plan.criteria)
        watchdog = None if same else Watchdog(plugins, limits=limits)  # type: ignore[arg-type]
        return cls(plan, History.of(plan, plugins, retry), watchdog)

    def learn(
        self, observation: Observation, report: Report, *, interval_s: float
    ) -> Report:
        """Learn from a look; return the report that this plan would have had."""
        if self._watchdog is not None:
            self._watchdog.interval_s = interval_s
            baseline: Window | None = self.history.state.baseline
            report = self._watchdog.judge(observation, baseline)
        self.history.learn(observation, report)
        return report

    def unseen(self, watched: frozenset[str]) -> None:
        """Know by which times units are counted from now on."""
        self._unseen |= self.history.watched - watched

    def decide(self, report: Report, recorded: Decision, *, dwell: bool = True) -> None:
        """
        Hold the decision of this plan beside the *recorded* one.

        Args:
            report: What this plan would have decided on.
            recorded: What was decided.
            dwell: Whether the stage's time had to be over; not for who promotes by hand.
        """
        ours = self.history.decide(report, recorded.change, dwell=dwell)
        self._looks += 1
        self._at_s = recorded.at_s
        if recorded.code == "chosen" and ours.move not in _UNASKED:
            self._chosen(recorded)
            return
        self._note(ours, recorded)
        forward = ours.move is Move.ADVANCE and ours.change is not None
        wanted = recorded.change is not None and recorded.change.kind != "roll_back"
        if ours.move is Move.ROLL_BACK:
            self._stop("roll_back", f"it goes back: {ours.reason}")
        elif recorded.move is Move.ROLL_BACK:
            why = f"the rollout went back, and this plan had not: {ours.reason}"
            self._stop("recorded", why)
        elif forward and not (wanted and recorded.to == ours.to):
            why = f"it goes on to {ours.to}, and users did not: {ours.reason}"
            self._stop("advance", why)
        elif recorded.move is Move.ADVANCE and wanted and not forward:
            why = f"it stays in {self._stage}, and users went on: {ours.reason}"
            self._stop("stay", why)
        elif not forward:
            self.history.mark(ours.move, ours.reason)
        elif recorded.move is not Move.ADVANCE:
            self.history.mark(Move.HOLD, recorded.reason)  # The gate said no to both.

    def _chosen(self, recorded: Decision) -> None:
        """Follow a plugin that chose lower, as it would have under this plan."""
        self._last = ("", "")
        if recorded.move is not Move.ROLL_BACK:
            self.history.mark(Move.HOLD, recorded.reason)
        elif recorded.to not in {each.name for each in self.plan.stages}:
            self.went_back(recorded.reason)

    @property
    def _stage(self) -> str:
        return self.history.state.stage or "no stage"

    def _note(self, ours: Decision, recorded: Decision) -> None:
        said, told = _said(ours), _said(recorded)
        now = ("", "") if said == told else (said, told)
        if now != self._last and said != told:
            self._partings.append(
                Parting(
                    at_s=recorded.at_s,
                    stage=recorded.stage,
                    recorded=told,
                    other=said,
                    reason=ours.reason,
                )
            )
        self._last = now

    def by_hand(self, status: Status, reason: str) -> None:
        """Follow a person who stopped the ladder, or let it go on."""
        self.history.by_hand(status, reason)

    def follow(self, change: Change, recorded: History) -> None:
        """Follow a change that was made, if this plan exposes the same by it."""
        stage = str(change.detail.get("to", recorded.state.stage))
        names = {each.name for each in self.plan.stages}
        code = change.detail.get("code")
        if isinstance(code, dict) and stage in names:
            both = {Arm(arm): str(one) for arm, one in code.items()}
            ours = self.history.ladder.exposure(stage, both)
            if ours == recorded.ladder.exposure(stage, both):
                self.history.intend(change)
                return
        elif change.kind != "advance":
            self.history.intend(change)
            return
        self._stop("advance", f"in {stage} it exposes something else than users saw")

    def went_back(self, reason: str) -> None:
        """End where the rollout was taken back without a look."""
        self._stop("recorded", f"the rollout was taken back: {reason}")

    def _stop(self, end: str, reason: str) -> None:
        self.over, self._end = True, (end, reason)

    @property
    def found(self) -> Otherwise:
        """What came of it."""
        end, reason = self._end
        return Otherwise(
            digest=self.plan.digest,
            looks=self._looks,
            partings=tuple(self._partings),
            at_s=self._at_s,
            stage=self.history.state.stage,
            end=end,
            reason=reason,
            unseen=tuple(sorted(self._unseen)),
        )


def _said(decision: Decision) -> str:
    return f"{decision.move.value} ({decision.code})"
