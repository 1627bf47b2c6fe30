"""A journal read from its start: each look decided again, each move followed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import attrs

from .. import canonical
from ..canonical import JSON
from ..model import (
    Change,
    Decision,
    Missing,
    Move,
    Observation,
    Record,
    Report,
)
from ..plugins import Plugins
from ..stages import REHEARSAL, History, Plan, Retry, RolloutState, Status
from ..watchdog import Watchdog
from .otherwise import Elsewhere
from .replayed import Apart, Difference, Replay


_SHOWN = 5
"""So many fields of a difference are kept."""

_BY_HAND = {Status.PAUSED.value, Status.RUNNING.value}
_REFUSED = ("asked", "denied")
_FORWARD = {"advance", "update", "rehearsal", "deactivate"}


@attrs.frozen
class _Look:
    """A report that was learned, and where the rollout stood with it."""

    seq: int
    report: Report
    other: Report
    state: RolloutState
    strange: str = ""


@attrs.define(eq=False)
class Retelling:
    """
    Tells one rollout again, record by record.

    Args:
        plan: The plan that was rolled out.
        plugins: The criteria that judged it.
        retry: What it took over from an earlier try.
        elsewhere: Another plan to tell beside it, or None.
    """

    plan: Plan
    plugins: Plugins
    retry: Retry
    elsewhere: Elsewhere | None = None
    history: History = attrs.field(init=False)
    difference: Difference | None = attrs.field(init=False, default=None)
    _watchdog: Watchdog = attrs.field(init=False)
    _seen: dict[str, Observation] = attrs.field(init=False, factory=dict)
    _open: dict[str, _Look] = attrs.field(init=False, factory=dict)
    _rulings: dict[str, Record] = attrs.field(init=False, factory=dict)
    _back: Decision | None = attrs.field(init=False, default=None)
    _apart: dict[str, Apart] = attrs.field(init=False, factory=dict)
    _taken: dict[str, int] = attrs.field(init=False, factory=dict)
    _looks: int = attrs.field(init=False, default=0)
    _same: int = attrs.field(init=False, default=0)
    _verdicts: int = attrs.field(init=False, default=0)

    def __attrs_post_init__(self) -> None:
        self.history = History.of(self.plan, self.plugins, self.retry)
        limits = dict(self.plan.criteria)
        self._watchdog = Watchdog(self.plugins, limits=limits)  # type: ignore[arg-type]

    def tell(self, record: Record) -> None:
        """Take the next record of the journal."""
        body = record.body
        match record.kind:
            case "observation" if body["plan"] == self.plan.name:
                seen = Observation.from_json(body)
                self._seen[record.subject] = seen
            case "report" if body["plan"] == self.plan.name:
                self._look(record)
            case "ruling":
                self._rulings[str(body["subject"])] = record
            case "decision" if body["plan"] == self.plan.name:
                self._decided(record)
            case "change" if body["target"] == f"rollout:{self.plan.name}":
                self._moving(record)
            case "outcome" if body["target"] == f"rollout:{self.plan.name}":
                self._came(record)
            case _:
                pass

    def _look(self, record: Record) -> None:
        report = Report.from_json(record.body)
        observation = self._seen.pop(report.observation, None)
        if observation is None:
            self._set_apart("a report without its observation", record.seq)
            return
        self._looks += 1
        strange = self._strange(report)
        if not strange:
            self._judge(observation, report)
        if not self.history.learn(observation, report):
            why = "seen of a stage or code that another process had left by then"
            self._set_apart(why, record.seq)
            return
        other = self._beside(observation, report)
        look = _Look(record.seq, report, other, self.history.state, strange)
        self._open[report.digest] = look

    def _strange(self, report: Report) -> str:
        """Say which criteria judged that are not here, or the other way round."""
        here = self.history.ladder.criteria
        there = {verdict.criterion for verdict in report.verdicts}
        if gone := sorted(there - here):
            return f"criteria that are not here: {', '.join(gone)}"
        if came := sorted(here - there):
            return f"criteria that were not there: {', '.join(came)}"
        return ""

    def _judge(self, observation: Observation, report: Report) -> None:
        """Have the criteria judge again; what they do not say again is taken as told."""
        self._watchdog.interval_s = self._interval_s
        again = self._watchdog.judge(observation, self.history.state.baseline)
        for ours, told in zip(again.verdicts, report.verdicts, strict=True):
            if told.missing is not Missing.ERROR and _same(
                ours.to_json(), told.to_json()
            ):
                self._verdicts += 1
            else:
                name = told.criterion
                self._taken[name] = self._taken.get(name, 0) + 1

    @property
    def _interval_s(self) -> float:
        stage = self.history.state.stage
        found = self.plan.stage(stage) if stage else self.plan.stages[0]
        return found.check_interval_s

    def _beside(self, observation: Observation, report: Report) -> Report:
        other = self.elsewhere
        if other is None or other.over:
            return report
        found = other.learn(observation, report, interval_s=self._interval_s)
        other.unseen(self.history.watched)
        return found

    def _decided(self, record: Record) -> None:
        decision = Decision.from_json(record.body)
        look = self._open.pop(decision.report, None)
        if decision.code == REHEARSAL and not decision.report:
            ours = self.history.rehearse()
            self._compare([ours] if ours is not None else [], decision, record)
        elif look is None:
            self._without_look(decision, record)
        elif why := look.strange or _from_outside(decision):
            self._set_apart(why, record.seq)
            self._follow(decision, look)
        else:
            both = self._again(decision, look)
            if self._compare(both, decision, record):
                dwell = _same(both[0].to_json(), record.body)
                self._follow(decision, look, dwell=dwell)

    def _without_look(self, decision: Decision, record: Record) -> None:
        bare = Report(plan=self.plan.name, stage=decision.stage).digest
        if decision.report not in {"", bare}:
            why = "a decision whose observation is not in the journal"
            self._set_apart(why, record.seq)
            self._mark(decision)
            return
        self._set_apart("by hand, or to finish what was begun", record.seq)
        if decision.code in _BY_HAND and decision.move is Move.HOLD:
            status = Status(decision.code)
            self.history.by_hand(status, decision.reason)
            if self.elsewhere is not None and not self.elsewhere.over:
                self.elsewhere.by_hand(status, decision.reason)
        elif decision.move is Move.ROLL_BACK:
            self._back = decision
            if self.elsewhere is not None and not self.elsewhere.over:
                self.elsewhere.went_back(decision.reason)

    def _again(self, told: Decision, look: _Look) -> list[Decision]:
        """Return what may have been decided: a person who promotes skips the time."""
        return [
            self._ruled(
                self.history.decide(
                    look.report, told.change, state=look.state, dwell=dwell
                ),
                told,
            )
            for dwell in (True, False)
        ]

    def _compare(self, ours: list[Decision], told: Decision, record: Record) -> bool:
        if any(_same(each.to_json(), record.body) for each in ours):
            self._same += 1
            return True
        first = ours[0].to_json() if ours else {}
        self.difference = Difference(
            seq=record.seq,
            at_s=told.at_s,
            stage=told.stage,
            fields=dict(_first(_differences(record.body, first, ""))),
        )
        return False

    def _ruled(self, ours: Decision, told: Decision) -> Decision:
        """Return what is left of a step forward that the gate did not allow."""
        refused = told.move is Move.HOLD and told.code in _REFUSED
        if not refused or ours.change is None or ours.move is not Move.ADVANCE:
            return ours
        ruling = self._rulings.get(ours.change.digest)
        if ruling is None:
            return ours
        asked = ruling.body["permission"] == "ask"
        code, reason = _REFUSED[not asked], str(ruling.body["reason"])
        return attrs.evolve(ours, move=Move.HOLD, code=code, reason=reason)

    def _follow(self, decision: Decision, look: _Look, *, dwell: bool = True) -> None:
        if self.elsewhere is not None and not self.elsewhere.over:
            self.elsewhere.decide(look.other, decision, dwell=dwell)
        self._mark(decision)

    def _mark(self, decision: Decision) -> None:
        """Go where a recorded decision leads that moves no pointer, or leads back."""
        if decision.move is Move.ROLL_BACK:
            self._back = decision
            return
        moves = decision.move is Move.ADVANCE and decision.change is not None
        if not moves and decision.version == self.history.state.version:
            self.history.mark(decision.move, decision.reason)

    def _moving(self, record: Record) -> None:
        change = Change(**cast("dict[str, Any]", dict(record.body)))
        if change.kind == "roll_back" and self._back is not None:
            to, code, reason = self._back.to, self._back.code, self._back.reason
            for history in self._histories():
                history.back(change, to=to, code=code, reason=reason)
        elif change.kind in _FORWARD:
            if self.elsewhere is not None and not self.elsewhere.over:
                self.elsewhere.follow(change, self.history)
            self.history.intend(change)

    def _came(self, record: Record) -> None:
        decision = str(record.body["decision"])
        for digest, look in list(self._open.items()):
            # What was too late to be carried out is known by its digest alone.
            ours = self.history.decide(look.report, None, state=look.state)
            if ours.digest == decision:
                self._same += 1
                del self._open[digest]
        for history in self._histories():
            history.take(record.body)

    def _histories(self) -> Iterator[History]:
        yield self.history
        if self.elsewhere is not None and not self.elsewhere.over:
            yield self.elsewhere.history

    def _set_apart(self, why: str, seq: int) -> None:
        before = self._apart.get(why, Apart(why=why, n=0, seq=seq))
        self._apart[why] = attrs.evolve(before, n=before.n + 1)

    @property
    def found(self) -> Replay:
        """What came of it."""
        for look in self._open.values():
            why = "a look on which nothing was decided any more"
            self._set_apart(why, look.seq)
        self._open.clear()
        return Replay(
            plan=self.plan.name,
            digest=self.plan.digest,
            looks=self._looks,
            same=self._same,
            difference=self.difference,
            apart=tuple(self._apart.values()),
            verdicts=self._verdicts,
            taken=dict(sorted(self._taken.items())),
            otherwise=None if self.elsewhere is None else self.elsewhere.found,
        )


def _from_outside(decision: Decision) -> str:
    """Say what a decision rests on that is in no record, or nothing."""
    return {
        "chosen": "chosen by a plugin",
        "damaged_registry": "held by a registry that could not be read",
    }.get(decision.code, "")


def _same(ours: Mapping[str, JSON], told: Mapping[str, JSON]) -> bool:
    return canonical.dumps(ours) == canonical.dumps(told)


def _differences(
    told: JSON, ours: JSON, path: str
) -> Iterator[tuple[str, tuple[JSON, JSON]]]:
    if isinstance(told, Mapping) and isinstance(ours, Mapping):
        for key in sorted({*told, *ours}):
            inner = f"{path}.{key}" if path else key
            yield from _differences(told.get(key), ours.get(key), inner)
    elif _list(told) and _list(ours) and len(told) == len(ours):  # type: ignore[arg-type]
        for index, pair in enumerate(zip(told, ours, strict=True)):  # type: ignore[arg-type]
            yield from _differences(*pair, f"{path}[{index}]")
    elif canonical.dumps(told) != canonical.dumps(ours):
        yield path, (told, ours)


def _list(value: JSON) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _first(
    found: Iterator[tuple[str, tuple[JSON, JSON]]],
) -> Iterator[tuple[str, tuple[JSON, JSON]]]:
    for _, one in zip(range(_SHOWN), found, strict=False):
        yield one
